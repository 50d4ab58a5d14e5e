//! Received = settled + in flight, at every scrape (promise 9).

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::support::broker::node;
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::link::Link;
use crate::support::worker::{Worker, sum_of};
use crate::support::world::{SOON, World};

#[tokio::test]
async fn the_books_balance_at_every_scrape() {
    let world = World::new().await;
    let link = Link::to(([127, 0, 0, 1], node().await.amqp_port()).into()).await;
    let amqp = format!("amqp://guest:guest@{}/%2f", link.address());
    world.ccfs.default_reply(Reply::wav(16 << 10).after(Duration::from_millis(20)));
    let endpoint = world.store.s3().endpoint();
    let keys = [("worker", "concurrency = 8\ndrain_timeout = \"5s\"")];
    let worker = Worker::start(&world.config_at(&amqp, &world.ccfs.url(), endpoint, &keys));
    let worker = worker.ready().await;
    // Archived, dead, retried and then archived, retried and then dead, expanded, of nobody.
    for n in 0..15 {
        world.call(&format!("1777093663-a{n}")).await;
        world.call(&format!("1777093663{n}-h500.w4k")).await;
        world.call(&format!("1777093663{n}-cut")).await;
        world.publish(&json!({ "tenant": "acme", "number": n })).await;
        let stranger = json!({ "tenant": "nobody", "callId": format!("1777093663-s{n}") });
        world.publish(&stranger).await;
        let items: Vec<_> =
            (0..5).map(|i| json!({ "callId": format!("1777093663-d{n}i{i}") })).collect();
        world
            .publish(&json!({ "type": "recording.dump-requested", "tenant": "globex",
                              "requestId": format!("r{n}"), "recordings": items }))
            .await;
    }
    let mut scrapes = 0;
    let mut done = BTreeSet::new();
    let mut cut = false;
    let deadline = tokio::time::Instant::now() + 2 * SOON;
    loop {
        let (_, text) = worker.get("/metrics").await;
        let received = sum_of(&text, "callvault_messages_received_total", &[]);
        let settled = sum_of(&text, "callvault_messages_settled_total", &[]);
        let in_flight = sum_of(&text, "callvault_jobs_in_flight", &[]);
        assert_eq!(received, settled + in_flight, "at scrape {scrapes}:\n{text}");
        assert!(tokio::time::Instant::now() < deadline, "not settled:\n{text}\n{}", worker.log());
        scrapes += 1;
        if settled > 60.0 && !cut {
            cut = true;
            link.cut_once();
        }
        while let Some(event) = world.rabbit.get(&world.events).await {
            done.insert(event.json()["id"].to_string());
        }
        // 15 × (archived, retried, dead, invalid, unknown, expanded, and its 5 items).
        let idle = in_flight == 0.0 && done.len() == 15 * 11;
        let empty = world.depth("jobs").await + world.depth("bulk").await == 0;
        if idle && empty {
            break;
        }
    }
    assert!(cut, "the broker was lost on the way");
    assert!(scrapes > 5, "{scrapes} scrapes");
    // A connection that is lost between the copy and the ack leaves one twice, with one id.
    let mut dead = BTreeSet::new();
    while let Some(message) = world.rabbit.get(&world.queue("dead")).await {
        dead.insert(message.properties.message_id().as_ref().expect("an id").to_string());
    }
    assert_eq!(dead.len(), 45);
    let (_, text) = worker.get("/metrics").await;
    assert_eq!(sum_of(&text, "callvault_deliveries_unsettled_total", &[]), 0.0);
    worker.stop().await;
}

#[tokio::test]
async fn an_ack_that_the_broker_never_got_is_given_back() {
    let world = World::new().await;
    let link = Link::to(([127, 0, 0, 1], node().await.amqp_port()).into()).await;
    let amqp = format!("amqp://guest:guest@{}/%2f", link.address());
    let id = "1777093663-1";
    world.ccfs.script(id, [Reply::wav(4096).after(Duration::from_secs(2)), Reply::wav(4096)]);
    let config = world.config_at(&amqp, &world.ccfs.url(), world.store.s3().endpoint(), &[]);
    let worker = Worker::start(&config).ready().await;
    world.call(id).await;
    let asked = || async { (world.ccfs.active() == 1).then_some(()) };
    eventually("CC-FS is asked", SOON, asked).await;
    link.cut_once();

    // What came over the link that was cut is archived, and comes once more.
    let settled = "callvault_messages_settled_total";
    worker.metric_reaches(settled, &[], 2.0).await;
    assert_eq!(worker.metric(settled, &["how=\"acked\""]).await, 1.0);
    assert_eq!(worker.metric(settled, &["how=\"given_back\""]).await, 1.0);
    world.settled(&worker).await;
    assert_eq!(worker.metric(settled, &[]).await, 2.0);
    worker.stop().await;
}
