//! The outside of a message: its bytes, its type, the CloudEvents envelope it may come in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::{Hints, MAX_BODY, MessageType, fields, invalid, numbers, surrogates};
use crate::failure::{Failure, Reason};

/// An opened message: its type and fields as far as they could be made out, and what was wrong.
pub struct Letter {
    pub message_type: MessageType,
    pub data: Map<String, Value>,
    pub fault: Option<Failure>,
}

/// Never fails: a message that cannot be read is a letter with a fault.
pub fn open(body: &[u8], hints: Hints<'_>) -> Letter {
    match object(body) {
        Ok(outer) if is_envelope(&outer, hints) => unwrap(outer, hints),
        Ok(data) => {
            let (message_type, fault) = type_of(&data, hints);
            Letter { message_type, data, fault }
        }
        Err(fault) => {
            let message_type = hints.message_type.map_or(MessageType::Invalid, MessageType::named);
            Letter { message_type, data: Map::new(), fault: Some(fault) }
        }
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    if body.len() > MAX_BODY {
        let detail = format!("the body has {} bytes, the most is {MAX_BODY}", body.len());
        return Err(Failure::permanent(Reason::MESSAGE_TOO_LARGE, detail));
    }
    // RFC 8259, section 8.1: a parser may ignore a byte order mark rather than refuse it.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|error| {
        invalid(format!("the body is not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    // Some writers in C send the NUL that ends a string of theirs.
    let text = surrogates::replaced(text.trim_end_matches('\0'));
    let text = numbers::replaced(&text);
    match serde_json::from_str(&text).map_err(|error| invalid(fault_of(&text, &error)))? {
        Value::Object(object) => Ok(object),
        other => {
            Err(invalid(format!("the body must be a JSON object, is {}", fields::kind(&other))))
        }
    }
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

fn type_of(data: &Map<String, Value>, hints: Hints<'_>) -> (MessageType, Option<Failure>) {
    let name = match fields::text(data, "type") {
        Ok(name) => name.or(hints.message_type),
        Err(fault) => return (MessageType::Invalid, Some(fault)),
    };
    let Some(name) = name else {
        return (MessageType::Invalid, Some(invalid("type is required")));
    };
    let message_type = MessageType::named(name);
    let unknown = message_type == MessageType::Invalid;
    let fault = unknown.then(|| {
        invalid("type must be call.completed, recording.dump-requested or recording.dump-item")
    });
    (message_type, fault)
}

fn is_envelope(outer: &Map<String, Value>, hints: Hints<'_>) -> bool {
    let essence = hints.content_type.and_then(|value| value.split(';').next()).unwrap_or("");
    essence.trim().eq_ignore_ascii_case("application/cloudevents+json")
        || outer.get("specversion").is_some_and(|version| !version.is_null())
}

/// Takes a message out of its CloudEvents 1.0 envelope (JSON event format, section 3).
fn unwrap(mut outer: Map<String, Value>, hints: Hints<'_>) -> Letter {
    let (message_type, type_fault) = type_of(&outer, hints);
    let version_fault = match fields::text(&outer, "specversion") {
        Ok(Some("1.0")) => None,
        Ok(Some(_)) => Some(invalid("specversion must be 1.0")),
        Ok(None) => Some(invalid("specversion is required in a CloudEvents envelope")),
        Err(fault) => Some(fault),
    };
    let (data, data_fault) = match content(&mut outer) {
        Ok(data) => (data, None),
        Err(fault) => (Map::new(), Some(fault)),
    };
    Letter { message_type, data, fault: version_fault.or(type_fault).or(data_fault) }
}

fn content(outer: &mut Map<String, Value>) -> Result<Map<String, Value>, Failure> {
    let data = outer.remove("data").filter(|value| !value.is_null());
    let coded = fields::text(outer, "data_base64")?;
    match (data, coded) {
        (Some(_), Some(_)) => Err(invalid("data and data_base64 exclude each other")),
        (Some(Value::Object(data)), None) => Ok(data),
        (Some(other), None) => {
            Err(invalid(format!("data must be an object, is {}", fields::kind(&other))))
        }
        (None, Some(coded)) => {
            let bytes = BASE64.decode(coded).map_err(|_| invalid("data_base64 is not base64"))?;
            object(&bytes).map_err(|fault| invalid(format!("data_base64: {}", fault.detail)))
        }
        (None, None) => Err(invalid("data is required in a CloudEvents envelope")),
    }
}
