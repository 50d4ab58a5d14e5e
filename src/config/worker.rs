//! `[worker]`: how much at once, and for how long.

use std::time::Duration;

use super::mistake::Wrong;
use super::section::Section;

/// RabbitMQ closes a channel whose deliveries were not acknowledged for so long.
const ACK_TIMEOUT: Duration = Duration::from_mins(30);

/// `[worker]`: how much at once, and for how long.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Jobs in flight.
    pub concurrency: usize,
    /// Share of `concurrency` that bulk jobs may hold while live jobs wait, in (0, 1].
    pub bulk_share: f64,
    /// Share of `concurrency` that one of several tenants may hold, in (0, 1].
    pub tenant_share: f64,
    /// Bytes of all transfer buffers and dumps in hand together; at least one part of every tenant.
    pub memory: u64,
    pub job_deadline: Duration,
    pub drain_timeout: Duration,
}

/// Reads the section; `memory` is held against the tenants' parts when those are known.
pub(super) fn read(s: &mut Section<'_, '_>) -> Option<Worker> {
    // The prefetch, a little larger, is a 16-bit number in AMQP.
    let concurrency = s.integer("concurrency", 64, 1..=50_000);
    let bulk_share = s.share("bulk_share", 0.5);
    let tenant_share = s.share("tenant_share", 0.75);
    let memory = s.size("memory", "256MiB", 1..=1 << 44);
    let job_deadline = s.duration("job_deadline", "15m", 2 * ACK_TIMEOUT);
    let drain_timeout = s.duration("drain_timeout", "25s", Duration::from_hours(24));

    if job_deadline.is_some_and(|deadline| deadline >= ACK_TIMEOUT) {
        let what = "must be below 30m, after which RabbitMQ takes its deliveries back";
        s.refuse("job_deadline", Wrong::new(what, "write \"15m\", say"));
    }

    Some(Worker {
        concurrency: concurrency?,
        bulk_share: bulk_share?,
        tenant_share: tenant_share?,
        memory: memory?,
        job_deadline: job_deadline?,
        drain_timeout: drain_timeout?,
    })
}
