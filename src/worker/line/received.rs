//! A delivery on its way through the worker, with what goes along with it.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::intake::Intake;
use crate::broker::{Delivery, State};
use crate::metrics::Ticket;
use crate::worker::transfer::Room;

/// A delivery that has been read and waits for its place or is at work.
pub struct Received {
    pub delivery: Delivery,
    pub ticket: Ticket,
    pub intake: Intake,
    /// A suspect whose worker has ended.
    pub crashed: bool,
    pub since: Instant,
    /// What a large dump takes of the budget, where that had room for it.
    pub room: Option<Room>,
}

impl Received {
    /// Its past, with the crash that it comes back from: what becomes of the message now may never
    /// be said of it.
    pub fn past(&self, now: Timestamp) -> State {
        let state = self.delivery.state().seen(now);
        State { crashes: state.crashes.saturating_add(u32::from(self.crashed)), ..state }
    }

    /// When it was delivered, by the clock of messages.
    pub fn arrived(&self, now: Timestamp) -> Timestamp {
        let held = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::MAX);
        now.checked_sub(held).unwrap_or(now)
    }
}
