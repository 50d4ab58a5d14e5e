//! One of three nodes dies, hangs, is cut off from the others, restarts, or is short of disk.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::super::Scenario;
use super::super::field::Field;
use super::broker::during_work;

pub const ALL: [Scenario; 5] = [
    Scenario {
        name: "leader-killed",
        about: "kill -9 of the node that leads the queue of jobs, every 5 s, 12 times",
        short: false,
        run: |field, rng| killed(field, rng).boxed_local(),
    },
    Scenario {
        name: "leader-frozen",
        about: "the node that leads the queue of jobs says nothing for 20 s, 4 times",
        short: false,
        run: |field, rng| frozen(field, rng).boxed_local(),
    },
    Scenario {
        name: "leader-cut-off",
        about: "the node that leads the queue of jobs and the others do not hear each other for \
                30 s, 4 times",
        short: false,
        run: |field, rng| cut_off(field, rng).boxed_local(),
    },
    Scenario {
        name: "rolling-restart",
        about: "each of the nodes is stopped and started in turn, some after a drain, 2 rounds",
        short: false,
        run: |field, rng| restarted(field, rng).boxed_local(),
    },
    Scenario {
        name: "disk-alarm",
        about: "one node is short of disk and all block who publishes, for 20 s, 2 times",
        short: false,
        run: |field, rng| short_of_disk(field, rng).boxed_local(),
    },
];

/// `times` troubles of the node that leads where work comes from, each while work is going on.
async fn of_the_leader(
    field: &Field,
    rng: &mut Rng,
    (times, calls): (usize, usize),
    mut trouble: impl AsyncFnMut(usize, &mut Rng),
) {
    for _ in 0..times {
        let leader = field.cluster().leader(&field.world.queue("jobs")).await;
        during_work(field, rng, (1, calls), async |rng| trouble(leader, rng).await).await;
    }
}

/// A trouble goes on for so long, while more is asked for.
async fn lasting(field: &Field, rng: &mut Rng, time: Duration, over: impl Future<Output = ()>) {
    let calls = field.mixed(rng, 40);
    let ends = async {
        sleep(time).await;
        over.await;
    };
    tokio::join!(field.ask(&calls), ends);
}

async fn killed(field: &Field, mut rng: Rng) -> String {
    field.start_workers(2).await;
    let times = field.scale.of(12);
    let cluster = field.cluster();
    // The one before may still be on its way: then there is no quorum for a while.
    let mut starting: Option<JoinHandle<()>> = None;
    of_the_leader(field, &mut rng, (times, 40), async |leader, rng| {
        let node = Arc::clone(&cluster.nodes()[leader]);
        node.kill().await;
        let started = tokio::spawn(async move { node.start().await });
        let before = starting.replace(started);
        lasting(field, rng, Duration::from_secs(5), started_well(before)).await;
    })
    .await;
    started_well(starting).await;
    format!("{times} times")
}

async fn started_well(node: Option<JoinHandle<()>>) {
    if let Some(node) = node {
        node.await.expect("the node starts");
    }
}

async fn frozen(field: &Field, mut rng: Rng) -> String {
    field.start_workers(2).await;
    let times = field.scale.of(4);
    let cluster = field.cluster();
    of_the_leader(field, &mut rng, (times, 80), async |leader, rng| {
        let node = &cluster.nodes()[leader];
        node.freeze().await;
        lasting(field, rng, Duration::from_secs(20), node.thaw()).await;
    })
    .await;
    format!("{times} times")
}

async fn cut_off(field: &Field, mut rng: Rng) -> String {
    field.start_workers(2).await;
    let times = field.scale.of(4);
    let cluster = field.cluster();
    of_the_leader(field, &mut rng, (times, 80), async |leader, rng| {
        cluster.cut_off(leader);
        lasting(field, rng, Duration::from_secs(30), async { cluster.heal() }).await;
    })
    .await;
    format!("{times} times")
}

async fn restarted(field: &Field, mut rng: Rng) -> String {
    field.start_workers(2).await;
    let rounds = field.scale.of(2);
    let cluster = field.cluster();
    let mut turn = cluster.nodes().iter().cycle();
    let times = rounds * cluster.nodes().len();
    during_work(field, &mut rng, (times, 40), async |rng| {
        let node = turn.next().expect("it goes round and round");
        if rng.bool() {
            node.drain().await;
            sleep(Duration::from_secs(2)).await;
        }
        node.stop().await;
        node.start().await;
    })
    .await;
    format!("{times} restarts")
}

async fn short_of_disk(field: &Field, mut rng: Rng) -> String {
    field.start_workers(2).await;
    let times = field.scale.of(2);
    let cluster = field.cluster();
    during_work(field, &mut rng, (times, 80), async |rng| {
        let node = &cluster.nodes()[rng.usize(..cluster.nodes().len())];
        node.disk_alarm(true).await;
        lasting(field, rng, Duration::from_secs(20), node.disk_alarm(false)).await;
    })
    .await;
    format!("{times} times")
}
