//! Broker, CC-FS, store and workers die and come back: nothing is lost, nothing stored twice, no
//! restart needed.

mod alarm;
mod deaf;

use std::time::Duration;

use tokio::sync::watch;

use crate::support::broker::{Node, node};
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::link::{Link, Weather};
use crate::support::s3::Op;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World};

/// So slow that an outage falls into the download.
fn slow() -> Reply {
    Reply::wav(64 << 10).pieces(4 << 10, Duration::from_millis(250))
}

async fn downloading(world: &World, count: usize) {
    let what = format!("{count} recordings come down");
    let active = || async { (world.ccfs.active() >= count).then_some(()) };
    eventually(&what, SOON, active).await;
}

/// `/readyz` says 503, and why.
async fn not_ready(worker: &Worker) -> String {
    eventually("the worker is not ready", SOON, || async {
        let (status, body) = worker.get("/readyz").await;
        (status == 503).then_some(body)
    })
    .await
}

async fn ready(worker: &Worker) {
    eventually("the worker is ready again", SOON, || async {
        (worker.get("/readyz").await.0 == 200).then_some(())
    })
    .await;
}

/// Takes events until each of the calls `{prefix}0` … has one, and nothing is left to do.
/// A call may be announced twice, under the same id: what could not be acknowledged comes again.
pub async fn all_archived_once(world: &World, worker: &Worker, prefix: &str, count: usize) {
    let mut ids = std::collections::BTreeMap::new();
    let mut note = |event: serde_json::Value| {
        assert_eq!(event["type"], "recording.archived", "{event}");
        let subject = event["subject"].as_str().expect("a subject").to_owned();
        // Of earlier calls there may be repeats.
        if subject.contains(prefix) {
            let id = ids.entry(subject).or_insert_with(|| event["id"].clone());
            assert_eq!(*id, event["id"], "{event}");
        }
        ids.len()
    };
    while note(world.event().await.json()) < count {}
    world.settled(worker).await;
    while let Some(repeated) = world.rabbit.get(&world.events).await {
        assert_eq!(note(repeated.json()), count);
    }
    let keys = world.store.s3().keys(&world.bucket, "").await;
    let own: Vec<_> = keys.iter().filter(|key| key.contains(prefix)).collect();
    assert_eq!(own.len(), count, "{keys:?}");
    for key in own {
        let stored = world.store.seen_of(Op::Put);
        let stored = stored.iter().filter(|put| put.key == *key && put.status == Some(200));
        assert_eq!(stored.count(), 1, "{key} is stored once");
        let name = key.rsplit('/').next().expect("a name").trim_end_matches(".wav");
        let object = world.store.s3().object(&world.bucket, key).await.expect("just listed");
        assert_eq!(object.body, world.ccfs.expected(name).to_vec());
    }
    assert_eq!(world.depth("dead").await, 0);
}

#[tokio::test]
async fn a_broker_that_is_killed_cut_or_short_of_memory_needs_no_restart_of_ours() {
    let node = Node::start_private().await;
    let mut world = World::on(&node).await;
    world.ccfs.default_reply(slow());
    let worker = world.worker(&[("ccfs", "read_timeout = \"5m\"")]).await;

    // Killed and started again.
    for n in 0..6 {
        world.call(&format!("1777093663-killed{n}")).await;
    }
    downloading(&world, 6).await;
    node.kill().await;
    let reason = not_ready(&worker).await;
    assert!(reason.contains("reason") && !reason.contains("guest"), "{reason}");
    node.start().await;
    world.rabbit = node.client().await;
    ready(&worker).await;
    all_archived_once(&world, &worker, "killed", 6).await;

    // One connection, then the other, closed by an operator.
    for (side, name) in ["consume", "publish"].into_iter().enumerate() {
        let before = worker.metric("callvault_broker_reconnects_total", &[]).await;
        let prefix = format!("1777093663-{name}");
        for n in 0..3 {
            world.call(&format!("{prefix}{n}")).await;
        }
        downloading(&world, 3).await;
        let cut = node.cut_connections(&format!("callvault {name}")).await;
        assert_eq!(cut, 1, "{side}");
        worker.metric_reaches("callvault_broker_reconnects_total", &[], before + 1.0).await;
        all_archived_once(&world, &worker, &prefix, 3).await;
    }

    // The memory alarm stops who publishes; a recording that comes down meanwhile is stored.
    let (open, held) = watch::channel(false);
    world.ccfs.script("1777093663-alarm0", [Reply::wav(64 << 10).once(held)]);
    world.call("1777093663-alarm0").await;
    downloading(&world, 1).await;
    node.memory_alarm(true).await;
    open.send_replace(true);
    // A client that has published is not even answered now.
    world.rabbit = node.client().await;
    let stored = async || {
        let keys = world.store.s3().keys(&world.bucket, "").await;
        keys.iter().any(|key| key.contains("alarm")).then_some(())
    };
    eventually("the recording is stored", SOON, stored).await;
    // Of earlier calls there may be repeats.
    while let Some(event) = world.rabbit.get(&world.events).await {
        assert_ne!(event.json()["subject"], "acme/1777093663-alarm0", "nothing can be said");
    }
    assert_eq!(worker.metric("callvault_jobs_in_flight", &[]).await, 1.0, "no early ack");
    assert_eq!(worker.get("/readyz").await.0, 200, "consuming goes on");
    node.memory_alarm(false).await;
    all_archived_once(&world, &worker, "alarm", 1).await;
    worker.stop().await;
}

