//! The question that a job has put to CC-FS, seen by the job and by those who want its place.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Since when a job waits for the first word of CC-FS, if it does.
#[derive(Clone, Debug, Default)]
pub struct Question(Arc<Mutex<Option<Instant>>>);

impl Question {
    pub fn asked(&self) {
        self.set(Some(Instant::now()));
    }

    pub fn answered(&self) {
        self.set(None);
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    pub fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
