//! Messages that were around when workers died.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;
use serde_json::json;

use crate::support::broker::client::{table, text};
use crate::support::broker::node;
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::innocents::LIMIT;
use crate::support::link::Link;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, call};

const ID: &str = "1777093663-1";

/// A worker dies while it holds `ID`, as often as it takes until the message is suspect.
async fn make_suspect(world: &World) -> usize {
    let keys = [LIMIT, ("ccfs", "read_timeout = \"5m\"")];
    let mut deaths = 0;
    loop {
        let before = world.ccfs.requests().len();
        let mut worker = world.worker(&keys).await;
        if deaths == 0 {
            world.call(ID).await;
        }
        let asked = || async { (world.ccfs.requests().len() > before).then_some(()) };
        eventually("a worker is at it", SOON, asked).await;
        worker.kill();
        deaths += 1;
        let back = || async {
            let (jobs, suspect) = (world.depth("jobs").await, world.depth("suspect").await);
            (jobs + suspect == 1).then_some(suspect == 1)
        };
        if eventually("the message is back", SOON, back).await {
            return deaths;
        }
        assert!(deaths < 5, "it is never suspect");
    }
}

#[tokio::test]
async fn an_innocent_suspect_is_archived_by_a_healthy_worker() {
    let world = World::new().await;
    world.ccfs.script(ID, [Reply::hang()]);
    let deaths = make_suspect(&world).await;
    // RabbitMQ counts what comes back: the limit is passed by the delivery after it.
    assert_eq!(deaths, 3);

    // It fails once more, for a reason of its own: it stays among the suspects.
    world.ccfs.script(ID, [Reply::status(500), Reply::wav(4096)]);
    let worker = world.worker(&[LIMIT]).await;
    let event = world.event().await.json();
    assert_eq!(event["type"], "recording.archived");
    assert_eq!(event["data"]["attempts"], 2, "deaths of workers are no attempts");
    world.settled(&worker).await;
    assert_eq!(world.depth("suspect").await, 0);
    assert_eq!(world.depth("dead").await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_suspect_that_kills_three_times_is_dead_before_any_work() {
    let world = World::new().await;
    world.ccfs.script(ID, [Reply::hang()]);
    make_suspect(&world).await;
    let keys = [
        LIMIT,
        ("ccfs", "read_timeout = \"5m\""),
        // The first for the first crash, so that its message can be looked at on the way.
        ("retry", "delays = [\"500ms\", \"700ms\"]"),
    ];
    for crash in 1..=3 {
        let asked = world.ccfs.requests().len();
        let mut worker = world.worker(&keys).await;
        let at_it = || async { (world.ccfs.requests().len() > asked).then_some(()) };
        eventually("a worker is at the suspect", SOON, at_it).await;
        if crash > 1 {
            let retries = ["reason=\"job.crashed\""];
            assert_eq!(worker.metric("callvault_retries_total", &retries).await, 1.0);
        }
        worker.kill();
        world.rabbit.until_ready(&world.queue("suspect"), 1).await;
    }
    let asked = world.ccfs.requests().len();
    let worker = world.worker(&keys).await;
    let event = world.event().await;
    assert_eq!(event.routing_key, "recording.failed.acme");
    let body = event.json();
    assert_eq!(body["data"]["reason"]["code"], "job.crashed");
    assert_eq!(body["data"]["callId"], ID);
    let dead = world.take("dead").await;
    assert_eq!(dead.json(), call(ID), "as it came");
    assert_eq!(dead.header("callvault-reason").as_deref(), Some("job.crashed"));
    assert_eq!(dead.header("callvault-crashes").as_deref(), Some("3"));
    assert_eq!(dead.header("callvault-queue"), Some(world.queue("jobs")), "where it began");
    assert!(dead.header("callvault-dead-at").is_some());
    assert_eq!(world.ccfs.requests().len(), asked, "no work was begun");
    world.settled(&worker).await;
    assert_eq!(world.depth("suspect").await, 0);
    worker.stop().await;
}

/// What RabbitMQ 4 says of whatever it has dead-lettered, any version says of what was given back.
#[tokio::test]
async fn that_a_suspect_was_delivered_before_its_first_arrival_is_no_crash() {
    let world = World::new().await;
    world.worker(&[]).await.stop().await;
    let suspect = world.queue("suspect");
    let passage = world.queue("passage");
    let onwards = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&suspect)),
        ("x-message-ttl", AMQPValue::LongInt(1)),
    ];
    world.rabbit.declare(&passage, table(onwards)).await;
    world.rabbit.send(&suspect, call(ID).to_string()).await;
    // A mark that was not given here says nothing.
    let forged = BasicProperties::default()
        .with_headers(table([("callvault-suspect", text("2026-04-25T05:12:44Z"))]));
    let body = call("1777093663-2").to_string();
    world.rabbit.publish("", &passage, body.as_bytes(), forged).await;
    world.rabbit.until_ready(&suspect, 2).await;
    let channel = world.rabbit.new_channel().await;
    for _ in 0..2 {
        let got = channel.basic_get(suspect.as_str().into(), BasicGetOptions::default()).await;
        got.unwrap().expect("a suspect");
    }
    channel.close(200, "given back".into()).await.unwrap();
    world.rabbit.until_ready(&suspect, 2).await;

    let worker = world.worker(&[]).await;
    for event in world.events(2).await {
        assert_eq!(event["type"], "recording.archived");
        assert_eq!(event["data"]["attempts"], 1);
    }
    world.settled(&worker).await;
    // Each has come twice: without its mark, and with it.
    worker.metric_reaches("callvault_messages_settled_total", &["how=\"acked\""], 4.0).await;
    assert!(!worker.stop().await.contains("job.crashed"));
    assert_eq!(world.depth("suspect").await + world.depth("dead").await, 0);
}

