//! Multipart uploads that killed workers left open are swept, at start and hourly (contract 3).

use std::collections::HashMap;

use jiff::SignedDuration;
use tokio::time::{self, Duration};

use super::roster::{Roster, Tenants};
use crate::clock;
use crate::failure::Failure;
use crate::store::{self, Prefixes, Store};

const EVERY: Duration = Duration::from_secs(3600);

/// Sweeps for ever: the buckets of all tenants that there are at each time.
pub async fn hourly(tenants: &Tenants, job_deadline: Duration) {
    let mut hourly = time::interval(EVERY);
    loop {
        hourly.tick().await;
        for bucket in buckets(&tenants.now()) {
            sweep(bucket, job_deadline).await;
        }
    }
}

/// A bucket as one key sees it: another may be allowed less.
#[derive(Default)]
struct Bucket {
    /// One of each settings.
    stores: Vec<Store>,
    /// Of the keys of all its tenants.
    prefixes: Vec<String>,
    /// The first of them.
    tenant: String,
}

/// Each bucket once, however many tenants it has.
fn buckets(roster: &Roster) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut known = HashMap::new();
    for tenant in roster.iter() {
        // Without a prefix of its own nothing tells our uploads from those of others in the bucket.
        let Some(prefix) = tenant.keys.prefix(&tenant.id) else {
            let tenant = &tenant.id;
            tracing::debug!(%tenant, "not swept: store.key does not begin with {{tenant}}");
            continue;
        };
        let place = *known.entry(tenant.store.view()).or_insert(buckets.len());
        if place == buckets.len() {
            buckets.push(Bucket { tenant: tenant.id.to_string(), ..Bucket::default() });
        }
        let bucket = &mut buckets[place];
        bucket.prefixes.push(prefix);
        if !bucket.stores.iter().any(|store| store.is(&tenant.store)) {
            bucket.stores.push(tenant.store.clone());
        }
    }
    buckets
}

/// Aborts what is older than any job can be: no living worker has it in hand.
async fn sweep(bucket: Bucket, job_deadline: Duration) {
    let oldest = SignedDuration::try_from(job_deadline * 2);
    let Some(before) = oldest.ok().and_then(|age| clock::now().checked_sub(age).ok()) else {
        return;
    };
    // For people.
    let tenants = match bucket.prefixes.len() - 1 {
        0 => bucket.tenant,
        more => format!("{} and {more} more", bucket.tenant),
    };
    let prefixes = Prefixes::new(bucket.prefixes);
    let mut listed = false;
    for store in &bucket.stores {
        let swept = if listed {
            store.sweep_noted(&prefixes, before).await
        } else {
            store.sweep(&prefixes, before).await
        };
        listed = true;
        match swept {
            Ok(0) => {}
            Ok(swept) => tracing::info!(tenants, swept, "aborted uploads left open"),
            Err(failure) => not_swept(&tenants, &failure),
        }
    }
}

/// The cause first: it is the first word of a store that cannot be used, before any recording comes.
fn not_swept(tenants: &str, failure: &Failure) {
    let detail = &failure.detail;
    if store::stops_everything(&failure.reason) {
        tracing::error!(tenants, reason = %failure.reason, "nothing can be stored: {detail}");
    } else {
        tracing::warn!(
            tenants, reason = %failure.reason,
            "{detail}; uploads that killed workers left open are not aborted before that is mended"
        );
    }
}
