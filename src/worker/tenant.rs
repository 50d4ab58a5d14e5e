//! One tenant as the worker needs it: its clients, its zone, its key template.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::outages::Gate;
use crate::ccfs;
use crate::metrics::TenantLabel;
use crate::recording::{KeyTemplate, Located, Place};
use crate::request::{CcId, TenantId, Wanted};
use crate::store::Store;

/// A configured tenant with everything a job of its needs.
pub struct Tenant {
    pub id: TenantId,
    /// Its number, for as long as the process lives: never 0, which is nobody's.
    pub slot: usize,
    pub label: TenantLabel,
    pub cc_id: CcId,
    pub zone: TimeZone,
    pub keys: Arc<KeyTemplate>,
    pub ccfs: ccfs::Client,
    /// Shared by all tenants that go to the same endpoints in the same way.
    pub ccfs_gate: Arc<Gate>,
    pub store: Store,
    /// Whether each entry of a ZIP becomes an object of its own.
    pub unpack: bool,
    /// Shared by all tenants of this endpoint and bucket.
    pub store_gate: Arc<Gate>,
    /// The largest recording, in bytes.
    pub max_size: u64,
    /// Jobs at once, 0 for no limit of its own.
    pub max_concurrency: usize,
    /// Its messages are parked.
    pub paused: bool,
}

impl Tenant {
    /// The call centre that a recording of its is asked from.
    pub fn cc_id<'a>(&'a self, wanted: &'a Wanted) -> &'a CcId {
        wanted.cc_id.as_ref().unwrap_or(&self.cc_id)
    }

    /// What the key of a recording of its is made of.
    pub fn located<'a>(&'a self, wanted: &'a Wanted, place: &'a Place) -> Located<'a> {
        Located { tenant: &self.id, cc_id: self.cc_id(wanted), wanted, place }
    }
}
