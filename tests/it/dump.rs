//! Dumps: one done in place, many expanded, repeated, forced; live calls before bulk.

mod many;

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::BasicProperties;
use serde_json::{Value, json};

use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::s3::Op;
use crate::support::world::{SOON, World, call};

const SENT: u64 = 1_709_640_000; // 2024-03-05T12:00:00Z

fn dump(request_id: &str, recordings: &[Value]) -> Value {
    json!({ "type": "recording.dump-requested", "tenant": "acme", "requestId": request_id,
            "recordings": recordings })
}

fn forced(mut dump: Value) -> Value {
    dump["force"] = true.into();
    dump
}

/// Publishes a dump with an AMQP timestamp.
async fn publish_sent(world: &World, dump: &Value) {
    let properties = BasicProperties::default().with_timestamp(SENT);
    let body = dump.to_string();
    world.publish_raw("recording.dump-requested", body.as_bytes(), properties).await;
}

#[tokio::test]
async fn a_dump_of_one_is_done_in_place_and_a_repeat_costs_one_head() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let one = dump("audit-1", &[json!({ "callId": "1777093663-1", "metadata": { "a": "b" } })]);

    world.publish(&one).await;
    let first = world.event().await.json();
    assert_eq!(first["type"], "recording.archived");
    assert_eq!(first["data"]["requestId"], "audit-1");
    assert_eq!(first["data"]["metadata"], json!({ "a": "b" }));
    assert_eq!(first["data"]["alreadyArchived"], false);
    let key = first["data"]["objects"][0]["key"].as_str().unwrap().to_owned();
    let (heads, puts) = (world.store.seen_of(Op::Head).len(), world.store.seen_of(Op::Put).len());

    world.publish(&one).await;
    let again = world.event().await.json();
    assert_eq!(again["id"], first["id"]);
    assert_eq!(again["data"]["alreadyArchived"], true);
    assert_eq!(again["data"]["objects"][0]["sha256"], first["data"]["objects"][0]["sha256"]);
    assert_eq!(world.store.seen_of(Op::Head).len(), heads + 1, "one HEAD");
    assert_eq!(world.ccfs.requests().len(), 1, "no download");

    // Forced, another recording by now: stored over, and announced as an archiving of its own.
    world.ccfs.script("1777093663-1", [Reply::wav(4096)]);
    let mut ids = BTreeSet::from([first["id"].to_string()]);
    for request in ["audit-1", "audit-2"] {
        let mut force = forced(one.clone());
        force["requestId"] = request.into();
        world.publish(&force).await;
        let event = world.event().await.json();
        assert_eq!(event["data"]["alreadyArchived"], false);
        assert_eq!(event["data"]["requestId"], request);
        assert_eq!(event["data"]["objects"][0]["key"], *key);
        assert!(ids.insert(event["id"].to_string()), "an id of its own: {event}");
    }
    world.publish(&forced(one)).await;
    let repeat = world.event().await.json();
    assert!(ids.contains(&repeat["id"].to_string()), "the same id for the same forced request");
    assert_eq!(world.store.seen_of(Op::Put).len(), puts + 3);
    let object = world.store.s3().object(&world.bucket, &key).await.expect("it is there");
    assert_eq!(object.body, world.ccfs.expected("1777093663-1").to_vec());

    world.settled(&worker).await;
    let expanded = worker.metric("callvault_jobs_total", &["outcome=\"expanded\""]).await;
    assert_eq!(expanded, 0.0);
    let of_type = ["type=\"recording.dump-requested\""];
    assert_eq!(worker.metric("callvault_messages_received_total", &of_type).await, 5.0);
    worker.stop().await;
}

