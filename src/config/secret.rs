//! A secret in any of its three forms (contract 6): inline, `_file`, `_env`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

/// A secret file is read at most this often (contract 6).
const REREAD_AFTER: Duration = Duration::from_secs(30);

/// A secret that is read when it is needed and never shown.
///
/// The inline and `_env` forms keep the value they had at start. The `_file` form is read again
/// when it is asked for, at most every 30 s: whoever connects or signs asks each time, so a
/// rotated key takes effect within 30 s and without a restart. A file that cannot be read, is
/// empty, as it may be while it is replaced, or holds more than a secret leaves the last good value
/// in force, with a warning.
///
/// Clones share what was read.
#[derive(Clone)]
pub struct Secret(Arc<Source>);

enum Source {
    /// Inline, or the value that an environment variable had at start.
    Fixed(SecretString),
    File {
        path: PathBuf,
        state: Mutex<State>,
    },
}

#[derive(Default)]
struct State {
    good: Option<SecretString>,
    /// The last time the file was looked at, whatever came of it.
    read_at: Option<Instant>,
    /// What the look came to, if there is no good value to fall back on.
    error: Option<SecretError>,
}

/// Why a secret file gave no secret. Names the file, never what it holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret file {}: {}", path.display(), said(*kind))]
    Unreadable { path: PathBuf, kind: io::ErrorKind },
    #[error("the secret file {} is empty", path.display())]
    Empty { path: PathBuf },
    #[error("the secret file {} {GARBLED}", path.display())]
    Garbled { path: PathBuf },
}

/// What no secret has, and no header takes: two lines of a file, a carriage return before more, a NUL.
pub(super) const GARBLED: &str = "holds a line break or another control character";

pub(super) fn is_garbled(value: &str) -> bool {
    value.chars().any(char::is_control)
}

/// In the words of every other tool: Rust's own are "entity not found".
pub(super) fn said(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        kind => kind.to_string(),
    }
}

impl Secret {
    /// A secret that does not change.
    pub fn fixed(value: impl Into<String>) -> Self {
        Self(Arc::new(Source::Fixed(value.into().into())))
    }

    /// The secret that a file holds, but for what editors put around it. Nothing is read yet.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Source::File { path: path.into(), state: Mutex::default() }))
    }

    /// The secret as it is now.
    ///
    /// # Errors
    /// The file could never be read since this secret was made.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        self.read_at(Instant::now())
    }

    /// Says that the secret was refused: a file is looked at again now, unless it was within the
    /// last 30 s, so that what is read next is what was rotated in.
    pub fn refresh_after_refusal(&self) {
        // An error stays with the secret, and the next read gives it to whoever needs the value.
        drop(self.read());
    }

    fn read_at(&self, now: Instant) -> Result<SecretString, SecretError> {
        let (path, state) = match &*self.0 {
            Source::Fixed(value) => return Ok(value.clone()),
            Source::File { path, state } => (path, state),
        };
        // A panic between two assignments below leaves nothing that a later read would not mend.
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = |at: Instant| now.saturating_duration_since(at) >= REREAD_AFTER;
        if state.read_at.is_none_or(due) {
            state.read_at = Some(now);
            match read_file(path) {
                Ok(value) => {
                    state.good = Some(value.into());
                    state.error = None;
                }
                Err(error) if state.good.is_some() => {
                    tracing::warn!(%error, "keeping the secret that was read before");
                }
                Err(error) => state.error = Some(error),
            }
        }
        match (&state.good, &state.error) {
            (Some(good), _) => Ok(good.clone()),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Err(SecretError::Empty { path: path.clone() }),
        }
    }
}

/// The same source: the same value, or the same file.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        match (&*self.0, &*other.0) {
            (Source::Fixed(ours), Source::Fixed(theirs)) => {
                ours.expose_secret() == theirs.expose_secret()
            }
            (Source::File { path: ours, .. }, Source::File { path: theirs, .. }) => ours == theirs,
            _ => false,
        }
    }
}

impl Eq for Secret {}

impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &*self.0 {
            Source::Fixed(value) => value.expose_secret().hash(state),
            Source::File { path, .. } => path.hash(state),
        }
    }
}

/// What a secret file holds.
pub(super) fn read_file(path: &Path) -> Result<String, SecretError> {
    let unreadable =
        |error: io::Error| SecretError::Unreadable { path: path.into(), kind: error.kind() };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let value = trimmed(&text);
    if value.is_empty() {
        return Err(SecretError::Empty { path: path.into() });
    }
    if is_garbled(value) {
        return Err(SecretError::Garbled { path: path.into() });
    }
    Ok(value.to_owned())
}

/// Without the line end that editors and `echo` leave behind, and without the byte order mark that
/// those of Windows put in front.
pub(super) fn trimmed(text: &str) -> &str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.trim_end_matches(['\r', '\n'])
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn shown(read: Result<SecretString, SecretError>) -> Result<String, SecretError> {
        read.map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn a_file_is_read_again_after_thirty_seconds_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "one\n").unwrap();
        let secret = Secret::file(&path);
        let start = Instant::now();
        assert_eq!(shown(secret.read_at(start)).unwrap(), "one");

        std::fs::write(&path, "two\r\n").unwrap();
        assert_eq!(shown(secret.clone().read_at(start + Duration::from_secs(29))).unwrap(), "one");
        assert_eq!(shown(secret.read_at(start + Duration::from_secs(30))).unwrap(), "two");
    }

    #[test]
    fn the_last_good_value_outlives_a_file_that_is_gone_empty_or_garbled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "one").unwrap();
        let secret = Secret::file(&path);
        let start = Instant::now();
        assert_eq!(shown(secret.read_at(start)).unwrap(), "one");

        std::fs::write(&path, "\n").unwrap();
        assert_eq!(shown(secret.read_at(start + Duration::from_secs(30))).unwrap(), "one");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(shown(secret.read_at(start + Duration::from_secs(60))).unwrap(), "one");
        for more in ["one\ntwo\n", "one\r\ntwo", "o\0ne"] {
            std::fs::write(&path, more).unwrap();
            let never = Secret::file(&path).read();
            assert_eq!(shown(never), Err(SecretError::Garbled { path: path.clone() }));
        }
        assert_eq!(shown(secret.read_at(start + Duration::from_secs(90))).unwrap(), "one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(shown(secret.read_at(start + Duration::from_secs(120))).unwrap(), "two");
    }

    #[test]
    fn a_file_that_was_never_good_is_an_error_until_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let secret = Secret::file(&path);
        let start = Instant::now();
        let missing = SecretError::Unreadable { path: path.clone(), kind: io::ErrorKind::NotFound };
        assert_eq!(shown(secret.read_at(start)), Err(missing.clone()));
        std::fs::write(&path, "one").unwrap();
        assert_eq!(shown(secret.read_at(start + Duration::from_secs(1))), Err(missing));
        assert_eq!(shown(secret.read_at(start + Duration::from_secs(30))).unwrap(), "one");
    }

    #[test]
    fn a_byte_order_mark_is_none_of_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, b"\xef\xbb\xbfSK\r\n").unwrap();
        assert_eq!(shown(Secret::file(&path).read()).unwrap(), "SK");
        std::fs::write(&path, b"\xef\xbb\xbf\n").unwrap();
        assert_eq!(shown(Secret::file(&path).read()), Err(SecretError::Empty { path }));
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::fixed("hunter2")), "Secret(…)");
        assert_eq!(format!("{:?}", Secret::file("/run/secrets/hunter2")), "Secret(…)");
    }
}
