//! Every series callvault shows (contract 7), each named once, with help, unit and closed labels.
//!
//! A leaf that counts what it is told. It must not know who tells it: no broker, no HTTP, no S3.

mod definitions;
mod labels;
mod ledger;
mod process;
mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Histogram, IntCounter, Registry, TextEncoder};

use crate::failure::Reason;
use crate::request::TenantId;
use definitions::Definitions;
use labels::Codes;
use process::Process;

pub use labels::{BreakerTarget, JobOutcome, OK, Settled, Stage, StageResult, StoreOperation};
pub use ledger::{Balance, Ledger, Ticket};
pub use snapshot::{Snapshot, TenantSnapshot};

/// The version of the crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The git revision it is built from, else `unknown`.
pub const REVISION: &str = env!("CALLVAULT_REVISION");
/// The Content-Type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// A configured tenant, or [`TenantLabel::UNKNOWN`]; [`Metrics::tenant`] finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantLabel(usize);

impl TenantLabel {
    /// No tenant, or one that is not configured.
    pub const UNKNOWN: Self = Self(0);
}

/// All series of a worker. The counters of the line are found by index, not by name.
pub struct Metrics {
    registry: Registry,
    codes: Codes,
    series: Definitions,
    ledger: Ledger,
    /// By [`TenantLabel`]; the first is `unknown`.
    tenants: Vec<TenantSeries>,
    /// By [`JobOutcome`].
    job_duration: Vec<Histogram>,
    /// By [`Stage`], then by [`StageResult`].
    stage_duration: Vec<Vec<Histogram>>,
}

struct TenantSeries {
    id: String,
    /// By [`JobOutcome`].
    jobs: Vec<IntCounter>,
    archive_lag: Histogram,
    downloaded: IntCounter,
    stored: IntCounter,
}

impl Metrics {
    /// All series that can be known, at zero.
    ///
    /// `ccfs_codes`: the result codes of the vendor's table and of every tenant's configuration;
    /// `stores`: the place of every tenant's. Repeats are welcome.
    ///
    /// # Panics
    /// If two tenants share an id or a series is defined twice: both are faults of the program.
    pub fn new(tenants: &[TenantId], ccfs_codes: &[String], stores: &[String]) -> Arc<Self> {
        let ids: Vec<String> = std::iter::once(TenantId::UNKNOWN)
            .chain(tenants.iter().map(TenantId::as_str))
            .map(str::to_owned)
            .collect();
        let registry = Registry::new();
        let series = Definitions::new(&registry);
        let ledger = Ledger::new(ids.clone());
        for collector in [Box::new(ledger.clone()) as Box<dyn Collector>, Box::new(Process::new())]
        {
            registry.register(collector).expect("every series is named once");
        }
        let codes = Codes::new(ccfs_codes);
        series.at_zero(&codes, tenants, stores);
        let tenants = ids.into_iter().map(|id| TenantSeries::new(id, &series)).collect();
        let of_outcome =
            |outcome: &JobOutcome| series.job_duration.with_label_values(&[outcome.as_str()]);
        let of_stage = |stage: &Stage| {
            let labels = |result: &StageResult| [stage.as_str(), result.as_str()];
            let child = |result| series.stage_duration.with_label_values(&labels(result));
            StageResult::ALL.iter().map(child).collect()
        };
        let job_duration = JobOutcome::ALL.iter().map(of_outcome).collect();
        let stage_duration = Stage::ALL.iter().map(of_stage).collect();
        Arc::new(Self { registry, codes, series, ledger, tenants, job_duration, stage_duration })
    }

    /// The label of a tenant; `unknown` if it is none of the configured ones.
    pub fn tenant(&self, tenant: Option<&TenantId>) -> TenantLabel {
        let configured = |id: &TenantId| self.tenants.iter().position(|t| t.id == id.as_str());
        tenant.and_then(configured).map_or(TenantLabel::UNKNOWN, TenantLabel)
    }

    /// The ledger of deliveries.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A job ended; `duration` from the delivery to the settlement of its message.
    pub fn job_finished(&self, tenant: TenantLabel, outcome: JobOutcome, duration: Duration) {
        self.tenants[tenant.0].jobs[outcome as usize].inc();
        self.job_duration[outcome as usize].observe(duration.as_secs_f64());
    }

    /// A message went to a retry queue.
    pub fn retried(&self, tenant: TenantLabel, reason: &Reason) {
        let labels = [self.id(tenant), self.codes.reason(reason)];
        self.series.retries.with_label_values(&labels).inc();
    }

