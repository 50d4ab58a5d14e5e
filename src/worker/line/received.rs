//! A delivery on its way through the worker, with what goes along with it.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::intake::{Intake, Work};
use crate::board::{self, Progress, Step};
use crate::broker::{Delivery, State};
use crate::identifiers::Identifiers;
use crate::metrics::Ticket;
use crate::worker::fairness::Lane;
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

    /// As people see it while it is at work.
    pub fn shown(&self, identifiers: &Identifiers) -> board::Job {
        let progress = match &self.intake.work {
            Work::Archive(job) => job.progress.clone(),
            Work::Expand(_) => Progress::at(Step::Expand),
            Work::Forward | Work::Reject(_) => Progress::default(),
        };
        let (tenant, call) = self.intake.named(identifiers);
        let tries = self.delivery.state().attempts.saturating_add(1);
        board::Job { tenant, call, tries, live: self.intake.lane == Lane::Live, progress }
    }

    /// When it was delivered, by the clock of messages.
    pub fn arrived(&self, now: Timestamp) -> Timestamp {
        let held = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::MAX);
        now.checked_sub(held).unwrap_or(now)
    }
}
