//! Dumps of more than one beside calls: forwarded as they are, read when it is their turn.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use serde_json::{Value, json};

use super::{SENT, dump};
use crate::cli::Desk;
use crate::support::broker::client::{table, text};
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World};

const KEY: &str = "recording.dump-requested";

/// `{request}-{n}` each.
fn calls(request: &str, count: usize) -> Vec<Value> {
    (0..count).map(|n| json!({ "callId": format!("1777093663-{request}n{n}") })).collect()
}

async fn received(worker: &Worker, kind: &str) -> f64 {
    worker.metric("callvault_messages_received_total", &[kind]).await
}

#[tokio::test]
async fn a_dump_is_forwarded_as_it_is_and_outlives_a_death_before_its_ack() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(2048));
    // With spaces: bytes that nobody would write anew.
    let body = serde_json::to_vec_pretty(&dump("audit-7", &calls("a", 2))).unwrap();
    let headers = table([
        ("trace", text("kept")),
        ("callvault-attempts", AMQPValue::LongLongInt(2)),
        ("callvault-step", AMQPValue::LongLongInt(3)),
        ("callvault-first-seen", text("2026-04-25T05:13:00Z")),
        ("callvault-queue", text(&world.queue("jobs"))),
        ("callvault-redrive", text("again-1")),
    ]);
    let sent = BasicProperties::default()
        .with_message_id("an-id".into())
        .with_content_type("application/json".into())
        .with_correlation_id("correlated".into())
        .with_timestamp(SENT)
        .with_headers(headers);
    let mut doomed = world.doomed(&[], "before_ack@audit-7").ready().await;
    world.publish_raw(KEY, &body, sent.clone().with_expiration("600000".into())).await;
    doomed.crashed().await;

    // It is there twice, which is harmless; nothing is expanded.
    world.rabbit.until_ready(&world.queue("jobs"), 1).await;
    world.rabbit.until_ready(&world.queue("bulk"), 1).await;
    let copy = world.take("bulk").await;
    assert_eq!(copy.body, body);
    assert_eq!(copy.header("trace").as_deref(), Some("kept"));
    assert_eq!(copy.header("callvault-attempts").as_deref(), Some("2"));
    assert_eq!(copy.header("callvault-step").as_deref(), Some("3"));
    assert_eq!(copy.header("callvault-first-seen").as_deref(), Some("2026-04-25T05:13:00Z"));
    assert_eq!(copy.header("callvault-redrive").as_deref(), Some("again-1"));
    assert_eq!(copy.header("callvault-queue"), None, "the bulk queue is where it belongs now");
    assert!(copy.header("callvault-idle-since").is_some(), "it does not grow old there");
    let bare = |properties: BasicProperties| properties.with_headers(table([]));
    assert_eq!(bare(copy.properties.clone()), bare(sent.with_delivery_mode(2)));

    let worker = world.worker(&[]).await;
    let kinds: Vec<_> = world.events(3).await.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["dump.expanded", "recording.archived", "recording.archived"]);
    world.settled(&worker).await;
    // Forwarding is no end: nothing is counted but the delivery.
    assert_eq!(received(&worker, KEY).await, 2.0);
    assert_eq!(worker.metric("callvault_jobs_total", &[]).await, 3.0);
    let log = worker.stop().await;
    assert_eq!(log.matches("dump request moved to the bulk queue").count(), 1, "{log}");
}

#[tokio::test]
async fn dumps_in_envelopes_and_those_that_only_amqp_names_are_forwarded_too() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(2048));
    let worker = world.worker(&[]).await;
    let inner = |request: &str| {
        let mut bare = dump(request, &calls(request, 2));
        bare.as_object_mut().unwrap().remove("type");
        bare
    };
    let envelope = |mut fields: Value| {
        fields["specversion"] = "1.0".into();
        fields["type"] = KEY.into();
        fields.to_string()
    };
    let of_type = BasicProperties::default().with_type(KEY.into());
    world.publish_raw(KEY, inner("typed").to_string().as_bytes(), of_type).await;
    let none = BasicProperties::default();
    let plain = envelope(json!({ "data": inner("plain") }));
    world.publish_raw(KEY, plain.as_bytes(), none.clone()).await;
    let coded = BASE64.encode(inner("coded").to_string());
    let coded = envelope(json!({ "data_base64": coded }));
    world.publish_raw(KEY, coded.as_bytes(), none).await;

    let events = world.events(9).await;
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((of("dump.expanded"), of("recording.archived")), (3, 6));
    world.settled(&worker).await;
    assert_eq!(received(&worker, KEY).await, 6.0, "each on either queue");
    worker.stop().await;
}

