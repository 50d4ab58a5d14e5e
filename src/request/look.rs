//! A look at a message that waits: whether it asks for many recordings, and whose they are.
//!
//! It costs one pass over the bytes and holds none of the recordings. Whatever it cannot tell is for
//! [`super::parse`], which says all that is wrong.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::{DumpRequest, Hints, MAX_BODY, MessageType, RequestId, TenantId, letter};

/// A dump of more than one recording, as far as it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Many {
    pub tenant: TenantId,
    pub request_id: RequestId,
}

impl From<DumpRequest> for Many {
    fn from(dump: DumpRequest) -> Self {
        Self { tenant: dump.tenant, request_id: dump.request_id }
    }
}

/// `Some` for a dump of more than one, which may yet turn out to be invalid.
pub fn look(body: &[u8], hints: Hints<'_>) -> Option<Many> {
    if body.len() > MAX_BODY {
        return None;
    }
    let fields = Fields::of(body)?;
    let name = fields.message_type.as_deref().or(hints.message_type)?;
    if MessageType::named(name) != MessageType::DumpRequested {
        return None;
    }
    if !letter::announces_envelope(hints) && fields.version.is_none() {
        return fields.many();
    }
    match (fields.version.as_deref()?, fields.data, fields.coded) {
        ("1.0", Some(data), None) => data.many(),
        ("1.0", None, Some(coded)) => Fields::of(&BASE64.decode(coded).ok()?)?.many(),
        _ => None,
    }
}

/// What tells a dump; a field of another type than its own makes the look fail.
#[derive(serde::Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type")]
    message_type: Option<String>,
    tenant: Option<String>,
    #[serde(rename = "requestId")]
    request_id: Option<String>,
    recordings: Option<Count>,
    /// Those of an envelope.
    #[serde(rename = "specversion")]
    version: Option<String>,
    #[serde(borrow)]
    data: Option<Box<Fields<'a>>>,
    #[serde(rename = "data_base64")]
    coded: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn of(body: &'a [u8]) -> Option<Self> {
        serde_json::from_str(letter::text(body).ok()?).ok()
    }

    fn many(self) -> Option<Many> {
        let Count(recordings) = self.recordings?;
        if recordings < 2 {
            return None;
        }
        let tenant = TenantId::new(self.tenant?).ok()?;
        let request_id = RequestId::new(self.request_id?).ok()?;
        Some(Many { tenant, request_id })
    }
}

/// The length of an array, nothing of which is kept.
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counter;

        impl<'de> Visitor<'de> for Counter {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while array.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }

        deserializer.deserialize_seq(Counter)
    }
}
