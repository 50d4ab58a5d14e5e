//! The outside of a message: its bytes, its type, the CloudEvents envelope it may come in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::data::Data;
use super::mistakes::{Mistake, Mistakes};
use super::{Hints, MessageType, fields, numbers, surrogates};

/// An opened message: its type and fields as far as they could be made out, and what was wrong.
pub struct Letter {
    pub message_type: MessageType,
    /// `None` where it could not be opened.
    pub data: Option<Data>,
    pub mistakes: Mistakes,
}

/// Never fails: a message that cannot be read is a letter with mistakes. `now` is for the times of
/// recordings.
pub fn open(body: &[u8], hints: Hints<'_>, now: Timestamp) -> Letter {
    let mut mistakes = Mistakes::default();
    match mistakes.note(object(body, now)) {
        Some(outer) if is_envelope(&outer.fields, hints) => unwrap(outer, hints, now),
        Some(data) => {
            let message_type = type_of(&data.fields, hints, &mut mistakes);
            Letter { message_type, data: Some(data), mistakes }
        }
        None => Letter { message_type: hints.told(), data: None, mistakes },
    }
}

/// The text of a body.
pub fn text(body: &[u8]) -> Result<&str, Mistake> {
    // RFC 8259, section 8.1: a parser may ignore a byte order mark rather than refuse it.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|error| {
        Mistake::new(format!("the body is not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    // Some writers in C send the NUL that ends a string of theirs.
    Ok(text.trim_end_matches('\0'))
}

fn object(body: &[u8], now: Timestamp) -> Result<Data, Mistake> {
    let text = surrogates::replaced(text(body)?);
    let text = numbers::replaced(&text);
    let broken = |error| Mistake::new(fault_of(&text, &error));
    if text.trim_start().starts_with('{') {
        return Data::read(&text, now).map_err(broken);
    }
    let other: Value = serde_json::from_str(&text).map_err(broken)?;
    let kind = fields::kind(&other);
    Err(Mistake::new(format!("the body must be a JSON object, is {kind}")))
}

/// What is wrong with JSON, and where. serde_json's own message quotes the value it stumbled on, a
/// phone number say.
fn fault_of(text: &str, error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Eof => "ends too early",
        // It is JSON to who does not have to hold it.
        _ if serde_json::from_str::<IgnoredAny>(text).is_ok() => "is nested over 127 levels deep",
        Category::Syntax | Category::Data | Category::Io => "is not JSON",
    };
    format!("the body {what} at line {}, column {}", error.line(), error.column())
}

fn type_of(data: &Map<String, Value>, hints: Hints<'_>, mistakes: &mut Mistakes) -> MessageType {
    let name = fields::text(data, "type").map(|name| name.or(hints.message_type));
    let name = mistakes.note(fields::required("type", name));
    let message_type = name.map_or(MessageType::Invalid, MessageType::named);
    if name.is_some() && message_type == MessageType::Invalid {
        mistakes.add(Mistake::new(
            "type must be call.completed, recording.dump-requested or recording.dump-item",
        ));
    }
    message_type
}

fn is_envelope(outer: &Map<String, Value>, hints: Hints<'_>) -> bool {
    announces_envelope(hints) || outer.get("specversion").is_some_and(|version| !version.is_null())
}

/// Whether the AMQP properties say that the message is in an envelope.
pub fn announces_envelope(hints: Hints<'_>) -> bool {
    let essence = hints.content_type.and_then(|value| value.split(';').next()).unwrap_or("");
    essence.trim().eq_ignore_ascii_case("application/cloudevents+json")
}

/// Takes a message out of its CloudEvents 1.0 envelope (JSON event format, section 3).
fn unwrap(outer: Data, hints: Hints<'_>, now: Timestamp) -> Letter {
    let mut mistakes = Mistakes::default();
    let fields = &outer.fields;
    mistakes.note(version(fields));
    let message_type = type_of(fields, hints, &mut mistakes);
    mistakes.note(fields::no_force(fields, "in a CloudEvents envelope: it belongs in data"));
    let data = mistakes.note(content(outer, now));
    Letter { message_type, data, mistakes }
}

fn version(outer: &Map<String, Value>) -> Result<(), Mistake> {
    match fields::text(outer, "specversion")? {
        Some("1.0") => Ok(()),
        Some(_) => Err(Mistake::new("specversion must be 1.0")),
        None => Err(Mistake::new("specversion is required in a CloudEvents envelope")),
    }
}

fn content(outer: Data, now: Timestamp) -> Result<Data, Mistake> {
    let other = outer.fields.get("data").filter(|value| !value.is_null());
    let coded = fields::text(&outer.fields, "data_base64")?;
    match (outer.data, other, coded) {
        (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            Err(Mistake::new("data and data_base64 exclude each other"))
        }
        (Some(data), ..) => Ok(*data),
        (None, Some(other), None) => {
            Err(Mistake::new(format!("data must be an object, is {}", fields::kind(other))))
        }
        (None, None, Some(coded)) => {
            let bytes = BASE64.decode(coded);
            let bytes = bytes.map_err(|_| Mistake::new("data_base64 is not base64"))?;
            object(&bytes, now).map_err(|mistake| mistake.within("data_base64"))
        }
        (None, None, None) => Err(Mistake::new("data is required in a CloudEvents envelope")),
    }
}
