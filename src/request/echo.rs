//! What of a message can be said in an event, also of one that was refused.

use std::collections::BTreeMap;

use super::data::Data;
use super::letter::{self, Letter};
use super::{
    CallId, DumpRequest, FileName, Hints, Many, MessageType, RecordingRequest, Request, RequestId,
    TenantId, fields,
};
use crate::failure::Failure;
use jiff::Timestamp;

/// A message that can never succeed.
#[derive(Debug)]
pub struct Rejected {
    /// Always permanent: `message.invalid` or `message.too_large`.
    pub failure: Failure,
    pub message_type: MessageType,
    /// What of it was well formed.
    pub echo: Echo,
}

/// Whose message it was and what it asked for, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Echo {
    pub tenant: Option<TenantId>,
    pub call_id: Option<CallId>,
    pub file_name: Option<FileName>,
    pub request_id: Option<RequestId>,
    pub metadata: BTreeMap<String, String>,
    pub call_end: Option<Timestamp>,
}

impl Echo {
    /// What a message says of itself, good or bad.
    pub fn read(body: &[u8], hints: Hints<'_>) -> Self {
        // Whether its times are ahead of the clock is nothing that is said.
        let Letter { message_type, data, .. } = letter::open(body, hints, Timestamp::MAX);
        data.map(|data| Self::of_body(message_type, &data)).unwrap_or_default()
    }

    /// What is well formed in `data`, of the fields that its type has.
    pub(super) fn of_body(
        message_type: MessageType,
        Data { fields: data, sole, .. }: &Data,
    ) -> Self {
        let recording = match message_type {
            // What a dump of one asks for is done in its place.
            MessageType::DumpRequested => sole.as_ref(),
            MessageType::CallCompleted | MessageType::DumpItem | MessageType::Invalid => Some(data),
        };
        let mut echo = Self { tenant: fields::tenant(data).ok().flatten(), ..Self::default() };
        if let Some(recording) = recording {
            echo.call_id = fields::call_id(recording).ok().flatten();
            echo.file_name = fields::file_name(recording).ok().flatten();
            echo.metadata = fields::metadata(recording).unwrap_or_default();
            echo.call_end = fields::time(recording, "callEnd").ok().flatten();
        }
        if !matches!(message_type, MessageType::CallCompleted) {
            echo.request_id = fields::request_id(data).ok().flatten();
        }
        echo
    }
}

impl From<&RecordingRequest> for Echo {
    fn from(request: &RecordingRequest) -> Self {
        Self {
            tenant: Some(request.tenant.clone()),
            call_id: request.wanted.call_id.clone(),
            file_name: request.wanted.file_name.clone(),
            request_id: request.request_id.clone(),
            metadata: request.wanted.metadata.clone(),
            call_end: request.wanted.call_end,
        }
    }
}

impl From<&DumpRequest> for Echo {
    fn from(request: &DumpRequest) -> Self {
        Self {
            tenant: Some(request.tenant.clone()),
            request_id: Some(request.request_id.clone()),
            ..Self::default()
        }
    }
}

impl From<Many> for Echo {
    fn from(many: Many) -> Self {
        let Many { tenant, request_id } = many;
        Self { tenant: Some(tenant), request_id: Some(request_id), ..Self::default() }
    }
}

impl From<&Request> for Echo {
    fn from(request: &Request) -> Self {
        match request {
            Request::Recording(request) => request.into(),
            Request::Dump(request) => request.into(),
        }
    }
}
