//! What queues and exchanges are called, as the configuration has it. Pure.

use std::time::Duration;

use crate::config::{self, show_duration};

/// The names of all queues and exchanges.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// What all queues begin with.
    pub prefix: String,
    pub jobs: String,
    pub bulk: String,
    pub suspect: String,
    pub dead: String,
    pub events: String,
    pub calls: String,
    retry: String,
}

impl Names {
    pub(super) fn new(settings: &config::Broker) -> Self {
        let queue = |suffix: &str| format!("{}.{suffix}", settings.queue_prefix);
        Self {
            prefix: settings.queue_prefix.clone(),
            jobs: queue("jobs"),
            bulk: queue("bulk"),
            suspect: queue("suspect"),
            dead: queue("dead"),
            events: settings.events_exchange.clone(),
            calls: settings.calls_exchange.clone(),
            retry: queue("retry"),
        }
    }

    /// The retry queue of this delay, and the exchange before it.
    pub(super) fn retry(&self, delay: Duration) -> String {
        format!("{}.{}", self.retry, show_duration(delay))
    }
}
