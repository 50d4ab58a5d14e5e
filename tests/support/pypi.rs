//! Packages of PyPI, each group of them in an environment of its own below the kit's folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::debian::{self, show};
use super::kit_dir;

/// The folder of an environment. The first to ask for it makes it, and fills it; the others wait.
///
/// # Panics
/// It cannot be made, or `fill` panics.
pub fn environment(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let folder = kit_dir().join(name);
    fs::create_dir_all(kit_dir()).expect("the kit's folder can be made");
    let lock = File::create(kit_dir().join(format!("{name}.lock"))).expect("the lock can be made");
    lock.lock().expect("a file can be locked");
    if is_there(name) {
        return folder;
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&folder);
    if ran(&mut make).is_err() {
        // Debian keeps venv in a package of its own.
        debian::install("python3 python3-venv ca-certificates", "");
        ran(&mut make).unwrap_or_else(|output| panic!("python3 -m venv: {output}"));
    }
    fill(&folder);
    fs::write(folder.join("installed"), "").expect("the kit's folder can be written");
    folder
}

/// Whether an environment is made and filled; else the first to ask for it does both.
pub fn is_there(name: &str) -> bool {
    kit_dir().join(name).join("installed").exists()
}

/// Runs pip in an environment.
///
/// # Panics
/// It fails; with its output.
pub fn pip(environment: &Path, arguments: &[&str]) {
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.args(arguments).args(["--quiet", "--disable-pip-version-check"]);
    ran(&mut pip).unwrap_or_else(|output| panic!("pip {}: {output}", arguments.join(" ")));
}

/// Runs to the end.
///
/// # Errors
/// What it has written, where it fails.
pub fn ran(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(show(&output)) }
}
