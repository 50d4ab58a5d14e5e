//! The ladder and its ends: steps, attempts, the window of what is not ready, the age of all.

use serde_json::json;

use super::{
    EVERYWHERE, End, LOOK, assert_nothing_more, case, days_ago, play, publish_with_past, series,
};
use crate::ends::{assert_dead, assert_unarchived, assert_waiting, by_call, collect, now};
use crate::support::ccfs::Reply;
use crate::support::world::{World, call};

#[tokio::test]
async fn each_failure_is_a_step_and_the_last_delay_repeats() {
    let world = World::new().await;
    // Two real delays, then a long one to look into.
    let delays = ("retry", "delays = [\"100ms\", \"200ms\", \"10m\"]\nmax_attempts = 9");
    let worker = world.worker(&[delays]).await;
    world.ccfs.script("climbs", [Reply::code("0999999"), Reply::status(500), Reply::empty()]);
    world.ccfs.script("waits", [Reply::status(401), Reply::status(401), Reply::throttled()]);
    world.call("climbs").await;
    world.call("waits").await;

    let climbed = world.take("retry.10m").await;
    assert_waiting(&world, &climbed, "10m", "ccfs.empty", 3, 3);
    assert_eq!(world.ccfs.requests_for("climbs").len(), 3);
    // Parked in 200ms again and again, which is the longest of at most 30 s.
    worker.metric_reaches("callvault_retries_total", &["reason=\"ccfs.0300008\""], 2.0).await;
    world.ccfs.script("waits", [Reply::status(401)]);
    let waited = world.take("retry.10m").await;
    assert_waiting(&world, &waited, "10m", "ccfs.unauthorized", 0, 3);

    // The last delay repeats, and the past goes along.
    super::come_back(&world, &climbed).await;
    let again = world.take("retry.10m").await;
    assert_waiting(&world, &again, "10m", "ccfs.empty", 4, 4);
    let first = |seen: &crate::support::broker::client::Seen| seen.header("callvault-first-seen");
    assert_eq!(first(&again), first(&climbed));
    assert_eq!(again.properties.message_id(), climbed.properties.message_id());
    for name in ["retry.100ms", "retry.200ms"] {
        assert!(world.rabbit.exists(&world.queue(name)).await, "{name}");
    }
    assert_nothing_more(&world, &worker).await;
    worker.stop().await;
}

#[tokio::test]
async fn an_unknown_code_is_tried_max_attempts_times() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    world.ccfs.script("1777093663-9", [Reply::code("0999999")]);

    world.call("1777093663-9").await;

    let event = world.event().await;
    assert_unarchived(&event, "recording.failed", Some("acme"), "ccfs.0999999", 3);
    let dead = world.take("dead").await;
    assert_dead(&world, &dead, "ccfs.0999999", 3, 2);
    assert_eq!(world.ccfs.requests_for("1777093663-9").len(), 3);
    assert_nothing_more(&world, &worker).await;
    let text = worker.get("/metrics").await.1;
    let of = |name, label| series(&text, name, label);
    assert_eq!(of("callvault_retries_total", "reason"), [("ccfs.other".into(), 2.0)].into());
    assert_eq!(of("callvault_dead_total", "reason"), [("ccfs.other".into(), 1.0)].into());
    assert_eq!(of("callvault_ccfs_responses_total", "code"), [("other".into(), 3.0)].into());
    let outcomes = [("retried".into(), 2.0), ("dead".into(), 1.0)].into();
    assert_eq!(of("callvault_jobs_total", "outcome"), outcomes);
    worker.stop().await;
}

#[tokio::test]
async fn what_is_not_ready_when_the_window_closes_is_absent() {
    let world = World::new().await;
    let window = ("retry", "not_ready_window = \"1s\"");
    let worker = world.worker(&[window]).await;
    let soon = now() + jiff::SignedDuration::from_secs(1);
    for (name, code) in [("never 1", "0300012"), ("never 2", "0300011")] {
        world.ccfs.script(name, [Reply::code(code)]);
        let mut message = call(name);
        message["callEnd"] = json!(soon.to_string());
        message["metadata"] = json!({ "agentId": "512" });
        world.publish(&message).await;
    }

    let events = by_call(world.rabbit.take_many(&world.events, 2).await);

    let mut asked = 0.0;
    for (name, reason) in [("never 1", "ccfs.0300012"), ("never 2", "ccfs.0300011")] {
        assert_unarchived(&events[name], "recording.absent", Some("acme"), reason, 1);
        assert_eq!(events[name].json()["data"]["metadata"]["agentId"], "512");
        asked += world.ccfs.requests_for(name).len() as f64;
    }
    assert_nothing_more(&world, &worker).await;
    assert_eq!(world.depth("dead").await, 0, "absent is not dead");
    // Each try but the last was a retry.
    let text = worker.get("/metrics").await.1;
    let outcomes = series(&text, "callvault_jobs_total", "outcome");
    let outcome = |name: &str| outcomes.get(name).copied().unwrap_or_default();
    assert_eq!((outcome("absent"), outcome("retried")), (2.0, asked - 2.0));
    assert_eq!(series(&text, "callvault_dead_total", "reason"), [].into());
    let codes = series(&text, "callvault_ccfs_responses_total", "code");
    assert_eq!(codes.values().sum::<f64>(), asked);
    worker.stop().await;
}

