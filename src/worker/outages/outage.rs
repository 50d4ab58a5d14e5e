//! While the store that every tenant uses is down, consuming pauses: nothing could be archived, and
//! the queues keep the messages better than a round trip through a retry queue.

use std::future::pending;
use std::sync::Arc;

use tokio::time::{self, Duration};

use super::gate::Gate;
use crate::broker::Broker;
use crate::failure::Class;
use crate::store::Store;

/// How often an open breaker is asked whether a probe is due.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Pauses and resumes consuming as the `store` behind `gate` goes down and comes back; never ends.
pub async fn mind_the_store(gate: &Arc<Gate>, store: &Store, broker: &Broker) {
    let (mut outage, mut in_vain) = (gate.watch(), gate.probes_in_vain());
    loop {
        let Ok(reason) = outage.wait_for(Option::is_some).await.map(|open| open.clone()) else {
            return pending().await;
        };
        let code = reason.as_ref().map_or("", |reason| reason.as_str());
        let why = format!("the store every tenant uses gives no usable answer ({code})");
        tracing::warn!(reason = code, "consuming pauses until the store answers");
        broker.pause(&why);
        until_it_answers(gate, store).await;
        // A store may answer a HEAD and still take no objects: one job is let through as the
        // probe, and what comes of it closes the breaker or pauses us again.
        in_vain.mark_unchanged();
        tracing::info!("the store answers again; consuming resumes");
        broker.resume();
        tokio::select! {
            _ = outage.wait_for(Option::is_none) => {}
            _ = in_vain.changed() => {}
        }
    }
}

async fn until_it_answers(gate: &Arc<Gate>, store: &Store) {
    loop {
        let Ok(mut pass) = gate.enter() else {
            time::sleep(ASK_EVERY).await; // No probe is due.
            continue;
        };
        let answer = store.reach().await;
        if !answer.as_ref().is_err_and(|down| down.class == Class::Unavailable) {
            return;
        }
        pass.note(&answer);
    }
}
