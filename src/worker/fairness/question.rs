//! The question that a job has put to CC-FS, seen by the job and by those who want its place.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

/// Since when a job waits for the first word of CC-FS, if it does.
#[derive(Clone, Debug, Default)]
pub struct Question(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    /// Who is told when a recording comes, and the slot of the tenant.
    ear: Option<(UnboundedSender<usize>, usize)>,
}

impl Question {
    pub fn asked(&self) {
        self.with(|state| state.since = Some(Instant::now()));
    }

    /// It waits no longer.
    pub fn answered(&self) {
        self.with(|state| state.since = None);
    }

    /// A recording comes, and may do so for long.
    pub fn comes(&self) {
        let ear = self.with(|state| state.ear.take());
        if let Some((ear, tenant)) = ear {
            // Nobody listens any more once the worker drains.
            let _ = ear.send(tenant);
        }
    }

    pub fn tells(&self, ear: UnboundedSender<usize>, tenant: usize) {
        self.with(|state| state.ear = Some((ear, tenant)));
    }

    pub fn since(&self) -> Option<Instant> {
        self.with(|state| state.since)
    }

    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