    /// A message went to the dead queue.
    pub fn dead(&self, tenant: TenantLabel, reason: &Reason) {
        let labels = [self.id(tenant), self.codes.reason(reason)];
        self.series.dead.with_label_values(&labels).inc();
    }

    /// An object was stored as CC-FS has it, though its content is refused for `reason`.
    pub fn unproven(&self, tenant: TenantLabel, reason: &Reason) {
        let labels = [self.id(tenant), self.codes.reason(reason)];
        self.series.unproven.with_label_values(&labels).inc();
    }

    pub fn stage(&self, stage: Stage, result: StageResult, duration: Duration) {
        self.stage_duration[stage as usize][result as usize].observe(duration.as_secs_f64());
    }

    /// From the end of the call to the confirmed event.
    pub fn archive_lag(&self, tenant: TenantLabel, lag: Duration) {
        self.tenants[tenant.0].archive_lag.observe(lag.as_secs_f64());
    }

    /// Bytes of a body came from CC-FS, whatever becomes of them.
    pub fn downloaded(&self, tenant: TenantLabel, bytes: u64) {
        self.tenants[tenant.0].downloaded.inc_by(bytes);
    }

    /// Bytes became part of a stored object.
    pub fn stored(&self, tenant: TenantLabel, bytes: u64) {
        self.tenants[tenant.0].stored.inc_by(bytes);
    }

    /// The size of a recording that was archived now.
    #[expect(clippy::cast_precision_loss, reason = "a size in bytes is exact up to 2^53")]
    pub fn recording_size(&self, bytes: u64) {
        self.series.recording_size.observe(bytes as f64);
    }

    /// CC-FS answered, or did not: [`OK`] for a file, a result code, or a reason such as
    /// `ccfs.timeout` or `ccfs.http_500`, with or without its family.
    pub fn ccfs_response(&self, tenant: TenantLabel, code: &str) {
        let labels = [self.id(tenant), self.codes.response(code)];
        self.series.ccfs_responses.with_label_values(&labels).inc();
    }

    /// The store answered, or did not: [`OK`], an S3 error code, or a reason such as
    /// `store.timeout` or `store.http_404`, with or without its family.
    pub fn store_request(&self, operation: StoreOperation, result: &str) {
        let labels = [operation.as_str(), self.codes.result(result)];
        self.series.store_requests.with_label_values(&labels).inc();
    }

    /// Bytes of the budget are taken.
    pub fn buffer_taken(&self, bytes: u64) {
        self.series.buffer.add(signed(bytes));
    }

    /// Bytes of the budget are free again.
    pub fn buffer_returned(&self, bytes: u64) {
        self.series.buffer.sub(signed(bytes));
    }

    /// The budget itself: `worker.memory`.
    pub fn buffer_limit(&self, bytes: u64) {
        self.series.buffer_limit.set(signed(bytes));
    }

    pub fn broker_connected(&self, connected: bool) {
        self.series.broker_connected.set(i64::from(connected));
    }

    /// Both connections stand again after a loss.
    pub fn broker_reconnected(&self) {
        self.series.broker_reconnects.inc();
    }

    /// How many jobs of a tenant may be in flight now.
    pub fn tenant_concurrency_limit(&self, tenant: TenantLabel, jobs: usize) {
        let limit = self.series.concurrency_limit.with_label_values(&[self.id(tenant)]);
        limit.set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }

    pub fn breaker_open(&self, target: BreakerTarget<'_>, open: bool) {
        let target = target.to_string();
        self.series.breaker_open.with_label_values(&[&target]).set(i64::from(open));
    }

    /// How many messages wait in a queue of ours; without a number its series goes.
    pub fn queue_messages(&self, queue: &str, messages: Option<u32>) {
        let depth = &self.series.queue_messages;
        match messages {
            Some(messages) => depth.with_label_values(&[queue]).set(messages.into()),
            // It is not there where it was not known before.
            None => _ = depth.remove_label_values(&[queue]),
        }
    }

    /// All series in the text format of Prometheus ([`CONTENT_TYPE`]).
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("gathered families have a name and at least one series")
    }

    fn id(&self, tenant: TenantLabel) -> &str {
        &self.tenants[tenant.0].id
    }
}

impl TenantSeries {
    fn new(id: String, series: &Definitions) -> Self {
        let outcome =
            |outcome: &JobOutcome| series.jobs.with_label_values(&[id.as_str(), outcome.as_str()]);
        let jobs = JobOutcome::ALL.iter().map(outcome).collect();
        let archive_lag = series.archive_lag.with_label_values(&[&id]);
        let downloaded = series.downloaded.with_label_values(&[&id]);
        let stored = series.stored.with_label_values(&[&id]);
        Self { id, jobs, archive_lag, downloaded, stored }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
