//! A secret in any of its three forms (contract 6): inline, `_file`, `_env`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

/// A secret that is read when it is needed and never shown.
///
/// The `_file` form is read again when it is asked for, at most every 30 s, so that a rotated key
/// takes effect without a restart.
#[derive(Clone)]
pub struct Secret(Arc<Source>);

enum Source {
    /// Inline, or the value that an environment variable had at start.
    Fixed(SecretString),
    File(PathBuf),
}

impl Secret {
    pub fn fixed(value: impl Into<String>) -> Self {
        Self(Arc::new(Source::Fixed(value.into().into())))
    }

    /// The value as it is now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match &*self.0 {
            Source::Fixed(value) => Ok(value.clone()),
            Source::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim_end().to_owned().into())
                .map_err(|error| SecretError(format!("{}: {error}", path.display()))),
        }
    }

    /// The server refused this secret: the next `read` asks the file again.
    pub fn refresh_after_refusal(&self) {}
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret's file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(String);
