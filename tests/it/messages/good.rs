//! Every form in which a good message can come, and the key that it leads to.

use lapin::BasicProperties;
use serde_json::{Value, json};

use super::enveloped;
use crate::support::world::call;

const DAY: &str = "2026/04/25";

/// A message in one of its good forms.
pub struct Good {
    pub name: &'static str,
    pub properties: BasicProperties,
    /// Its `callEnd`, as the event has it.
    pub call_end: Option<&'static str>,
    change: fn(Value) -> Value,
    day: &'static str,
    file: &'static str,
}

/// `change` makes the form out of a plain call.
fn form(name: &'static str, change: fn(Value) -> Value) -> Good {
    let properties = BasicProperties::default();
    let call_end = Some("2026-04-25T05:12:44Z");
    Good { name, properties, call_end, change, day: DAY, file: "" }
}

impl Good {
    fn with(self, properties: BasicProperties) -> Self {
        Self { properties, ..self }
    }

    fn dated(self, day: &'static str, call_end: Option<&'static str>) -> Self {
        Self { day, call_end, ..self }
    }

    /// With a file name that adds this to the key.
    fn named(self, file: &'static str) -> Self {
        Self { file, ..self }
    }

    pub fn body(&self, call_id: &str) -> Vec<u8> {
        (self.change)(call(call_id)).to_string().into_bytes()
    }

    pub fn key(&self, call_id: &str) -> String {
        format!("acme/{}/{call_id}{}.wav", self.day, self.file)
    }
}

pub fn all() -> Vec<Good> {
    let typed = |name: &str| BasicProperties::default().with_type(name.into());
    let cloud = || {
        let content_type = "application/cloudevents+json; charset=UTF-8";
        BasicProperties::default().with_content_type(content_type.into())
    };
    vec![
        form("as in the contract", |m| m),
        form("type by property", without_type).with(typed("call.completed")),
        form("the field wins", |m| m).with(typed("recording.dump-requested")),
        form("envelope by content type", |m| enveloped(&m)).with(cloud()),
        form("envelope by specversion", |m| enveloped(&m)),
        form("envelope around a call without type", |m| enveloped(&without_type(m))),
        form("envelope in base64", in_base64).with(cloud()),
        form("unknown fields", |m| with(m, "agent", json!({ "a": [1, null] }))),
        form("null fields", nulls),
        form("an empty fileName", |m| with(m, "fileName", json!(""))),
        form("offset ahead", |m| with_end(m, "2026-04-25T01:12:44+08:00"))
            .dated("2026/04/24", Some("2026-04-24T17:12:44Z")),
        form("offset behind", |m| with_end(m, "2026-04-25T23:42:44.25-05:30"))
            .dated("2026/04/26", Some("2026-04-26T05:12:44.25Z")),
        form("small letters", |m| with_end(m, "2026-04-25t05:12:44z")),
        form("callBegin alone", begin_alone).dated("2026/03/01", None),
        form("the day of the file", day_of_file).dated("2026/02/03", None).named("_X_20260203_512"),
        form("the day of the callId", |m| with(m, "callEnd", Value::Null)).dated(DAY, None),
    ]
}

fn without_type(mut message: Value) -> Value {
    message.as_object_mut().expect("a message is an object").remove("type");
    message
}

fn with(mut message: Value, field: &str, value: Value) -> Value {
    message[field] = value;
    message
}

fn with_end(message: Value, end: &str) -> Value {
    with(message, "callEnd", json!(end))
}

fn in_base64(message: Value) -> Value {
    use base64::Engine as _;
    let coded = base64::engine::general_purpose::STANDARD.encode(message.to_string());
    with(with(enveloped(&message), "data", Value::Null), "data_base64", json!(coded))
}

fn nulls(mut message: Value) -> Value {
    for field in ["fileName", "ccId", "callBegin", "metadata"] {
        message[field] = Value::Null;
    }
    message
}

fn begin_alone(message: Value) -> Value {
    with(with(message, "callEnd", Value::Null), "callBegin", json!("2026-03-01T00:00:00Z"))
}

fn day_of_file(message: Value) -> Value {
    with(with(message, "callEnd", Value::Null), "fileName", json!("X:/20260203/512.V3"))
}