#[tokio::test]
async fn a_dump_of_many_is_expanded_into_flat_items() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::hang());
    let mut worker = world.worker(&[("ccfs", "read_timeout = \"5m\"")]).await;
    let items = [
        json!({ "callId": "a-1", "ccId": "7", "callBegin": "2024-02-01T00:00:00Z",
                "metadata": { "agent": "512" } }),
        json!({ "fileName": "X:/4/0/20240202/1.V3" }),
        json!({ "callId": "nothing tells my day" }),
    ];
    let many = forced(dump("audit-7", &items));

    publish_sent(&world, &many).await;
    publish_sent(&world, &many).await; // As after a crash between the items and the ack.
    let events = world.events(2).await;
    assert_eq!(events[0]["type"], "dump.expanded");
    assert_eq!(events[0]["data"]["count"], 3);
    assert_eq!(events[0]["data"]["requestId"], "audit-7");
    assert_eq!(events[0]["data"]["tenant"], "acme");
    assert_eq!(events[0]["id"], events[1]["id"], "the event id is stable");
    // Each of them on the live and on the bulk queue.
    worker.metric_reaches("callvault_messages_settled_total", &["how=\"acked\""], 4.0).await;

    // Nothing answers the worker, so its death gives the items back for us to see.
    worker.kill();
    world.rabbit.until_ready(&world.queue("bulk"), 6).await;
    let seen = world.rabbit.take_many(&world.queue("bulk"), 6).await;
    let mut ids = BTreeSet::new();
    let mut bodies = Vec::new();
    for item in &seen {
        let properties = &item.properties;
        assert_eq!(*properties.timestamp(), Some(SENT));
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), "recording.dump-item");
        assert_eq!(*properties.delivery_mode(), Some(2));
        ids.insert(properties.message_id().as_ref().expect("an id").to_string());
        bodies.push(item.json());
    }
    assert_eq!(ids.len(), 3, "copies can be told: {ids:?}");
    for item in items {
        let mut flat = item;
        flat["type"] = "recording.dump-item".into();
        flat["tenant"] = "acme".into();
        flat["requestId"] = "audit-7".into();
        flat["force"] = true.into();
        assert_eq!(bodies.iter().filter(|body| **body == flat).count(), 2, "{flat} {bodies:?}");
    }

    // The timestamp of the dump is the last resort for the day.
    world.ccfs.default_reply(Reply::wav(2048));
    let worker = world.worker(&[]).await;
    let undated = [json!({ "callId": "undated" }), json!({ "callId": "undated too" })];
    publish_sent(&world, &dump("audit-8", &undated)).await;
    let events = world.events(3).await;
    let key = |n: usize| events[n]["data"]["objects"][0]["key"].clone();
    assert_eq!(events[0]["type"], "dump.expanded");
    assert_eq!(key(1), "acme/2024/03/05/undated.wav");
    assert_eq!(key(2), "acme/2024/03/05/undated%20too.wav");
    world.settled(&worker).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_recordings_are_archived_once_by_two_workers() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(2048));
    let workers = [world.worker(&[]).await, world.worker(&[]).await];
    let recordings: Vec<_> =
        (0..1000).map(|n| json!({ "callId": format!("1777093663-n{n}") })).collect();

    world.publish(&dump("all", &recordings)).await;
    let events = world.events(1001).await;

    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((of("recording.archived"), of("dump.expanded")), (1000, 1));
    let subjects: BTreeSet<_> = events.iter().map(|event| event["subject"].to_string()).collect();
    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!((subjects.len(), ids.len()), (1001, 1001));
    assert_eq!(world.store.s3().keys(&world.bucket, "acme/").await.len(), 1000);
    assert_eq!(world.ccfs.requests().len(), 1000, "each is downloaded once");
    for worker in workers {
        world.settled(&worker).await;
        let own = worker.metric("callvault_jobs_total", &["outcome=\"archived\""]).await;
        assert!(own > 0.0, "both took part");
        worker.stop().await;
    }
    assert_eq!(world.depth("dead").await, 0);
}

#[tokio::test]
async fn live_calls_go_before_a_running_dump() {
    let world = World::new().await;
    let worker = world.worker(&[("worker", "concurrency = 4")]).await;
    world.ccfs.default_reply(Reply::wav(2048).after(Duration::from_millis(400)));
    let recordings: Vec<_> =
        (0..60).map(|n| json!({ "callId": format!("1777093663-n{n}") })).collect();
    world.publish(&dump("all", &recordings)).await;
    let running = || async { (world.ccfs.requests().len() >= 8).then_some(()) };
    eventually("the dump is running", SOON, running).await;

    let started = world.ccfs.requests().len();
    let calls: Vec<_> = (0..12).map(|n| format!("1777093664-live{n}")).collect();
    for id in &calls {
        world.publish(&call(id)).await;
    }
    let asked_for = |id: &String| !world.ccfs.requests_for(id).is_empty();
    let all = || async { calls.iter().all(asked_for).then_some(()) };
    eventually("all live calls are at work", SOON, all).await;

    let order = world.ccfs.requests();
    let live = |n: &usize| order[*n].asked.call_id.as_ref().is_some_and(|id| calls.contains(id));
    let first = (0..order.len()).find(live).expect("a live call");
    let last = (0..order.len()).rfind(live).expect("a live call");
    let between = last + 1 - first - calls.len();
    assert!(between <= 4, "{between} of the dump went between the live calls");
    assert!(first < started + 16, "live calls did not wait for the dump: {first} {started}");
    let events = world.events(73).await;
    assert!(events.iter().all(|event| event["type"] != "recording.failed"));
    world.settled(&worker).await;
    worker.stop().await;
}
