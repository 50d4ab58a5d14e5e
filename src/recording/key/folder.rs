//! Where the entries of an unpacked ZIP are: `{…}/{name}/{entry}` (contract 3).

use super::{KeyTemplate, Located, ObjectKey, undotted};
use crate::failure::Failure;

/// What the keys of a recording's entries begin with: its own key without the extension, and a
/// slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFolder(String);

impl KeyFolder {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of an entry, whose name is percent-encoded already.
    ///
    /// # Errors
    /// `message.invalid` for a key of more than 1,024 bytes.
    pub fn key(&self, entry: &str) -> Result<ObjectKey, Failure> {
        ObjectKey::new(format!("{}{entry}", self.0))
    }
}

impl KeyTemplate {
    /// The folder of a recording. A template that does not end in a name and its extension keeps
    /// what it has: `zip`.
    pub fn folder(&self, recording: Located<'_>) -> KeyFolder {
        // A key has no `*`: it is encoded in all that keys are made of.
        let pattern = self.render(recording, "*");
        let stem = pattern.strip_suffix(".*").filter(|stem| !stem.ends_with('/'));
        let stem = stem.unwrap_or(&pattern);
        let (above, name) = stem.split_at(stem.rfind('/').map_or(0, |slash| slash + 1));
        KeyFolder(format!("{above}{}/", undotted(name)).replace('*', "zip"))
    }
}
