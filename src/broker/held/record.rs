//! A message written down, a line of JSON, and read again without a loss. Pure.
//!
//! What would harm a copy is not written and not read (`user_id`, `expiration`, `CC`): see
//! `broker::copy`. Errors never quote.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lapin::BasicProperties;
use lapin::types::{FieldTable, ShortString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::message::id_of;
use super::value::{SHORT, read_table, write_table};
use super::{BadRecord, HeldMessage};
use crate::broker::copy;
use crate::broker::dial::FRAME_MAX;
use crate::broker::headers::{recorded_headers, table_bytes};
use crate::broker::state::Past;

/// A message as it goes into a file, and comes out of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    properties: Properties,
    headers: FieldTable,
    pub(super) body: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    properties: Properties,
    headers: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Where it is not UTF-8.
    #[serde(default, rename = "bodyBase64", skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// By the names of AMQP, as `dead show` has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Properties {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_mode: Option<u8>,
}

impl HeldMessage {
    /// The same, written down.
    pub fn record(&self) -> Record {
        Record::of(&self.delivery.properties, self.body())
    }
}

impl Record {
    fn of(original: &BasicProperties, body: &[u8]) -> Self {
        let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
        let properties = Properties {
            message_id: text(original.message_id()),
            kind: text(original.kind()),
            content_type: text(original.content_type()),
            content_encoding: text(original.content_encoding()),
            correlation_id: text(original.correlation_id()),
            reply_to: text(original.reply_to()),
            app_id: text(original.app_id()),
            timestamp: *original.timestamp(),
            priority: *original.priority(),
            delivery_mode: *original.delivery_mode(),
        };
        let headers = original.headers().as_ref().map(recorded_headers).unwrap_or_default();
        Self { properties, headers, body: body.to_vec() }
    }

    /// What it is called in its queue ([`super::HeldMessage::id`]).
    pub fn id(&self) -> String {
        let message_id = copy::message_id(&self.properties(), &self.body);
        id_of(message_id.as_str(), Past::parse(&self.headers).at)
    }

