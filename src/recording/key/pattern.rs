//! What is known of a recording's key before its content is: all of it but the extension.

use std::fmt;

use super::{Field, KeyTemplate, Located, ObjectKey, Piece, encode, undotted};
use crate::failure::{Failure, Reason};
use crate::recording::When;
use crate::request::{CcId, TenantId};

/// A key with `*` for its extension; no key has that character.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyPattern(String);

impl KeyPattern {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key without its extension, where that comes last, as it does in most templates.
    pub fn stem(&self) -> Option<&str> {
        self.0.strip_suffix(".*")
    }

    /// Whether the extension is a part of it at all.
    pub fn has_extension(&self) -> bool {
        self.0.contains('*')
    }

    /// The key, were this its extension.
    pub fn with(&self, extension: &str) -> String {
        self.0.replace('*', &encode(extension))
    }
}

impl fmt::Display for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyTemplate {
    /// The keys that a recording may get.
    ///
    /// # Errors
    /// `message.invalid` for a key of more than 1,024 bytes, or of no recording alone.
    pub fn pattern(&self, recording: Located<'_>) -> Result<KeyPattern, Failure> {
        if !self.uses(Field::Name) && recording.wanted.call_id.is_none() {
            // All of them would share a key.
            let detail = "callId is required, since store.key has no {name}";
            return Err(Failure::permanent(Reason::MESSAGE_INVALID, detail));
        }
        let pattern = KeyPattern(self.render(recording, "*"));
        ObjectKey::new(pattern.with("wav"))?;
        Ok(pattern)
    }

    /// What the keys of a tenant's day begin with: less than the day, where the template has
    /// something else before it.
    pub fn day_prefix(&self, tenant: &TenantId, cc_id: &CcId, when: When) -> String {
        let known = self.0.iter().map_while(|piece| match piece {
            Piece::Literal(text) => Some(text.clone()),
            Piece::Field(Field::Tenant) => Some(tenant.to_string()),
            Piece::Field(Field::Year) => Some(format!("{:04}", when.date.year())),
            Piece::Field(Field::Month) => Some(format!("{:02}", when.date.month())),
            Piece::Field(Field::Day) => Some(format!("{:02}", when.date.day())),
            Piece::Field(Field::CcId) => Some(encode(cc_id.as_str()).into_owned()),
            Piece::Field(Field::Hour | Field::CallId | Field::Name | Field::Extension) => None,
        });
        let known: String = known.collect();
        // The last segment goes on in the key.
        let (whole, begun) = known.rsplit_once('/').unwrap_or(("", &known));
        // Dots may become a part of dots alone, which is encoded.
        let begun = if begun.bytes().all(|byte| byte == b'.') { "" } else { begun };
        let whole = whole.split('/').filter(|segment| !segment.is_empty()).map(undotted);
        whole.map(|segment| format!("{segment}/")).collect::<String>() + begun
    }
}
