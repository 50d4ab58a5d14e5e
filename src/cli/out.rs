//! What commands write, whoever has stopped to read.

use std::fmt::Display;
use std::io::{self, Stdout, Write};

/// A line for people beside the answer, on stderr. Nobody is left to be told that it is closed.
pub fn tell(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes the answer of a command. A reader who has seen enough (`| head`) is no error.
pub fn say(text: &str) -> io::Result<()> {
    let mut out = Out::new();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Standard output of a command that does more than to write: a reader who has seen enough (`| head`)
/// does not end it, nor does it end with another code.
pub struct Out {
    to: Stdout,
    gone: bool,
}

impl Out {
    pub fn new() -> Self {
        Self { to: io::stdout(), gone: false }
    }

    fn unless_gone<T>(
        &mut self,
        nothing: T,
        write: impl FnOnce(&mut Stdout) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.gone {
            return Ok(nothing);
        }
        match write(&mut self.to) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(nothing)
            }
            written => written,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_gone(bytes.len(), |to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_gone((), Stdout::flush)
    }
}
