//! Tenants do not get into each other's way, and each has settings of its own.

use std::time::Duration;

use serde_json::json;

use crate::support::ccfs::{Limit, Reply, Simulator};
use crate::support::eventually;
use crate::support::link::{Link, Weather};
use crate::support::s3::{LocalS3, Op};
use crate::support::usage;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, access_key, call, secret_key};

const LIMIT: &str = "callvault_tenant_concurrency_limit";
const ACME: [&str; 1] = ["tenant=\"acme\""];

async fn globex(world: &World, call_id: &str) {
    let mut message = call(call_id);
    message["tenant"] = json!("globex");
    world.publish(&message).await;
}

#[tokio::test]
async fn a_tenant_whose_ccfs_stalls_holds_its_share_and_makes_way_for_the_others() {
    let world = World::new().await;
    let keys = [("worker", "concurrency = 8"), ("ccfs", "read_timeout = \"5m\"")];
    let worker = world.worker(&keys).await;
    // Several times what a worker has in hand, which is twelve.
    for n in 0..40 {
        let id = format!("1777093663-stalls{n}");
        world.ccfs.script(&id, [Reply::wav(64 << 10).stall_at(9000)]);
        world.call(&id).await;
    }
    eventually("it holds its share", SOON, || async { (world.ccfs.active() == 6).then_some(()) })
        .await;
    for n in 0..10 {
        globex(&world, &format!("1777093663-fine{n}")).await;
    }
    for event in world.events(10).await {
        assert_eq!(event["type"], "recording.archived");
        assert_eq!(event["data"]["tenant"], "globex");
    }
    assert_eq!(world.ccfs.active(), 6, "three quarters of eight");
    let mut worker = worker;
    worker.kill();
}

/// Waits until a tenant may have so many in flight.
async fn limit_is(worker: &Worker, tenant: &str, places: f64) {
    let label = format!("tenant=\"{tenant}\"");
    eventually(&format!("{tenant} may hold {places}"), SOON, || async {
        (worker.metric(LIMIT, &[&label]).await == places).then_some(())
    })
    .await;
}

/// From its first message on: nobody has to find out first that it does not answer.
#[tokio::test]
async fn one_that_was_never_answered_holds_an_eighth_of_what_it_may() {
    let world = World::new().await;
    let keys = [("ccfs", "read_timeout = \"5m\""), ("retry", "delays = [\"30s\"]")];
    let worker = world.worker(&keys).await;
    // More than a worker has in hand, which is eighty.
    for n in 0..200 {
        let id = format!("1777093663-hangs{n}");
        world.ccfs.script(&id, [Reply::hang()]);
        world.call(&id).await;
    }
    for n in 0..100 {
        globex(&world, &format!("1777093664-fine{n}")).await;
    }
    for event in world.events(100).await {
        assert_eq!(event["type"], "recording.archived");
        assert_eq!(event["data"]["tenant"], "globex");
    }
    let asked = world.ccfs.requests();
    let hangs = asked.iter().filter(|seen| seen.outcome == "hang").count();
    assert_eq!(hangs, 6, "an eighth of its share, which is three quarters of 64");
    assert_eq!(worker.metric(LIMIT, &ACME).await, 6.0);
    assert!(worker.metric(LIMIT, &["tenant=\"globex\""]).await > 6.0, "it is answered");
    let mut worker = worker;
    worker.kill();
}

/// Its backlog is parked until the other's call is found behind it.
#[tokio::test]
async fn the_backlog_of_a_limited_one_is_passed_by_the_call_of_another() {
    let world = World::new().await;
    let keys = [("acme", "max_concurrency = 1"), ("retry", "delays = [\"30s\"]")];
    let slow = Reply::wav(4096).after(Duration::from_millis(300));
    world.ccfs.default_reply(slow);
    // The queue is there, and nobody consumes it.
    world.worker(&[]).await.stop().await;
    for n in 0..1000 {
        world.call(&format!("1777093663-many{n}")).await;
    }
    globex(&world, "1777093664-one").await;
    let worker = world.worker(&keys).await;
    let mut before = 0;
    while world.event().await.json()["data"]["tenant"] != "globex" {
        before += 1;
    }
    assert!(before < 100, "{before} of the backlog went before it");
    let mut worker = worker;
    worker.kill();
}

