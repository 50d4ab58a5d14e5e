//! What the metrics show of breakers: one series a target, however many breakers have it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::server::Server;
use crate::metrics::Metrics;

/// On while a breaker of its target is open.
pub struct Lamp {
    server: Server,
    open: Mutex<usize>,
    metrics: Arc<Metrics>,
}

impl Lamp {
    pub fn new(server: Server, metrics: Arc<Metrics>) -> Self {
        Self { server, open: Mutex::default(), metrics }
    }

    /// A breaker has opened, or one that was open has closed.
    pub fn turn(&self, opened: bool) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open = if opened { *open + 1 } else { open.saturating_sub(1) };
        self.metrics.breaker_open(self.server.target(), *open > 0);
    }
}

impl fmt::Debug for Lamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lamp({})", self.server)
    }
}
