//! One tenant as the worker needs it: its clients, its zone, its key template.

use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::ccfs;
use crate::config;
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
    pub store: Store,
    /// The largest recording, in bytes.
    pub max_size: u64,
    /// Jobs at once, 0 for no limit of its own.
    pub max_concurrency: usize,
}

/// The configured tenants, in the configuration's order.
#[derive(Clone)]
pub struct Tenants(Arc<[Arc<Tenant>]>);

impl Tenants {
    pub fn new(tenants: Vec<Tenant>) -> Self {
        Self(tenants.into_iter().map(Arc::new).collect())
    }

    /// Each tenant's own ceiling, by index.
    pub fn ceilings(&self) -> Vec<usize> {
        self.0.iter().map(|tenant| tenant.max_concurrency).collect()
    }

    pub fn index_of(&self, id: &TenantId) -> Option<usize> {
        self.0.iter().position(|tenant| tenant.id == *id)
    }

    pub fn get(&self, index: usize) -> Option<&Arc<Tenant>> {
        self.0.get(index)
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
    pub async fn connect(
        settings: &config::Tenant,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, SetupError> {
        let (ccfs, store) = (&settings.ccfs, &settings.store);
        Ok(Self {
            id: settings.id.clone(),
            label: metrics.tenant(Some(&settings.id)),
            cc_id: settings.cc_id.clone(),
            zone: settings.time_zone.clone(),
            keys: KeyTemplate::parse(&store.key).map_err(SetupError::Key)?,
            ccfs: ccfs::Client::new(ccfs, &settings.access_key, &settings.secret_key)?,
            store: Store::new(store, Arc::clone(metrics)).await?,
            max_size: ccfs.max_size,
            max_concurrency: settings.max_concurrency,
        })
    }
}

/// Why a tenant's clients cannot be built from its configuration.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("store.key: {0}")]
    Key(String),
    #[error(transparent)]
    Ccfs(#[from] ccfs::ClientError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}