/// A link to the shared broker, and the configuration that leads through it.
async fn linked(world: &World, keys: &[(&str, &str)]) -> (Link, String) {
    let link = Link::to(([127, 0, 0, 1], node().await.amqp_port()).into()).await;
    let amqp = format!("amqp://guest:guest@{}/%2f", link.address());
    let config = world.config_at(&amqp, &world.ccfs.url(), world.store.s3().endpoint(), keys);
    (link, config)
}

#[tokio::test]
async fn a_link_that_is_cut_torn_or_half_open_is_made_anew() {
    let world = World::new().await;
    world.ccfs.default_reply(slow());
    let (mut link, config) = linked(&world, &[("broker", "heartbeat = \"2s\"")]).await;
    let worker = Worker::start(&config).ready().await;
    let weathers =
        [("cut", Weather::Cut), ("torn", Weather::Torn(10)), ("half-open", Weather::BlackHole)];
    for (name, weather) in weathers {
        let before = worker.metric("callvault_broker_reconnects_total", &[]).await;
        let prefix = format!("1777093663-{name}");
        for n in 0..3 {
            world.call(&format!("{prefix}{n}")).await;
        }
        downloading(&world, 3).await;
        link.set(weather);
        not_ready(&worker).await;
        link.restore().await;
        // One of the two connections at least: the other may not have been used meanwhile.
        worker.metric_reaches("callvault_broker_reconnects_total", &[], before + 1.0).await;
        ready(&worker).await;
        all_archived_once(&world, &worker, &prefix, 3).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_starts_without_a_broker_says_why_and_waits() {
    let world = World::new().await;
    let (mut link, config) = linked(&world, &[]).await;
    link.close().await;
    let worker = Worker::start(&config);
    let reason = eventually("it says why", SOON, || async {
        let (status, body) = worker.get("/readyz").await;
        assert_eq!(status, 503, "{body}");
        body.contains("refused").then_some(body)
    })
    .await;
    assert!(reason.contains(&link.address().to_string()), "{reason}");
    assert!(!reason.contains("guest"), "{reason}");
    assert_eq!(worker.get("/livez").await.0, 200, "alive all the same");
    assert_eq!(worker.metric("callvault_broker_connected", &[]).await, 0.0);

    link.restore().await;
    let worker = worker.ready().await;
    world.call("1777093663-1").await;
    all_archived_once(&world, &worker, "1777093663-", 1).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_killed_at_any_point_leaves_its_work_to_the_next() {
    let world = World::new().await;
    let keys = [("ccfs", "read_timeout = \"5m\""), ("broker", "heartbeat = \"2s\"")];
    let (_link, config) = linked(&world, &keys).await;
    // In a small download; in an upload whose first part is stored.
    world.ccfs.script("1777093663-down", [Reply::wav(64 << 10).stall_at(32 << 10)]);
    world.ccfs.script("1777093663-up", [Reply::wav(20 << 20).stall_at(12 << 20)]);
    let mut first = Worker::start(&config).ready().await;
    world.call("1777093663-down").await;
    world.call("1777093663-up").await;
    downloading(&world, 2).await;
    let part = || async { (!world.store.seen_of(Op::UploadPart).is_empty()).then_some(()) };
    eventually("a part goes up", SOON, part).await;
    first.kill();
    assert_eq!(world.store.s3().keys(&world.bucket, "").await, [""; 0], "nothing is visible");

    world.ccfs.script("1777093663-down", [Reply::wav(64 << 10)]);
    world.ccfs.script("1777093663-up", [Reply::wav(20 << 20)]);
    // Stored, but not announced: the link is silent when it is killed.
    let (link, config) = linked(&world, &keys).await;
    let mut second = Worker::start(&config).ready().await;
    downloading(&world, 1).await;
    link.set(Weather::BlackHole);
    let stored =
        || async { (world.store.s3().keys(&world.bucket, "").await.len() == 2).then_some(()) };
    eventually("both are stored", SOON, stored).await;
    second.kill();

    let third = world.worker(&[]).await;
    let mut subjects = std::collections::BTreeSet::new();
    while subjects.len() < 2 {
        let event = world.event().await.json();
        assert_eq!(event["type"], "recording.archived");
        let object = &event["data"]["objects"][0];
        let key = object["key"].as_str().unwrap();
        let content = world.ccfs.expected(event["data"]["callId"].as_str().unwrap());
        let found = world.store.s3().object(&world.bucket, key).await.expect("it is stored");
        assert!(found.body == content.to_vec(), "{key} is whole");
        assert_eq!(object["size"], content.length());
        subjects.insert(event["subject"].to_string());
    }
    world.settled(&third).await;
    assert_eq!(world.store.s3().keys(&world.bucket, "").await.len(), 2);
    third.stop().await;
}

#[tokio::test]
async fn a_store_that_was_down_takes_what_waited_for_it() {
    let world = World::new().await;
    let mut link = Link::to(world.store.s3().address()).await;
    let endpoint = format!("http://{}", link.address());
    let amqp = node().await.url();
    let keys = [("retry", "delays = [\"200ms\"]\nmax_attempts = 1000")];
    let worker =
        Worker::start(&world.config_at(&amqp, &world.ccfs.url(), &endpoint, &keys)).ready().await;
    link.close().await;
    world.call("1777093663-1").await;
    let reason = ["reason=\"store.unreachable\""];
    worker.metric_reaches("callvault_retries_total", &reason, 2.0).await;
    assert!(world.rabbit.get(&world.events).await.is_none());
    link.restore().await;
    all_archived_once(&world, &worker, "1777093663-", 1).await;
    worker.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_place_when_its_channel_dies_is_left_to_its_next_delivery() {
    let world = World::new().await;
    let broker = Link::to(([127, 0, 0, 1], node().await.amqp_port()).into()).await;
    let ccfs = Link::to(world.ccfs.address()).await;
    let amqp = format!("amqp://guest:guest@{}/%2f", broker.address());
    let url = format!("http://{}", ccfs.address());
    let keys = [("worker", "concurrency = 1"), ("ccfs", "read_timeout = \"5m\"")];
    let config = world.config_at(&amqp, &url, world.store.s3().endpoint(), &keys);
    let worker = Worker::start(&config).ready().await;
    // One has the only place until CC-FS can be heard again, two wait behind it.
    ccfs.set(Weather::BlackHole);
    for n in 0..3 {
        world.call(&format!("1777093663-{n}")).await;
    }
    worker.metric_reaches("callvault_jobs_in_flight", &[], 3.0).await;
    broker.cut_once();
    // All three come again, behind those that are lost.
    worker.metric_reaches("callvault_jobs_in_flight", &[], 6.0).await;
    ccfs.set(Weather::Fine);
    world.settled(&worker).await;
    let lost = ["how=\"given_back\""];
    assert_eq!(worker.metric("callvault_messages_settled_total", &lost).await, 3.0);
    let events = world.rabbit.ready(&world.events).await;
    for n in 0..3 {
        assert_eq!(world.ccfs.requests_for(&format!("1777093663-{n}")).len(), 1, "{n}");
    }
    // The first was announced by both its deliveries, the others by their second alone.
    assert_eq!(events, 4);
    worker.stop().await;
}
