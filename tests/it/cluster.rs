//! Three nodes of RabbitMQ as one cluster: one of them says nothing any more, is cut off from the
//! others or dies, and the worker goes on at another.

use std::time::Duration;

use crate::outages::all_archived_once;
use crate::support::broker::cluster::Cluster;
use crate::support::broker::programs;
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World};

/// Asked for each time, so that there is something in hand whatever happens.
const CALLS: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_at_another_node_whatever_becomes_of_the_one_that_leads() {
    let cluster = Cluster::start().await;
    let [first, second, last] = cluster.nodes();
    let mut world = World::among(last).await;
    world.ccfs.default_reply(Reply::wav(16_000).pieces(4_000, Duration::from_millis(50)));
    let urls: Vec<_> = cluster.nodes().iter().map(|node| node.url()).collect();
    let urls = format!("urls = {urls:?}");
    let worker = world.worker(&[("broker", &urls), ("worker", "concurrency = 16")]).await;
    let jobs = world.queue("jobs");
    let members = last.ctl(&["list_queues", "name", "members"]).await;
    for name in ["jobs", "bulk", "suspect", "dead", "retry.100ms", "retry.200ms"] {
        let line =
            members.lines().find(|line| line.starts_with(&format!("{}\t", world.queue(name))));
        let members = line.map_or(0, |line| line.matches("@localhost").count());
        assert_eq!(members, cluster.nodes().len(), "{name}: {line:?}");
    }
    assert_eq!(cluster.leader(&jobs).await, 0, "who declares a queue leads it");

    // RabbitMQ 3 takes the node for a living one for another minute, and declares nothing meanwhile.
    if programs::is_version_4() {
        // It takes connections as before, and says nothing.
        at_work(&world, &worker, "frozen").await;
        first.freeze().await;
        goes_on(&world, "frozen").await;
        first.thaw().await;
        all_archived_once(&world, &worker, "frozen", CALLS + 1).await;

        // It greets whoever connects, and neither confirms nor delivers: the worker is there by now.
        at_work(&world, &worker, "cutoff").await;
        cluster.cut_off(1);
        goes_on(&world, "cutoff").await;
        cluster.heal();
        all_archived_once(&world, &worker, "cutoff", CALLS + 1).await;
    }

    let leader = cluster.leader(&jobs).await;
    at_work(&world, &worker, "killed").await;
    cluster.nodes()[leader].kill().await;
    if leader == 2 {
        world.rabbit = second.client().await;
    }
    goes_on(&world, "killed").await;
    all_archived_once(&world, &worker, "killed", CALLS + 1).await;
    worker.stop().await;
}

fn call_id(name: &str, number: usize) -> String {
    format!("1777093663-{name}{number}")
}

/// Asks for some calls, and waits until the first of them are archived.
async fn at_work(world: &World, worker: &Worker, name: &str) {
    let archived = ["outcome=\"archived\""];
    let before = worker.metric("callvault_jobs_total", &archived).await;
    for number in 0..CALLS {
        world.call(&call_id(name, number)).await;
    }
    worker.metric_reaches("callvault_jobs_total", &archived, before + 16.0).await;
}

/// What is asked for after the trouble has begun comes to the worker, long before anybody but the worker
/// itself would end what hangs: heartbeats, or the broker after minutes.
async fn goes_on(world: &World, name: &str) {
    let call = call_id(name, CALLS);
    tokio::time::timeout(SOON, world.call(&call)).await.expect("the others take it");
    let what = format!("{name}: the worker goes on at another node");
    eventually(&what, SOON, async || (!world.ccfs.requests_for(&call).is_empty()).then_some(()))
        .await;
}
