//! Every series callvault shows (contract 7), each named once, with help, unit and closed labels.
//!
//! A leaf that counts what it is told. It must not know who tells it: no broker, no HTTP, no S3.

mod definitions;
mod labels;
mod lags;
mod ledger;
mod process;
mod snapshot;
mod tenants;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use prometheus::{Histogram, Registry, TextEncoder};

use crate::failure::Reason;
use crate::request::TenantId;
use definitions::Definitions;
use labels::Codes;
use lags::Lags;
use process::Process;
use tenants::{ByCode, Tenants};

pub use labels::{
    BreakerTarget, JobOutcome, OK, Reload, Settled, Stage, StageResult, StoreOperation,
};
pub use lags::{LagCounts, Spread};
pub use ledger::{Balance, Ledger, Ticket};
pub use snapshot::{
    BrokerSnapshot, BuffersSnapshot, MessagesSnapshot, Snapshot, TenantSnapshot, Totals,
};

/// The version of the crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The git revision it is built from, else `unknown`.
pub const REVISION: &str = env!("CALLVAULT_REVISION");
/// The Content-Type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// A tenant by its slot, which is its own for the life of the process; [`Metrics::tenant`] finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantLabel(usize);

impl TenantLabel {
    /// No tenant, or one that is not configured: slot 0.
    pub const UNKNOWN: Self = Self(0);

    pub const fn of_slot(slot: usize) -> Self {
        Self(slot)
    }
}

/// What is configured, as far as labels show it.
#[derive(Clone, Debug, Default)]
pub struct Configured {
    /// Each tenant with its slot: not 0, and as small as can be.
    pub tenants: Vec<(usize, TenantId)>,
    /// The result codes of the vendor's table and of every tenant's configuration.
    pub ccfs_codes: BTreeSet<String>,
    /// The [`BreakerTarget`]s of the servers that the tenants use.
    pub servers: BTreeSet<String>,
}

/// All series of a worker. The counters of the line are found by index, not by name.
pub struct Metrics {
    registry: Registry,
    known: RwLock<Known>,
    series: Definitions,
    ledger: Ledger,
    tenants: Arc<Tenants>,
    lags: Lags,
    /// What waits in each queue, of those that the broker tells of.
    queues: Mutex<BTreeMap<String, u32>>,
    /// By [`JobOutcome`].
    job_duration: Vec<Histogram>,
    /// By [`Stage`], then by [`StageResult`].
    stage_duration: Vec<Vec<Histogram>>,
}

/// The label values of what is configured.
struct Known {
    codes: Codes,
    servers: BTreeSet<String>,
}

impl Metrics {
    /// All series that are known without a configuration, at zero.
    ///
    /// # Panics
    /// If a series is defined twice, which is a fault of the program.
    pub fn new() -> Arc<Self> {
        let registry = Registry::new();
        let series = Definitions::new(&registry);
        registry.register(Box::new(Process::new())).expect("every series is named once");
        let codes = Codes::new(&BTreeSet::new());
        series.at_zero(&codes);
        let of_outcome =
            |outcome: &JobOutcome| series.job_duration.with_label_values(&[outcome.as_str()]);
        let of_stage = |stage: &Stage| {
            let labels = |result: &StageResult| [stage.as_str(), result.as_str()];
            let child = |result| series.stage_duration.with_label_values(&labels(result));
            StageResult::ALL.iter().map(child).collect()
        };
        let job_duration = JobOutcome::ALL.iter().map(of_outcome).collect();
        let stage_duration = Stage::ALL.iter().map(of_stage).collect();
        let tenants = Arc::new(Tenants::new());
        let ledger = Ledger::new(Arc::clone(&tenants));
        let known = RwLock::new(Known { codes, servers: BTreeSet::new() });
        let (lags, queues) = (Lags::new(), Mutex::default());
        Arc::new(Self {
            registry,
            known,
            series,
            ledger,
            tenants,
            lags,
            queues,
            job_duration,
            stage_duration,
        })
    }

    /// Shows what is configured from now on. The series of tenants and servers that are not any more
    /// go; a tenant that comes back goes on where it was.
    pub fn adopt(&self, configured: &Configured) {
        self.tenants.adopt(&configured.tenants);
        let tenants = i64::try_from(configured.tenants.len()).unwrap_or(i64::MAX);
        self.series.tenants.set(tenants);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.codes = Codes::new(&configured.ccfs_codes);
        let open = &self.series.breaker_open;
        for gone in known.servers.difference(&configured.servers) {
            // It is there since it was adopted.
            _ = open.remove_label_values(&[gone]);
        }
        for server in &configured.servers {
            open.with_label_values(&[server]);
        }
        known.servers.clone_from(&configured.servers);
    }

    /// The configuration was read again.
    pub fn config_reloaded(&self, result: Reload) {
        self.series.config_reloads.with_label_values(&[result.as_str()]).inc();
    }

