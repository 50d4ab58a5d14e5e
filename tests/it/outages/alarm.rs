//! A broker that is short of memory and takes nothing from publishers: neither acknowledgements nor
//! recovery wait for it.

use tokio::sync::watch;

use super::{all_archived_once, downloading};
use crate::support::broker::Node;
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::wire::Wire;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World};

/// It says so, and goes on consuming.
async fn says_that_it_is_blocked(worker: &Worker) {
    eventually("/readyz tells of the alarm", SOON, async || {
        let (status, body) = worker.get("/readyz").await;
        assert_eq!(status, 200, "{body}");
        body.contains("blocks publishers").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_was_confirmed_before_the_alarm_is_acknowledged_during_it() {
    let node = Node::start_private().await;
    let mut world = World::on(&node).await;
    let wire = Wire::to(([127, 0, 0, 1], node.amqp_port()).into()).await;
    let amqp = format!("amqp://guest:guest@{}/%2f", wire.address());
    let config = world.config_at(&amqp, &world.ccfs.url(), world.store.s3().endpoint(), &[]);
    let mut worker = Worker::start(&config).ready().await;
    // The acknowledgements are on their way when the alarm comes.
    let (open, _) = watch::channel(false);
    let gate = open.clone();
    wire.on_ack(move |_| {
        let mut gate = gate.subscribe();
        async move {
            let _ = gate.wait_for(|open| *open).await;
        }
    });
    for n in 0..3 {
        world.call(&format!("1777093663-said{n}")).await;
    }
    let announced = async || {
        let record = wire.record();
        let events = record.published.iter().filter(|published| published.confirmed());
        (events.count() == 3).then_some(())
    };
    eventually("the events are confirmed", SOON, announced).await;
    node.memory_alarm(true).await;
    // The client of the old days is blocked.
    world.rabbit = node.client().await;
    open.send_replace(true);
    let idle = async || (worker.metric("callvault_jobs_in_flight", &[]).await == 0.0).then_some(());
    eventually("the worker has acknowledged", SOON, idle).await;
    // What the broker did not take would be ready again.
    worker.kill();
    let gone = async || (world.rabbit.consumers(&world.queue("jobs")).await == 0).then_some(());
    eventually("the worker is gone", SOON, gone).await;
    assert_eq!(world.depth("jobs").await, 0);
    node.memory_alarm(false).await;
    let next = world.worker(&[]).await;
    all_archived_once(&world, &next, "1777093663-said", 3).await;
    next.stop().await;
}

#[tokio::test]
async fn workers_come_and_go_during_the_alarm_and_all_is_archived_after_it() {
    let node = Node::start_private().await;
    let mut world = World::on(&node).await;
    let keys = [("worker", "drain_timeout = \"2s\""), ("ccfs", "read_timeout = \"5m\"")];
    let (open, held) = watch::channel(false);
    world.ccfs.default_reply(Reply::wav(64 << 10).once(held));
    let first = world.worker(&keys).await;
    for n in 0..3 {
        world.call(&format!("1777093663-alarm{n}")).await;
    }
    downloading(&world, 3).await;
    node.memory_alarm(true).await;
    open.send_replace(true);
    world.rabbit = node.client().await;
    let stored = async || (world.store.s3().keys(&world.bucket, "").await.len() == 3).then_some(());
    eventually("the recordings are stored", SOON, stored).await;
    says_that_it_is_blocked(&first).await;
    // Stopped in order it gives them back, unsaid.
    first.stop().await;
    world.rabbit.until_ready(&world.queue("jobs"), 3).await;
    // The next finds them stored, and cannot say so either; it is killed over it.
    let mut second = world.worker(&keys).await;
    second.metric_reaches("callvault_jobs_in_flight", &[], 3.0).await;
    says_that_it_is_blocked(&second).await;
    assert_eq!(second.metric("callvault_jobs_in_flight", &[]).await, 3.0, "no early ack");
    second.kill();
    let third = world.worker(&keys).await;
    third.metric_reaches("callvault_jobs_in_flight", &[], 3.0).await;
    node.memory_alarm(false).await;
    all_archived_once(&world, &third, "1777093663-alarm", 3).await;
    let relieved = async || (!third.get("/readyz").await.1.contains("blocks")).then_some(());
    eventually("nothing hinders it any more", SOON, relieved).await;
    third.stop().await;
}
