//! The same again: one object, one event id, nothing overwritten.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::ends::now;
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::s3::{ALWAYS, Fault, Op};
use crate::support::world::{SOON, World, call};

const ID: &str = "1777093663-792075";
const KEY: &str = "acme/2026/04/25/1777093663-792075.wav";

#[tokio::test]
async fn twenty_times_at_once_is_one_object_and_one_event_id() {
    let world = World::new().await;
    // Long enough for the downloads of both workers to overlap.
    world.ccfs.script(ID, [Reply::wav(64 << 10).after(Duration::from_millis(500))]);
    let workers = [world.worker(&[]).await, world.worker(&[]).await];
    for _ in 0..20 {
        world.call(ID).await;
    }
    let events = world.events(20).await;

    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    let fresh = events.iter().filter(|event| event["data"]["alreadyArchived"] == false).count();
    assert_eq!(fresh, 1, "one of them stored it");
    assert!(events.iter().all(|event| event["type"] == "recording.archived"));
    assert_eq!(world.store.s3().keys(&world.bucket, "").await, [KEY]);
    let puts = world.store.seen_of(Op::Put);
    assert_eq!(puts.iter().filter(|put| put.status == Some(200)).count(), 1);
    let mut acked = 0.0;
    for worker in workers {
        world.settled(&worker).await;
        let own = worker.metric("callvault_messages_settled_total", &["how=\"acked\""]).await;
        assert!(own > 0.0, "both took part");
        acked += own;
        worker.stop().await;
    }
    assert_eq!(acked, 20.0);
    assert_eq!(world.depth("dead").await, 0);
}

#[tokio::test]
async fn other_content_under_the_key_is_a_conflict_whatever_the_store_can() {
    // Conditional creation; none by choice; none since the store refuses it.
    for (conditional, refuses) in [("auto", false), ("never", false), ("auto", true)] {
        let world = World::new().await;
        if refuses {
            world.store.fault(Op::Put, ALWAYS, Fault::RefuseCondition);
        }
        let setting = format!("conditional = \"{conditional}\"");
        let worker = world.worker(&[("store", &setting)]).await;
        let what = format!("conditional = {conditional}, refused: {refuses}");
        // The second time it is there already.
        for already in [false, true] {
            world.call(ID).await;
            let event = world.event().await.json();
            assert_eq!(event["data"]["alreadyArchived"], already, "{what}");
        }
        let s3 = world.store.s3();
        let ours = s3.object(&world.bucket, KEY).await.expect("it is stored");
        assert_eq!(ours.body, world.ccfs.expected(ID).to_vec());

        world.ccfs.script(ID, [Reply::wav(8 << 10)]);
        world.call(ID).await;
        let event = world.event().await.json();
        assert_eq!(event["type"], "recording.failed", "{what}");
        assert_eq!(event["data"]["reason"]["code"], "store.conflict", "{what}");
        let dead = world.take("dead").await;
        assert_eq!(dead.header("callvault-reason").as_deref(), Some("store.conflict"));
        assert_eq!(dead.header("callvault-attempts").as_deref(), Some("1"));
        assert_eq!(dead.json(), call(ID), "as it came");
        let after = s3.object(&world.bucket, KEY).await.expect("it is still there");
        assert_eq!((after.body, after.metadata), (ours.body, ours.metadata), "{what}");
        let stored = |conditional: bool| {
            let puts = world.store.seen_of(Op::Put);
            let of = |put: &&crate::support::s3::Seen| {
                put.status == Some(200) && put.header("if-none-match").is_some() == conditional
            };
            puts.iter().filter(of).count()
        };
        let conditionally = conditional == "auto" && !refuses;
        assert_eq!(stored(conditionally), 1, "{what}");
        assert_eq!(stored(!conditionally), 0, "{what}");
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_retry_asks_the_store_first_whatever_came_of_the_try_before() {
    let world = World::new().await;
    let worker = world.worker(&[("retry", "delays = [\"200ms\"]")]).await;
    for (id, first) in [
        // Another message of the same call may have found it meanwhile.
        ("1777093663-1", Reply::not_found()),
        ("1777093663-2", Reply::throttled()),
        ("1777093663-3", Reply::wav(64 << 10).cut_at(9000)),
    ] {
        world.ccfs.script(id, [first, Reply::wav(9000)]);
        let mut message = call(id);
        message["callEnd"] = json!(now().to_string()); // Or CC-FS is not waited for.
        world.publish(&message).await;
        assert_eq!(world.event().await.json()["data"]["alreadyArchived"], false, "{id}");
        let heads = world.store.seen_of(Op::Head);
        // Only who looks for what may be there asks for a ZIP.
        let asked = heads.iter().filter(|head| head.key.ends_with(&format!("{id}.zip"))).count();
        assert_eq!((world.ccfs.requests_for(id).len(), asked), (2, 1), "{id}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_redelivered_message_asks_before_it_downloads() {
    let world = World::new().await;
    let file = "X:/4/0/20260425/512/1629533.V3";
    let mut message = call(ID);
    message["fileName"] = json!(file);
    world.ccfs.script(ID, [Reply::hang()]);
    let mut first = world.worker(&[("ccfs", "read_timeout = \"5m\"")]).await;
    world.publish(&message).await;
    let asked = || async { (world.ccfs.requests_for(ID).len() == 1).then_some(()) };
    eventually("the first worker asks CC-FS", SOON, asked).await;
    assert_eq!(world.store.seen_of(Op::Head).len(), 0, "nothing to ask for at first");
    first.kill();

    // Meanwhile it was stored under the last extension that it may have.
    let base = "acme/2026/04/25/1777093663-792075_X_4_0_20260425_512_1629533";
    let key = format!("{base}.v3");
    let encoded = "X%3A%2F4%2F0%2F20260425%2F512%2F1629533.V3";
    let identity = [("tenant", "acme"), ("call-id", ID), ("file-name", encoded)];
    world.store.s3().put(&world.bucket, &key, b"a recording", &identity).await;
    let second = world.worker(&[]).await;
    let event = world.event().await.json();

    assert_eq!(event["data"]["alreadyArchived"], true);
    assert_eq!(event["data"]["objects"][0]["key"], *key);
    assert_eq!(event["data"]["objects"][0]["size"], 11);
    assert_eq!(world.ccfs.requests_for(ID).len(), 1, "no second download");
    let heads: Vec<_> = world.store.seen_of(Op::Head).into_iter().map(|seen| seen.key).collect();
    assert_eq!(heads, ["wav", "zip", "v3"].map(|extension| format!("{base}.{extension}")));
    second.stop().await;
}