/// Long before a read time-out tells that nothing comes.
#[tokio::test]
async fn one_that_does_not_answer_gives_back_the_places_that_others_want() {
    let world = World::new().await;
    let keys = [
        ("worker", "concurrency = 16"),
        ("ccfs", "read_timeout = \"5m\""),
        ("retry", "delays = [\"30s\"]"),
    ];
    let worker = world.worker(&keys).await;
    // Both have been answered, and may have their share.
    for n in 0..12 {
        world.call(&format!("1777093662-answered{n}")).await;
        globex(&world, &format!("1777093662-answered{n}")).await;
    }
    world.events(24).await;
    for tenant in ["acme", "globex"] {
        limit_is(&worker, tenant, 12.0).await;
    }
    for n in 0..12 {
        let id = format!("1777093663-hangs{n}");
        world.ccfs.script(&id, [Reply::hang()]);
        world.call(&id).await;
    }
    let in_flight = async |tenant: &str, jobs: f64| {
        let labels = [format!("tenant=\"{tenant}\"")];
        let labels = labels.each_ref().map(String::as_str);
        eventually(&format!("{tenant} has {jobs} in flight"), SOON, || async {
            let now = worker.metric("callvault_jobs_in_flight", &labels).await;
            (now == jobs).then_some(())
        })
        .await;
    };
    in_flight("acme", 12.0).await;
    // They answer, and take their time to.
    for n in 0..12 {
        let id = format!("1777093664-slow{n}");
        world.ccfs.script(&id, [Reply::wav(64 << 10).stall_at(9000)]);
        globex(&world, &id).await;
    }
    in_flight("globex", 12.0).await;
    in_flight("acme", 2.0).await;
    let labels = ["tenant=\"acme\"", "reason=\"job.no_place\""];
    assert_eq!(worker.metric("callvault_retries_total", &labels).await, 10.0);
    let mut worker = worker;
    worker.kill();
}

/// It takes as long to be reached as others wait for an answer, and is no less willing for it.
#[tokio::test]
async fn the_time_that_a_connection_takes_is_not_held_against_a_tenant() {
    let world = World::new().await;
    let ccfs = Simulator::start_tls().await;
    ccfs.account(&access_key("acme"), &secret_key("acme"));
    let link = Link::to(ccfs.address()).await;
    link.set(Weather::BlackHole);
    let own = format!(
        "[tenants.ccfs]\nendpoints = [\"https://localhost:{}\"]\nca_file = \"{}\"\n\
         connect_timeout = \"5m\"\n",
        link.address().port(),
        ccfs.ca_file().display(),
    );
    // Sixteen places, of which acme would keep two; twenty in hand.
    let keys = [("worker", "concurrency = 16"), ("acme", own.as_str())];
    let worker = world.worker(&keys).await;
    for n in 0..4 {
        world.call(&format!("1777093663-far{n}")).await;
    }
    let connecting = || async { (link.connections() >= 4).then_some(()) };
    eventually("acme holds four places", SOON, connecting).await;
    world.ccfs.default_reply(Reply::wav(4096).after(Duration::from_secs(1)));
    for n in 0..120 {
        globex(&world, &format!("1777093664-near{n}")).await;
    }
    // The other has twelve places, and always more that wait: eight rounds are eight seconds.
    let rounds = || async { (world.ccfs.requests().len() >= 8 * 12).then_some(()) };
    eventually("others have wanted its places for long", SOON, rounds).await;
    link.set(Weather::Fine);
    world.events(124).await;
    let labels = ["tenant=\"acme\"", "reason=\"job.no_place\""];
    assert_eq!(worker.metric("callvault_retries_total", &labels).await, 0.0);
    worker.stop().await;
}

#[tokio::test]
async fn max_concurrency_is_kept() {
    let world = World::new().await;
    let worker = world.worker(&[("globex", "max_concurrency = 2")]).await;
    let labels = ["tenant=\"globex\""];
    assert_eq!(worker.metric(LIMIT, &labels).await, 2.0);
    // Whoever asks for more at once is told so.
    world.ccfs.limit(&access_key("globex"), Limit { concurrent: Some(2), per_second: None });
    world.ccfs.default_reply(Reply::wav(4096).after(Duration::from_millis(200)));
    for n in 0..8 {
        globex(&world, &format!("1777093663-n{n}")).await;
    }
    world.events(8).await;
    assert_eq!(world.ccfs.peak(), 2, "both places are used");
    assert_eq!(worker.metric("callvault_retries_total", &labels).await, 0.0);
    worker.stop().await;
}

