//! SIGHUP: the configuration is read again, and its tenants are those of the worker (contract 6).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::plain;
use crate::config::{Config, Loaded, Mistakes};
use crate::lifecycle::Lifecycle;
use crate::metrics::{Metrics, Reload};
use crate::request::TenantId;
use crate::worker::Reloads;

/// Reads the configuration, as it is now.
pub trait Read: Fn() -> Result<Loaded, Mistakes> + Send + Sync + 'static {}

impl<F: Fn() -> Result<Loaded, Mistakes> + Send + Sync + 'static> Read for F {}

/// Reads the configuration again at each SIGHUP; never ends. `started` is what the worker began with:
/// what of it cannot change while it runs stays in force.
pub async fn at_each_hangup(
    lifecycle: Lifecycle,
    read: impl Read,
    mut started: Config,
    worker: Reloads,
    metrics: Arc<Metrics>,
) {
    let read = Arc::new(read);
    let mut before = ids(&started);
    // Only what cannot change is compared; a thousand tenants are not kept for that.
    started.tenants = Vec::new();
    loop {
        lifecycle.hung_up().await;
        let read = Arc::clone(&read);
        // It reads files, and they may be on a network.
        let reading = tokio::task::spawn_blocking(move || read());
        let loaded = match reading.await.expect("reading a configuration does not panic") {
            Ok(loaded) => loaded,
            Err(mistakes) => {
                refused(&metrics, &mistakes.to_string());
                continue;
            }
        };
        let (now, fixed) = (ids(&loaded.config), started.fixed_differences(&loaded.config));
        let warnings = [loaded.warnings, plain::warnings(&loaded.config)].concat();
        if let Err(error) = worker.reload(loaded.config).await {
            refused(&metrics, &error.to_string());
            continue;
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        for key in fixed {
            tracing::warn!(
                key,
                "it differs now, and cannot change while the worker runs: restart it"
            );
        }
        let come: Vec<_> = now.difference(&before).map(TenantId::as_str).collect();
        let gone: Vec<_> = before.difference(&now).map(TenantId::as_str).collect();
        tracing::info!(
            tenants = now.len(),
            come = come.join(","),
            gone = gone.join(","),
            "the configuration was read again"
        );
        metrics.config_reloaded(Reload::Ok);
        before = now;
    }
}

fn ids(config: &Config) -> BTreeSet<TenantId> {
    config.tenants.iter().map(|tenant| tenant.id.clone()).collect()
}

fn refused(metrics: &Metrics, why: &str) {
    tracing::error!(
        "the configuration was read again, and cannot be used; the old one stays: {why}"
    );
    metrics.config_reloaded(Reload::Error);
}
