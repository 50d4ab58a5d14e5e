//! The tenants of now: they come, change and go while the worker runs (contract 6). What they have
//! in common they share, and what is equal before and after a change stays the same.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::outages::{Gate, Gates};
use super::tenant::Tenant;
use crate::board::{Board, Member};
use crate::ccfs::{self, Ways};
use crate::config::{self, Config, ZipMode};
use crate::failure::{Failure, Reason};
use crate::metrics::{BreakerTarget, Configured, Metrics, TenantLabel};
use crate::recording::KeyTemplate;
use crate::request::TenantId;
use crate::shared::Shared;
use crate::store::{Store, Stores};

/// The configured tenants; cheap to clone, and all clones see them change.
#[derive(Clone)]
pub struct Tenants(Arc<Inner>);

struct Inner {
    now: watch::Sender<Arc<Roster>>,
    common: Common,
}

/// The tenants of one configuration, in its order.
#[derive(Default)]
pub struct Roster {
    tenants: Vec<Arc<Tenant>>,
    by_id: HashMap<TenantId, Arc<Tenant>>,
    stores: Arc<[(Arc<Gate>, Store)]>,
}

/// What tenants have in common, and what outlives them.
struct Common {
    ways: Ways,
    stores: Stores,
    templates: Shared<String, KeyTemplate>,
    gates: Gates,
    /// Of all tenants that there ever were.
    slots: Mutex<HashMap<TenantId, usize>>,
}

impl Tenants {
    /// Builds every tenant's clients; sends no request.
    ///
    /// # Errors
    /// The first key whose value cannot be used.
    pub fn connect(
        config: &Config,
        metrics: &Arc<Metrics>,
        board: &Arc<Board>,
    ) -> Result<Self, SetupError> {
        let common = Common {
            ways: Ways::new(config.worker.concurrency),
            stores: Stores::new(Arc::clone(metrics)),
            templates: Shared::default(),
            gates: Gates::new(config, metrics, board),
            slots: Mutex::default(),
        };
        let now = watch::Sender::new(Arc::new(common.roster(&config.tenants)?));
        Ok(Self(Arc::new(Inner { now, common })))
    }

    /// What the tenants of `config` would be; nothing changes yet. Clients, stores and gates of equal
    /// settings are those of before.
    ///
    /// # Errors
    /// The first key whose value cannot be used.
    pub fn prepare(&self, config: &Config) -> Result<Roster, SetupError> {
        self.0.common.roster(&config.tenants)
    }

    /// These are the tenants from now on. Jobs under way end with what they began with.
    pub fn change(&self, roster: Roster) {
        self.0.now.send_replace(Arc::new(roster));
    }

    pub fn now(&self) -> Arc<Roster> {
        Arc::clone(&self.0.now.borrow())
    }

    /// For those who wait for a change.
    pub fn watch(&self) -> watch::Receiver<Arc<Roster>> {
        self.0.now.subscribe()
    }

    /// The slot of a configured tenant.
    pub fn slot_of(&self, id: &TenantId) -> Option<usize> {
        self.0.now.borrow().by_id.get(id).map(|tenant| tenant.slot)
    }

    /// # Errors
    /// `tenant.unknown`, permanent.
    pub fn find(&self, id: &TenantId) -> Result<Arc<Tenant>, Failure> {
        self.0.now.borrow().by_id.get(id).cloned().ok_or_else(|| {
            Failure::permanent(Reason::TENANT_UNKNOWN, "no such tenant in the configuration")
        })
    }

    /// Waits for the aborts of all uploads that were dropped, also by those who have gone.
    pub async fn settle_aborts(&self) {
        self.0.common.stores.settle_aborts().await;
    }
}

