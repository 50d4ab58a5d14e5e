//! Where a recording belongs: its name, its key, the template of keys (contract 3).

mod folder;
mod pattern;
mod template;

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::date::When;
use super::format::split_extension;
use crate::failure::{Failure, Reason};
use crate::request::{CcId, FileName, TenantId, Wanted, not_ahead};

pub use folder::KeyFolder;
pub use pattern::KeyPattern;

/// Everything outside `A–Z a–z 0–9 . _ -`.
pub(super) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// S3's limit of a key, in bytes.
const MAX_KEY: usize = 1024;

/// Where a recording belongs, whatever its format turns out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub when: When,
    /// Percent-encoded; neither empty nor `.` nor `..`.
    pub name: String,
}

/// A recording with all that its keys are made of, but for the extension.
#[derive(Clone, Copy, Debug)]
pub struct Located<'a> {
    pub tenant: &'a TenantId,
    /// The one asked with: the message's or the tenant's.
    pub cc_id: &'a CcId,
    pub wanted: &'a Wanted,
    pub place: &'a Place,
}

/// Finds the day and the name of a recording, from its message alone; `now` is the time of day.
///
/// # Errors
/// `message.no_date` where nothing in the message tells the day; `message.invalid` where nothing
/// names the recording, or a time in it is more than a day ahead of the clock.
pub fn locate(
    wanted: &Wanted,
    zone: &TimeZone,
    sent_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Place, Failure> {
    let name = name_of(wanted).ok_or_else(|| {
        Failure::permanent(Reason::MESSAGE_INVALID, "callId or fileName is required")
    })?;
    // It gives no date where callEnd does, and goes into no message all the same.
    wanted.call_begin.map_or(Ok(()), |begin| not_ahead("callBegin", begin, now))?;
    let when = When::find(wanted, zone, sent_at, now)?.ok_or_else(|| {
        let detail = "the day of the call is in none of callEnd, callBegin, fileName, callId and \
                      the AMQP timestamp";
        Failure::permanent(Reason::MESSAGE_NO_DATE, detail)
    })?;
    Ok(Place { when, name })
}

/// Its name, percent-encoded; `None` where nothing names it.
pub fn name_of(wanted: &Wanted) -> Option<String> {
    let call_id = wanted.call_id.as_ref().map(|id| encode(id.as_str()));
    let file = wanted.file_name.as_ref().map(file_part);
    let name = match (call_id, file) {
        (Some(call_id), Some(file)) => format!("{call_id}_{file}"),
        (Some(name), None) => name.into_owned(),
        (None, Some(name)) => name,
        (None, None) => return None,
    };
    Some(undotted(&name).to_owned())
}

/// Every part of the path joined with `_`, the drive's colon and the extension dropped.
fn file_part(file_name: &FileName) -> String {
    let mut parts: Vec<&str> = file_name.parts().collect();
    if let Some(last) = parts.last_mut() {
        *last = split_extension(last).0;
    }
    if let Some(first) = parts.first_mut()
        && let [letter, b':'] = first.as_bytes()
        && letter.is_ascii_alphabetic()
    {
        *first = &first[..1];
    }
    let parts: Vec<Cow<'_, str>> = parts.into_iter().map(encode).collect();
    parts.join("_")
}

fn encode(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, ENCODED).into()
}

/// A path segment `.` or `..` would be resolved away by some clients of the store.
pub(super) fn undotted(segment: &str) -> &str {
    match segment {
        "." => "%2E",
        ".." => "%2E%2E",
        other => other,
    }
}

/// The key of an object: at most 1,024 bytes, ASCII, no segment empty, `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// A key that is already known, such as one of a listing.
    ///
    /// # Errors
    /// `message.invalid` for a key of more than 1,024 bytes, S3's limit.
    pub fn new(key: impl Into<String>) -> Result<Self, Failure> {
        let key = key.into();
        if key.len() > MAX_KEY {
            let detail = format!("the key has {} bytes, the most is {MAX_KEY}", key.len());
            return Err(Failure::permanent(Reason::MESSAGE_INVALID, detail));
        }
        Ok(Self(key))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How keys are made: `{tenant}/{yyyy}/{mm}/{dd}/{name}.{ext}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Tenant,
    Year,
    Month,
    Day,
    Hour,
    CallId,
    Name,
    CcId,
    Extension,
}

impl Field {
    const ALL: [(&'static str, Self); 9] = [
        ("tenant", Self::Tenant),
        ("yyyy", Self::Year),
        ("mm", Self::Month),
        ("dd", Self::Day),
        ("hh", Self::Hour),
        ("call_id", Self::CallId),
        ("name", Self::Name),
        ("cc_id", Self::CcId),
        ("ext", Self::Extension),
    ];
}

impl KeyTemplate {
    /// Whether a recording's format decides its key.
    pub fn uses_extension(&self) -> bool {
        self.uses(Field::Extension)
    }

    /// What all keys of a tenant, and no other keys, begin with; `None` where the template has
    /// something other than the tenant first.
    pub fn prefix(&self, tenant: &TenantId) -> Option<String> {
        let at = self.0.iter().position(|piece| *piece == Piece::Field(Field::Tenant))?;
        let known = self.0.get(..=at)?.iter().map(|piece| match piece {
            Piece::Literal(text) => Some(text.as_str()),
            Piece::Field(Field::Tenant) => Some(tenant.as_str()),
            Piece::Field(_) => None,
        });
        // The literal that follows sets `acme` apart from `acme2`. What it begins of another part
        // may be dots, which are encoded where the whole part is.
        let Piece::Literal(after) = self.0.get(at + 1)? else { return None };
        let whole = after.rfind('/').map_or(after.len(), |slash| slash + 1);
        known.chain([Some(&after[..whole])]).collect()
    }

    /// The key of a recording; one without a callId has `-` for `{call_id}`.
    ///
    /// # Errors
    /// `message.invalid` for a key of more than 1,024 bytes.
    pub fn key(&self, recording: Located<'_>, extension: &str) -> Result<ObjectKey, Failure> {
        ObjectKey::new(self.render(recording, &encode(extension)))
    }

    /// The key with `extension` as it is to stand in it.
    fn render(&self, recording: Located<'_>, extension: &str) -> String {
        let Located { tenant, cc_id, wanted, place } = recording;
        let date = place.when.date;
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Literal(text) => Cow::Borrowed(text.as_str()),
            Piece::Field(field) => match field {
                Field::Tenant => Cow::Borrowed(tenant.as_str()),
                Field::Year => format!("{:04}", date.year()).into(),
                Field::Month => format!("{:02}", date.month()).into(),
                Field::Day => format!("{:02}", date.day()).into(),
                Field::Hour => format!("{:02}", place.when.hour).into(),
                Field::CallId => encode(wanted.call_id.as_ref().map_or("-", |id| id.as_str())),
                Field::Name => Cow::Borrowed(place.name.as_str()),
                Field::CcId => encode(cc_id.as_str()),
                Field::Extension => Cow::Borrowed(extension),
            },
        });
        let whole: String = pieces.collect();
        let segments: Vec<&str> = whole.split('/').map(undotted).collect();
        segments.join("/")
    }

    fn uses(&self, field: Field) -> bool {
        self.0.contains(&Piece::Field(field))
    }
}

#[cfg(test)]
mod tests;
