//! How messages are shown that are dead or wait: a table, lines of JSON, or one with everything that
//! it carries.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::broker::{DETAIL, HeldMessage};
use crate::cli::terminal::harmless;
use crate::failure::Reason;
use crate::request::{CallId, Echo, FileName, Hints, RequestId, SEPARATOR, TenantId};

/// Whose message it is, as far as it can be read.
pub struct Whose {
    pub tenant: Option<TenantId>,
    pub call_id: Option<CallId>,
    pub file_name: Option<FileName>,
    request_id: Option<RequestId>,
}

impl Whose {
    pub fn of(message: &HeldMessage) -> Self {
        let hints =
            Hints { message_type: message.message_type(), content_type: message.content_type() };
        let echo = Echo::read(message.body(), hints);
        let Echo { tenant, call_id, file_name, request_id, .. } = echo;
        Self { tenant, call_id, file_name, request_id }
    }

    /// All that a message is called, and what it says of itself.
    pub fn names<'a>(&'a self, message: &'a HeldMessage) -> impl Iterator<Item = &'a str> {
        let own = [
            Some(message.id.as_str()),
            Some(message.message_id.as_str()),
            message.past.reason.as_deref(),
            message.past.detail.as_deref(),
            self.tenant.as_ref().map(TenantId::as_str),
            self.call_id.as_ref().map(CallId::as_str),
            self.file_name.as_ref().map(FileName::as_str),
            self.request_id.as_ref().map(RequestId::as_str),
        ];
        own.into_iter().flatten()
    }

    /// The call's id, else the last part of the file's name.
    fn recording(&self) -> Option<&str> {
        let file = || self.file_name.as_ref()?.parts().last();
        self.call_id.as_ref().map(CallId::as_str).or_else(file)
    }
}

/// A way to show messages, a line each.
#[derive(Clone, Copy)]
pub enum View {
    Dead,
    Waiting,
    /// For scripts, an object a line.
    Json,
}

impl View {
    /// The line above them, if there is one.
    pub fn header(self) -> String {
        match self {
            Self::Dead => columns("WHEN", ["TENANT", "CALL OR FILE", "REASON", "ATTEMPTS", "ID"]),
            Self::Waiting => {
                let columns = ["TENANT", "CALL OR FILE", "REASON", "ATTEMPTS", "ID"];
                waiting_columns("UNTIL", "SINCE", columns, "DETAIL")
            }
            Self::Json => String::new(),
        }
    }

    /// A message. Neither table shows a field of the body but whose recording it is, and which.
    pub fn line(self, message: &HeldMessage, whose: &Whose) -> String {
        let past = &message.past;
        let attempts = past.attempts.to_string();
        let reason = past.reason.as_deref().map(harmless);
        let common = [
            whose.tenant.as_ref().map_or("-", TenantId::as_str),
            whose.recording().unwrap_or("-"),
            reason.as_deref().unwrap_or("-"),
            &attempts,
            &message.id,
        ];
        match self {
            Self::Dead => columns(&time(past.at), common),
            Self::Waiting => {
                let detail = past.detail.as_deref().map(harmless);
                let (due, since) = (time(message.due), time(past.first_seen));
                waiting_columns(&due, &since, common, detail.as_deref().unwrap_or("-"))
            }
            Self::Json => format!("{}\n", facts(message, whose)),
        }
    }
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// What is longer than its column pushes the others to the right.
fn columns(when: &str, common: [&str; 5]) -> String {
    format!("{}\n", cells(when, common).trim_end())
}

fn waiting_columns(until: &str, since: &str, common: [&str; 5], detail: &str) -> String {
    format!("{until:20}  {}  {detail}\n", cells(since, common))
}

fn cells(when: &str, [tenant, call, reason, attempts, id]: [&str; 5]) -> String {
    format!("{when:20}  {tenant:12}  {call:25}  {reason:20}  {attempts:>8}  {id:12}")
}

fn facts(message: &HeldMessage, whose: &Whose) -> Value {
    let past = &message.past;
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let mut facts = json!({
        "id": message.id,
        "messageId": message.message_id,
        "tenant": whose.tenant,
        "callId": whose.call_id,
        "fileName": whose.file_name,
        "requestId": whose.request_id,
        "reason": past.reason,
        "detail": past.detail,
        "attempts": past.attempts,
        "queue": message.target,
    });
    if message.waits {
        facts["firstSeen"] = text(past.first_seen).into();
        facts["retriedAt"] = text(past.at).into();
        facts["dueAt"] = text(message.due).into();
    } else {
        facts["deadAt"] = text(past.at).into();
    }
    facts
}

/// All of one message: properties, headers, an empty line, the body.
pub fn whole(message: &HeldMessage) -> String {
    let properties = message.properties().into_iter().map(|(name, value)| (name.to_owned(), value));
    let mut text = String::new();
    for (name, value) in properties.chain(message.headers()) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match mistakes(message, &name, &value) {
            Some(mistakes) => text += &format!("{name}:\n{mistakes}"),
            None => text += &format!("{name}: {}\n", harmless(&value)),
        }
    }
    let body = String::from_utf8_lossy(message.body());
    let lines = body.lines().map(|line| format!("{}\n", harmless(line)));
    text + "\n" + &lines.collect::<String>()
}

/// The detail of a message with several mistakes, a line each.
fn mistakes(message: &HeldMessage, header: &str, value: &str) -> Option<String> {
    let invalid = message.past.reason.as_deref() == Some(Reason::MESSAGE_INVALID.as_str());
    let several = invalid && header == DETAIL && value.contains(SEPARATOR);
    let lines = value.split(SEPARATOR).map(|mistake| format!("  {}\n", harmless(mistake)));
    several.then(|| lines.collect())
}

/// The same for scripts: the body byte for byte, in hex where it is not UTF-8.
pub fn whole_json(message: &HeldMessage, whose: &Whose) -> String {
    let mut all = facts(message, whose);
    let properties = message.properties().into_iter().map(|(name, value)| (name.to_owned(), value));
    all["properties"] = Value::Object(properties.collect());
    all["headers"] = Value::Object(message.headers());
    match std::str::from_utf8(message.body()) {
        Ok(text) => all["body"] = text.into(),
        Err(_) => all["bodyHex"] = hex::encode(message.body()).into(),
    }
    format!("{all:#}\n")
}
