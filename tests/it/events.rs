//! Events that are not taken (contract 5): a subscriber's full queue floods nobody, kills nothing,
//! and all is said once there is room again.

use std::collections::BTreeMap;

use callvault::clock;
use jiff::SignedDuration;
use lapin::BasicProperties;
use lapin::options::BasicGetOptions;
use serde_json::json;

use crate::support::broker::client::{table, text};
use crate::support::broker::node;
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, call};

/// Few attempts, and a breaker that opens at once.
const TOUCHY: (&str, &str) = (
    "retry",
    "delays = [\"100ms\", \"200ms\"]\nmax_attempts = 3\nbreaker_failures = 2\nbreaker_window = \"1ms\"",
);
/// The same with a breaker that never opens.
const DULL: (&str, &str) = (
    "retry",
    "delays = [\"100ms\", \"200ms\"]\nmax_attempts = 3\nbreaker_failures = 1000000\nbreaker_window = \"1h\"",
);
const REFUSED: [&str; 1] = ["reason=\"event.refused\""];

/// A subscriber's queue that takes no event whose key matches, until it is deleted.
async fn full_subscriber(world: &World, key: &str) -> String {
    let full = world.queue("full");
    world.rabbit.declare_for_one(&full).await;
    world.rabbit.bind(&full, &world.events_exchange, key).await;
    world.rabbit.send(&full, "{}").await;
    full
}

/// How often each event has come to the subscriber that is well, by its id.
async fn copies(world: &World) -> BTreeMap<String, u32> {
    let mut copies = BTreeMap::new();
    while let Some(event) = world.rabbit.get(&world.events).await {
        let id = event.json()["id"].as_str().expect("an id").to_owned();
        *copies.entry(id).or_default() += 1;
    }
    copies
}

async fn ready_again(worker: &Worker) {
    eventually("the worker is ready again", SOON, async || worker.is_ready().await.then_some(()))
        .await;
}

#[tokio::test]
async fn a_full_subscriber_is_given_two_copies_a_try_and_no_attempt_counts() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(4096));
    let full = full_subscriber(&world, "recording.archived.#").await;
    let worker = world.worker(&[DULL]).await;
    world.call("1777093663-1").await;
    // Far more tries than there are attempts.
    worker.metric_reaches("callvault_retries_total", &REFUSED, 8.0).await;
    world.rabbit.delete(&full).await;
    worker.metric_reaches("callvault_jobs_total", &["already_archived"], 1.0).await;

    let tries = worker.metric("callvault_jobs_total", &[]).await;
    let copies = copies(&world).await;
    assert_eq!(copies.len(), 1, "one event, and its repeats: {copies:?}");
    let sent: u32 = copies.values().sum();
    assert!(f64::from(sent) <= 2.0 * tries, "{sent} copies in {tries} tries");
    assert_eq!(worker.metric("callvault_dead_total", &[]).await, 0.0);
    assert_eq!(world.ccfs.requests_for("1777093663-1").len(), 1, "found, not downloaded again");
    worker.stop().await;
}

#[tokio::test]
async fn while_no_event_is_taken_consuming_pauses_and_all_is_said_in_the_end() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(4096));
    let full = full_subscriber(&world, "#").await;
    let worker = world.worker(&[TOUCHY]).await;
    for n in 0..10 {
        world.call(&format!("1777093663-{n}")).await;
    }
    let events = ["target=\"events\""];
    worker.metric_reaches("callvault_breaker_open", &events, 1.0).await;
    let reason = eventually("consuming pauses", SOON, async || {
        let (status, body) = worker.get("/readyz").await;
        (status == 503 && body.contains("paused")).then_some(body)
    })
    .await;
    assert!(reason.contains(&world.events_exchange), "{reason}");
    // Probes go on, and find that it is not over.
    let before = worker.metric("callvault_retries_total", &REFUSED).await;
    worker.metric_reaches("callvault_retries_total", &REFUSED, before + 3.0).await;
    let jobs = world.queue("jobs");
    let nobody = async || (world.rabbit.consumers(&jobs).await == 0).then_some(());
    eventually("nobody consumes", SOON, nobody).await;

    world.rabbit.delete(&full).await;
    worker.metric_reaches("callvault_jobs_total", &["archived\""], 10.0).await;
    ready_again(&worker).await;
    assert_eq!(worker.metric("callvault_breaker_open", &[]).await, 0.0);
    assert_eq!(worker.metric("callvault_dead_total", &[]).await, 0.0);
    let tries = worker.metric("callvault_jobs_total", &[]).await;
    let copies = copies(&world).await;
    assert_eq!(copies.len(), 10);
    assert!(f64::from(copies.values().sum::<u32>()) <= 2.0 * tries, "{copies:?}, {tries} tries");
    worker.stop().await;
}

