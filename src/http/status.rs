//! What `/readyz` and `/api/status` answer: the worker's state and numbers as JSON.

use jiff::Timestamp;
use serde::Serialize;

use super::Sources;
use super::health::{Health, Refusal, State};
use super::history::{Backlog, HistorySeen, Lag};
use super::rates::Rate;
use crate::board::{FailuresSeen, JobsSeen, ServersSeen, Standing};
use crate::clock;
use crate::metrics::{
    BrokerSnapshot, BuffersSnapshot, MessagesSnapshot, REVISION, Snapshot, TenantSnapshot, VERSION,
};

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
    #[serde(serialize_with = "clock::to_the_second")]
    now: Timestamp,
    #[serde(serialize_with = "clock::to_the_second")]
    started_at: Timestamp,
    uptime_seconds: u64,
    #[serde(flatten)]
    ready: Ready,
    /// Of the state.
    #[serde(serialize_with = "clock::to_the_second")]
    since: Timestamp,
    #[serde(flatten)]
    servers: ServersSeen,
    rates: Rate,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<Lag>,
    queues: Vec<Queue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog: Option<Backlog>,
    history: HistorySeen,
    broker: BrokerSnapshot,
    messages: MessagesSnapshot,
    buffers: BuffersSnapshot,
    #[serde(flatten)]
    jobs: JobsSeen,
    tenants: Vec<Tenant>,
    failures: FailuresSeen,
}

#[derive(Debug, Serialize)]
struct Queue {
    queue: String,
    messages: u32,
}

/// A tenant's numbers, and why its messages wait.
#[derive(Debug, Serialize)]
struct Tenant {
    #[serde(flatten)]
    numbers: TenantSnapshot,
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
}

impl Status {
    pub(super) fn new(sources: &Sources) -> Self {
        let Sources { shown, rates, history } = sources;
        let (metrics, health, board) = (&shown.metrics, &shown.health, &shown.board);
        let Snapshot { broker, messages, buffers, tenants } = metrics.snapshot();
        let standings = board.tenants.seen();
        let tenant = |numbers: TenantSnapshot| {
            let Standing { paused, breaker_open } =
                standings.get(&numbers.id).copied().unwrap_or_default();
            let breaker = breaker_open.then_some("open");
            Tenant { numbers, breaker, paused: paused.then_some(true) }
        };
        let queues = metrics.queues();
        Self {
            version: VERSION,
            revision: REVISION,
            now: clock::now(),
            started_at: health.started_at(),
            uptime_seconds: health.uptime().as_secs(),
            ready: Ready::new(health),
            since: health.since(),
            servers: board.servers.seen(),
            rates: rates.now(),
            lag: rates.lag(),
            backlog: history.backlog(&queues),
            queues: queues.into_iter().map(|(queue, messages)| Queue { queue, messages }).collect(),
            history: history.seen(),
            broker,
            messages,
            buffers,
            jobs: board.jobs.seen(),
            tenants: tenants.into_iter().map(tenant).collect(),
            failures: board.failures.seen(),
        }
    }
}
