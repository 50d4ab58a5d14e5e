//! The numbers people ask for, taken from the same series that Prometheus scrapes.

use serde::Serialize;

use super::tenants::Roster;
use super::{JobOutcome, Metrics, TenantLabel};

/// What a worker has done since it started, and what it is doing.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub broker: BrokerSnapshot,
    pub messages: MessagesSnapshot,
    pub buffers: BuffersSnapshot,
    /// In the order in which they were first configured; `unknown` last.
    pub tenants: Vec<TenantSnapshot>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerSnapshot {
    pub connected: bool,
    pub reconnects: u64,
}

/// The ledger: received = acknowledged + given back + in flight.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessagesSnapshot {
    pub received: u64,
    pub acknowledged: u64,
    pub given_back: u64,
    pub in_flight: u64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuffersSnapshot {
    pub in_use_bytes: i64,
    pub limit_bytes: i64,
}

/// What is zero is left out but for the limit: a thousand tenants have to be short.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantSnapshot {
    pub id: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub in_flight: u64,
    /// Jobs that it may have in flight now.
    pub limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub archived: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub already_archived: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub absent: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub retried: u64,
    /// Went to the dead queue.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub downloaded_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub stored_bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What was archived since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Recordings stored now.
    pub archived: u64,
    pub stored_bytes: u64,
}

impl Metrics {
    pub fn snapshot(&self) -> Snapshot {
        let balance = self.ledger.balance();
        let roster = self.tenants.roster();
        let shown = |tenant: &TenantLabel| roster.is_configured(*tenant) || balance.of(*tenant) > 0;
        let tenant = |tenant| tenant_snapshot(&roster, tenant, balance.of(tenant));
        let mut tenants: Vec<_> = roster.labels().filter(shown).map(tenant).collect();
        tenants.rotate_left(1);
        Snapshot {
            broker: BrokerSnapshot {
                connected: self.series.broker_connected.get() == 1,
                reconnects: self.series.broker_reconnects.get(),
            },
            messages: MessagesSnapshot {
                received: balance.received,
                acknowledged: balance.acked,
                given_back: balance.given_back,
                in_flight: balance.in_flight.iter().sum(),
            },
            buffers: BuffersSnapshot {
                in_use_bytes: self.series.buffer.get(),
                limit_bytes: self.series.buffer_limit.get(),
            },
            tenants,
        }
    }

    /// What was stored for all tenants, also for those that are not configured any more.
    pub fn totals(&self) -> Totals {
        let roster = self.tenants.roster();
        let numbers = roster.labels().map(|tenant| roster.numbers(tenant));
        numbers.fold(Totals::default(), |sum, numbers| Totals {
            archived: sum.archived + numbers.jobs(JobOutcome::Archived),
            stored_bytes: sum.stored_bytes + numbers.stored.get(),
        })
    }
}

fn tenant_snapshot(roster: &Roster, tenant: TenantLabel, in_flight: u64) -> TenantSnapshot {
    let numbers = roster.numbers(tenant);
    TenantSnapshot {
        id: roster.id(tenant).to_owned(),
        in_flight,
        limit: numbers.limit.get(),
        archived: numbers.jobs(JobOutcome::Archived),
        already_archived: numbers.jobs(JobOutcome::AlreadyArchived),
        absent: numbers.jobs(JobOutcome::Absent),
        retried: numbers.jobs(JobOutcome::Retried),
        failed: numbers.jobs(JobOutcome::Dead),
        downloaded_bytes: numbers.downloaded.get(),
        stored_bytes: numbers.stored.get(),
    }
}
