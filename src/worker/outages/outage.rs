//! While the store that every tenant uses is down, or no event is taken, consuming pauses: nothing
//! could be archived, and the queues keep the messages better than a round trip through a retry
//! queue. And whether a store is back is found out here, by small requests.

use std::future::pending;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{self, Duration};

use super::gate::{Gate, Pass};
use super::pauses::{Cause, Hold, Pauses};
use crate::beat;
use crate::broker::Status;
use crate::failure::{Class, Failure, Reason};
use crate::store::Store;

/// How often open breakers are asked whether a probe is due. Whether one is open is looked at on the beat.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// A broker that takes nothing for so long is not consumed from. Far below its ack timeout, which
/// would give back what is in hand, to be consumed again.
const SILENCE: Duration = Duration::from_secs(60);

/// A probe that takes longer is in vain: one that began before the outage ended must not delay the
/// next.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses and resumes consuming as the common store behind `gate` goes down and comes back; never
/// ends.
pub async fn mind_the_store(gate: &Gate, pauses: &Pauses<'_>) {
    let why = |code: &str| format!("the store every tenant uses gives no usable answer ({code})");
    mind(gate, Cause::Store, pauses, |reason| Hold::Nothing(why(reason.as_str()))).await;
}

/// There is no such store any more.
pub fn nothing_of_the_store(pauses: &Pauses<'_>) {
    pauses.set(Cause::Store, None);
}

/// The same as the exchange behind `gate` takes events and does not. Only an event shows that it
/// does, so a message is taken now and then all the while.
pub async fn mind_the_events(gate: &Gate, pauses: &Pauses<'_>) {
    let exchange = gate.place();
    let why = format!("{exchange} takes no events: look for a full queue that is bound to it");
    mind(gate, Cause::Events, pauses, |_| Hold::Taste(why.clone())).await;
}

/// The same where the broker sends and takes nothing that is published, and not for a moment only:
/// what is in hand then can be neither announced nor parked. Never ends.
pub async fn mind_the_broker(mut status: watch::Receiver<Status>, pauses: &Pauses<'_>) {
    loop {
        if status.wait_for(Status::takes_nothing).await.is_err() {
            return pending().await;
        }
        let takes = status.wait_for(|status| !status.takes_nothing());
        if time::timeout(SILENCE, takes).await.is_ok() {
            continue;
        }
        let why = "the broker takes nothing that is published: it is short of memory or disk, or \
                   refuses a second connection";
        tracing::warn!("consuming pauses: {why}");
        pauses.set(Cause::Broker, Some(Hold::Nothing(why.to_owned())));
        if status.wait_for(|status| !status.takes_nothing()).await.is_err() {
            return pending().await;
        }
        pauses.set(Cause::Broker, None);
    }
}

/// The same while no tenant is configured: every message would be dead as one of an unknown tenant,
/// whose file is on its way, perhaps. Never ends.
pub async fn mind_the_tenants<T>(
    mut now: watch::Receiver<T>,
    are_none: impl Fn(&T) -> bool,
    pauses: &Pauses<'_>,
) {
    loop {
        if now.wait_for(&are_none).await.is_err() {
            return pending().await;
        }
        let why = "no tenant is configured: add a file to tenants_dir and send SIGHUP";
        tracing::warn!("consuming pauses: {why}");
        pauses.set(Cause::Tenants, Some(Hold::Nothing(why.to_owned())));
        if now.wait_for(|now| !are_none(now)).await.is_err() {
            return pending().await;
        }
        pauses.set(Cause::Tenants, None);
    }
}

async fn mind(gate: &Gate, cause: Cause, pauses: &Pauses<'_>, hold: impl Fn(&Reason) -> Hold) {
    let mut outage = gate.watch();
    loop {
        let Ok(open) = outage.wait_for(Option::is_some).await.map(|open| open.clone()) else {
            return pending().await;
        };
        let hold = open.as_ref().map(&hold);
        if let Some(hold) = &hold {
            tracing::warn!("consuming pauses: {hold}");
        }
        pauses.set(cause, hold);
        if outage.wait_for(Option::is_none).await.is_err() {
            return pending().await;
        }
        pauses.set(cause, None);
    }
}

/// Finds out when stores are back, whether there is work for them or not; never ends. `stores` tells
/// which there are now, `most` how many are asked at once: with many down the network is theirs, too.
pub async fn probe_the_stores(stores: impl Fn() -> Arc<[(Arc<Gate>, Store)]>, most: usize) {
    let mut probes = FuturesUnordered::new();
    // With whom to go on: each has its turn.
    let mut turn = 0;
    let mut asking = false;
    loop {
        tokio::select! {
            () = beat::next(), if !asking => {}
            () = time::sleep(ASK_EVERY), if asking => {}
            Some(()) = probes.next() => {}
        }
        let stores = stores();
        asking = stores.iter().any(|(gate, _)| gate.is_open());
        let (before, after) = stores.split_at(turn.min(stores.len()));
        let in_turn = after.iter().chain(before).zip(1..).filter(|((gate, _), _)| gate.is_open());
        let first = turn;
        for ((gate, store), nth) in in_turn {
            if probes.len() >= most {
                break;
            }
            if let Some(pass) = gate.probe() {
                probes.push(probe(Arc::clone(gate), pass, store.clone()));
                turn = (first + nth) % stores.len();
            }
        }
    }
}

/// A store may answer a HEAD and still take no objects: the next jobs try.
async fn probe(gate: Arc<Gate>, mut pass: Pass, store: Store) {
    let silence = |_| Err(Failure::new(Class::Unavailable, Reason::STORE_TIMEOUT, "a probe"));
    let answer = time::timeout(PROBE_TIMEOUT, store.reach()).await.unwrap_or_else(silence);
    match &answer {
        Err(down) if down.class == Class::Unavailable => pass.note(&answer),
        // For want of something of our own it was not asked.
        Err(unsent) if unsent.class == Class::Held => {
            tracing::warn!(detail = unsent.detail, "{} cannot be probed", gate.place());
            time::sleep(ASK_EVERY).await;
        }
        _ => pass.answered_at_all(),
    }
}
