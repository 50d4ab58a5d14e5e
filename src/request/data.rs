//! The fields of a message as they come: recordings of a dump are read one after the other, so that
//! never more than one of them is held as JSON.

use std::fmt;

use jiff::Timestamp;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::reader::Recordings;

/// The fields of an object; of those of one name the last stands.
#[derive(Default)]
pub struct Data {
    /// All but those beside it.
    pub fields: Map<String, Value>,
    /// `recordings`, where that is an array.
    pub recordings: Option<Recordings>,
    /// The only one of these, where there is one and it is an object.
    pub sole: Option<Map<String, Value>>,
    /// `data`, where that is an object.
    pub data: Option<Box<Data>>,
}

impl Data {
    /// Reads a text that is an object, if it is JSON; `now` is for the times of recordings.
    pub fn read(text: &str, now: Timestamp) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let data = deserializer.deserialize_map(Fields { now })?;
        deserializer.end()?;
        Ok(data)
    }

    fn set(&mut self, name: String, value: Node) {
        match &*name {
            "recordings" => (self.recordings, self.sole) = (None, None),
            "data" => self.data = None,
            _ => {}
        }
        let plain = match value {
            Node::List(recordings, sole) => {
                (self.recordings, self.sole) = (Some(recordings), sole);
                None
            }
            Node::Object(data) => {
                self.data = Some(data);
                None
            }
            Node::Plain(value) => Some(value),
        };
        match plain {
            Some(value) => self.fields.insert(name, value),
            None => self.fields.remove(&name),
        };
    }
}

struct Fields {
    now: Timestamp,
}

impl<'de> Visitor<'de> for Fields {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
        let now = self.now;
        let mut data = Data::default();
        while let Some(name) = map.next_key::<String>()? {
            let value = match &*name {
                "recordings" => map.next_value_seed(Apart { what: What::List, now })?,
                "data" => map.next_value_seed(Apart { what: What::Object, now })?,
                _ => Node::Plain(map.next_value()?),
            };
            data.set(name, value);
        }
        Ok(data)
    }
}

enum Node {
    List(Recordings, Option<Map<String, Value>>),
    Object(Box<Data>),
    Plain(Value),
}

#[derive(PartialEq, Eq)]
enum What {
    List,
    Object,
}

/// A value that is read apart if it is what is looked for, and as any other if not.
struct Apart {
    what: What,
    now: Timestamp,
}

impl<'de> DeserializeSeed<'de> for Apart {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Apart {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        if self.what != What::List {
            let value = Value::deserialize(SeqAccessDeserializer::new(list))?;
            return Ok(Node::Plain(value));
        }
        let (mut recordings, mut sole) = (Recordings::default(), None);
        while let Some(value) = list.next_element::<Value>()? {
            recordings.add(&value, self.now);
            sole = match value {
                Value::Object(fields) if recordings.len() == 1 => Some(fields),
                _ => None,
            };
        }
        Ok(Node::List(recordings, sole))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Node, A::Error> {
        if self.what == What::Object {
            let data = Fields { now: self.now }.visit_map(map)?;
            return Ok(Node::Object(Box::new(data)));
        }
        Ok(Node::Plain(Value::deserialize(MapAccessDeserializer::new(map))?))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Plain(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Plain(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Plain(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Plain(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Plain(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Plain(value.into()))
    }
}
