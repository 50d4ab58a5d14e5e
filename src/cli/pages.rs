//! `callvault completions` and `callvault man`: what shells and `man` know, made of the definitions
//! of the commands.

use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

/// The script that completes callvault's command lines.
pub fn completions(mut command: Command, shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "callvault", &mut script);
    text(script)
}

/// The manual page of callvault itself, in roff.
pub fn man(command: Command) -> String {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut page);
    rendered.expect("memory takes all that is written to it");
    text(page)
}

/// Writes a page a command into `folder`: `callvault.1`, `callvault-run.1` and so on.
///
/// # Errors
/// The folder cannot be written to.
pub fn all(command: Command, folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(command, folder)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("it is made of the texts of the definitions")
}
