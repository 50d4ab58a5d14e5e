//! Headers as JSON, of all types, and back. Pure.
//!
//! Text is text and whole numbers of 64 bits are numbers; AMQP's other types, which JSON has not, are
//! objects with one field, the type: `{"timestamp": 1777093963}`. Errors never quote.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lapin::types::{AMQPValue, DecimalValue, FieldTable};
use serde_json::{Map, Value, json};

use super::BadRecord;

/// The longest short string of AMQP, in bytes.
pub(super) const SHORT: usize = 255;

pub(super) fn write_table(table: &FieldTable) -> Map<String, Value> {
    table.inner().iter().map(|(name, value)| (name.to_string(), write(value))).collect()
}

fn write(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Void => Value::Null,
        AMQPValue::Boolean(flag) => (*flag).into(),
        AMQPValue::LongLongInt(n) => (*n).into(),
        AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
            Ok(text) => text.into(),
            Err(_) => json!({ "text": BASE64_STANDARD.encode(text.as_bytes()) }),
        },
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(write).collect(),
        AMQPValue::FieldTable(table) => json!({ "table": write_table(table) }),
        AMQPValue::ShortShortInt(n) => json!({ "int8": n }),
        AMQPValue::ShortShortUInt(n) => json!({ "uint8": n }),
        AMQPValue::ShortInt(n) => json!({ "int16": n }),
        AMQPValue::ShortUInt(n) => json!({ "uint16": n }),
        AMQPValue::LongInt(n) => json!({ "int32": n }),
        AMQPValue::LongUInt(n) => json!({ "uint32": n }),
        // As text: JSON has no infinity, and not every reader of it every digit.
        AMQPValue::Float(n) => json!({ "float": n.to_string() }),
        AMQPValue::Double(n) => json!({ "double": n.to_string() }),
        AMQPValue::DecimalValue(n) => json!({ "decimal": [n.scale, n.value] }),
        AMQPValue::Timestamp(n) => json!({ "timestamp": n }),
        AMQPValue::ByteArray(bytes) => {
            json!({ "bytes": BASE64_STANDARD.encode(bytes.as_slice()) })
        }
        AMQPValue::ShortString(text) => json!({ "short": text.as_str() }),
    }
}

pub(super) fn read_table(table: &Map<String, Value>, at: &str) -> Result<FieldTable, BadRecord> {
    let mut read_table = FieldTable::default();
    for (name, value) in table {
        if name.len() > SHORT {
            return Err(BadRecord(format!("{at}: a name is longer than {SHORT} bytes")));
        }
        let value = read(value, at)?;
        read_table.insert(name.as_str().into(), value);
    }
    Ok(read_table)
}

fn read(value: &Value, at: &str) -> Result<AMQPValue, BadRecord> {
    let bad = || BadRecord(format!("{at}: a value is none that `callvault dead export` writes"));
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(*flag),
        Value::Number(n) => AMQPValue::LongLongInt(n.as_i64().ok_or_else(bad)?),
        Value::String(text) => AMQPValue::LongString(text.as_bytes().to_vec().into()),
        Value::Array(values) => {
            let values: Result<Vec<_>, _> = values.iter().map(|value| read(value, at)).collect();
            AMQPValue::FieldArray(values?.into())
        }
        Value::Object(object) => {
            let mut fields = object.iter();
            let (Some((kind, value)), None) = (fields.next(), fields.next()) else {
                return Err(bad());
            };
            typed(kind, value, at)?.ok_or_else(bad)?
        }
    })
}

/// A value of a type that JSON has not; `None` for what is none.
fn typed(kind: &str, value: &Value, at: &str) -> Result<Option<AMQPValue>, BadRecord> {
    let signed = value.as_i64();
    let unsigned = value.as_u64();
    let text = value.as_str();
    let bytes = || text.and_then(|text| BASE64_STANDARD.decode(text).ok());
    Ok(match kind {
        "table" => match value.as_object() {
            Some(table) => Some(AMQPValue::FieldTable(read_table(table, at)?)),
            None => None,
        },
        "text" => bytes().map(|bytes| AMQPValue::LongString(bytes.into())),
        "bytes" => bytes().map(|bytes| AMQPValue::ByteArray(bytes.into())),
        "short" => {
            text.filter(|text| text.len() <= SHORT).map(|text| AMQPValue::ShortString(text.into()))
        }
        "int8" => signed.and_then(|n| n.try_into().ok()).map(AMQPValue::ShortShortInt),
        "uint8" => unsigned.and_then(|n| n.try_into().ok()).map(AMQPValue::ShortShortUInt),
        "int16" => signed.and_then(|n| n.try_into().ok()).map(AMQPValue::ShortInt),
        "uint16" => unsigned.and_then(|n| n.try_into().ok()).map(AMQPValue::ShortUInt),
        "int32" => signed.and_then(|n| n.try_into().ok()).map(AMQPValue::LongInt),
        "uint32" => unsigned.and_then(|n| n.try_into().ok()).map(AMQPValue::LongUInt),
        "float" => text.and_then(|text| text.parse().ok()).map(AMQPValue::Float),
        "double" => text.and_then(|text| text.parse().ok()).map(AMQPValue::Double),
        "timestamp" => unsigned.map(AMQPValue::Timestamp),
        "decimal" => decimal(value),
        _ => None,
    })
}

fn decimal(value: &Value) -> Option<AMQPValue> {
    let [scale, value] = value.as_array()?.as_slice() else { return None };
    let (scale, value) = (scale.as_u64()?.try_into().ok()?, value.as_u64()?.try_into().ok()?);
    Some(AMQPValue::DecimalValue(DecimalValue { scale, value }))
}
