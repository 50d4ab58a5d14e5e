//! A consumer that hears nothing any more, while all connections stand.

use std::time::Duration;

use tokio::sync::watch;

use super::{all_archived_once, downloading};
use crate::support::broker::node;
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::wire::{Delivered, End, Swallow, Wire};
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, call};

/// Four jobs at once; the prefetch is four more.
const FOUR: (&str, &str) = ("worker", "concurrency = 4\ntenant_share = 1.0\nbulk_share = 1.0");
const PREFETCH: u32 = 8;

/// A wire before the shared broker, and a worker behind it.
async fn wired(world: &World) -> (Wire, Worker) {
    let wire = Wire::to(([127, 0, 0, 1], node().await.amqp_port()).into()).await;
    let amqp = format!("amqp://guest:guest@{}/%2f", wire.address());
    let keys = [FOUR, ("ccfs", "read_timeout = \"5m\"")];
    let config = world.config_at(&amqp, &world.ccfs.url(), world.store.s3().endpoint(), &keys);
    let worker = Worker::start(&config).ready().await;
    (wire, worker)
}

/// A recording that stops after its first bytes until it is said to go on.
fn midway(open: &watch::Receiver<bool>) -> Reply {
    Reply::wav(64 << 10).pieces(4 << 10, Duration::ZERO).midway(open.clone())
}

fn deaf(log: &str, queue: &str) -> bool {
    log.lines().any(|line| line.contains("gone deaf") && line.contains(queue))
}

#[tokio::test]
async fn a_deaf_consumer_is_rebuilt_and_the_others_are_left_alone() {
    let world = World::new().await;
    let (wire, worker) = wired(&world).await;
    // In hand on the channel that goes deaf, and on another.
    let (own, other) = ("1777093663-deaf0", "1777093663-other");
    let (again, is_asked_again) = watch::channel(false);
    let long = || midway(&is_asked_again);
    world.ccfs.script(own, [long(), Reply::wav(64 << 10)]);
    world.ccfs.script(other, [long()]);
    world.call(own).await;
    world.rabbit.send(&world.queue("bulk"), call(other).to_string()).await;
    downloading(&world, 2).await;

    wire.swallow_deliveries(Swallow::OpenChannels);
    // What fills its window is sent and not heard; what is ready beyond gives it away.
    for n in 1..PREFETCH + 2 {
        world.call(&format!("1777093663-deaf{n}")).await;
    }
    world.rabbit.until_ready(&world.queue("jobs"), 2).await;
    let asked = |name: &str| world.ccfs.requests_for(name).len();
    let twice = async || (asked(own) == 2).then_some(());
    eventually("what was in hand comes again", SOON, twice).await;
    again.send_replace(true);
    let (prefix, count) = ("1777093663-deaf", PREFETCH as usize + 2);
    all_archived_once(&world, &worker, prefix, count).await;
    assert_eq!(worker.metric("callvault_broker_reconnects_total", &[]).await, 0.0);
    assert_eq!(worker.get("/readyz").await.0, 200);
    assert_eq!((asked(own), asked(other)), (2, 1), "or goes on");
    {
        let record = wire.record();
        let swallowed: Vec<_> = record.delivered.iter().filter(|d| d.swallowed).collect();
        assert_eq!(swallowed.len(), PREFETCH as usize - 1);
        for lost in swallowed {
            assert_eq!(lost.end, Some(End::Lost));
            let again =
                |d: &&Delivered| d.letter.body == lost.letter.body && d.end == Some(End::Acked);
            assert_eq!(record.delivered.iter().filter(again).count(), 1);
        }
    }
    let log = worker.stop().await;
    assert!(deaf(&log, &world.queue("jobs")), "{log}");
    assert!(!deaf(&log, &world.queue("bulk")) && !deaf(&log, &world.queue("suspect")), "{log}");
}

#[tokio::test]
async fn a_worker_that_has_enough_to_do_is_not_called_deaf() {
    let world = World::new().await;
    let (wire, worker) = wired(&world).await;
    let busy = |n: u32| format!("1777093663-busy{n}");
    let (found, is_found) = watch::channel(false);
    for n in 0..4 {
        world.ccfs.script(&busy(n), [midway(&is_found)]);
        world.call(&busy(n)).await;
    }
    downloading(&world, 4).await;
    // Its window is full, and two are ready beyond.
    for n in 4..PREFETCH + 2 {
        world.call(&busy(n)).await;
    }
    world.rabbit.until_ready(&world.queue("jobs"), 2).await;
    // The same for bulk, but unheard: as long as it takes to find that one deaf, this one hears
    // nothing either.
    wire.swallow_deliveries(Swallow::OpenChannels);
    for n in 0..PREFETCH + 2 {
        let message = call(&format!("1777093663-bulk{n}"));
        world.rabbit.send(&world.queue("bulk"), message.to_string()).await;
    }
    let log = async || deaf(&worker.log(), &world.queue("bulk")).then_some(());
    eventually("the watchdog finds the deaf one", SOON, log).await;
    assert_eq!(world.ccfs.active(), 4, "the long jobs were still at it");
    found.send_replace(true);
    wire.swallow_deliveries(Swallow::Nothing);
    all_archived_once(&world, &worker, "1777093663-", 2 * (PREFETCH as usize + 2)).await;
    let log = worker.stop().await;
    assert!(!deaf(&log, &world.queue("jobs")), "{log}");
}