    /// The label of a tenant; `unknown` if it is none of the configured ones.
    pub fn tenant(&self, tenant: Option<&TenantId>) -> TenantLabel {
        tenant.map_or(TenantLabel::UNKNOWN, |id| self.tenants.roster().find(id))
    }

    /// The ledger of deliveries.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A job ended; `duration` from the delivery to the settlement of its message.
    pub fn job_finished(&self, tenant: TenantLabel, outcome: JobOutcome, duration: Duration) {
        self.tenants.count(tenant, |numbers| numbers.job(outcome));
        self.job_duration[outcome as usize].observe(duration.as_secs_f64());
    }

    /// A message went to a retry queue.
    pub fn retried(&self, tenant: TenantLabel, reason: &Reason) {
        self.reason(tenant, ByCode::Retries, reason);
    }

    /// A message went to the dead queue.
    pub fn dead(&self, tenant: TenantLabel, reason: &Reason) {
        self.reason(tenant, ByCode::Dead, reason);
    }

    /// An object was stored as CC-FS has it, though its content is refused for `reason`.
    pub fn unproven(&self, tenant: TenantLabel, reason: &Reason) {
        self.reason(tenant, ByCode::Unproven, reason);
    }

    pub fn stage(&self, stage: Stage, result: StageResult, duration: Duration) {
        self.stage_duration[stage as usize][result as usize].observe(duration.as_secs_f64());
    }

    /// From the end of the call to the confirmed event.
    pub fn archive_lag(&self, tenant: TenantLabel, lag: Duration) {
        self.tenants.count(tenant, |numbers| numbers.lag(lag));
        self.lags.observe(lag);
    }

    /// Bytes of a body came from CC-FS, whatever becomes of them.
    pub fn downloaded(&self, tenant: TenantLabel, bytes: u64) {
        self.tenants.count(tenant, |numbers| numbers.downloaded.add(bytes));
    }

    /// Bytes became part of a stored object.
    pub fn stored(&self, tenant: TenantLabel, bytes: u64) {
        self.tenants.count(tenant, |numbers| numbers.stored.add(bytes));
    }

    /// The size of a recording that was archived now.
    #[expect(clippy::cast_precision_loss, reason = "a size in bytes is exact up to 2^53")]
    pub fn recording_size(&self, bytes: u64) {
        self.series.recording_size.observe(bytes as f64);
    }

    /// CC-FS answered, or did not: [`OK`] for a file, a result code, or a reason such as
    /// `ccfs.timeout` or `ccfs.http_500`, with or without its family.
    pub fn ccfs_response(&self, tenant: TenantLabel, code: &str) {
        let known = self.known();
        let code = known.codes.response(code);
        self.tenants.count(tenant, |numbers| numbers.code(ByCode::Responses, code));
    }

    /// The store answered, or did not: [`OK`], an S3 error code, or a reason such as
    /// `store.timeout` or `store.http_404`, with or without its family.
    pub fn store_request(&self, operation: StoreOperation, result: &str) {
        let known = self.known();
        let labels = [operation.as_str(), known.codes.result(result)];
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
        self.tenants.count(tenant, |numbers| numbers.limit.set(jobs as u64));
    }

    /// Of a server that no tenant uses any more nothing is said: nobody would ever close it.
    pub fn breaker_open(&self, target: BreakerTarget<'_>, open: bool) {
        let name = target.to_string();
        let known = self.known();
        if target == BreakerTarget::Events || known.servers.contains(&name) {
            self.series.breaker_open.with_label_values(&[&name]).set(i64::from(open));
        }
    }

    /// How many messages wait in a queue of ours; without a number its series goes.
    pub fn queue_messages(&self, queue: &str, messages: Option<u32>) {
        let depth = &self.series.queue_messages;
        let mut queues = self.queues_known();
        match messages {
            Some(messages) => {
                depth.with_label_values(&[queue]).set(messages.into());
                queues.insert(queue.to_owned(), messages);
            }
            None => {
                // It is not there where it was not known before.
                _ = depth.remove_label_values(&[queue]);
                queues.remove(queue);
            }
        }
    }

    /// How many messages wait in each of our queues, as far as it is known.
    pub fn queues(&self) -> BTreeMap<String, u32> {
        self.queues_known().clone()
    }

    /// How old everything was that has been archived so far, when it was.
    pub fn lags(&self) -> LagCounts {
        self.lags.counts()
    }

    /// All series in the text format of Prometheus ([`CONTENT_TYPE`]).
    pub fn render(&self) -> String {
        let mut text = TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("gathered families have a name and at least one series");
        self.ledger.write(&mut text);
        self.tenants.roster().write(&mut text);
        text
    }

    fn queues_known(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn reason(&self, tenant: TenantLabel, of: ByCode, reason: &Reason) {
        let known = self.known();
        let reason = known.codes.reason(reason);
        self.tenants.count(tenant, |numbers| numbers.code(of, reason));
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
