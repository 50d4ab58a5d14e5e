//! The JSON of an event: the fields in contract 4's order, those without a value left out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{ArchivedObject, Found};
use crate::failure::Reason;
use crate::recording::Audio;
use crate::request::{CallId, CcId, Echo, FileName, RequestId, TenantId};
use crate::traces::Context;

#[derive(Serialize)]
pub struct Envelope<'a> {
    specversion: &'static str,
    r#type: &'static str,
    source: &'static str,
    id: &'a str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    datacontenttype: &'static str,
    /// The extension 'distributed tracing' of CloudEvents, as is the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    data: Data<'a>,
}

impl<'a> Envelope<'a> {
    pub fn new(
        event_type: &'static str,
        id: &'a str,
        now: Timestamp,
        data: Data<'a>,
        trace: Option<&'a Context>,
    ) -> Self {
        Self {
            specversion: "1.0",
            r#type: event_type,
            source: "callvault",
            id,
            time: to_millisecond(now),
            subject: data.subject(),
            datacontenttype: "application/json",
            traceparent: trace.map(Context::traceparent),
            tracestate: trace.and_then(Context::tracestate),
            data,
        }
    }
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<&'a TenantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<&'a CallId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<&'a FileName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cc_id: Option<&'a CcId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<Object<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub already_archived: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_end: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Why<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Of an audit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    #[serde(flatten)]
    pub found: Option<Found>,
}

impl<'a> Data<'a> {
    /// The fields that every event about a recording hands back to its sender.
    pub fn echoing(tenant: Option<&'a TenantId>, echo: &'a Echo) -> Self {
        Self {
            tenant,
            call_id: echo.call_id.as_ref(),
            file_name: echo.file_name.as_ref(),
            request_id: echo.request_id.as_ref(),
            metadata: Some(&echo.metadata).filter(|metadata| !metadata.is_empty()),
            ..Self::default()
        }
    }

    fn subject(&self) -> Option<String> {
        let tenant = self.tenant?;
        let recording = self.call_id.map(CallId::as_str);
        let recording = recording.or(self.file_name.map(FileName::as_str))?;
        Some(format!("{tenant}/{recording}"))
    }
}

/// Why a recording is not there.
#[derive(Serialize)]
pub struct Why<'a> {
    pub code: &'a str,
    pub message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Object<'a> {
    bucket: &'a str,
    key: &'a str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<&'a Audio>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unproven: Option<&'a str>,
}

impl<'a> From<&'a ArchivedObject> for Object<'a> {
    fn from(object: &'a ArchivedObject) -> Self {
        Self {
            bucket: &object.bucket,
            key: object.key.as_str(),
            size: object.size,
            sha256: object.sha256.as_deref(),
            etag: object.etag.as_deref(),
            version_id: object.version_id.as_deref(),
            content_type: object.content_type.as_deref(),
            audio: object.audio.as_ref(),
            unproven: object.unproven.as_ref().map(Reason::as_str),
        }
    }
}

/// RFC 3339 in UTC. Nobody's clock is good to the nanoseconds that jiff would print.
pub fn to_millisecond(time: Timestamp) -> String {
    let rounded = Timestamp::from_millisecond(time.as_millisecond());
    rounded.expect("a whole millisecond of a timestamp is one").to_string()
}
