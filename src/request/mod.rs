//! What a message asks for: bytes in, a validated request out. Pure; knows no broker.
//!
//! A message that is refused still says whose it was: [`Rejected`] carries what of it was well
//! formed, and all that is wrong with it, in words that never quote a value of the body.

mod data;
mod echo;
mod fields;
mod letter;
mod look;
mod mistakes;
mod names;
mod numbers;
mod reader;
pub mod surrogates;
mod time;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::failure::{Failure, Reason};

pub use echo::{Echo, Rejected};
pub use look::{Many, look};
pub use mistakes::{Mistake, Mistakes, SEPARATOR};
pub use names::{BadName, CallId, CcId, FileName, RequestId, TenantId};
pub use time::not_ahead;

use letter::Letter;
use reader::Reader;

/// The longest message that is read, in bytes (contract 2).
pub const MAX_BODY: usize = 4 * 1024 * 1024;

/// The most recordings in one dump (contract 2).
pub const MAX_RECORDINGS: usize = 10_000;

/// The most files that a call can be said to have (contract 2).
pub const MAX_EXPECTED: u16 = 1000;

/// The AMQP properties that help to read a body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    /// The property `type`, for bodies without a field of that name.
    pub message_type: Option<&'a str>,
    /// The property `content_type`; `application/cloudevents+json` announces an envelope.
    pub content_type: Option<&'a str>,
}

impl Hints<'_> {
    /// The type of a message that does not tell its own.
    fn told(self) -> MessageType {
        self.message_type.map_or(MessageType::Invalid, MessageType::named)
    }
}

/// The kinds of message, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    CallCompleted,
    DumpRequested,
    DumpItem,
    /// A type that is missing or unknown.
    Invalid,
}

impl MessageType {
    pub const ALL: [Self; 4] =
        [Self::CallCompleted, Self::DumpRequested, Self::DumpItem, Self::Invalid];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallCompleted => "call.completed",
            Self::DumpRequested => "recording.dump-requested",
            Self::DumpItem => "recording.dump-item",
            Self::Invalid => "invalid",
        }
    }

    /// [`MessageType::Invalid`] for a name that is none of contract 2's.
    fn named(name: &str) -> Self {
        let known = [Self::CallCompleted, Self::DumpRequested, Self::DumpItem];
        known.into_iter().find(|kind| kind.as_str() == name).unwrap_or(Self::Invalid)
    }
}

/// A message that can be worked on.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Recording(RecordingRequest),
    Dump(DumpRequest),
}

impl Request {
    pub fn message_type(&self) -> MessageType {
        match self {
            Self::Recording(request) => request.message_type,
            Self::Dump(_) => MessageType::DumpRequested,
        }
    }

    /// The tenant that the message names; whether it is configured is not known here.
    pub fn tenant(&self) -> &TenantId {
        match self {
            Self::Recording(request) => &request.tenant,
            Self::Dump(request) => &request.tenant,
        }
    }
}

/// One recording is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingRequest {
    pub tenant: TenantId,
    pub wanted: Wanted,
    /// The dump that it belongs to.
    pub request_id: Option<RequestId>,
    /// Store again over what is there.
    pub force: bool,
    pub message_type: MessageType,
}

/// A recording as a message describes it; `call_id` or `file_name` is there, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    pub call_id: Option<CallId>,
    pub file_name: Option<FileName>,
    /// Without it the tenant's own applies.
    pub cc_id: Option<CcId>,
    pub call_begin: Option<Timestamp>,
    pub call_end: Option<Timestamp>,
    /// How many files CC-FS has for the call id, 1 to [`MAX_EXPECTED`]; only dumps tell.
    pub expected: Option<u16>,
    /// The sender's own, handed on unchanged, to the event alone.
    pub metadata: BTreeMap<String, String>,
}

/// Many recordings are wanted: 1 to [`MAX_RECORDINGS`].
#[derive(Clone, Debug, PartialEq)]
pub struct DumpRequest {
    pub tenant: TenantId,
    pub request_id: RequestId,
    pub force: bool,
    pub recordings: Vec<Wanted>,
}

