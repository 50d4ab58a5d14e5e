//! What callvault says: CloudEvents out (contract 4). Pure; knows no broker.

mod body;
mod id;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use crate::failure::Reason;
use crate::recording::{Audio, ObjectKey, Place};
use crate::request::{CcId, Echo, RequestId, TenantId};
use crate::traces::Context;

use body::{Data, Envelope};
use id::Subject;

const ARCHIVED: &str = "recording.archived";
const ABSENT: &str = "recording.absent";
const FAILED: &str = "recording.failed";
const EXPANDED: &str = "dump.expanded";
const AUDITED: &str = "audit.completed";

/// The type of every event.
pub const TYPES: [&str; 5] = [ARCHIVED, ABSENT, FAILED, EXPANDED, AUDITED];

/// An event, ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The same for a repeated event; also the AMQP `message_id`.
    pub id: String,
    pub event_type: &'static str,
    /// `{type}.{tenant}`, or `{type}.unknown`.
    pub routing_key: String,
    /// CloudEvents 1.0 JSON.
    pub body: Vec<u8>,
    /// Where in a trace it is; the body says so, too.
    pub trace: Option<Context>,
}

impl Event {
    /// The Content-Type of every event's body.
    pub const CONTENT_TYPE: &'static str = "application/cloudevents+json";
}

/// An object of a recording, as it is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedObject {
    pub bucket: String,
    pub key: ObjectKey,
    /// Bytes.
    pub size: u64,
    /// Hex; `None` where the object was already there and carries none.
    pub sha256: Option<String>,
    pub etag: Option<String>,
    pub version_id: Option<String>,
    pub content_type: Option<String>,
    /// What is heard in a WAV.
    pub audio: Option<Audio>,
    /// What CC-FS itself has wrong in it.
    pub unproven: Option<Reason>,
}

/// A recording is in the bucket.
#[derive(Clone, Copy, Debug)]
pub struct Archived<'a> {
    pub echo: &'a Echo,
    /// Must be known: a recording is not stored without a tenant.
    pub tenant: &'a TenantId,
    pub place: &'a Place,
    /// What it turned out to be: `wav`, `zip`, …
    pub extension: &'a str,
    /// The one that was asked with: the message's or the tenant's.
    pub cc_id: &'a CcId,
    /// It is not the tenant's own.
    pub foreign: bool,
    pub force: bool,
    pub objects: &'a [ArchivedObject],
    /// Another try or message had stored it.
    pub already_archived: bool,
    /// The tries that counted, this one included.
    pub attempts: u32,
    /// Now, or the object's Last-Modified if it was there already.
    pub archived_at: Timestamp,
    pub now: Timestamp,
    pub trace: Option<&'a Context>,
}

/// A recording is not in the bucket, and will not be.
#[derive(Clone, Copy, Debug)]
pub struct Unarchived<'a> {
    pub echo: &'a Echo,
    /// `None` where the message tells no day or no name.
    pub place: Option<&'a Place>,
    pub force: bool,
    /// SHA-256 of the message's body.
    pub body_sha256: &'a [u8; 32],
    /// The header `callvault-redrive`, which tells a new end of the same message from a repeat.
    pub redrive: Option<&'a str>,
    pub attempts: u32,
    pub reason: &'a Reason,
    /// Explains the reason; never a value of the body.
    pub detail: &'a str,
    pub now: Timestamp,
    pub trace: Option<&'a Context>,
}

/// A day of a tenant was held against the bucket.
#[derive(Clone, Copy, Debug)]
pub struct Audited<'a> {
    pub tenant: &'a TenantId,
    /// On the tenant's clocks.
    pub day: Date,
    pub found: Found,
    /// When the audit began, which tells it from others of the same day.
    pub began: Timestamp,
    pub now: Timestamp,
}

/// Rows of a recording index, by what an audit has found of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    pub rows: u64,
    pub present: u64,
    /// Of a call of several rows, with a single file in the bucket.
    pub partial: u64,
    pub missing: u64,
    /// Objects of no bytes.
    pub empty: u64,
    /// Not there, and so young that they may still come.
    pub pending: u64,
    /// Which could not be used.
    pub bad: u64,
    /// Recordings that were asked for.
    pub enqueued: u64,
}