#[tokio::test]
async fn who_dies_while_a_suspect_is_marked_loses_and_blames_nothing() {
    let world = World::new().await;
    world.worker(&[]).await.stop().await;
    world.rabbit.send(&world.queue("suspect"), call(ID).to_string()).await;
    // As often as would be too often: the original is there still, before its copies.
    for copies in 1..=3 {
        world.doomed(&[], &format!("before_ack@{ID}")).crashed().await;
        world.rabbit.until_ready(&world.queue("suspect"), 1 + copies).await;
    }
    let worker = world.worker(&[]).await;
    for event in world.events(4).await {
        assert_eq!(event["type"], "recording.archived");
    }
    world.settled(&worker).await;
    assert!(!worker.stop().await.contains("job.crashed"));
    assert_eq!(world.depth("suspect").await + world.depth("dead").await, 0);
}

#[tokio::test]
async fn a_message_that_kills_its_worker_is_dead_and_its_neighbours_are_archived() {
    let world = World::new().await;
    // None is done when the poison kills.
    world.ccfs.default_reply(Reply::wav(4096).after(Duration::from_millis(300)));
    world.worker(&[LIMIT]).await.stop().await;
    let bulk = world.queue("bulk");
    for n in 0..4 {
        let item = json!({ "type": "recording.dump-item", "tenant": "acme", "requestId": "audit",
                           "callId": format!("1777093663-bulk{n}") });
        world.rabbit.send(&bulk, item.to_string()).await;
        world.call(&format!("1777093663-before{n}")).await;
    }
    let poison = format!("{{ \"own\": [1.0,  2], {}", &call(ID).to_string()[1..]);
    let own = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_message_id("poison".into())
        .with_headers(table([("own", text("kept"))]));
    world.publish_raw("call.completed", poison.as_bytes(), own).await;
    for n in 0..4 {
        world.call(&format!("1777093663-after{n}")).await;
    }

    // As a supervisor would: whenever one ends, the next starts.
    let crash = format!("received@{ID}");
    let (mut deaths, mut suspects) = (0, 0);
    let worker = loop {
        let mut worker = world.doomed(&[LIMIT], &crash);
        let died = eventually("the worker or the poison is dead", SOON, || {
            let ended = worker.exited().is_some();
            let world = &world;
            async move { (ended || world.depth("dead").await == 1).then_some(ended) }
        });
        if !died.await {
            break worker;
        }
        worker.crashed().await;
        deaths += 1;
        assert!(deaths < 12, "it goes on killing");
        suspects = suspects.max(world.depth("suspect").await);
    };
    assert!(suspects > 4, "only {suspects} came to be suspects beside it");

    let dead = world.take("dead").await;
    assert_eq!(dead.body, poison.as_bytes(), "as it came");
    assert_eq!(dead.properties.message_id().as_ref().map(|id| id.as_str()), Some("poison"));
    assert_eq!(dead.properties.delivery_mode(), &Some(2));
    for (name, value) in [
        ("own", "kept"),
        ("callvault-reason", "job.crashed"),
        ("callvault-crashes", "3"),
        ("callvault-attempts", "0"),
        ("callvault-queue", &world.queue("jobs")),
    ] {
        assert_eq!(dead.header(name).as_deref(), Some(value), "{name}");
    }
    for name in ["callvault-detail", "callvault-first-seen", "callvault-dead-at"] {
        assert!(dead.header(name).is_some(), "{name}");
    }
    let labels = ["tenant=\"acme\"", "reason=\"job.crashed\""];
    worker.metric_reaches("callvault_dead_total", &labels, 1.0).await;
    // Who died between an event and its ack has it said again.
    let (mut archived, mut buried) = (BTreeSet::new(), false);
    while archived.len() < 12 || !buried {
        let event = world.event().await.json();
        let subject = event["subject"].to_string();
        if subject.contains(ID) {
            assert_eq!(event["type"], "recording.failed");
            assert_eq!(event["data"]["reason"]["code"], "job.crashed");
            assert_eq!(event["data"]["callId"], ID);
            buried = true;
        } else {
            assert_eq!(event["type"], "recording.archived", "{event}");
            assert_eq!(event["data"]["attempts"], 1, "{event}");
            archived.insert(subject);
        }
    }
    assert_eq!(world.ccfs.requests_for(ID).len(), 0, "it never got that far");
    world.settled(&worker).await;
    assert_eq!(world.depth("suspect").await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn kills_of_innocent_workers_send_nothing_to_the_dead_queue() {
    World::new().await.kill_innocent_workers(20).await;
}

#[tokio::test]
async fn a_suspect_that_is_in_hand_when_its_worker_is_told_to_stop_has_not_crashed() {
    let world = World::new().await;
    world.ccfs.script(ID, [Reply::hang()]);
    let keys = [("worker", "drain_timeout = \"4s\""), ("ccfs", "read_timeout = \"5m\"")];
    for stop in 1..=4 {
        let worker = world.worker(&keys).await;
        if stop == 1 {
            world.rabbit.send(&world.queue("suspect"), call(ID).to_string()).await;
        }
        let at_it = async || (world.ccfs.requests_for(ID).len() == stop).then_some(());
        eventually("the worker is at the suspect", SOON, at_it).await;
        let log = worker.stop().await;
        assert_eq!(log.lines().find(|line| line.contains("job.crashed")), None);
    }
    world.ccfs.script(ID, [Reply::wav(4096)]);
    let worker = world.worker(&[]).await;
    assert_eq!(world.event().await.json()["type"], "recording.archived");
    world.settled(&worker).await;
    assert!(!worker.stop().await.contains("job.crashed"));
    assert_eq!(world.depth("suspect").await, 0);
}

#[tokio::test]
async fn a_suspect_whose_connection_is_lost_under_a_living_worker_has_not_crashed() {
    let world = World::new().await;
    let link = Link::to(([127, 0, 0, 1], node().await.amqp_port()).into()).await;
    let amqp = format!("amqp://guest:guest@{}/%2f", link.address());
    world.ccfs.script(ID, [Reply::hang()]);
    let keys = [("ccfs", "read_timeout = \"5m\"")];
    let config = world.config_at(&amqp, &world.ccfs.url(), world.store.s3().endpoint(), &keys);
    let worker = Worker::start(&config).ready().await;
    world.rabbit.send(&world.queue("suspect"), call(ID).to_string()).await;
    for cut in 1..=4 {
        let at_it = async || (world.ccfs.requests_for(ID).len() == cut).then_some(());
        eventually("the worker is at the suspect", SOON, at_it).await;
        if cut == 4 {
            world.ccfs.script(ID, [Reply::wav(4096)]);
        }
        link.cut_once();
    }
    assert_eq!(world.event().await.json()["type"], "recording.archived");
    // Those that hang for CC-FS are in flight still.
    worker.metric_reaches("callvault_messages_settled_total", &["how=\"acked\""], 1.0).await;
    let crashed = ["reason=\"job.crashed\""];
    assert_eq!(worker.metric("callvault_retries_total", &crashed).await, 0.0);
    assert_eq!(world.depth("suspect").await + world.depth("dead").await, 0);
}
