//! A message of a queue as a person looks at it. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::broker::headers::is_of_delivery;
use crate::broker::names::Names;
use crate::broker::state::{Past, State};
use crate::broker::{copy, moment};
use crate::clock;

/// Digits of [`HeldMessage::id`]: 48 bits, so that of a million messages no two are likely to
/// have the same.
const ID_DIGITS: usize = 12;

/// A message of the dead queue or of a retry queue, in hand until its walk ends.
pub struct HeldMessage {
    /// Its name here: of what it is and when it came here, so the same at every look, and another
    /// if it comes again.
    pub id: String,
    pub message_id: String,
    /// The queue that it goes back to, by its full name: of a dead one that in which it began.
    pub target: String,
    pub past: Past,
    /// Whether it waits for a retry, and is not dead.
    pub waits: bool,
    /// Of one that waits: when it goes back by itself, as far as it is known.
    pub due: Option<Timestamp>,
    pub(super) delivery: Delivery,
}

impl HeldMessage {
    /// `delay`: of a retry queue.
    pub(super) fn new(delivery: Delivery, names: &Names, delay: Option<Duration>) -> Self {
        let none = FieldTable::default();
        let headers = delivery.properties.headers().as_ref().unwrap_or(&none);
        let message_id = copy::message_id(&delivery.properties, &delivery.data).to_string();
        let past = Past::parse(headers);
        let id = id_of(&message_id, past.at);
        let origin = || State::parse(headers, &names.dead, names, clock::now()).origin;
        let target = match delay {
            // Its key is where the broker sends it when its time is over.
            Some(_) => delivery.routing_key.to_string(),
            None => origin().unwrap_or_else(|| names.jobs.clone()),
        };
        let waits = delay.is_some();
        let delay = delay.and_then(|delay| SignedDuration::try_from(delay).ok());
        let due = past.at.zip(delay).and_then(|(at, delay)| at.checked_add(delay).ok());
        Self { id, message_id, target, past, waits, due, delivery }
    }

    pub fn body(&self) -> &[u8] {
        &self.delivery.data
    }

    /// The AMQP property `type`.
    pub fn message_type(&self) -> Option<&str> {
        self.delivery.properties.kind().as_ref().map(ShortString::as_str)
    }

    /// The AMQP property `content_type`.
    pub fn content_type(&self) -> Option<&str> {
        self.delivery.properties.content_type().as_ref().map(ShortString::as_str)
    }

    /// The AMQP properties that are set, by name, but for the headers.
    pub fn properties(&self) -> Vec<(&'static str, Value)> {
        let text = |value: &Option<ShortString>| value.as_ref().map(|text| text.as_str().into());
        let of = &self.delivery.properties;
        let all = [
            ("message_id", text(of.message_id())),
            ("type", text(of.kind())),
            ("content_type", text(of.content_type())),
            ("content_encoding", text(of.content_encoding())),
            ("correlation_id", text(of.correlation_id())),
            ("reply_to", text(of.reply_to())),
            ("app_id", text(of.app_id())),
            ("user_id", text(of.user_id())),
            ("timestamp", of.timestamp().map(|timestamp| shown(timestamp).into())),
            ("priority", of.priority().map(Value::from)),
            ("delivery_mode", of.delivery_mode().map(Value::from)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Its headers, in the order of their names, but for what the broker counts of our looks.
    pub fn headers(&self) -> serde_json::Map<String, Value> {
        let headers = self.delivery.properties.headers().as_ref();
        let mut headers = headers.map(object).unwrap_or_default();
        headers.retain(|name, _| !is_of_delivery(name));
        headers
    }
}

/// The name of a message that came to its queue at this time.
pub(super) fn id_of(message_id: &str, at: Option<Timestamp>) -> String {
    let mut hash = Sha256::new();
    hash.update(message_id);
    hash.update([0]);
    hash.update(at.map(|at| at.to_string()).unwrap_or_default());
    let mut id = hex::encode(hash.finalize());
    id.truncate(ID_DIGITS);
    id
}

/// What is no time is shown as the number it is.
fn shown(timestamp: u64) -> String {
    moment::of(timestamp).map_or_else(|| timestamp.to_string(), |at| at.to_string())
}

fn object(table: &FieldTable) -> serde_json::Map<String, Value> {
    table.inner().iter().map(|(name, value)| (name.to_string(), json(value))).collect()
}

fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(flag) => (*flag).into(),
        AMQPValue::ShortShortInt(n) => (*n).into(),
        AMQPValue::ShortShortUInt(n) => (*n).into(),
        AMQPValue::ShortInt(n) => (*n).into(),
        AMQPValue::ShortUInt(n) => (*n).into(),
        AMQPValue::LongInt(n) => (*n).into(),
        AMQPValue::LongUInt(n) => (*n).into(),
        AMQPValue::LongLongInt(n) => (*n).into(),
        AMQPValue::Float(n) => (*n).into(),
        AMQPValue::Double(n) => (*n).into(),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        AMQPValue::ByteArray(bytes) => hex::encode(bytes.as_slice()).into(),
        AMQPValue::Timestamp(timestamp) => shown(*timestamp).into(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(table) => object(table).into(),
        AMQPValue::DecimalValue(_) | AMQPValue::Void => Value::Null,
    }
}
