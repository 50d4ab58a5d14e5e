//! What `/readyz` and `/api/status` answer: the worker's state and numbers as JSON.

use jiff::Timestamp;
use serde::Serialize;

use super::health::{Health, Refusal, State, to_the_second};
use super::rates::Rate;
use crate::metrics::{Metrics, REVISION, Snapshot, VERSION};

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub(super) struct Ready {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What hinders it although it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// Servers that refuse their credentials; they make one tenant fail, not the worker unready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Refusal>,
}

impl Ready {
    pub(super) fn new(health: &Health) -> Self {
        let state = health.state();
        Self {
            status: state.as_str(),
            reason: state.reason().map(str::to_owned),
            warning: health.warning(),
            refused: health.refusing(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.status == State::Consuming.as_str()
    }
}

/// The answer of `/api/status`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    version: &'static str,
    revision: &'static str,
    #[serde(flatten)]
    ready: Ready,
    #[serde(serialize_with = "to_the_second")]
    started_at: Timestamp,
    uptime_seconds: u64,
    rates: Rate,
    #[serde(flatten)]
    numbers: Snapshot,
}

impl Status {
    pub(super) fn new(metrics: &Metrics, health: &Health, rates: Rate) -> Self {
        Self {
            version: VERSION,
            revision: REVISION,
            ready: Ready::new(health),
            started_at: health.started_at(),
            uptime_seconds: health.uptime().as_secs(),
            rates,
            numbers: metrics.snapshot(),
        }
    }
}
