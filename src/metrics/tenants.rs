//! What is counted for each tenant. They come and go while a worker runs: each has its slot, at which
//! its numbers are found without looking for its name, and which it finds again when it comes back.
//!
//! A thousand tenants are shown at every scrape, so that a tenant at rest has ten series, and all
//! others begin when they are first counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::TenantLabel;
use super::labels::JobOutcome;
use super::text::Family;
use crate::request::TenantId;

const JOBS: Family =
    Family { name: "callvault_jobs_total", help: "Jobs by how they ended.", kind: "counter" };
const DOWNLOADED: Family = Family {
    name: "callvault_downloaded_bytes_total",
    help: "Bytes of recordings read from CC-FS.",
    kind: "counter",
};
const STORED: Family = Family {
    name: "callvault_stored_bytes_total",
    help: "Bytes of recordings stored.",
    kind: "counter",
};
const LIMIT: Family = Family {
    name: "callvault_tenant_concurrency_limit",
    help: "Jobs a tenant may have in flight now.",
    kind: "gauge",
};
const LAG: Family = Family {
    name: "callvault_archive_lag_seconds",
    help: "From the end of the call to its recording being archived.",
    kind: "histogram",
};

/// CC-FS has a recording minutes to hours after the call; `retry.max_age` is days. Each costs every
/// busy tenant a line of a scrape.
const LAG_SECONDS: [u32; 8] = [30, 60, 300, 900, 3600, 14_400, 86_400, 604_800];

/// What is counted by tenant and code: one series a code that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByCode {
    Retries,
    Dead,
    Unproven,
    Responses,
}

impl ByCode {
    const ALL: [Self; 4] = [Self::Retries, Self::Dead, Self::Unproven, Self::Responses];

    /// The family, and the label that holds the code.
    fn family(self) -> (Family, &'static str) {
        let (name, label, help) = match self {
            Self::Retries => (
                "callvault_retries_total",
                "reason",
                "Messages published to a retry queue, parked ones included.",
            ),
            Self::Dead => {
                ("callvault_dead_total", "reason", "Messages published to the dead queue.")
            }
            Self::Unproven => (
                "callvault_unproven_total",
                "reason",
                "Objects stored as CC-FS has them though their content contradicts itself.",
            ),
            Self::Responses => (
                "callvault_ccfs_responses_total",
                "code",
                "Answers of CC-FS by code (ok: a file), timeouts and failed connections.",
            ),
        };
        (Family { name, help, kind: "counter" }, label)
    }
}

/// The tenants that are configured, and what was counted for all that ever were.
pub(super) struct Tenants(RwLock<Roster>);

pub(super) struct Roster {
    /// By slot; the first is nobody's, `unknown`.
    slots: Vec<Slot>,
    /// The configured ones.
    ids: HashMap<TenantId, TenantLabel>,
}

struct Slot {
    id: String,
    /// What is counted for one that is not stays here, unseen.
    configured: bool,
    numbers: Numbers,
}

/// What was counted for one tenant.
#[derive(Default)]
pub(super) struct Numbers {
    jobs: [AtomicU64; JobOutcome::ALL.len()],
    pub downloaded: Count,
    pub stored: Count,
    pub limit: Count,
    /// From the first recording on.
    lag: Mutex<Option<Box<Lag>>>,
    /// By [`ByCode`].
    by_code: [Mutex<BTreeMap<String, u64>>; ByCode::ALL.len()],
}

/// A number that is counted or set from anywhere.
#[derive(Default)]
pub(super) struct Count(AtomicU64);

#[derive(Default)]
struct Lag {
    /// Not added up: each holds what is above the bound before it.
    buckets: [u64; LAG_SECONDS.len() + 1],
    seconds: f64,
}

impl Tenants {
    pub(super) fn new() -> Self {
        let nobody = Slot::new(TenantId::UNKNOWN.to_owned(), true);
        Self(RwLock::new(Roster { slots: vec![nobody], ids: HashMap::new() }))
    }

    /// These are configured from now on, and no others.
    pub(super) fn adopt(&self, tenants: &[(usize, TenantId)]) {
        let mut roster = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Roster { slots, ids } = &mut *roster;
        slots.iter_mut().skip(1).for_each(|slot| slot.configured = false);
        ids.clear();
        for (slot, id) in tenants {
            ids.insert(id.clone(), TenantLabel::of_slot(*slot));
            if *slot >= slots.len() {
                slots.resize_with(slot + 1, || Slot::new(String::new(), false));
            }
            let slot = &mut slots[*slot];
            if slot.id.is_empty() {
                id.as_str().clone_into(&mut slot.id);
            }
            slot.configured = true;
        }
    }

