//! The fields of a message, one function a kind: each says which field was wrong and which rule
//! it broke, and never what stood there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::mistakes::Mistake;
use super::{BadName, CallId, CcId, FileName, MAX_EXPECTED, RequestId, TenantId, time};

type Data = Map<String, Value>;

pub fn required<T>(field: &str, value: Result<Option<T>, Mistake>) -> Result<T, Mistake> {
    value?.ok_or_else(|| Mistake::new(format!("{field} is required")))
}

pub fn tenant(data: &Data) -> Result<Option<TenantId>, Mistake> {
    name("tenant", text(data, "tenant")?, TenantId::new)
}

pub fn request_id(data: &Data) -> Result<Option<RequestId>, Mistake> {
    name("requestId", text(data, "requestId")?, RequestId::new)
}

pub fn call_id(data: &Data) -> Result<Option<CallId>, Mistake> {
    name("callId", filled(data, "callId")?, CallId::new)
}

pub fn file_name(data: &Data) -> Result<Option<FileName>, Mistake> {
    name("fileName", filled(data, "fileName")?, FileName::new)
}

pub fn cc_id(data: &Data) -> Result<Option<CcId>, Mistake> {
    name("ccId", filled(data, "ccId")?, CcId::new)
}

pub fn time(data: &Data, field: &str) -> Result<Option<Timestamp>, Mistake> {
    let Some(text) = text(data, field)? else { return Ok(None) };
    let time = time::rfc3339(text);
    let time =
        time.ok_or_else(|| Mistake::new(format!("{field} must be an RFC 3339 date and time")))?;
    Ok(Some(time))
}

pub fn flag(data: &Data, field: &str) -> Result<bool, Mistake> {
    match value(data, field) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(wrong_type(field, "true or false", other)),
    }
}

/// `force` where it does nothing, and who sets it believes that it does. `false` says what holds.
pub fn no_force(data: &Data, instead: &str) -> Result<(), Mistake> {
    match value(data, "force") {
        None | Some(Value::Bool(false)) => Ok(()),
        Some(_) => Err(Mistake::new(format!("force does nothing {instead}"))),
    }
}

pub fn expected(data: &Data) -> Result<Option<u16>, Mistake> {
    let number = match value(data, "expected") {
        None => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(other) => return Err(wrong_type("expected", "a number", other)),
    };
    let files = number.as_u64().and_then(|files| u16::try_from(files).ok());
    let files = files.filter(|files| (1..=MAX_EXPECTED).contains(files));
    // Some writers know no whole numbers, and write `2.0`.
    let written = || (1..=MAX_EXPECTED).find(|files| number.as_f64() == Some(f64::from(*files)));
    let files = files.or_else(written);
    let bad = || Mistake::new(format!("expected must be a whole number from 1 to {MAX_EXPECTED}"));
    files.map(Some).ok_or_else(bad)
}

/// Of a field that should be an array and is not, or is not there.
pub fn no_list(data: &Data, field: &str) -> Result<(), Mistake> {
    match value(data, field) {
        None => Err(Mistake::new(format!("{field} is required"))),
        Some(other) => Err(wrong_type(field, "an array", other)),
    }
}

pub fn object(value: &Value) -> Result<&Data, Mistake> {
    match value {
        Value::Object(data) => Ok(data),
        other => Err(Mistake::new(format!("must be an object, is {}", kind(other)))),
    }
}

/// The sender's own pairs. Their names are the sender's too, so a wrong one is not named.
pub fn metadata(data: &Data) -> Result<BTreeMap<String, String>, Mistake> {
    let pairs = match value(data, "metadata") {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(pairs)) => pairs,
        Some(other) => return Err(wrong_type("metadata", "an object", other)),
    };
    let present = pairs.iter().filter(|(_, value)| !value.is_null());
    let read = present.map(|(name, value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        other => Err(wrong_type("metadata: every value", "a string", other)),
    });
    read.collect()
}

/// A field that is a string; null counts as absent.
pub fn text<'a>(data: &'a Data, field: &str) -> Result<Option<&'a str>, Mistake> {
    match value(data, field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong_type(field, "a string", other)),
    }
}

/// A field that producers fill with `""` when they have nothing to say; CC-FS would refuse the
/// empty string (0300002), so it counts as absent.
fn filled<'a>(data: &'a Data, field: &str) -> Result<Option<&'a str>, Mistake> {
    Ok(text(data, field)?.filter(|text| !text.is_empty()))
}

fn name<T>(
    field: &str,
    text: Option<&str>,
    new: impl FnOnce(String) -> Result<T, BadName>,
) -> Result<Option<T>, Mistake> {
    let name = text.map(|text| new(text.to_owned())).transpose();
    name.map_err(|rule| Mistake::new(format!("{field} {rule}")))
}

fn value<'a>(data: &'a Data, field: &str) -> Option<&'a Value> {
    data.get(field).filter(|value| !value.is_null())
}

fn wrong_type(field: &str, wanted: &str, found: &Value) -> Mistake {
    Mistake::new(format!("{field} must be {wanted}, is {}", kind(found)))
}

pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
