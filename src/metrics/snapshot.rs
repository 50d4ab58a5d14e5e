//! The numbers people ask for, taken from the same series that Prometheus scrapes.

use serde::Serialize;

use super::{JobOutcome, Metrics, TenantLabel};
use crate::request::TenantId;

/// What a worker has done since it started, and what it is doing.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    pub broker: BrokerSnapshot,
    pub messages: MessagesSnapshot,
    pub buffers: BuffersSnapshot,
    /// In the order of the configuration; `unknown` last.
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

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantSnapshot {
    pub id: String,
    pub in_flight: u64,
    pub concurrency_limit: i64,
    pub archived: u64,
    pub already_archived: u64,
    pub absent: u64,
    pub retried: u64,
    /// Went to the dead queue.
    pub failed: u64,
    pub downloaded_bytes: u64,
    pub stored_bytes: u64,
}

impl Metrics {
    pub fn snapshot(&self) -> Snapshot {
        let balance = self.ledger.balance();
        let mut tenants: Vec<_> = (0..self.tenants.len())
            .map(|index| self.tenant_snapshot(TenantLabel(index), balance.in_flight[index]))
            .collect();
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

    fn tenant_snapshot(&self, tenant: TenantLabel, in_flight: u64) -> TenantSnapshot {
        let series = &self.tenants[tenant.0];
        let jobs = |outcome: JobOutcome| series.jobs[outcome as usize].get();
        let limit = match series.id.as_str() {
            TenantId::UNKNOWN => 0,
            id => self.series.concurrency_limit.with_label_values(&[id]).get(),
        };
        TenantSnapshot {
            id: series.id.clone(),
            in_flight,
            concurrency_limit: limit,
            archived: jobs(JobOutcome::Archived),
            already_archived: jobs(JobOutcome::AlreadyArchived),
            absent: jobs(JobOutcome::Absent),
            retried: jobs(JobOutcome::Retried),
            failed: jobs(JobOutcome::Dead),
            downloaded_bytes: series.downloaded.get(),
            stored_bytes: series.stored.get(),
        }
    }
}

impl Snapshot {
    /// Recordings stored now, of all tenants.
    pub fn archived(&self) -> u64 {
        self.tenants.iter().map(|tenant| tenant.archived).sum()
    }

    /// Bytes stored, of all tenants.
    pub fn stored_bytes(&self) -> u64 {
        self.tenants.iter().map(|tenant| tenant.stored_bytes).sum()
    }
}
