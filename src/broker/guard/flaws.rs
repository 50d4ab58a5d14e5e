//! What was seen on a connection, told to those who settle its messages: what was mended on one, and
//! how much of them there is. Pure but for its lock.
//!
//! It is kept beside the message and not on it: no producer can write such a mark.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::load::{Burden, Load};

/// What was wrong with a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    NotUtf8,
    TooDeep,
    TooLarge,
    Broken,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUtf8 => "not UTF-8",
            Self::TooDeep => "nested deeper than 32 levels",
            Self::TooLarge => "larger than a frame",
            Self::Broken => "broken",
        })
    }
}

/// The properties of one message that were mended, by name. No value of theirs is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flaws(BTreeSet<(&'static str, Flaw)>);

impl Flaws {
    pub(super) fn add(&mut self, property: &'static str, flaw: Flaw) {
        self.0.insert((property, flaw));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Flaw)> + '_ {
        self.0.iter().copied()
    }
}

impl fmt::Display for Flaws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (property, flaw)) in self.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{property} ({flaw})")?;
        }
        Ok(())
    }
}

/// What was seen on one connection.
#[derive(Debug)]
pub struct Marks {
    /// The flaws of messages that nobody has asked for yet, by channel and delivery tag.
    flaws: Mutex<HashMap<(u16, u64), Flaws>>,
    /// How what came begins, where that is no frame of AMQP.
    foreign: OnceLock<[u8; 4]>,
    pub(super) load: Arc<Load>,
}

impl Default for Marks {
    /// Of a connection that may bring any number of bytes.
    fn default() -> Self {
        Self::bounded(usize::MAX)
    }
}

impl Marks {
    /// Of a connection that brings no more while so many bytes of bodies are in hand.
    pub fn bounded(most: usize) -> Self {
        Self { flaws: Mutex::default(), foreign: OnceLock::new(), load: Load::new(most) }
    }

    /// Tags begin at 1: what is noted before is of another channel, which had the same number.
    pub(super) fn begin(&self, channel: u16) {
        self.lock().retain(|(of, _), _| *of != channel);
        self.load.forget(channel);
    }

    pub(super) fn note(&self, channel: u16, tag: u64, flaws: Flaws) {
        self.lock().insert((channel, tag), flaws);
    }

    /// What was mended on this delivery.
    pub fn take(&self, channel: u16, tag: u64) -> Flaws {
        self.lock().remove(&(channel, tag)).unwrap_or_default()
    }

    /// The body of a delivery, as long as it is in hand.
    pub fn claim(&self, channel: u16, bytes: usize) -> Burden {
        self.load.claim(channel, bytes)
    }

    /// A channel is gone.
    pub fn forget(&self, channel: u16) {
        self.load.forget(channel);
    }

    /// To be called now and then: see [`Load`].
    pub fn pulse(&self) {
        self.load.pulse();
    }

    /// What came is no frame.
    pub(super) fn hear(&self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.foreign.get_or_init(|| *first);
        }
    }

    /// How what came begins, where that is no frame of AMQP.
    pub fn foreign(&self) -> Option<[u8; 4]> {
        self.foreign.get().copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(u16, u64), Flaws>> {
        self.flaws.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
