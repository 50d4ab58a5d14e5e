//! What is asked for, and what has to come of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::ccfs::Content;

/// A call whose recording is asked for.
#[derive(Clone, Debug)]
pub struct Call {
    pub tenant: &'static str,
    pub id: String,
    /// `wav`, `zip`, `bin`: of the key, where it is archived.
    pub extension: &'static str,
    pub due: Due,
    /// What CC-FS itself has wrong in it, which its object has to say.
    pub unproven: Option<&'static str>,
}

/// What has to come of a call.
#[derive(Clone, Debug)]
pub enum Due {
    /// An object of exactly these bytes.
    Archived(Content),
    Absent,
    /// An entry in the dead queue and an event, both with this reason.
    Dead(&'static str),
}

/// All calls were on this day, so that keys can be told beforehand.
pub const CALL_END: &str = "2026-04-25T05:12:44Z";
const DAY: &str = "2026/04/25";

impl Call {
    pub fn archived(tenant: &'static str, id: impl Into<String>, content: Content) -> Self {
        Self {
            tenant,
            id: id.into(),
            extension: "wav",
            due: Due::Archived(content),
            unproven: None,
        }
    }

    #[must_use]
    pub fn unproven(self, reason: &'static str) -> Self {
        Self { unproven: Some(reason), ..self }
    }

    #[must_use]
    pub fn extension(self, extension: &'static str) -> Self {
        Self { extension, ..self }
    }

    pub fn absent(tenant: &'static str, id: impl Into<String>) -> Self {
        Self { tenant, id: id.into(), extension: "", due: Due::Absent, unproven: None }
    }

    pub fn dead(tenant: &'static str, id: impl Into<String>, reason: &'static str) -> Self {
        Self { tenant, id: id.into(), extension: "", due: Due::Dead(reason), unproven: None }
    }

    /// What tells it from all others: the subject of its events.
    pub fn subject(&self) -> String {
        format!("{}/{}", self.tenant, self.id)
    }

    /// Where its object has to be, by contract 3.
    pub fn key(&self) -> String {
        format!("{}/{DAY}/{}.{}", self.tenant, self.id, self.extension)
    }

    pub fn message(&self) -> Value {
        json!({ "type": "call.completed", "tenant": self.tenant, "callId": self.id,
                "callEnd": CALL_END })
    }
}

/// The subject of what a message asks for.
pub fn subject_of(body: &[u8]) -> Option<String> {
    let message: Value = serde_json::from_slice(body).ok()?;
    Some(format!("{}/{}", message["tenant"].as_str()?, message["callId"].as_str()?))
}

/// What an event speaks of: its subject; of an expanded dump, the request.
pub fn name_of_event(event: &Value) -> String {
    let name = event["subject"].as_str().or_else(|| event["data"]["requestId"].as_str());
    name.unwrap_or_default().to_owned()
}

/// What a message is called in accounts: its subject, the request of a dump, or all of it.
pub fn name_of(body: &[u8]) -> String {
    let request = || request_of(body);
    let all = || String::from_utf8_lossy(body).into_owned();
    subject_of(body).or_else(request).unwrap_or_else(all)
}

/// The request that a message or an item of a dump belongs to.
pub fn request_of(body: &[u8]) -> Option<String> {
    let message: Value = serde_json::from_slice(body).ok()?;
    message["requestId"].as_str().map(str::to_owned)
}

/// Whether a message asks for several recordings, and is none of them.
pub fn is_dump(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|message| message["recordings"].is_array())
}

/// A request for several recordings of one tenant.
pub fn dump(request: &str, calls: &[&Call]) -> Value {
    let recordings: Vec<_> =
        calls.iter().map(|call| json!({ "callId": call.id, "callEnd": CALL_END })).collect();
    json!({ "type": "recording.dump-requested", "tenant": calls[0].tenant, "requestId": request,
            "recordings": recordings })
}

/// Everything that was asked for; the bytes that are due are known by their hash.
#[derive(Default)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
    /// How many recordings each dump asks for, by its request.
    dumps: BTreeMap<String, usize>,
}

pub struct Entry {
    pub call: Call,
    /// Hash and length of what is due, if an object is.
    pub bytes: Option<(String, u64)>,
    /// Messages that the broker has confirmed.
    pub messages: usize,
}

impl Ledger {
    /// Writes down that it will be asked for: before the message is out.
    pub fn expect(&mut self, call: &Call) {
        self.entries.entry(call.subject()).or_insert_with(|| {
            let bytes = match &call.due {
                Due::Archived(content) => Some((content.sha256(), content.length())),
                _ => None,
            };
            Entry { call: call.clone(), bytes, messages: 0 }
        });
    }

    /// The broker has a message of it.
    pub fn confirmed(&mut self, subject: &str) {
        if let Some(entry) = self.entries.get_mut(subject) {
            entry.messages += 1;
        }
    }

    pub fn expect_dump(&mut self, request: &str, calls: &[&Call]) {
        calls.iter().for_each(|call| self.expect(call));
        self.dumps.insert(request.to_owned(), calls.len());
    }

    pub fn dumps(&self) -> &BTreeMap<String, usize> {
        &self.dumps
    }

    pub fn entry(&self, subject: &str) -> Option<&Entry> {
        self.entries.get(subject)
    }

    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(subject, entry)| (subject.as_str(), entry))
    }
}
