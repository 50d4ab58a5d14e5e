//! Outages: breakers open, consuming pauses, nothing is used up, and all is well again by itself.

use std::time::Duration;

use crate::support::ccfs::{Limit, Reply};
use crate::support::eventually;
use crate::support::link::Link;
use crate::support::s3::{ALWAYS, Fault, Op};
use crate::support::world::{SOON, World, access_key, call};

/// Breakers that open at once, and few attempts: an outage would kill messages if it counted.
const TOUCHY: (&str, &str) = (
    "retry",
    "delays = [\"100ms\", \"200ms\"]\nmax_attempts = 3\nbreaker_failures = 2\nbreaker_window = \"1ms\"",
);

#[tokio::test]
async fn while_the_store_is_down_consuming_pauses_and_nothing_dies() {
    let world = World::new().await;
    let mut link = Link::to(world.store.s3().address()).await;
    let s3 = format!("http://{}", link.address());
    let config = world.config_at(&world.amqp, &world.ccfs.url(), &s3, &[TOUCHY]);
    let worker = crate::support::worker::Worker::start(&config).ready().await;
    link.close().await;

    let ids: Vec<String> = (0..20).map(|serial| format!("1777093663-{serial}")).collect();
    for id in &ids {
        world.ccfs.script_for("ak-acme", id, [Reply::wav(4096)]);
        world.call(id).await;
    }
    eventually("consuming pauses", SOON, || async {
        let (status, body) = worker.get("/readyz").await;
        (status == 503 && body.contains("paused")).then_some(())
    })
    .await;
    let (_, body) = worker.get("/readyz").await;
    assert!(body.contains("store.unreachable"), "{body}");
    eventually("nobody consumes", SOON, || async {
        let consumers = world.rabbit.consumers(&world.queue("jobs")).await;
        (consumers == 0).then_some(())
    })
    .await;
    let open = worker.metric("callvault_breaker_open", &["target=\"store:"]).await;
    assert_eq!(open, 1.0);

    link.restore().await;
    let events = world.events(ids.len()).await;
    for event in &events {
        assert_eq!(event["type"], "recording.archived", "{event}");
    }
    eventually("it is ready again", SOON, || async {
        (worker.get("/readyz").await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(worker.metric("callvault_breaker_open", &[]).await, 0.0);
    assert_eq!(worker.metric("callvault_dead_total", &[]).await, 0.0);
    worker.stop().await;
}

#[tokio::test]
async fn a_store_that_answers_but_takes_nothing_uses_up_no_attempts() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(4096));
    let worker = world.worker(&[TOUCHY]).await;
    world.store.fault(Op::Put, ALWAYS, Fault::Answer { status: 500, code: "InternalError" });
    for serial in 0..8 {
        world.call(&format!("1777093663-{serial}")).await;
    }
    // Each probe that fails pauses consuming again: three of them, and three were too many attempts.
    let seen = || world.store.seen_of(Op::Put).len();
    eventually("many puts were tried", SOON, || async { (seen() >= 33).then_some(()) }).await;

    world.store.heal();
    for event in world.events(8).await {
        assert_eq!(event["type"], "recording.archived", "{event}");
    }
    worker.metric_reaches("callvault_jobs_total", &["outcome=\"archived\""], 8.0).await;
    assert_eq!(worker.metric("callvault_breaker_open", &[]).await, 0.0);
    assert_eq!(worker.metric("callvault_dead_total", &[]).await, 0.0);
    worker.stop().await;
}

#[tokio::test]
async fn a_ccfs_that_is_down_uses_up_no_attempts_and_leaves_the_other_tenant_alone() {
    let world = World::new().await;
    let mut link = Link::to(world.ccfs.address()).await;
    let behind = format!("[tenants.ccfs]\nendpoints = [\"http://{}\"]", link.address());
    let worker = world.worker(&[TOUCHY, ("acme", &behind)]).await;
    link.close().await;

    let id = "1777093663-1";
    world.ccfs.script_for(&access_key("acme"), id, [Reply::wav(4096)]);
    world.ccfs.script_for(&access_key("globex"), id, [Reply::wav(4096)]);
    for serial in 1..=4 {
        world.ccfs.script_for(
            &access_key("acme"),
            &format!("1777093664-{serial}"),
            [Reply::wav(64)],
        );
        world.call(&format!("1777093664-{serial}")).await;
    }
    let open = format!("target=\"ccfs:http://{}\"", link.address());
    worker.metric_reaches("callvault_breaker_open", &[&open], 1.0).await;
    // More rounds through the retry queue than there are attempts.
    let parked = ["tenant=\"acme\"", "ccfs.unreachable"];
    worker.metric_reaches("callvault_retries_total", &parked, 30.0).await;

    let mut other = call(id);
    other["tenant"] = "globex".into();
    world.publish(&other).await;
    let event = world.event().await;
    assert_eq!(event.routing_key, "recording.archived.globex", "while acme's is down");

    link.restore().await;
    for event in world.events(4).await {
        assert_eq!(event["type"], "recording.archived", "{event}");
        assert!(event["data"]["attempts"].as_u64() <= Some(3), "{event}");
    }
    worker.metric_reaches("callvault_jobs_total", &["outcome=\"archived\""], 5.0).await;
    assert_eq!(worker.metric("callvault_breaker_open", &[]).await, 0.0);
    worker.stop().await;
}

#[tokio::test]
async fn what_makes_way_behind_an_open_breaker_does_not_grow_old() {
    let world = World::new().await;
    let mut link = Link::to(world.ccfs.address()).await;
    let behind = format!("[tenants.ccfs]\nendpoints = [\"http://{}\"]", link.address());
    let retry = "delays = [\"50ms\"]\nmax_attempts = 3\nmax_age = \"500ms\"\n\
                 breaker_failures = 2\nbreaker_window = \"1ms\"";
    let keys = [("worker", "concurrency = 8"), ("retry", retry), ("acme", &*behind)];
    let worker = world.worker(&keys).await;
    link.close().await;

    // Many times what a worker has in hand, which is twelve.
    for serial in 0..80 {
        world.call(&format!("1777093663-{serial}")).await;
    }
    let made_way = ["tenant=\"acme\"", "reason=\"job.no_place\""];
    eventually("each has made way several times", SOON, || async {
        assert_eq!(worker.metric("callvault_dead_total", &[]).await, 0.0);
        (worker.metric("callvault_retries_total", &made_way).await >= 400.0).then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_throttled_tenant_slows_down_and_still_archives_everything() {
    let world = World::new().await;
    let limit = Limit { concurrent: Some(2), ..Limit::default() };
    world.ccfs.limit(&access_key("acme"), limit);
    let reply = || Reply::wav(4096).after(Duration::from_millis(50));
    world.ccfs.default_reply(reply());
    let worker = world.worker(&[("worker", "concurrency = 32")]).await;

    for serial in 0..60 {
        world.call(&format!("1777093663-{serial}")).await;
    }
    for event in world.events(60).await {
        assert_eq!(event["type"], "recording.archived", "{event}");
        assert_eq!(event["data"]["attempts"], 1, "throttling counts no attempt");
    }
    let limit = ["tenant=\"acme\""];
    assert!(worker.metric("callvault_tenant_concurrency_limit", &limit).await < 24.0);
    let refused = world.ccfs.requests().iter().filter(|seen| seen.outcome == "0300008").count();
    assert!((1..=15).contains(&refused), "{refused} of 60 were refused");
    worker.stop().await;
}

#[tokio::test]
async fn uploads_that_a_killed_worker_left_open_are_swept_by_the_next() {
    let world = World::new().await;
    let id = "1777093663-1";
    let slow = Reply::wav(24 << 20).stall_at(20 << 20);
    world.ccfs.script_for("ak-acme", id, [slow, Reply::wav(24 << 20)]);
    let keys = [("worker", "job_deadline = \"1s\""), ("ccfs", "read_timeout = \"60s\"")];
    let patient = [("worker", "job_deadline = \"60s\""), ("ccfs", "read_timeout = \"60s\"")];
    let mut worker = world.worker(&patient).await;
    world.call(id).await;
    eventually("an upload is open", SOON, || async {
        (world.store.open_uploads() > 0).then_some(())
    })
    .await;
    worker.kill();
    assert_eq!(world.store.open_uploads(), 1, "nobody was left to abort it");

    // The next one sweeps what is older than twice its own deadline, at start.
    eventually("the upload is swept", SOON, || async {
        let worker = world.worker(&keys).await;
        let open = world.store.open_uploads();
        worker.stop().await;
        (open == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_breaker_of_one_of_several_stores_closes_also_when_nothing_comes() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(4096));
    let mut link = Link::to(world.store.s3().address()).await;
    let own = format!("[tenants.store]\nendpoint = \"http://{}\"", link.address());
    let retry = "delays = [\"1h\"]\nbreaker_failures = 2\nbreaker_window = \"1ms\"";
    let worker = world.worker(&[("retry", retry), ("acme", &own)]).await;
    link.close().await;
    // Both wait for an hour in the retry queue.
    for serial in 0..2 {
        world.call(&format!("1777093663-{serial}")).await;
    }
    let series = |address| format!("target=\"store:http://{address}/{}\"", world.bucket);
    let (own, common) = (series(link.address()), series(world.store.s3().address()));
    let open = async || worker.metric("callvault_breaker_open", &[&own]).await;
    eventually("it is open", SOON, async || (open().await == 1.0).then_some(())).await;
    assert!(worker.is_ready().await, "the other tenant's store is well");
    // A bucket of the same name elsewhere is another one.
    assert!(worker.get("/metrics").await.1.contains(&common));
    assert_eq!(worker.metric("callvault_breaker_open", &[&common]).await, 0.0);
    link.restore().await;
    eventually("it is closed", SOON, async || (open().await == 0.0).then_some(())).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_ccfs_whose_answers_break_off_after_their_head_opens_its_breaker() {
    for broken in [Reply::wav(64 << 10).stall_at(32 << 10), Reply::wav(64 << 10).cut_at(32 << 10)] {
        let world = World::new().await;
        world.ccfs.default_reply(broken);
        let worker = world.worker(&[TOUCHY, ("ccfs", "read_timeout = \"1s\"")]).await;
        for serial in 0..4 {
            world.call(&format!("1777093663-{serial}")).await;
        }
        let open = ["target=\"ccfs:"];
        worker.metric_reaches("callvault_breaker_open", &open, 1.0).await;
        world.ccfs.default_reply(Reply::wav(64 << 10));
        for event in world.events(4).await {
            assert_eq!(event["type"], "recording.archived", "{event}");
        }
        worker.stop().await;
    }
}