    pub(super) fn roster(&self) -> RwLockReadGuard<'_, Roster> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers of a tenant for an instant.
    pub(super) fn count(&self, tenant: TenantLabel, count: impl FnOnce(&Numbers)) {
        count(self.roster().numbers(tenant));
    }
}

impl Roster {
    /// `unknown` for a tenant that is not configured.
    pub(super) fn find(&self, id: &TenantId) -> TenantLabel {
        self.ids.get(id).copied().unwrap_or(TenantLabel::UNKNOWN)
    }

    /// Nobody's, where no tenant ever had the slot.
    pub(super) fn numbers(&self, tenant: TenantLabel) -> &Numbers {
        &self.slot(tenant).numbers
    }

    pub(super) fn id(&self, tenant: TenantLabel) -> &str {
        &self.slot(tenant).id
    }

    pub(super) fn is_configured(&self, tenant: TenantLabel) -> bool {
        self.slot(tenant).configured
    }

    fn slot(&self, tenant: TenantLabel) -> &Slot {
        self.slots.get(tenant.0).unwrap_or(&self.slots[TenantLabel::UNKNOWN.0])
    }

    /// Every slot that there is, nobody's first.
    pub(super) fn labels(&self) -> impl Iterator<Item = TenantLabel> {
        (0..self.slots.len()).map(TenantLabel::of_slot)
    }

    /// All series, but for those of the ledger.
    pub(super) fn write(&self, text: &mut String) {
        let shown = || self.slots.iter().filter(|slot| slot.configured);
        JOBS.open(text);
        for Slot { id, numbers, .. } in shown() {
            for outcome in JobOutcome::ALL {
                let labels = [("outcome", outcome.as_str()), ("tenant", id)];
                JOBS.series(text, &labels, numbers.jobs(*outcome));
            }
        }
        let mut plain = |family: Family, skip, number: fn(&Numbers) -> &Count| {
            family.open(text);
            for Slot { id, numbers, .. } in shown().skip(skip) {
                family.series(text, &[("tenant", id)], number(numbers).get());
            }
        };
        plain(DOWNLOADED, 0, |numbers| &numbers.downloaded);
        plain(STORED, 0, |numbers| &numbers.stored);
        // Nobody has no limit.
        plain(LIMIT, 1, |numbers| &numbers.limit);
        LAG.open(text);
        for Slot { id, numbers, .. } in shown() {
            if let Some(lag) = &*lock(&numbers.lag) {
                lag.write(text, id);
            }
        }
        for by_code in ByCode::ALL {
            let (family, label) = by_code.family();
            family.open(text);
            for Slot { id, numbers, .. } in shown() {
                for (code, count) in &*lock(&numbers.by_code[by_code as usize]) {
                    family.series(text, &[(label, code), ("tenant", id)], count);
                }
            }
        }
    }
}

impl Slot {
    fn new(id: String, configured: bool) -> Self {
        Self { id, configured, numbers: Numbers::default() }
    }
}

impl Numbers {
    pub(super) fn jobs(&self, outcome: JobOutcome) -> u64 {
        self.jobs[outcome as usize].load(Ordering::Relaxed)
    }

    pub(super) fn job(&self, outcome: JobOutcome) {
        self.jobs[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lag(&self, lag: Duration) {
        lock(&self.lag).get_or_insert_default().observe(lag);
    }

    pub(super) fn code(&self, of: ByCode, code: &str) {
        let mut counts = lock(&self.by_code[of as usize]);
        match counts.get_mut(code) {
            Some(count) => *count += 1,
            None => _ = counts.insert(code.to_owned(), 1),
        }
    }
}

impl Count {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

impl Lag {
    fn observe(&mut self, lag: Duration) {
        let within = |bound: &u32| lag <= Duration::from_secs((*bound).into());
        let bucket = LAG_SECONDS.iter().position(within).unwrap_or(LAG_SECONDS.len());
        self.buckets[bucket] += 1;
        self.seconds += lag.as_secs_f64();
    }

    fn write(&self, text: &mut String, tenant: &str) {
        let mut count = 0;
        let bounds = LAG_SECONDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, within) in bounds.zip(self.buckets) {
            count += within;
            LAG.suffixed(text, "_bucket", &[("tenant", tenant), ("le", &bound)], count);
        }
        LAG.suffixed(text, "_sum", &[("tenant", tenant)], self.seconds);
        LAG.suffixed(text, "_count", &[("tenant", tenant)], count);
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is counted is whole at every instant.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