#[tokio::test]
async fn one_that_brings_no_answers_falls_to_an_eighth_until_it_answers() {
    let world = World::new().await;
    let keys = [
        ("worker", "concurrency = 16"),
        ("ccfs", "read_timeout = \"500ms\""),
        ("retry", "delays = [\"200ms\"]\nmax_attempts = 1000"),
    ];
    let worker = world.worker(&keys).await;
    limit_is(&worker, "acme", 4.0).await;
    for n in 0..4 {
        let id = format!("1777093663-n{n}");
        world.ccfs.script(&id, [Reply::hang()]);
        world.call(&id).await;
    }
    limit_is(&worker, "acme", 2.0).await;
    assert_eq!(worker.metric(LIMIT, &["tenant=\"globex\""]).await, 4.0);
    for n in 0..4 {
        world.ccfs.script(&format!("1777093663-n{n}"), [Reply::wav(4096)]);
    }
    // A window of answers.
    limit_is(&worker, "acme", 8.0).await;
    for event in world.events(4).await {
        assert_eq!(event["type"], "recording.archived");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_wrong_secret_of_one_does_not_touch_the_other() {
    let world = World::new().await;
    world.ccfs.account(&access_key("acme"), "another");
    let worker = world.worker(&[]).await;
    world.call("1777093663-1").await;
    let reason = ["tenant=\"acme\"", "reason=\"ccfs.unauthorized\""];
    // More often than there are attempts.
    worker.metric_reaches("callvault_retries_total", &reason, 4.0).await;
    for n in 0..5 {
        globex(&world, &format!("1777093663-fine{n}")).await;
    }
    for event in world.events(5).await {
        assert_eq!(event["type"], "recording.archived");
        assert_eq!(event["data"]["tenant"], "globex");
    }
    assert_eq!(worker.metric("callvault_retries_total", &["tenant=\"globex\""]).await, 0.0);
    let (status, body) = worker.get("/readyz").await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("ccfs:acme") && !body.contains("ccfs:globex"), "{body}");
    assert!(!body.contains(&secret_key("acme")), "{body}");

    world.ccfs.account(&access_key("acme"), &secret_key("acme"));
    let event = world.event().await.json();
    assert_eq!(event["type"], "recording.archived");
    assert_eq!(event["data"]["attempts"], 1, "a refusal is no attempt");
    // The worker says so once the message is settled, which is after the event.
    eventually("the refusal is over", SOON, || async {
        (!worker.get("/readyz").await.1.contains("ccfs:acme")).then_some(())
    })
    .await;
    let log = worker.stop().await;
    assert!(!log.contains(&secret_key("acme")), "no secret in the log");
}

#[tokio::test]
async fn each_has_its_own_bucket_servers_and_zone() {
    let world = World::new().await;
    let store = LocalS3::start().await;
    let bucket = store.s3().bucket().await;
    let ccfs = Simulator::start().await;
    ccfs.account(&access_key("globex"), &secret_key("globex"));
    let own = format!(
        "cc_id = \"9\"\ntime_zone = \"Asia/Shanghai\"\n\
         [tenants.ccfs]\nendpoints = [\"{}\"]\n\
         [tenants.store]\nendpoint = \"{}\"\nbucket = \"{bucket}\"\n\
         key = \"{{cc_id}}/{{yyyy}}-{{mm}}-{{dd}}/{{hh}}/{{name}}.{{ext}}\"\n",
        ccfs.url(),
        store.s3().endpoint(),
    );
    let keys = [("acme", "time_zone = \"America/New_York\""), ("globex", &own)];
    let worker = world.worker(&keys).await;
    for tenant in ["acme", "globex"] {
        // Late in the day, or already on the next, or still on the day before.
        for (n, end) in ["2026-04-25T20:30:00Z", "2026-04-26T02:30:00Z"].into_iter().enumerate() {
            world
                .publish(&json!({ "type": "call.completed", "tenant": tenant, "callEnd": end,
                                  "callId": format!("{tenant}-{n}x") }))
                .await;
        }
    }
    let events = world.events(4).await;
    let object = |n: usize| &events[n]["data"]["objects"][0];
    assert_eq!(object(0)["key"], "acme/2026/04/25/acme-0x.wav");
    assert_eq!(object(1)["key"], "acme/2026/04/25/acme-1x.wav", "still the 25th in New York");
    assert_eq!(object(2)["key"], "9/2026-04-26/04/globex-0x.wav", "the 26th in Shanghai");
    assert_eq!(object(3)["key"], "9/2026-04-26/10/globex-1x.wav");
    assert_eq!(object(0)["bucket"], *world.bucket);
    assert_eq!(object(2)["bucket"], *bucket);
    assert_eq!(world.store.s3().keys(&world.bucket, "").await.len(), 2);
    assert_eq!(store.s3().keys(&bucket, "").await.len(), 2);
    assert_eq!((world.ccfs.requests().len(), ccfs.requests().len()), (2, 2));
    assert!(ccfs.requests().iter().all(|seen| seen.asked.cc_id == "9"));
    worker.stop().await;
}

/// They differ by their keys alone, as most do.
#[tokio::test]
async fn a_thousand_tenants_of_one_ccfs_and_one_store_cost_what_they_share() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(4096));
    let ccfs = Link::to(world.ccfs.address()).await;
    let store = Link::to(world.store.s3().address()).await;
    let url = |link: &Link| format!("http://{}", link.address());
    let mut config = world.config_at(&world.amqp, &url(&ccfs), &url(&store), &[]);
    let others: Vec<String> = (2..1000).map(|n| format!("tenant{n}")).collect();
    for id in &others {
        let (access, secret) = (access_key(id), secret_key(id));
        world.ccfs.account(&access, &secret);
        config += &format!(
            "[[tenants]]\nid = \"{id}\"\naccess_key = \"{access}\"\nsecret_key = \"{secret}\"\n"
        );
    }
    let worker = Worker::start(&config).ready().await;
    let listed = || world.store.seen_of(Op::ListMultipart).len();
    eventually("the bucket is swept", SOON, || async { (listed() > 0).then_some(()) }).await;

    // One after the other: whoever has connections of its own opens them.
    for (n, id) in others.iter().step_by(50).enumerate() {
        let mut message = call(&format!("1777093663-{n}"));
        message["tenant"] = json!(id);
        world.publish(&message).await;
        let event = world.event().await;
        assert_eq!(event.routing_key, format!("recording.archived.{id}"));
    }
    assert_eq!(listed(), 1, "once for all of them");
    assert!(ccfs.connections() <= 3, "{} to CC-FS", ccfs.connections());
    assert!(store.connections() <= 5, "{} to the store", store.connections());
    let open = usage::descriptors(worker.pid());
    assert!(open <= 100, "{open} descriptors");
    // A debug build's code is the most of it.
    let megabytes = usage::rss(worker.pid()) >> 20;
    assert!(megabytes <= 96, "{megabytes} MiB resident");
    worker.stop().await;
}

