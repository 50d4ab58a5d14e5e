//! From the three queues to one stream of deliveries, on one connection.
//!
//! Each queue has a channel of its own ([`Tap`]), so that what kills one (the broker's ack timeout,
//! say) leaves the deliveries of the others alone. It must not know what is done with a delivery.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Shared;
use super::connection::{Fault, Link};
use super::depths;
use super::incoming::{Intake, QUEUES};
use super::status::{Side, Wish};
use super::tap::{PATIENCE, Tap};

/// A node on which no queue can be consumed for so long gives way to the next. Twice as long each
/// time, up to the cap: it may be the same on all of them, until they have elected new leaders.
const IDLE: Duration = Duration::from_secs(6);
const IDLE_CAP: Duration = Duration::from_secs(60);

/// Consumes on this connection until it is lost or closing is wished for.
pub(super) async fn session(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    intake: &Intake,
    patience: &mut Patience,
) -> Result<(), Fault> {
    let lost = link.lost();
    tokio::pin!(lost);
    let mut ensuring = std::pin::pin!(shared.topology.ensure(link).fuse());
    if !shared.topology.was_there() {
        ensuring.as_mut().await.map_err(Fault::elsewhere)?;
    } else if let Ok(ensured) = timeout(PATIENCE, ensuring.as_mut()).await {
        ensured.map_err(Fault::elsewhere)?;
    }
    shared.board.up(Side::Consume);
    let mut tasks = JoinSet::new();
    for queue in QUEUES {
        let mut tap = Tap::new(shared, link, intake, queue);
        tasks.spawn(async move {
            let ended = tap.run().await;
            (tap, ended)
        });
    }
    let mut vain = 0;
    let mut giving_way = std::pin::pin!(give_way(shared, link, patience));
    let mut telling = std::pin::pin!(tell(shared, link));
    // This connection and not the other: an alarm of the broker does not make it silent.
    let mut counting = std::pin::pin!(depths::ask(shared, link));
    loop {
        let ended = tokio::select! {
            biased;
            fault = &mut lost => return Err(fault),
            fault = &mut giving_way => return Err(fault),
            ended = tasks.join_next() => ended,
            ensured = &mut ensuring => match ensured {
                Err(fault) if !fault.is_unanswered() => return Err(fault.elsewhere()),
                Err(fault) => {
                    tracing::warn!("{fault}; consuming what was there before");
                    continue;
                }
                Ok(()) => continue,
            },
            _never = &mut telling => continue,
            _never = &mut counting => continue,
        };
        let (mut tap, fault) = match ended {
            None => return Ok(()),
            Some(Ok((_, Ok(())))) => continue,
            Some(Ok((tap, Err(fault)))) => (tap, fault),
            Some(Err(_)) => return Err(Fault::new("a consumer panicked")),
        };
        if !link.connected() {
            return Err(fault);
        }
        let fault = shared.topology.advised(fault, link.door());
        let name = tap.queue.of(shared.topology.names());
        // A node that lets no queue be consumed is cut off from those that would; one queue that
        // cannot be consumed is left to itself, for the sake of the others.
        vain = if std::mem::take(&mut tap.consumed) { 0 } else { vain + 1 };
        if vain >= QUEUES.len() && !shared.board.has_consumers() {
            return Err(
                Fault::new(format!("no queue can be consumed; {name}: {fault}")).elsewhere()
            );
        }
        tracing::warn!("queue {name}: {fault}; consuming it again");
        shared.board.trouble(Side::Consume, fault.to_string());
        tasks.spawn(async move {
            let ended = tap.again().await;
            (tap, ended)
        });
    }
}

/// How long a node may let no queue be consumed.
pub(super) struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(IDLE)
    }
}

/// Resolves where the next node is to have a try.
async fn give_way(shared: &Shared, link: &Link, patience: &mut Patience) -> Fault {
    tokio::select! {
        fault = shared.lanes.turns_mute(link) => fault,
        fault = idle(shared, link, patience), if shared.several => fault,
    }
}

/// Resolves when no queue can be consumed, though nothing is refused.
async fn idle(shared: &Shared, link: &Link, Patience(patience): &mut Patience) -> Fault {
    let mut wish = shared.wish.subscribe();
    while !shared.board.has_consumers() {
        // Does not fail: the sender lives as long as `shared`.
        let _ = wish.wait_for(|wish| *wish == Wish::Consume).await;
        tokio::time::sleep(*patience).await;
        if !shared.board.has_consumers() && !wish.has_changed().unwrap_or(true) {
            let why = format!("{} lets no queue be consumed in {patience:?}", link.place());
            *patience = IDLE_CAP.min(*patience * 2);
            return Fault::unanswered(why).elsewhere();
        }
    }
    *patience = IDLE;
    std::future::pending().await
}

/// Says in the log whenever all is well again: a warning is not to be its last word. Never ends.
async fn tell(shared: &Shared, link: &Link) {
    let names = shared.topology.names();
    let [jobs, bulk, suspect] = QUEUES.map(|queue| queue.of(names));
    let mut status = shared.board.subscribe();
    loop {
        // Neither fails: the board lives as long as `shared`.
        let _ = status.wait_for(|status| status.reason.is_none()).await;
        tracing::info!("consuming {jobs}, {bulk}, {suspect} on {}", link.door());
        let _ = status.wait_for(|status| status.reason.is_some()).await;
    }
}