    /// One line, without its end.
    pub fn line(&self) -> String {
        let (body, body_base64) = match std::str::from_utf8(&self.body) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64_STANDARD.encode(&self.body))),
        };
        let (properties, headers) = (self.properties.clone(), write_table(&self.headers));
        let line = Line { properties, headers, body, body_base64 };
        serde_json::to_string(&line).expect("texts, numbers and tables of them are JSON")
    }

    /// Reads what [`Record::line`] wrote.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(line: &[u8]) -> Result<Self, BadRecord> {
        let bad = |what: &str| BadRecord(what.to_owned());
        // serde's own words would quote the line.
        let line: Line = serde_json::from_slice(line.trim_ascii_end()).map_err(
            |error| match error.classify() {
                serde_json::error::Category::Data => BadRecord(format!(
                    "is not as `callvault dead export` writes a message, at character {}: it has \
                 properties, headers, and body or bodyBase64",
                    error.column()
                )),
                _ => BadRecord(format!(
                    "is no JSON, or not all of it, at character {}",
                    error.column()
                )),
            },
        )?;
        let body = match (line.body, line.body_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => {
                BASE64_STANDARD.decode(text).map_err(|_| bad("bodyBase64 is no base64"))?
            }
            _ => return Err(bad("has to have one of body and bodyBase64")),
        };
        let headers = recorded_headers(&read_table(&line.headers, "headers")?);
        if table_bytes(&headers) > FRAME_MAX as usize / 8 * 7 {
            return Err(bad("headers are more than a frame of AMQP takes"));
        }
        let texts = [
            ("message_id", &line.properties.message_id),
            ("type", &line.properties.kind),
            ("content_type", &line.properties.content_type),
            ("content_encoding", &line.properties.content_encoding),
            ("correlation_id", &line.properties.correlation_id),
            ("reply_to", &line.properties.reply_to),
            ("app_id", &line.properties.app_id),
        ];
        let long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > SHORT);
        if let Some((name, _)) = texts.into_iter().find(|(_, text)| long(text)) {
            return Err(BadRecord(format!("properties.{name} is longer than {SHORT} bytes")));
        }
        Ok(Self { properties: line.properties, headers, body })
    }

    /// As they are sent.
    pub(super) fn properties(&self) -> BasicProperties {
        let from = &self.properties;
        let mut properties = BasicProperties::default();
        let take =
            |value: &Option<String>, with: fn(BasicProperties, ShortString) -> _, to| match value {
                Some(value) => with(to, value.as_str().into()),
                None => to,
            };
        properties = take(&from.message_id, BasicProperties::with_message_id, properties);
        properties = take(&from.kind, BasicProperties::with_type, properties);
        properties = take(&from.content_type, BasicProperties::with_content_type, properties);
        properties =
            take(&from.content_encoding, BasicProperties::with_content_encoding, properties);
        properties = take(&from.correlation_id, BasicProperties::with_correlation_id, properties);
        properties = take(&from.reply_to, BasicProperties::with_reply_to, properties);
        properties = take(&from.app_id, BasicProperties::with_app_id, properties);
        if let Some(timestamp) = from.timestamp {
            properties = properties.with_timestamp(timestamp);
        }
        if let Some(priority) = from.priority {
            properties = properties.with_priority(priority);
        }
        if let Some(mode) = from.delivery_mode {
            properties = properties.with_delivery_mode(mode);
        }
        match self.headers.inner().is_empty() {
            true => properties,
            false => properties.with_headers(self.headers.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::{AMQPValue, ByteArray, DecimalValue};

    use super::*;

    #[test]
    fn what_is_written_down_is_read_again_whatever_it_holds() {
        let text = |bytes: &[u8]| AMQPValue::LongString(bytes.to_vec().into());
        let mut inner = FieldTable::default();
        inner.insert("table".into(), text(b"a name like a type"));
        let values = [
            AMQPValue::Void,
            AMQPValue::Boolean(true),
            AMQPValue::ShortShortInt(-1),
            AMQPValue::ShortShortUInt(255),
            AMQPValue::ShortInt(i16::MIN),
            AMQPValue::ShortUInt(u16::MAX),
            AMQPValue::LongInt(i32::MIN),
            AMQPValue::LongUInt(u32::MAX),
            AMQPValue::LongLongInt(i64::MIN),
            AMQPValue::Float(0.1),
            AMQPValue::Double(f64::INFINITY),
            AMQPValue::Double(0.1 + 0.2),
            AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 }),
            AMQPValue::Timestamp(u64::MAX),
            AMQPValue::ShortString("short".into()),
            AMQPValue::ByteArray(ByteArray::from(vec![0, 255])),
            text("line\nbreak \0 张".as_bytes()),
            text(b"\xff\xfe"),
            AMQPValue::FieldArray(vec![AMQPValue::Void, AMQPValue::LongInt(1)].into()),
            AMQPValue::FieldTable(inner),
        ];
        let mut headers = FieldTable::default();
        for (at, value) in values.into_iter().enumerate() {
            headers.insert(format!("h{at}").into(), value);
        }
        let properties = BasicProperties::default()
            .with_message_id("id".into())
            .with_type("call.completed".into())
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into())
            .with_correlation_id("c".into())
            .with_reply_to("r".into())
            .with_app_id("a".into())
            .with_timestamp(u64::MAX)
            .with_priority(9)
            .with_delivery_mode(2)
            .with_headers(headers);
        for body in [&b"{\"a\":\"\\n\"}\n"[..], b"\xff\0", b""] {
            let record = Record::of(&properties, body);
            assert_eq!((&record.properties(), record.body.as_slice()), (&properties, body));
            let line = record.line();
            assert!(!line.contains('\n'));
            assert_eq!(Record::read(line.as_bytes()), Ok(record));
        }
        let bare = Record::of(&BasicProperties::default(), b"x");
        assert_eq!(bare.line(), r#"{"properties":{},"headers":{},"body":"x"}"#);
        assert_eq!(Record::read(bare.line().as_bytes()), Ok(bare));
    }

    #[test]
    fn what_would_harm_a_copy_is_neither_written_nor_read() {
        let mut headers = FieldTable::default();
        for name in ["CC", "x-death", "x-delivery-count", "callvault-reason", "trace"] {
            headers.insert(name.into(), AMQPValue::Boolean(true));
        }
        let properties = BasicProperties::default()
            .with_user_id("guest".into())
            .with_expiration("1".into())
            .with_headers(headers);
        let line = Record::of(&properties, b"").line();
        let kept =
            r#"{"properties":{},"headers":{"callvault-reason":true,"trace":true},"body":""}"#;
        assert_eq!(line, kept);
        let meddled = kept.replace("\"trace\"", "\"CC\":[\"calls\"],\"trace\"");
        assert_eq!(Record::read(meddled.as_bytes()).map(|record| record.line()), Ok(line));
    }

    #[test]
    fn what_is_no_message_is_said_without_quoting_it() {
        let line =
            |headers: &str| format!(r#"{{"properties":{{}},"headers":{headers},"body":""}}"#);
        let cases = [
            ("+4915550123".to_owned(), "no JSON"),
            ("{\"properties\":{}".to_owned(), "no JSON"),
            ("17".to_owned(), "not as `callvault dead export` writes"),
            (line("{}").replace("\"body\"", "\"bod5550123\""), "not as `callvault dead export`"),
            (line("{}").replace("\"body\":\"\"", "\"bodyBase64\":\"5550123\""), "no base64"),
            (line("{}").replace(",\"body\":\"\"", ""), "one of body and bodyBase64"),
            (line("{\"a\":1.5}"), "headers: a value"),
            (line("{\"a\":{\"5550123\":1}}"), "headers: a value"),
            (line("{\"a\":{\"int8\":128}}"), "headers: a value"),
            (line("{\"a\":{\"decimal\":[1]}}"), "headers: a value"),
            (line(&format!("{{\"{}\":1}}", "5".repeat(256))), "headers: a name is longer"),
            (line(&format!("{{\"a\":\"{}\"}}", "5".repeat(120_000))), "more than a frame"),
            (
                line("{}").replace("{},", &format!("{{\"type\":\"{}\"}},", "5".repeat(256))),
                "properties.type is longer than 255 bytes",
            ),
        ];
        for (line, why) in cases {
            let said = Record::read(line.as_bytes()).expect_err("it is none").to_string();
            assert!(said.contains(why) && !said.contains("555"), "{line:.60}: {said}");
        }
    }
}
