//! Files that are there whole or not at all, whoever is killed meanwhile.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// Writes a file, or replaces it: into a temporary one beside it, synced, renamed.
///
/// # Errors
/// It cannot be written; what was there is there still.
pub fn write_whole(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let file = beside(path, mode, write)?;
    file.persist(path).map_err(|error| error.error)?;
    sync(folder_of(path))
}

/// The same, but for a file that is not there yet.
///
/// # Errors
/// As of [`write_whole`]; [`io::ErrorKind::AlreadyExists`] where it is there.
pub fn write_new(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let file = beside(path, mode, write)?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync(folder_of(path))
}

/// Where a file is, or is to be.
pub fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn beside(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    // Where there is no folder, the system's own words say so better than tempfile's.
    fs::metadata(folder_of(path))?;
    // Set at once, so that it is never more open than it is to be.
    let permissions = Permissions::from_mode(mode);
    let mut file = Builder::new().permissions(permissions.clone()).tempfile_in(folder_of(path))?;
    write(file.as_file_mut())?;
    // What the umask took away.
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// A name outlives a crash of the machine only with its folder.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_what_it_was_until_it_is_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.prom");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        write_whole(&path, 0o644, |file| file.write_all(b"one")).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode()), (b"one".to_vec(), 0o644));
        let failed = write_whole(&path, 0o644, |file| {
            file.write_all(b"half")?;
            assert_eq!(fs::read(&path)?, b"one");
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        let new = write_new(&path, 0o600, |file| file.write_all(b"two"));
        assert_eq!(new.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write_whole(&path, 0o600, |file| file.write_all(b"three")).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode()), (b"three".to_vec(), 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }
}
