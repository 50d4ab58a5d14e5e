//! What is kept of a span until it is exported. Pure.

use std::borrow::Cow;

use super::context::{Context, SpanId};

/// The numbers are those of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Internal = 1,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(Cow<'static, str>),
    Number(i64),
    Flag(bool),
}

/// Of what a span is a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub span: SpanId,
    /// It is another process's.
    pub remote: bool,
}

/// A span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub context: Context,
    pub parent: Option<Parent>,
    pub name: Cow<'static, str>,
    pub kind: Kind,
    /// Nanoseconds since 1970, both.
    pub started: u64,
    pub ended: u64,
    pub attributes: Vec<(&'static str, Value)>,
    /// Of a span that failed: why, for people.
    pub error: Option<String>,
}

impl Record {
    /// Adds an attribute: only what may be in the log may be here.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) -> &mut Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// It failed: `error.type` names the kind, `why` is for people.
    pub fn fail(&mut self, kind: impl Into<Value>, why: impl Into<String>) {
        self.set("error.type", kind);
        self.error = Some(why.into());
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