impl Roster {
    fn new(tenants: Vec<Arc<Tenant>>) -> Self {
        let by_id = tenants.iter().map(|tenant| (tenant.id.clone(), Arc::clone(tenant))).collect();
        let mut seen = HashSet::new();
        let first = |tenant: &&Arc<Tenant>| seen.insert(Arc::as_ptr(&tenant.store_gate));
        let stores = tenants
            .iter()
            .filter(first)
            .map(|tenant| (Arc::clone(&tenant.store_gate), tenant.store.clone()))
            .collect();
        Self { tenants, by_id, stores }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    pub fn find(&self, id: &TenantId) -> Option<&Arc<Tenant>> {
        self.by_id.get(id)
    }

    /// What labels show of it; `config` is the one that it is built from.
    pub fn configured(&self, config: &Config) -> Configured {
        let (mut ccfs_codes, mut servers) = (BTreeSet::new(), BTreeSet::new());
        for tenant in &config.tenants {
            ccfs_codes.extend(ccfs::known_codes(&tenant.ccfs));
            servers.insert(BreakerTarget::Ccfs(tenant.ccfs.place()).to_string());
            servers.insert(BreakerTarget::Store(&tenant.store.place()).to_string());
        }
        let tenants = self.tenants.iter().map(|tenant| (tenant.slot, tenant.id.clone()));
        Configured { tenants: tenants.collect(), ccfs_codes, servers }
    }

    /// What people see of them besides their numbers.
    pub fn members(&self) -> Vec<Member> {
        let member = |tenant: &Arc<Tenant>| Member {
            id: tenant.id.to_string(),
            paused: tenant.paused,
            breakers: vec![tenant.ccfs_gate.watch(), tenant.store_gate.watch()],
        };
        self.tenants.iter().map(member).collect()
    }

    /// Each tenant's slot and its own ceiling.
    pub fn ceilings(&self) -> Vec<(usize, usize)> {
        self.tenants.iter().map(|tenant| (tenant.slot, tenant.max_concurrency)).collect()
    }

    /// Each endpoint and bucket once, with its gate.
    pub fn stores(&self) -> Arc<[(Arc<Gate>, Store)]> {
        Arc::clone(&self.stores)
    }

    /// The gate of the store that every tenant uses, if there is one.
    pub fn common_store(&self) -> Option<&Arc<Gate>> {
        match &*self.stores {
            [(gate, _)] => Some(gate),
            _ => None,
        }
    }
}

impl Common {
    fn roster(&self, tenants: &[config::Tenant]) -> Result<Roster, SetupError> {
        let connect = |settings| {
            self.connect(settings)
                // The setting may stand in the tenant's own section, so the tenant is named.
                .map_err(|what| SetupError { tenant: settings.id.clone(), what })
        };
        let tenants = tenants.iter().map(connect).collect::<Result<_, _>>()?;
        Ok(Roster::new(tenants))
    }

    fn connect(&self, settings: &config::Tenant) -> Result<Arc<Tenant>, Unusable> {
        let (ccfs, store) = (&settings.ccfs, &settings.store);
        let keys = self.templates.get(store.key.clone(), |key| KeyTemplate::parse(key));
        let client =
            ccfs::Client::by(&self.ways, ccfs, &settings.access_key, &settings.secret_key)?;
        let slot = self.slot(&settings.id);
        Ok(Arc::new(Tenant {
            id: settings.id.clone(),
            slot,
            label: TenantLabel::of_slot(slot),
            cc_id: settings.cc_id.clone(),
            zone: settings.time_zone.clone(),
            keys: keys.map_err(Unusable::Key)?,
            ccfs_gate: self.gates.of_ccfs(ccfs.place(), client.route()),
            ccfs: client,
            unpack: store.zip == ZipMode::Unpack,
            store: self.stores.store(store)?,
            store_gate: self.gates.of_store(&store.place()),
            max_size: ccfs.max_size,
            max_concurrency: settings.max_concurrency,
            paused: settings.paused,
        }))
    }

    fn slot(&self, id: &TenantId) -> usize {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // The first is nobody's.
        let next = slots.len() + 1;
        *slots.entry(id.clone()).or_insert(next)
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

#[cfg(test)]
mod tests;
