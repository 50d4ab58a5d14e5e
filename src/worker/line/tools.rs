//! What every job needs.

use std::sync::Arc;

use crate::board::Board;
use crate::broker::Publisher;
use crate::http::Health;
use crate::identifiers::Identifiers;
use crate::metrics::Metrics;
use crate::worker::outages::Gate;
use crate::worker::transfer::Budget;

/// What every job needs.
pub struct Tools {
    pub publisher: Publisher,
    /// The way to the events' exchange.
    pub events: Arc<Gate>,
    pub budget: Budget,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    /// What people see of the work.
    pub board: Arc<Board>,
    /// How names of calls are written to the log.
    pub identifiers: Identifiers,
}