#[tokio::test]
async fn a_bad_dump_is_dead_from_the_bulk_queue_with_all_mistakes_and_redriven_to_it() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let bad =
        [json!({ "callId": "1777093663-1" }), json!({ "ccId": 7 }), json!({ "callEnd": "x" })];
    world.publish(&dump("audit-9", &bad)).await;

    let first = world.event().await.json();
    assert_eq!(first["type"], "recording.failed");
    assert_eq!(first["data"]["requestId"], "audit-9");
    assert_eq!(first["data"]["reason"]["code"], "message.invalid");
    let detail = first["data"]["reason"]["message"].as_str().unwrap();
    for mistake in [
        "recordings[1]: callId or fileName is required",
        "recordings[1]: ccId must be a string, is a number",
        "recordings[2]: callId or fileName is required",
        "recordings[2]: callEnd must be an RFC 3339 date and time",
    ] {
        assert!(detail.contains(mistake), "{mistake}: {detail}");
    }
    world.settled(&worker).await;
    assert_eq!(received(&worker, "recording.dump-item").await, 0.0, "nothing of it is published");
    assert_eq!(received(&worker, KEY).await, 2.0);

    let desk = Desk::new(&world.config(&[]));
    let ended = desk.run("dead redrive --config callvault.toml");
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let again = world.event().await.json();
    assert_eq!(again["type"], "recording.failed");
    assert_ne!(again["id"], first["id"], "a redrive has events of its own");
    world.settled(&worker).await;
    assert_eq!(received(&worker, KEY).await, 3.0, "it came to the bulk queue alone");
    let dead = world.take("dead").await;
    assert_eq!(dead.header("callvault-queue"), Some(world.queue("bulk")));
    worker.stop().await;
}

#[tokio::test]
async fn a_key_that_is_too_long_makes_the_whole_dump_bad() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let [good, mut long] = [1, 2].map(|n| json!({ "callId": format!("1777093663-{n}") }));
    long["fileName"] = "\u{6c49}".repeat(200).into();
    world.publish(&dump("audit-10", &[good, long])).await;
    let told = world.event().await.json();
    assert_eq!(told["data"]["reason"]["code"], "message.invalid");
    let detail = told["data"]["reason"]["message"].as_str().unwrap();
    assert!(detail.contains("recordings[1]: ") && !detail.contains("recordings[0]"), "{detail}");
    world.settled(&worker).await;
    assert_eq!(received(&worker, "recording.dump-item").await, 0.0, "nothing of it is published");
    worker.stop().await;
}

#[tokio::test]
async fn a_call_behind_many_dumps_is_archived_while_they_wait() {
    const REQUESTS: usize = 200;
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(2048));
    // They are there before the worker, and the call behind them.
    world.worker(&[]).await.stop().await;
    for n in 0..REQUESTS {
        let request = format!("r{n}");
        world.publish(&dump(&request, &calls(&request, 100))).await;
    }
    world.call("1777093663-live").await;
    let worker = world.worker(&[("worker", "concurrency = 8")]).await;
    let archived = || async {
        let events = world.rabbit.get(&world.events).await?.json();
        (events["subject"] == "acme/1777093663-live").then_some(())
    };
    eventually("the call is archived", SOON, archived).await;
    let expanded = worker.metric("callvault_jobs_total", &["outcome=\"expanded\""]).await;
    assert!(expanded < REQUESTS as f64 / 2.0, "{expanded} dumps were expanded before it");
    worker.stop().await;
}
