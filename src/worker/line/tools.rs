//! What every job needs.

use std::sync::Arc;

use crate::broker::Publisher;
use crate::http::Health;
use crate::metrics::Metrics;
use crate::worker::transfer::Budget;

/// What every job needs.
pub struct Tools {
    pub publisher: Publisher,
    pub budget: Budget,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
}
