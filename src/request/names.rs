//! The validated names of a message: what is in one of these types is fit for a key, a header, a
//! signed request and a log line.

use std::fmt;

use serde::Serialize;

/// Why a name was refused; never quotes the name, which may be a phone number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{0}")]
pub struct BadName(pub String);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// # Errors
            /// [`BadName`] says which rule was broken.
            pub fn new(value: impl Into<String>) -> Result<Self, BadName> {
                let value = value.into();
                let check: fn(&str) -> Result<(), BadName> = $check;
                check(&value)?;
                Ok(Self(value))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A tenant: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`, not the reserved `unknown` (contract 6).
    TenantId,
    |value| {
        let first = value.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !first || !rest || value.len() > 64 {
            return Err(BadName("must match [A-Za-z0-9][A-Za-z0-9_-]{0,63}".into()));
        }
        if value == TenantId::UNKNOWN {
            return Err(BadName("`unknown` is reserved".into()));
        }
        Ok(())
    }
);

impl TenantId {
    /// The reserved id under which messages of unknown tenants are counted and routed.
    pub const UNKNOWN: &'static str = "unknown";
}

name!(
    /// A call's id, 1 to 25 characters (vendor page, `msgBody.callId`).
    CallId,
    |value| printable(value, 25)
);
name!(
    /// `original_file_name` of the recording index, 1 to 225 characters (vendor page,
    /// `msgBody.fileName`), with slashes or backslashes, sent as it was given.
    FileName,
    |value| {
        printable(value, 225)?;
        if value.chars().all(|c| c == '/' || c == '\\') {
            return Err(BadName("must name a file".into()));
        }
        Ok(())
    }
);

impl FileName {
    /// The parts of the path, at least one, none empty.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split(['/', '\\']).filter(|part| !part.is_empty())
    }
}

name!(
    /// A call centre's id, 1 to 64 characters (vendor page, `msgBody.ccId`).
    CcId,
    |value| printable(value, 64)
);
name!(
    /// A dump's id, 1 to 128 characters (contract 2).
    RequestId,
    |value| printable(value, 128)
);

fn printable(value: &str, most: usize) -> Result<(), BadName> {
    let length = value.chars().count();
    if !(1..=most).contains(&length) {
        return Err(BadName(format!("must have 1 to {most} characters, has {length}")));
    }
    if value.chars().any(char::is_control) {
        return Err(BadName("must not contain control characters".into()));
    }
    Ok(())
}