#[tokio::test]
async fn what_is_absent_or_dead_waits_until_that_is_said() {
    let world = World::new().await;
    world.ccfs.script("1777093663-1", [Reply::code("0300011")]);
    let full = full_subscriber(&world, "#").await;
    let worker = world.worker(&[DULL]).await;
    world.call("1777093663-1").await;
    world.publish(&json!({ "type": "call.completed", "tenant": "acme" })).await;
    // More often than there are attempts, each of them.
    worker.metric_reaches("callvault_retries_total", &REFUSED, 12.0).await;
    assert_eq!(world.depth("dead").await, 0);
    world.rabbit.delete(&full).await;
    let dead = world.take("dead").await;
    assert_eq!(dead.header("callvault-reason").as_deref(), Some("message.invalid"));
    assert_eq!(dead.header("callvault-attempts").as_deref(), Some("1"));
    worker.metric_reaches("callvault_jobs_total", &["outcome=\"absent\""], 1.0).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_third_crash_is_remembered_until_it_can_be_said() {
    let world = World::new().await;
    world.worker(&[]).await.stop().await;
    // It was in hand when two workers ended, and is so again.
    let past = table([
        ("callvault-crashes", text("2")),
        ("callvault-suspect", text("2026-04-25T05:12:44Z")),
    ]);
    let suspect = call("1777093663-1").to_string();
    let past = BasicProperties::default().with_headers(past);
    world.rabbit.publish("", &world.queue("suspect"), suspect.as_bytes(), past).await;
    let third = node().await.client().await;
    let suspects = world.queue("suspect");
    let got = third.channel().basic_get(suspects.as_str().into(), BasicGetOptions::default()).await;
    assert!(got.expect("the queue is there").is_some());
    third.channel().close(200, "dies".into()).await.expect("it is open");
    let full = full_subscriber(&world, "recording.failed.#").await;
    let worker = world.worker(&[DULL]).await;
    worker.metric_reaches("callvault_retries_total", &REFUSED, 3.0).await;
    world.rabbit.delete(&full).await;
    let dead = world.take("dead").await;
    assert_eq!(dead.header("callvault-reason").as_deref(), Some("job.crashed"));
    assert_eq!(dead.header("callvault-crashes").as_deref(), Some("3"));
    assert!(world.ccfs.requests_for("1777093663-1").is_empty(), "no work was begun");
    worker.stop().await;
}

#[tokio::test]
async fn one_message_is_enough_to_find_out_that_events_are_taken_again() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(4096));
    let full = full_subscriber(&world, "#").await;
    let worker = world.worker(&[TOUCHY]).await;
    world.publish(&call("1777093663-1")).await;
    worker.metric_reaches("callvault_breaker_open", &["target=\"events\""], 1.0).await;
    world.rabbit.delete(&full).await;
    worker.metric_reaches("callvault_jobs_total", &["archived\""], 1.0).await;
    ready_again(&worker).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_dump_that_only_has_to_be_announced_asks_for_nothing_twice() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(4096));
    let full = full_subscriber(&world, "dump.expanded.#").await;
    let worker = world.worker(&[DULL]).await;
    let dump = json!({ "type": "recording.dump-requested", "tenant": "acme", "requestId": "all",
        "recordings": [{ "callId": "1777093663-1" }, { "callId": "1777093663-2" }] });
    world.publish(&dump).await;
    worker.metric_reaches("callvault_retries_total", &REFUSED, 5.0).await;
    world.rabbit.delete(&full).await;
    worker.metric_reaches("callvault_jobs_total", &["outcome=\"expanded\""], 1.0).await;
    worker.metric_reaches("callvault_jobs_total", &["outcome=\"archived\""], 2.0).await;
    let items = worker.metric("callvault_messages_received_total", &["recording.dump-item"]).await;
    assert_eq!(items, 2.0);
    worker.stop().await;
}

#[tokio::test]
async fn a_dump_that_is_dead_and_cannot_be_told_so_is_expanded_when_it_may_live() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(4096));
    full_subscriber(&world, "recording.failed.#").await;
    let worker = world.worker(&[DULL]).await;
    // More than a day ahead (contract 2) until the clock has moved on.
    let ahead = clock::now() + SignedDuration::from_secs(24 * 3600 + 8);
    let call = |n: u8| json!({ "callId": format!("1777093663-{n}"), "callEnd": ahead.to_string() });
    let dump = json!({ "type": "recording.dump-requested", "tenant": "acme", "requestId": "soon",
        "recordings": [call(1), call(2)] });
    world.publish(&dump).await;
    worker.metric_reaches("callvault_retries_total", &REFUSED, 1.0).await;
    worker.metric_reaches("callvault_jobs_total", &["outcome=\"expanded\""], 1.0).await;
    worker.metric_reaches("callvault_jobs_total", &["outcome=\"archived\""], 2.0).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_message_whose_copy_no_queue_takes_does_not_keep_its_place() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(4096));
    // A queue that is there is used as it is.
    world.rabbit.declare_for_one(&world.queue("dead")).await;
    world.rabbit.send(&world.queue("dead"), "{}").await;
    let worker = world.worker(&[("worker", "concurrency = 1")]).await;
    world.publish(&json!({ "type": "call.completed", "tenant": "acme" })).await;
    worker.metric_reaches("callvault_jobs_in_flight", &[], 1.0).await;
    world.call("1777093663-1").await;
    worker.metric_reaches("callvault_jobs_total", &["outcome=\"archived\""], 1.0).await;
    world.rabbit.purge(&world.queue("dead")).await;
    let dead = world.take("dead").await;
    assert_eq!(dead.header("callvault-reason").as_deref(), Some("message.invalid"));
    worker.stop().await;
}