/// Also where it has only been heard of from another.
#[tokio::test]
async fn tenants_of_one_ccfs_have_one_breaker() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(4096));
    let mut link = Link::to(world.ccfs.address()).await;
    let url = format!("http://{}", link.address());
    let retry = "delays = [\"1h\"]\nbreaker_failures = 2\nbreaker_window = \"1ms\"";
    let keys = [("retry", retry)];
    let config = world.config_at(&world.amqp, &url, world.store.s3().endpoint(), &keys);
    let worker = Worker::start(&config).ready().await;
    link.close().await;
    // One after the other: the two are to be further apart than the window.
    let failed = ["tenant=\"acme\"", "ccfs.unreachable"];
    for (n, retried) in [1.0, 2.0].into_iter().enumerate() {
        world.call(&format!("1777093663-{n}")).await;
        worker.metric_reaches("callvault_retries_total", &failed, retried).await;
    }
    let target = format!("target=\"ccfs:{url}\"");
    worker.metric_reaches("callvault_breaker_open", &[&target], 1.0).await;
    for n in 0..5 {
        globex(&world, &format!("1777093664-{n}")).await;
    }
    let parked = ["tenant=\"globex\"", "ccfs.unreachable"];
    worker.metric_reaches("callvault_retries_total", &parked, 5.0).await;
    // One of them may have been the probe.
    let asked = ["tenant=\"globex\"", "code=\"unreachable\""];
    assert!(worker.metric("callvault_ccfs_responses_total", &asked).await <= 1.0);
    worker.stop().await;
}
