//! Multipart uploads that killed workers left open are swept, at start and hourly (contract 3).

use jiff::SignedDuration;
use tokio::time::{self, Duration};

use super::tenant::{Tenant, Tenants};
use crate::clock;
use crate::failure::Failure;
use crate::store;

const EVERY: Duration = Duration::from_secs(3600);

/// Sweeps for ever.
pub async fn hourly(tenants: &Tenants, job_deadline: Duration) {
    let mut hourly = time::interval(EVERY);
    loop {
        hourly.tick().await;
        for tenant in tenants.iter() {
            sweep(tenant, job_deadline).await;
        }
    }
}

/// Aborts what is older than any job can be: no living worker has it in hand.
async fn sweep(tenant: &Tenant, job_deadline: Duration) {
    // Without a prefix of its own nothing tells our uploads from those of others in the bucket.
    let Some(prefix) = tenant.keys.prefix(&tenant.id) else {
        tracing::debug!(tenant = %tenant.id, "not swept: store.key does not begin with {{tenant}}");
        return;
    };
    let oldest = SignedDuration::try_from(job_deadline * 2);
    let Some(before) = oldest.ok().and_then(|age| clock::now().checked_sub(age).ok()) else {
        return;
    };
    match tenant.store.sweep(&prefix, before).await {
        Ok(0) => {}
        Ok(swept) => tracing::info!(tenant = %tenant.id, swept, "aborted uploads left open"),
        Err(failure) => not_swept(tenant, &failure),
    }
}

/// The cause first: it is the first word of a store that cannot be used, before any recording comes.
fn not_swept(tenant: &Tenant, failure: &Failure) {
    let (tenant, detail) = (&tenant.id, &failure.detail);
    if store::stops_everything(&failure.reason) {
        tracing::error!(%tenant, reason = %failure.reason, "nothing can be stored: {detail}");
    } else {
        tracing::warn!(
            %tenant, reason = %failure.reason,
            "{detail}; uploads that killed workers left open are not aborted before that is mended"
        );
    }
}
