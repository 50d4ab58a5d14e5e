//! Spans as OTLP has them on the wire: an `ExportTraceServiceRequest` in protobuf, written by hand,
//! since what we send is one message with a handful of fields. Pure.
//!
//! The numbers are those of `opentelemetry/proto/trace/v1/trace.proto` and its kin; they are stable.

use super::record::{Record, Value};

/// `STATUS_CODE_ERROR`.
const FAILED: u64 = 2;
/// Of `Span.flags`: whether the parent is another process's is known, and so it is.
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Whose spans they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource(pub Vec<(String, String)>);

/// One request with all of `spans`.
pub fn request(resource: &Resource, version: &str, spans: &[Record]) -> Vec<u8> {
    let mut request = Writer::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |out| {
            for (name, value) in &resource.0 {
                attribute(out, 1, name, |out| said(out, value));
            }
        });
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.text(1, env!("CARGO_PKG_NAME"));
                scope.text(2, version);
            });
            for record in spans {
                scope_spans.message(2, |out| span(out, record));
            }
        });
    });
    request.0
}

/// How many spans were not taken, as the answer to a request says: an `ExportTraceServiceResponse`
/// with a `partial_success`. What cannot be read says nothing.
pub fn rejected(answer: &[u8]) -> u64 {
    let read = || {
        let (_, partial) = fields(answer)?.into_iter().find(|(field, _)| *field == 1)?;
        let Field::Bytes(partial) = partial else { return None };
        match fields(partial)?.into_iter().find(|(field, _)| *field == 1)? {
            (_, Field::Varint(rejected)) => Some(rejected),
            _ => None,
        }
    };
    read().unwrap_or(0)
}

fn span(out: &mut Writer, span: &Record) {
    out.bytes(1, &span.context.trace.bytes());
    out.bytes(2, &span.context.span.bytes());
    out.text(3, span.context.tracestate().unwrap_or_default());
    if let Some(parent) = span.parent {
        out.bytes(4, &parent.span.bytes());
    }
    out.text(5, &span.name);
    out.number(6, span.kind as u64);
    out.fixed64(7, span.started);
    out.fixed64(8, span.ended);
    for (name, value) in &span.attributes {
        attribute(out, 9, name, |out| any(out, value));
    }
    if let Some(why) = &span.error {
        out.message(15, |out| {
            out.text(2, why);
            out.number(3, FAILED);
        });
    }
    let remote = span.parent.is_some_and(|parent| parent.remote);
    let flags = u32::from(span.context.flags()) | KNOWS_REMOTE;
    out.fixed32(16, if remote { flags | IS_REMOTE } else { flags });
}

/// A `KeyValue`.
fn attribute(out: &mut Writer, field: u32, name: &str, value: impl FnOnce(&mut Writer)) {
    out.message(field, |out| {
        out.text(1, name);
        out.message(2, value);
    });
}

/// An `AnyValue`: which kind it is has to be said also of what is empty.
fn any(out: &mut Writer, value: &Value) {
    match value {
        Value::Text(text) => said(out, text),
        Value::Flag(flag) => {
            out.key(2, Wire::Varint);
            out.varint(u64::from(*flag));
        }
        Value::Number(number) => {
            out.key(3, Wire::Varint);
            out.varint(number.cast_unsigned());
        }
    }
}

/// The `AnyValue` of a text.
fn said(out: &mut Writer, text: &str) {
    out.key(1, Wire::Bytes);
    out.varint(text.len() as u64);
    out.0.extend_from_slice(text.as_bytes());
}

enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

/// Fields of one message. What has the value that it has anyway (0, nothing) is left out.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            let [low, ..] = value.to_le_bytes();
            self.0.push(low | 0x80);
            value >>= 7;
        }
        let [low, ..] = value.to_le_bytes();
        self.0.push(low);
    }

    fn key(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field) << 3 | wire as u64);
    }

    fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.key(field, Wire::Varint);
            self.varint(value);
        }
    }

    fn fixed32(&mut self, field: u32, value: u32) {
        self.key(field, Wire::Fixed32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn fixed64(&mut self, field: u32, value: u64) {
        self.key(field, Wire::Fixed64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.key(field, Wire::Bytes);
            self.varint(value.len() as u64);
            self.0.extend_from_slice(value);
        }
    }

    fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A message in this one: there also if it is empty.
    fn message(&mut self, field: u32, fill: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        fill(&mut inner);
        self.key(field, Wire::Bytes);
        self.varint(inner.0.len() as u64);
        self.0.append(&mut inner.0);
    }
}

enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, but for those of a fixed length; `None` where it is none.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let field = match key & 7 {
            0 => Field::Varint(varint(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Field::Bytes(message.split_off(..length)?)
            }
            _ => return None,
        };
        fields.push((key >> 3, field));
    }
    Some(fields)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = message.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::context::Context;
    use crate::traces::record::{Kind, Parent};

    /// Written by OpenTelemetry's own classes for Python (opentelemetry-proto), of the same spans.
    const GOLDEN: &str = include_str!("otlp.golden");

    fn context(span: &str, state: Option<&str>) -> Context {
        let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{span}-01");
        Context::parse(&text, state).unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_opentelemetrys_own_writer() {
        let sent = context("00f067aa0ba902b7", Some("rojo=1"));
        let first = context("b7ad6b7169203331", Some("rojo=1"));
        let mut process = Record {
            parent: Some(Parent { span: sent.span, remote: true }),
            context: first.clone(),
            name: "process callvault.jobs".into(),
            kind: Kind::Consumer,
            started: 1_777_093_964_123_456_789,
            ended: 1_777_093_964_623_456_789,
            attributes: Vec::new(),
            error: None,
        };
        process.set("messaging.system", "rabbitmq").set("callvault.attempt", 300_u32);
        process.set("callvault.nothing", String::new()).set("callvault.unpacked", false);
        process.set("callvault.zero", 0_u64).set("callvault.most", u64::MAX);
        process.fail("ccfs.http_500", "CC-FS answered HTTP 500");
        let root = Record {
            context: context("0000000000000001", None),
            parent: None,
            name: "settle".into(),
            kind: Kind::Client,
            attributes: Vec::new(),
            error: None,
            ..process.clone()
        };
        let resource = [("service.name", "callvault"), ("host.name", "w-1 \u{e9}")];
        let resource = resource.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let bytes = request(&Resource(resource.to_vec()), "0.1.0", &[process, root]);
        assert_eq!(hex::encode(bytes), GOLDEN.trim());
    }

    #[test]
    fn what_was_not_taken_is_read_of_the_answer() {
        // partial_success { rejected_spans: 300, error_message: "no" }
        assert_eq!(rejected(&[0x0a, 0x07, 0x08, 0xac, 0x02, 0x12, 0x02, b'n', b'o']), 300);
        for nothing in [&[][..], &[0x0a, 0x00], &[0x0a, 0x09, 0x08], b"<html>", &[0x08, 0xff]] {
            assert_eq!(rejected(nothing), 0, "{nothing:?}");
        }
    }
}
