//! How dead messages are shown: a table, lines of JSON, or one with everything that it carries.

use serde_json::{Value, json};

use crate::broker::{DETAIL, DeadMessage};
use crate::failure::Reason;
use crate::request::{CallId, Echo, FileName, Hints, RequestId, SEPARATOR, TenantId};

/// The columns; what is longer pushes the others to the right.
const HEADER: [&str; 6] = ["WHEN", "TENANT", "CALL OR FILE", "REASON", "ATTEMPTS", "ID"];

/// Whose message it is, as far as it can be read.
pub struct Whose {
    pub tenant: Option<TenantId>,
    call_id: Option<CallId>,
    file_name: Option<FileName>,
    request_id: Option<RequestId>,
}

impl Whose {
    pub fn of(message: &DeadMessage) -> Self {
        let hints =
            Hints { message_type: message.message_type(), content_type: message.content_type() };
        let echo = Echo::read(message.body(), hints);
        let Echo { tenant, call_id, file_name, request_id, .. } = echo;
        Self { tenant, call_id, file_name, request_id }
    }

    /// The call's id, else the last part of the file's name.
    fn recording(&self) -> Option<&str> {
        let file = || self.file_name.as_ref()?.parts().last();
        self.call_id.as_ref().map(CallId::as_str).or_else(file)
    }
}

pub fn header() -> String {
    columns(HEADER)
}

/// A line of the table. It shows no field of the body but whose recording it is, and which.
pub fn row(message: &DeadMessage, whose: &Whose) -> String {
    let died = message.death.at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let attempts = message.death.attempts.to_string();
    let reason = message.death.reason.as_deref().map(harmless);
    columns([
        died.as_deref().unwrap_or("-"),
        whose.tenant.as_ref().map_or("-", TenantId::as_str),
        whose.recording().unwrap_or("-"),
        reason.as_deref().unwrap_or("-"),
        &attempts,
        &message.id,
    ])
}

fn columns([died, tenant, call, reason, attempts, id]: [&str; 6]) -> String {
    format!("{died:20}  {tenant:12}  {call:25}  {reason:20}  {attempts:>8}  {id}\n")
}

/// The same for scripts, an object a line.
pub fn json_row(message: &DeadMessage, whose: &Whose) -> String {
    format!("{}\n", facts(message, whose))
}

fn facts(message: &DeadMessage, whose: &Whose) -> Value {
    json!({
        "id": message.id,
        "messageId": message.message_id,
        "deadAt": message.death.at.map(|at| at.to_string()),
        "tenant": whose.tenant,
        "callId": whose.call_id,
        "fileName": whose.file_name,
        "requestId": whose.request_id,
        "reason": message.death.reason,
        "detail": message.death.detail,
        "attempts": message.death.attempts,
        "queue": message.origin,
    })
}

/// All of one message: properties, headers, an empty line, the body.
pub fn whole(message: &DeadMessage) -> String {
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
fn mistakes(message: &DeadMessage, header: &str, value: &str) -> Option<String> {
    let invalid = message.death.reason.as_deref() == Some(Reason::MESSAGE_INVALID.as_str());
    let several = invalid && header == DETAIL && value.contains(SEPARATOR);
    let lines = value.split(SEPARATOR).map(|mistake| format!("  {}\n", harmless(mistake)));
    several.then(|| lines.collect())
}

/// The same for scripts: the body byte for byte, in hex where it is not UTF-8.
pub fn whole_json(message: &DeadMessage, whose: &Whose) -> String {
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

/// Strangers wrote it, and a terminal obeys control characters.
fn harmless(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}
