//! Told to stop: what is in flight is finished in time, the rest is given back, nothing is lost.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::support::broker::node;
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::link::Link;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World};

/// Far beyond any drain time here.
const END: Duration = Duration::from_secs(60);

async fn says(worker: &Worker, word: &str) {
    let what = format!("/readyz says {word}");
    eventually(&what, SOON, || async {
        let (status, body) = worker.get("/readyz").await;
        (status == 503 && body.contains(word)).then_some(())
    })
    .await;
}

async fn asked(world: &World, count: usize) {
    let what = format!("CC-FS is asked {count} times");
    let reached = || async { (world.ccfs.requests().len() >= count).then_some(()) };
    eventually(&what, SOON, reached).await;
}

#[tokio::test]
async fn told_to_stop_it_finishes_what_it_can_and_gives_back_the_rest() {
    tokio::join!(drained("TERM"), drained("INT"));
}

async fn drained(signal: &str) {
    let world = World::new().await;
    for n in 0..3 {
        let slow = Reply::wav(64 << 10).after(Duration::from_secs(2));
        world.ccfs.script(&format!("1777093663-done{n}"), [slow]);
    }
    // One is silent, one falls silent in its body, one when a part of it is stored.
    world.ccfs.script("1777093663-left0", [Reply::hang()]);
    world.ccfs.script("1777093663-left1", [Reply::wav(64 << 10).stall_at(9000)]);
    world.ccfs.script("1777093663-left2", [Reply::wav(20 << 20).stall_at(12 << 20)]);
    let keys = [
        // A tenant begins with an eighth: six.
        ("worker", "concurrency = 48\ntenant_share = 1.0\ndrain_timeout = \"12s\""),
        ("ccfs", "read_timeout = \"5m\""),
    ];
    let mut worker = world.worker(&keys).await;
    for n in 0..3 {
        world.call(&format!("1777093663-left{n}")).await;
    }
    let open = || async { (world.store.open_uploads() == 1).then_some(()) };
    eventually("a part is stored", SOON, open).await;
    for n in 0..3 {
        world.call(&format!("1777093663-done{n}")).await;
    }
    asked(&world, 6).await;
    // These wait for a place that none gives up before the end.
    for n in 3..6 {
        world.call(&format!("1777093663-left{n}")).await;
    }
    worker.metric_reaches("callvault_jobs_in_flight", &[], 9.0).await;

    worker.signal(signal);
    says(&worker, "draining").await;
    assert_eq!(worker.get("/livez").await.0, 200);
    let events = world.events(3).await;
    let status = worker.ended(END).await;
    assert!(status.success(), "{status}\n{}", worker.log());
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["type"], "recording.archived");
        assert_eq!(event["subject"], format!("acme/1777093663-done{n}"));
    }
    world.rabbit.until_ready(&world.queue("jobs"), 6).await;
    assert_eq!(world.store.open_uploads(), 0, "no upload is left open");
    assert_eq!(world.store.s3().keys(&world.bucket, "").await.len(), 3, "nothing unfinished");
    let log = worker.log();
    assert!(!log.contains("dropped unsettled"), "{log}");

    for n in 0..3 {
        world.ccfs.script(&format!("1777093663-left{n}"), [Reply::wav(64 << 10)]);
    }
    let second = world.worker(&[]).await;
    let events = world.events(6).await;
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["type"], "recording.archived");
        assert_eq!(event["subject"], format!("acme/1777093663-left{n}"));
        assert_eq!(event["data"]["attempts"], 1, "giving back is no attempt");
    }
    world.settled(&second).await;
    second.stop().await;
    assert!(world.rabbit.get(&world.events).await.is_none(), "nothing twice");
}

#[tokio::test]
async fn told_twice_it_leaves_at_once_and_told_when_idle_it_ends_well() {
    let world = World::new().await;
    world.worker(&[]).await.stop().await;

    world.ccfs.script("1777093663-1", [Reply::hang(), Reply::wav(4096)]);
    let patient = [("worker", "drain_timeout = \"1h\""), ("ccfs", "read_timeout = \"30m\"")];
    let mut worker = world.worker(&patient).await;
    world.call("1777093663-1").await;
    asked(&world, 1).await;
    // What comes within a second of the first signal is the same one, from whoever it comes.
    let told = Instant::now();
    worker.signal("TERM");
    says(&worker, "draining").await;
    let status = eventually("it leaves", END, || {
        worker.signal("INT");
        std::future::ready(worker.exited())
    })
    .await;
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    assert!(told.elapsed() >= Duration::from_secs(1), "left after {:?}", told.elapsed());

    let second = world.worker(&[]).await;
    assert_eq!(world.event().await.json()["type"], "recording.archived");
    second.stop().await;
}

#[tokio::test]
async fn told_to_stop_while_the_broker_is_away_it_ends_in_time_and_loses_nothing() {
    let world = World::new().await;
    let broker = ([127, 0, 0, 1], node().await.amqp_port()).into();
    let mut link = Link::to(broker).await;
    let amqp = format!("amqp://guest:guest@{}/%2f", link.address());
    // One has to wait for CC-FS, the other can be stored but not announced.
    world.ccfs.script("1777093663-hangs", [Reply::hang(), Reply::wav(4096)]);
    let (away, is_away) = watch::channel(false);
    world.ccfs.script("1777093663-stored", [Reply::wav(4096).once(is_away)]);
    let keys = [("worker", "drain_timeout = \"4s\""), ("ccfs", "read_timeout = \"5m\"")];
    let config = world.config_at(&amqp, &world.ccfs.url(), world.store.s3().endpoint(), &keys);
    let mut worker = Worker::start(&config).ready().await;
    world.call("1777093663-hangs").await;
    world.call("1777093663-stored").await;
    asked(&world, 2).await;
    link.close().await;
    away.send_replace(true);
    let stored = || async {
        let keys = world.store.s3().keys(&world.bucket, "").await;
        (keys.len() == 1).then_some(())
    };
    eventually("what came is stored", SOON, stored).await;
    worker.signal("TERM");
    let status = worker.ended(END).await;
    assert!(status.success(), "{status}\n{}", worker.log());

    let second = world.worker(&[]).await;
    let events = world.events(2).await;
    assert_eq!(events[0]["subject"], "acme/1777093663-hangs");
    assert_eq!(events[0]["data"]["alreadyArchived"], false);
    assert_eq!(events[1]["subject"], "acme/1777093663-stored");
    assert_eq!(events[1]["data"]["alreadyArchived"], true);
    world.settled(&second).await;
    second.stop().await;
}
