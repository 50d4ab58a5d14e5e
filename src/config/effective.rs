//! The configuration as it takes effect: every key, its value and where that came from.

use std::fmt;
use std::path::PathBuf;

use super::mistake::Place;

/// What stands for a secret.
pub(super) const MASK: &str = "***";

/// Every key in the order of the contract, secrets masked.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    pub sections: Vec<EffectiveSection>,
}

/// One `[section]`. Those of a tenant hold its own keys and what it sets over the global ones.
#[derive(Clone, Debug)]
pub struct EffectiveSection {
    /// `[worker]`, `[[tenants]]`, `[tenants.ccfs]`.
    pub header: String,
    pub rows: Vec<Row>,
}

/// One key.
#[derive(Clone, Debug)]
pub struct Row {
    /// As it would be written in TOML.
    pub key: String,
    /// As it would be written in TOML, in normal form; `None`: each tenant has its own.
    pub value: Option<String>,
    pub source: Source,
    /// In the same form as `value`; `None`: required.
    pub default: Option<String>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Default,
    Set(Place),
    /// A secret in a file that `by` names.
    SecretFile {
        path: PathBuf,
        by: Place,
    },
    /// A secret in an environment variable that `by` names.
    SecretVariable {
        name: String,
        by: Place,
    },
    /// Required, and not set here: every tenant sets it.
    Tenants,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Set(place) => write!(f, "{place}"),
            Self::SecretFile { path, by } => write!(f, "secret file {} ({by})", path.display()),
            Self::SecretVariable { name, by } => write!(f, "environment variable {name} ({by})"),
            Self::Tenants => f.write_str("set by each tenant"),
        }
    }
}

/// A string as TOML writes it.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A key as TOML writes it: bare where that is allowed.
pub(super) fn key(name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { quoted(name) }
}
