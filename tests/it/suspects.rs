//! Messages that were around when workers died.

use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::world::{SOON, World, call};

const ID: &str = "1777093663-1";

/// A worker dies while it holds `ID`, as often as it takes until the message is suspect.
async fn make_suspect(world: &World) -> usize {
    let keys = [("broker", "delivery_limit = 2"), ("ccfs", "read_timeout = \"5m\"")];
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

const LIMIT: [(&str, &str); 1] = [("broker", "delivery_limit = 2")];

#[tokio::test]
async fn an_innocent_suspect_is_archived_by_a_healthy_worker() {
    let world = World::new().await;
    world.ccfs.script(ID, [Reply::hang()]);
    let deaths = make_suspect(&world).await;
    // RabbitMQ counts what comes back: the limit is passed by the delivery after it.
    assert_eq!(deaths, 3);

    // It fails once more, for a reason of its own: it stays among the suspects.
    world.ccfs.script(ID, [Reply::status(500), Reply::wav(4096)]);
    let worker = world.worker(&LIMIT).await;
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
        LIMIT[0],
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
