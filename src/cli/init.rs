//! `callvault init`: a first configuration, asked for, written and tried.

mod answers;
mod first;

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use secrecy::ExposeSecret;

pub use self::answers::Options;
use self::answers::{Answers, Secret};
use super::whole::{folder_of, write_new};
use super::{Error, check, load, say};

/// Where it is written without `--config`.
const FILE: &str = "callvault.toml";

/// Every key with its default, and what it is.
const REFERENCE: &str = include_str!("../../config/callvault.toml");

/// A folder whose new files get its group. The worker runs as a user of its own, which reads them by it.
const SET_GROUP_ID: u32 = 0o2000;

/// Where systemd finds the package's unit, and one of somebody's own.
const UNITS: [&str; 2] =
    ["/usr/lib/systemd/system/callvault.service", "/etc/systemd/system/callvault.service"];

/// Asks for what no option says, writes it, and tries it as `callvault check` does; ends as that does.
///
/// # Errors
/// Something is missing and nobody there to be asked, a file is there already or cannot be written, or
/// the answers make no configuration.
pub fn run(file: Option<&Path>, options: Options) -> Result<ExitCode, Error> {
    if options.reference {
        say(REFERENCE)?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = std::path::absolute(file.unwrap_or(Path::new(FILE)))?;
    // Before anybody has answered in vain.
    if path.symlink_metadata().is_ok() {
        return Err(there_already(&path));
    }
    let tries = !options.no_check;
    let answers = options.answers(folder_of(&path).join("secrets"))?;
    for file in write(&path, &answers)? {
        say(&format!("written: {}\n", file.display()))?;
    }
    let loaded = load(Some(&path))?;
    let code = if tries {
        say("\n")?;
        check::run(loaded, &check::Options::default())?
    } else {
        ExitCode::SUCCESS
    };
    let (shown, well) = (path.display(), code == ExitCode::SUCCESS);
    say(&match (tries, well) {
        (true, true) => format!("next: {}\n", start(&path, &UNITS)),
        (true, false) => format!("mend what failed, then: callvault check --config {shown}\n"),
        (false, _) => format!("next: callvault check --config {shown}\n"),
    })?;
    Ok(code)
}

/// What starts a worker with this configuration: one of these units, where it is there and reads that, as the
/// package's does.
fn start(path: &Path, units: &[&str]) -> String {
    let read_by_the_unit = path == Path::new("/etc/callvault/callvault.toml");
    if read_by_the_unit && units.iter().any(|unit| Path::new(unit).exists()) {
        return "systemctl enable --now callvault".to_owned();
    }
    format!("callvault run --config {}", path.display())
}

/// Writes the secrets that were typed, each into a file, and last the configuration that names these.
fn write(path: &Path, answers: &Answers) -> Result<Vec<PathBuf>, Error> {
    let modes = Modes::of(folder_of(path)).map_err(|error| unwritten(path, error))?;
    let mut written = Vec::new();
    for Secret { file, typed } in answers.secrets() {
        let Some(secret) = typed else { continue };
        let folder = folder_of(file);
        modes.folder(folder).map_err(|error| unwritten(folder, error))?;
        let line = format!("{}\n", secret.expose_secret());
        // Who was killed before the configuration was there may say the same again.
        if fs::read(file).is_ok_and(|there| there == line.as_bytes()) {
            continue;
        }
        new(file, modes.file, &line)?;
        written.push(file.clone());
    }
    new(path, modes.file, &first::text(answers))?;
    written.push(path.to_owned());
    Ok(written)
}

fn new(path: &Path, mode: u32, text: &str) -> Result<(), Error> {
    let written = write_new(path, mode, |file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => there_already(path),
        _ => unwritten(path, error),
    })
}

/// Who may read what is written, as permission bits.
struct Modes {
    folder: u32,
    file: u32,
}

impl Modes {
    /// Whoever writes, and the group of a folder that gives its group on.
    fn of(folder: &Path) -> io::Result<Self> {
        let group = fs::metadata(folder)?.permissions().mode() & SET_GROUP_ID != 0;
        Ok(if group {
            Self { folder: SET_GROUP_ID | 0o750, file: 0o640 }
        } else {
            Self { folder: 0o700, file: 0o600 }
        })
    }

    /// Makes a folder, unless it is there.
    fn folder(&self, folder: &Path) -> io::Result<()> {
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => {
                made.and_then(|()| fs::set_permissions(folder, Permissions::from_mode(self.folder)))
            }
        }
    }
}

fn there_already(path: &Path) -> Error {
    let shown = path.display();
    Error::Setup(format!(
        "{shown}: is there already, and is not replaced: move it away, or name another with --config"
    ))
}

fn unwritten(path: &Path, error: io::Error) -> Error {
    Error::Unwritten { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_the_service_is_told_to_start_it() {
        let (of_the_unit, own) = ("/etc/callvault/callvault.toml", "/srv/callvault.toml");
        let (there, absent) = (env!("CARGO_MANIFEST_DIR"), "/nowhere/callvault.service");
        let told = |path: &str, unit| start(Path::new(path), &[absent, unit]);
        assert_eq!(told(of_the_unit, there), "systemctl enable --now callvault");
        for (path, unit) in [(of_the_unit, absent), (own, there)] {
            assert_eq!(told(path, unit), format!("callvault run --config {path}"));
        }
    }
}