#[tokio::test]
async fn the_window_begins_with_the_call_or_with_the_end_of_its_day() {
    let world = World::new().await;
    let worker = world.worker(&[LOOK, ("retry", "not_ready_window = \"1h\"")]).await;
    let file = |day: jiff::Timestamp| json!(day.strftime("X:/4/0/%Y%m%d/512.V3").to_string());
    let of_a_day = |name: &str, days| {
        let case = case(name, Reply::not_found(), End::Waiting, "ccfs.0300012");
        case.at("callEnd", json!(null)).at("fileName", file(days_ago(days)))
    };
    // A day alone counts from its end, which for tomorrow is still to come.
    play(&world, &worker, &[of_a_day("tomorrow", -1)]).await;

    let over = of_a_day("long ago", 3);
    world.ccfs.script("long ago", [Reply::not_found()]);
    let past = [("callvault-attempts", "4"), ("callvault-step", "7")];
    publish_with_past(&world, &over.message, &past).await;
    let event = world.event().await;
    assert_unarchived(&event, "recording.absent", Some("acme"), "ccfs.0300012", 5);
    assert_nothing_more(&world, &worker).await;
    worker.stop().await;
}

#[tokio::test]
async fn too_old_is_dead_whatever_the_class() {
    let world = World::new().await;
    let worker = world.worker(&[LOOK]).await;
    let answers = [
        ("old failure", Reply::code("0999999"), "ccfs.0999999"),
        ("old throttled", Reply::throttled(), "ccfs.0300008"),
        ("old not ready", Reply::not_found(), "ccfs.0300012"),
        ("old refused", Reply::status(401), "ccfs.unauthorized"),
        ("old outage", Reply::status(500), "ccfs.http_500"),
    ];
    let (old, young) = (days_ago(8).to_string(), days_ago(6).to_string());
    for (name, reply, _) in &answers {
        world.ccfs.script(name, [reply.clone()]);
        let mut message = call(name);
        message["callEnd"] = json!(now().to_string());
        let past = [("callvault-first-seen", &*old), ("callvault-step", "5")];
        publish_with_past(&world, &message, &past).await;
    }
    let ended = collect(&world, &worker, &EVERYWHERE, answers.len()).await;
    assert!(ended.iter().all(|(queue, _)| queue == "dead"), "{ended:#?}");
    let events = by_call(world.rabbit.take_many(&world.events, answers.len()).await);
    for (_, dead) in ended {
        let name = crate::ends::call_of(&dead);
        let (.., reason) = answers.iter().find(|answer| answer.0 == name).expect("one of ours");
        assert_dead(&world, &dead, reason, 1, 5);
        assert_eq!(dead.header("callvault-first-seen").as_deref(), Some(&*old));
        assert_unarchived(&events[&name], "recording.failed", Some("acme"), reason, 1);
    }

    // Younger ones go on waiting, and an old one whose recording is there is archived.
    world.ccfs.script("young", [Reply::throttled()]);
    publish_with_past(&world, &call("young"), &[("callvault-first-seen", &young)]).await;
    assert_waiting(&world, &world.take("retry.30s").await, "30s", "ccfs.0300008", 0, 0);
    assert_nothing_more(&world, &worker).await;
    publish_with_past(&world, &call("old, there"), &[("callvault-first-seen", &old)]).await;
    assert_eq!(world.event().await.json()["type"], "recording.archived");
    worker.stop().await;
}

#[tokio::test]
async fn an_outage_of_ccfs_is_counted_and_ends_by_itself() {
    let world = World::new().await;
    let delays = ("retry", "delays = [\"200ms\"]\nmax_attempts = 1000");
    let worker = world.worker(&[delays]).await;
    world.ccfs.down().await;

    world.call("1777093663-1").await;
    let labels = ["tenant=\"acme\"", "reason=\"ccfs.unreachable\""];
    worker.metric_reaches("callvault_retries_total", &labels, 2.0).await;
    world.ccfs.up().await;

    let event = world.event().await.json();
    assert_eq!(event["type"], "recording.archived");
    world.settled(&worker).await;
    let retries = worker.metric("callvault_retries_total", &labels).await;
    assert_eq!(event["data"]["attempts"], json!(retries as u64 + 1));
    let unreachable = ["tenant=\"acme\"", "code=\"unreachable\""];
    assert_eq!(worker.metric("callvault_ccfs_responses_total", &unreachable).await, retries);
    worker.stop().await;
}

#[tokio::test]
async fn an_unreachable_ccfs_says_so_in_the_headers() {
    let world = World::new().await;
    let worker = world.worker(&[LOOK]).await;
    world.ccfs.down().await;
    let case = case("nobody", Reply::not_found(), End::Failed, "ccfs.unreachable");
    play(&world, &worker, &[case.says("cannot connect to 127.0.0.1")]).await;
    worker.stop().await;
}
