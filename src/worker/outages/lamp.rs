//! What is seen of a server: by the metrics, whether a breaker of its is open, and by people, what its
//! answers say of it. One a target, however many breakers have it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::server::Server;
use crate::board::{self, Board};
use crate::failure::{Class, Failure};
use crate::metrics::Metrics;

/// On while a breaker of its target is open.
pub struct Lamp {
    server: Server,
    open: Mutex<usize>,
    metrics: Arc<Metrics>,
    seen: Arc<board::Server>,
}

impl Lamp {
    pub fn new(server: Server, metrics: Arc<Metrics>, board: &Board) -> Self {
        let seen = board.servers.add(server.kind(), server.to_string());
        Self { server, open: Mutex::default(), metrics, seen }
    }

    /// A breaker has opened, or one that was open has closed.
    pub fn turn(&self, opened: bool) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open = if opened { *open + 1 } else { open.saturating_sub(1) };
        self.metrics.breaker_open(self.server.target(), *open > 0);
        match (opened, *open) {
            (true, 1) => self.seen.opened(),
            (false, 0) => self.seen.closed(),
            _ => {}
        }
    }

    /// A request was answered, whatever it said.
    pub fn answered(&self) {
        self.seen.answered();
    }

    /// A request brought no usable answer.
    pub fn unanswered(&self, failure: &Failure) {
        self.seen.silent(failure);
    }

    /// A request was answered so.
    pub fn heard<T>(&self, answer: &Result<T, Failure>) {
        match answer {
            Err(failure) if failure.class == Class::Refused => self.seen.refused(failure),
            Err(failure) if failure.class == Class::Throttled => self.seen.slowed(failure),
            _ => self.seen.answered(),
        }
    }
}

impl fmt::Debug for Lamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lamp({})", self.server)
    }
}
