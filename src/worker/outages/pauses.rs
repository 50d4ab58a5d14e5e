//! What keeps consuming back. Several things may at once; consuming goes on when none does.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::broker::Broker;

/// Who may have a say.
#[derive(Clone, Copy)]
pub enum Cause {
    /// The store that every tenant uses.
    Store,
    /// The exchange that events go to.
    Events,
    /// The broker, which takes nothing that is published.
    Broker,
    /// Who is configured: nobody.
    Tenants,
}

const CAUSES: usize = 4;

/// How much is still taken, and why no more, for people.
#[derive(Clone)]
pub enum Hold {
    /// A message now and then, as a probe.
    Taste(String),
    Nothing(String),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Taste(why) | Self::Nothing(why)) = self;
        f.write_str(why)
    }
}

/// All that keeps consuming back now.
pub struct Pauses<'a> {
    broker: &'a Broker,
    holds: Mutex<[Option<Hold>; CAUSES]>,
}

impl<'a> Pauses<'a> {
    pub fn of(broker: &'a Broker) -> Self {
        Self { broker, holds: Mutex::default() }
    }

    /// What `cause` says from now on; the strictest of all rules.
    pub fn set(&self, cause: Cause, hold: Option<Hold>) {
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        holds[cause as usize] = hold;
        let strictest = holds.iter().flatten().max_by_key(|hold| matches!(hold, Hold::Nothing(_)));
        match strictest {
            Some(Hold::Nothing(why)) => self.broker.pause(why),
            Some(Hold::Taste(why)) => self.broker.taste(why),
            None => self.broker.resume(),
        }
    }
}
