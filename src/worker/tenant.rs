//! One tenant as the worker needs it: its clients, its zone, its key template.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::outages::{Gate, Server, Threshold};
use crate::ccfs;
use crate::config::{self, Config, ZipMode};
use crate::failure::{Failure, Reason};
use crate::metrics::{Metrics, TenantLabel};
use crate::recording::KeyTemplate;
use crate::request::{CcId, TenantId};
use crate::store::Store;

/// A configured tenant with everything a job of its needs.
pub struct Tenant {
    pub id: TenantId,
    pub label: TenantLabel,
    pub cc_id: CcId,
    pub zone: TimeZone,
    pub keys: KeyTemplate,
    pub ccfs: ccfs::Client,
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
}

/// The configured tenants, in the configuration's order.
#[derive(Clone)]
pub struct Tenants(Arc<[Arc<Tenant>]>);

impl Tenants {
    /// Builds every tenant's clients; sends no request.
    ///
    /// # Errors
    /// The first key whose value cannot be used.
    pub async fn connect(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, SetupError> {
        let threshold = Threshold::new(&config.retry);
        let mut stores = BTreeMap::new();
        let mut tenants = Vec::new();
        for settings in &config.tenants {
            let place = settings.store.place();
            let gate = stores
                .entry(place.clone())
                .or_insert_with(|| Gate::new(Server::Store(place), threshold, metrics));
            let ccfs = Server::Ccfs(settings.id.to_string());
            let gates = (Gate::new(ccfs, threshold, metrics), Arc::clone(gate));
            let at_once = config.worker.concurrency;
            let connected = Tenant::connect(settings, gates, metrics, at_once).await;
            // The setting may stand in the tenant's own section, so the tenant is named.
            let id = settings.id.clone();
            let tenant = connected.map_err(|what| SetupError { tenant: id, what })?;
            tenants.push(Arc::new(tenant));
        }
        Ok(Self(tenants.into()))
    }

    /// A tenant of the store that every tenant uses, if there is one.
    pub fn common_store(&self) -> Option<&Arc<Tenant>> {
        let first = self.0.first()?;
        let same = |tenant: &Arc<Tenant>| Arc::ptr_eq(&tenant.store_gate, &first.store_gate);
        self.0.iter().all(same).then_some(first)
    }

    /// A tenant of each store.
    pub fn stores(&self) -> Vec<&Arc<Tenant>> {
        let mut stores: Vec<&Arc<Tenant>> = Vec::new();
        for tenant in self.0.iter() {
            if stores.iter().all(|other| !Arc::ptr_eq(&other.store_gate, &tenant.store_gate)) {
                stores.push(tenant);
            }
        }
        stores
    }

    /// Each tenant's slot and its own ceiling.
    pub fn ceilings(&self) -> Vec<(usize, usize)> {
        let own = self.0.iter().map(|tenant| tenant.max_concurrency);
        own.enumerate().map(|(index, own)| (index + 1, own)).collect()
    }

    /// The slot of a tenant; 0 is nobody's.
    pub fn slot_of(&self, id: &TenantId) -> Option<usize> {
        self.0.iter().position(|tenant| tenant.id == *id).map(|index| index + 1)
    }

    /// The tenant of a slot.
    pub fn in_slot(&self, slot: usize) -> Option<&Arc<Tenant>> {
        self.0.get(slot.checked_sub(1)?)
    }

    /// # Errors
    /// `tenant.unknown`, permanent.
    pub fn find(&self, id: &TenantId) -> Result<&Arc<Tenant>, Failure> {
        self.0.iter().find(|tenant| tenant.id == *id).ok_or_else(|| {
            Failure::permanent(Reason::TENANT_UNKNOWN, "no such tenant in the configuration")
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.0.iter()
    }
}

impl Tenant {
    async fn connect(
        settings: &config::Tenant,
        (ccfs_gate, store_gate): (Arc<Gate>, Arc<Gate>),
        metrics: &Arc<Metrics>,
        at_once: usize,
    ) -> Result<Self, Unusable> {
        let (ccfs, store) = (&settings.ccfs, &settings.store);
        Ok(Self {
            id: settings.id.clone(),
            label: metrics.tenant(Some(&settings.id)),
            cc_id: settings.cc_id.clone(),
            zone: settings.time_zone.clone(),
            keys: KeyTemplate::parse(&store.key).map_err(Unusable::Key)?,
            ccfs: ccfs::Client::new(ccfs, &settings.access_key, &settings.secret_key, at_once)?,
            ccfs_gate,
            unpack: store.zip == ZipMode::Unpack,
            store: Store::new(store, Arc::clone(metrics))?,
            store_gate,
            max_size: ccfs.max_size,
            max_concurrency: settings.max_concurrency,
        })
    }
}

/// Why a tenant's clients cannot be built from its configuration.
#[derive(Debug, thiserror::Error)]
#[error("tenant {tenant}: {what}")]
pub struct SetupError {
    tenant: TenantId,
    what: Unusable,
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("store.key: {0}")]
    Key(String),
    #[error(transparent)]
    Ccfs(#[from] ccfs::ClientError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}
