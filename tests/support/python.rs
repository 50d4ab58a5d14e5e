//! Python with the AMQP library that the consumer of docs/ uses: this machine's, or Debian's, of
//! which the library is unpacked for the kit alone.

use std::process::{Command, Stdio};

use super::debian;

/// Where Debian's packages of Python libraries have them.
const LIBRARIES: &str = "usr/lib/python3/dist-packages";

/// `python3`, which can `import pika`.
pub fn with_pika() -> Command {
    if !runs(Command::new("python3").arg("--version")) {
        debian::install("python3", "");
    }
    let import = ["-c", "import pika"];
    let mut python = Command::new("python3");
    if !runs(Command::new("python3").args(import)) {
        python.env("PYTHONPATH", debian::unpacked("python3-pika").join(LIBRARIES));
    }
    python
}

fn runs(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