impl DumpRequest {
    /// A dump of exactly one recording is that recording's request: it is done in place.
    ///
    /// # Errors
    /// The dump itself, when it has to be expanded.
    pub fn into_single(mut self) -> Result<RecordingRequest, Self> {
        if self.recordings.len() != 1 {
            return Err(self);
        }
        let Some(wanted) = self.recordings.pop() else { return Err(self) };
        Ok(RecordingRequest {
            tenant: self.tenant,
            wanted,
            request_id: Some(self.request_id),
            force: self.force,
            message_type: MessageType::DumpRequested,
        })
    }

    /// One flat `recording.dump-item` body a recording, in the dump's order; each recording is
    /// dropped once its item is made.
    pub fn into_items(self) -> impl Iterator<Item = Vec<u8>> {
        let Self { tenant, request_id, force, recordings } = self;
        recordings.into_iter().map(move |wanted| {
            let item = Item {
                r#type: MessageType::DumpItem.as_str(),
                tenant: &tenant,
                request_id: &request_id,
                force,
                recording: (&wanted).into(),
            };
            serde_json::to_vec(&item).expect("strings, a number and a bool always serialise")
        })
    }

    /// The message that asks for this dump.
    pub fn body(&self) -> Vec<u8> {
        let dump = Dump {
            r#type: MessageType::DumpRequested.as_str(),
            tenant: &self.tenant,
            request_id: &self.request_id,
            force: self.force,
            recordings: self.recordings.iter().map(Recording::from).collect(),
        };
        serde_json::to_vec(&dump).expect("strings, a number and a bool always serialise")
    }
}

/// The body of a `recording.dump-item`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    r#type: &'static str,
    tenant: &'a TenantId,
    request_id: &'a RequestId,
    force: bool,
    #[serde(flatten)]
    recording: Recording<'a>,
}

/// The body of a `recording.dump-requested`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dump<'a> {
    r#type: &'static str,
    tenant: &'a TenantId,
    request_id: &'a RequestId,
    force: bool,
    recordings: Vec<Recording<'a>>,
}

/// A recording in either.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recording<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<&'a CallId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_name: Option<&'a FileName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cc_id: Option<&'a CcId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_begin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_end: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<u16>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a Wanted> for Recording<'a> {
    fn from(wanted: &'a Wanted) -> Self {
        Self {
            call_id: wanted.call_id.as_ref(),
            file_name: wanted.file_name.as_ref(),
            cc_id: wanted.cc_id.as_ref(),
            call_begin: wanted.call_begin.map(|time| time.to_string()),
            call_end: wanted.call_end.map(|time| time.to_string()),
            expected: wanted.expected,
            metadata: &wanted.metadata,
        }
    }
}

/// Reads a message; `now` is the time of day, of which no call is more than a day ahead.
///
/// # Errors
/// [`Rejected`] with `message.invalid` and all the mistakes, or with `message.too_large`; the message
/// can never succeed.
pub fn parse(body: &[u8], hints: Hints<'_>, now: Timestamp) -> Result<Request, Box<Rejected>> {
    if body.len() > MAX_BODY {
        let detail = format!("the body has {} bytes, the most is {MAX_BODY}", body.len());
        let failure = Failure::permanent(Reason::MESSAGE_TOO_LARGE, detail);
        let (message_type, echo) = (hints.told(), Echo::default());
        return Err(Box::new(Rejected { failure, message_type, echo }));
    }
    let Letter { message_type, mut data, mut mistakes } = letter::open(body, hints, now);
    let read = data.as_mut().and_then(|data| {
        let recordings = data.recordings.take();
        let reader = Reader { data: &data.fields, recordings, now, mistakes: &mut mistakes };
        reader.read(message_type)
    });
    mistakes.unless_any(read).map_err(|failure| {
        let echo = data.map(|data| Echo::of_body(message_type, &data)).unwrap_or_default();
        Box::new(Rejected { failure, message_type, echo })
    })
}
