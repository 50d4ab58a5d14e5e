//! Told to stop: nothing more is taken, what has not started is given back, and the rest gets the
//! time to finish.

use std::sync::Arc;

use tokio::time::{self, Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::fairness::{Dumps, Jobs, Place, Waiting};
use super::line::{Outcome, Received};
use crate::broker::{Broker, Deliveries};

/// Of the drain time, the last part is for giving back what did not finish, at most this long.
const GIVING_BACK: Duration = Duration::from_secs(3);

impl Worker {
    /// Stops consuming, gives back what has not started, and lets the rest finish in time.
    pub(super) async fn drain(
        self: &Arc<Self>,
        broker: &Broker,
        mut deliveries: Deliveries,
        (mut waiting, mut dumps): (Waiting<Received>, Dumps<(Place, Received)>),
        mut jobs: Jobs,
        stop: CancellationToken,
    ) {
        let started = Instant::now();
        let limit = self.settings.drain_timeout;
        let finished_by = started + limit.saturating_sub(GIVING_BACK.min(limit / 4));
        tracing::info!(in_flight = jobs.len(), limit = ?limit, "draining");
        broker.stop_consuming();
        self.tools.metrics.ledger().draining();
        // A broker that does not answer ends this as late as the jobs, and no later.
        let rest = async {
            while let Some(delivery) = deliveries.next().await {
                self.receive(delivery, &mut waiting, &mut dumps, &mut jobs, &stop);
            }
        };
        if time::timeout_at(finished_by, rest).await.is_err() {
            tracing::warn!("the broker does not say that it has stopped sending");
        }
        for received in waiting.drain() {
            self.end(None, received, Outcome::Stopped, &mut jobs, &stop);
        }
        for (place, received) in dumps.drain() {
            self.end(Some(place), received, Outcome::Stopped, &mut jobs, &stop);
        }
        if time::timeout_at(finished_by, jobs.all()).await.is_err() {
            tracing::warn!(jobs = jobs.len(), "not finished in time, giving them back");
            stop.cancel();
            if time::timeout_at(started + limit, jobs.all()).await.is_err() {
                tracing::warn!(jobs = jobs.len(), "the broker takes them back as we disconnect");
            }
        }
        self.settle_aborts((started + limit).max(Instant::now() + limit / 20)).await;
    }

    /// Waits until `until` for the aborts of uploads that were cancelled.
    async fn settle_aborts(&self, until: Instant) {
        if time::timeout_at(until, self.tenants.settle_aborts()).await.is_err() {
            tracing::warn!("some multipart uploads were not aborted in time; a sweep finds them");
        }
    }
}
