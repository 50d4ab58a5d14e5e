//! While the store that every tenant uses is down, consuming pauses: nothing could be archived, and
//! the queues keep the messages better than a round trip through a retry queue.

use std::future::pending;

use tokio::time::{self, Duration};

use super::Worker;
use crate::broker::Broker;
use crate::http::State;

/// How often an open breaker is asked whether a probe is due.
const ASK_EVERY: Duration = Duration::from_millis(250);

impl Worker {
    /// Pauses and resumes consuming as the common store goes down and comes back; never ends.
    pub(super) async fn mind_the_store(&self, broker: &Broker) {
        let Some(tenant) = self.tenants.common_store() else { return pending().await };
        let (gate, store) = (&tenant.store_gate, &tenant.store);
        let mut outage = gate.watch();
        loop {
            let Ok(reason) = outage.wait_for(Option::is_some).await.map(|open| open.clone()) else {
                return pending().await;
            };
            let code = reason.as_ref().map_or("", |reason| reason.as_str());
            let why = format!("the store every tenant uses gives no usable answer ({code})");
            tracing::warn!(reason = code, "consuming pauses until the store answers");
            self.tools.health.set(State::Paused(why));
            broker.pause();
            while outage.borrow().is_some() {
                match gate.enter() {
                    Ok(mut pass) => pass.note(&store.reach().await),
                    Err(_no_probe_is_due) => time::sleep(ASK_EVERY).await,
                }
            }
            tracing::info!("the store answers again; consuming resumes");
            broker.resume();
        }
    }
}