impl Found {
    /// Takes those of another day in.
    pub fn add(&mut self, other: &Self) {
        let Self { rows, present, partial, missing, empty, pending, bad, enqueued } = other;
        self.rows += rows;
        self.present += present;
        self.partial += partial;
        self.missing += missing;
        self.empty += empty;
        self.pending += pending;
        self.bad += bad;
        self.enqueued += enqueued;
    }

    /// Whether nothing is missing that is due.
    pub fn all_there(&self) -> bool {
        self.partial + self.missing + self.empty + self.bad == 0
    }
}

/// `recording.archived`.
pub fn archived(news: &Archived<'_>) -> Event {
    let tenant = Some(news.tenant);
    let subject = Subject::Recording {
        place: news.place,
        extension: Some(news.extension),
        cc_id: Some(news.cc_id).filter(|_| news.foreign),
        request_id: news.echo.request_id.as_ref().filter(|_| news.force),
    };
    let data = Data {
        cc_id: Some(news.cc_id),
        objects: Some(news.objects.iter().map(Into::into).collect()),
        already_archived: Some(news.already_archived),
        attempts: Some(news.attempts),
        call_end: news.echo.call_end.map(|time| time.to_string()),
        archived_at: Some(body::to_millisecond(news.archived_at)),
        ..Data::echoing(tenant, news.echo)
    };
    let id = id::derive(ARCHIVED, tenant, subject, None);
    event(ARCHIVED, id, news.now, data, news.trace)
}

/// `recording.absent`: CC-FS had no recording until the window closed.
pub fn absent(news: &Unarchived<'_>) -> Event {
    unarchived(ABSENT, news)
}

/// `recording.failed`: the message goes to the dead queue.
pub fn failed(news: &Unarchived<'_>) -> Event {
    unarchived(FAILED, news)
}

fn unarchived(event_type: &'static str, news: &Unarchived<'_>) -> Event {
    let tenant = news.echo.tenant.as_ref();
    let subject = match news.place {
        Some(place) => Subject::Recording {
            place,
            // Nothing came that would have one.
            extension: None,
            cc_id: None,
            request_id: news.echo.request_id.as_ref().filter(|_| news.force),
        },
        None => Subject::Body(news.body_sha256),
    };
    let data = Data {
        attempts: Some(news.attempts),
        reason: Some(body::Why { code: news.reason.as_str(), message: news.detail }),
        ..Data::echoing(tenant, news.echo)
    };
    let id = id::derive(event_type, tenant, subject, news.redrive);
    event(event_type, id, news.now, data, news.trace)
}

/// `dump.expanded`: a dump was published as `count` messages of one recording each.
pub fn expanded(
    tenant: &TenantId,
    request_id: &RequestId,
    count: usize,
    now: Timestamp,
    trace: Option<&Context>,
) -> Event {
    let id = id::derive(EXPANDED, Some(tenant), Subject::Dump(request_id), None);
    let data = Data {
        tenant: Some(tenant),
        request_id: Some(request_id),
        count: Some(count),
        ..Data::default()
    };
    event(EXPANDED, id, now, data, trace)
}

/// `audit.completed`.
pub fn audited(news: &Audited<'_>) -> Event {
    let tenant = Some(news.tenant);
    let subject = Subject::Audit { day: news.day, began: news.began };
    let id = id::derive(AUDITED, tenant, subject, None);
    let (day, found) = (Some(news.day.to_string()), Some(news.found));
    let data = Data { tenant, day, found, ..Data::default() };
    event(AUDITED, id, news.now, data, None)
}

fn event(
    event_type: &'static str,
    id: String,
    now: Timestamp,
    data: Data<'_>,
    trace: Option<&Context>,
) -> Event {
    debug_assert!(TYPES.contains(&event_type), "{event_type} is not among TYPES");
    let tenant = data.tenant.map_or(TenantId::UNKNOWN, TenantId::as_str);
    let routing_key = format!("{event_type}.{tenant}");
    let envelope = Envelope::new(event_type, &id, now, data, trace);
    let body = serde_json::to_vec(&envelope).expect("strings and numbers always serialise");
    Event { id, event_type, routing_key, body, trace: trace.cloned() }
}
