//! Multipart uploads that killed workers left open are swept, at start and hourly (contract 3).

use jiff::SignedDuration;
use tokio::time::{self, Duration};

use super::Worker;
use super::tenant::Tenant;
use crate::clock;

const EVERY: Duration = Duration::from_secs(3600);

impl Worker {
    /// Sweeps for ever.
    pub(super) async fn sweep(&self) {
        let mut hourly = time::interval(EVERY);
        loop {
            hourly.tick().await;
            for tenant in self.tenants.iter() {
                self.sweep_tenant(tenant).await;
            }
        }
    }

    /// Aborts what is older than any job can be: no living worker has it in hand.
    async fn sweep_tenant(&self, tenant: &Tenant) {
        // Without a prefix of its own nothing tells our uploads from those of others in the bucket.
        let Some(prefix) = tenant.keys.prefix(&tenant.id) else {
            tracing::debug!(tenant = %tenant.id, "not swept: store.key does not begin with {{tenant}}");
            return;
        };
        let oldest = SignedDuration::try_from(self.settings.job_deadline * 2);
        let Some(before) = oldest.ok().and_then(|age| clock::now().checked_sub(age).ok()) else {
            return;
        };
        match tenant.store.sweep(&prefix, before).await {
            Ok(0) => {}
            Ok(swept) => tracing::info!(tenant = %tenant.id, swept, "aborted uploads left open"),
            Err(failure) => tracing::warn!(tenant = %tenant.id, %failure, "not swept"),
        }
    }
}
