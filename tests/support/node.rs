//! Node with the AMQP library that the consumer in examples/consumers/node wants, where the machine
//! has Node and npm. Neither is fetched: nothing but that consumer needs them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::debian::show;
use super::kit_dir;

/// The oldest that the library runs on.
const OLDEST: u32 = 18;

/// `node`, and the folder of what the packages of `example` are; or why there is none.
///
/// # Panics
/// npm does not get the packages; with its output.
pub fn with_packages(example: &Path) -> Result<(Command, PathBuf), String> {
    let version = ran(Command::new("node").arg("--version")).map_err(|_| "no node here")?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|v| v.parse().ok());
    if major.is_none_or(|major: u32| major < OLDEST) {
        return Err(format!("node {} is older than {OLDEST}", version.trim()));
    }
    ran(Command::new("npm").arg("--version")).map_err(|_| "node is here, npm is not")?;
    Ok((Command::new("node"), packages(example)))
}

/// As the lock file has them, by their checksums; fetched on first use, by one process at a time.
fn packages(example: &Path) -> PathBuf {
    let folder = kit_dir().join("node");
    fs::create_dir_all(&folder).expect("the kit's folder can be made");
    let lock = File::create(kit_dir().join("node.lock")).expect("the lock can be made");
    lock.lock().expect("a file can be locked");
    let wanted = fs::read_to_string(example.join("package-lock.json")).expect("the lock file");
    let installed = folder.join("installed");
    if fs::read_to_string(&installed).is_ok_and(|have| have == wanted) {
        return folder.join("node_modules");
    }
    for name in ["package.json", "package-lock.json"] {
        fs::copy(example.join(name), folder.join(name)).expect("the kit's folder can be written");
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    ran(&mut npm).unwrap_or_else(|said| panic!("npm ci: {said}"));
    fs::write(installed, wanted).expect("the kit's folder can be written");
    folder.join("node_modules")
}

/// What a program that ends well has written; else all that it has.
fn ran(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(show(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
