//! The broker dies and comes back, is cut off in every way, or takes nothing.

use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;

use crate::support::ccfs::Reply;
use crate::support::link::Weather;
use crate::support::world::TENANTS;

use super::super::Scenario;
use super::super::field::Field;

pub const ALL: [Scenario; 8] = [
    Scenario {
        name: "broker-killed",
        about: "kill -9 and restart of the broker during work, 10 times",
        // A restart takes its time; tests/it/outages.rs has one.
        short: false,
        run: |field, rng| killed(field, rng).boxed_local(),
    },
    Scenario {
        name: "broker-frozen",
        about: "the broker says nothing for 8 s, 3 times",
        short: false,
        run: |field, rng| frozen(field, rng).boxed_local(),
    },
    Scenario {
        name: "link-cut",
        about: "all connections to the broker are reset, 40 times",
        short: true,
        run: |field, rng| cut(field, rng).boxed_local(),
    },
    Scenario {
        name: "link-half-open",
        about: "nothing crosses to the broker and no connection ends, for 6 s, 4 times",
        short: false,
        run: |field, rng| half_open(field, rng).boxed_local(),
    },
    Scenario {
        name: "link-torn",
        about: "connections to the broker are reset in the middle of a frame, 40 times",
        short: true,
        run: |field, rng| torn(field, rng).boxed_local(),
    },
    Scenario {
        name: "link-byte-by-byte",
        about: "frames cross a byte at a time",
        short: false,
        run: |field, rng| byte_by_byte(field, rng).boxed_local(),
    },
    Scenario {
        name: "memory-alarm",
        about: "the broker blocks all who publish for 30 s; a worker dies meanwhile",
        short: false,
        run: |field, rng| memory_alarm(field, rng).boxed_local(),
    },
    Scenario {
        name: "subscriber-full",
        about: "a subscriber's queue is full and refuses events, 6 times; a worker dies meanwhile",
        // Probes come less and less often; tests/it/events.rs has one.
        short: false,
        run: |field, rng| subscriber_full(field, rng).boxed_local(),
    },
];

/// Notices a silent broker soon.
pub(super) const NERVOUS: [(&str, &str); 1] = [("broker", "heartbeat = \"2s\"")];

/// `times` troubles, each while work is going on: `calls` a time are asked for beforehand.
pub(super) async fn during_work(
    field: &Field,
    rng: &mut Rng,
    (times, calls): (usize, usize),
    mut trouble: impl AsyncFnMut(&mut Rng),
) {
    for _ in 0..times {
        let calls = field.mixed(rng, calls);
        field.ask(&calls).await;
        // In hand when it comes.
        let slow: Vec<_> = (0..8).map(|n| field.slow_call(TENANTS[n % 2], rng)).collect();
        field.ask(&slow).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(..300))).await;
        trouble(rng).await;
    }
}

async fn killed(field: &Field, mut rng: Rng) -> String {
    field.start_workers(2).await;
    let times = field.scale.of(10);
    during_work(field, &mut rng, (times, 80), async |rng| {
        field.node.kill().await;
        tokio::time::sleep(Duration::from_millis(rng.u64(..1000))).await;
        field.node.start().await;
    })
    .await;
    format!("{times} times")
}

async fn frozen(field: &Field, mut rng: Rng) -> String {
    field.configure(&NERVOUS).await;
    field.start_workers(2).await;
    let times = field.scale.of(3);
    during_work(field, &mut rng, (times, 80), async |_| {
        field.node.freeze().await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        field.node.thaw().await;
    })
    .await;
    format!("{times} times")
}

async fn cut(field: &Field, mut rng: Rng) -> String {
    field.start_workers(2).await;
    let times = field.scale.of(40);
    during_work(field, &mut rng, (times, 25), async |rng| {
        field.links.broker.lock().await.cut_once();
        // Some cuts find connections that are just being made.
        tokio::time::sleep(Duration::from_millis(rng.u64(..1000))).await;
    })
    .await;
    format!("{times} cuts")
}

async fn half_open(field: &Field, mut rng: Rng) -> String {
    field.configure(&NERVOUS).await;
    field.start_workers(2).await;
    let times = field.scale.of(4);
    during_work(field, &mut rng, (times, 80), async |_| {
        field.links.broker.lock().await.set(Weather::BlackHole);
        tokio::time::sleep(Duration::from_secs(6)).await;
        field.links.broker.lock().await.restore().await;
    })
    .await;
    format!("{times} times")
}

async fn torn(field: &Field, mut rng: Rng) -> String {
    field.start_workers(2).await;
    let times = field.scale.of(40);
    during_work(field, &mut rng, (times, 25), async |rng| {
        // A frame of an event is some 700 bytes long: hardly ever is this its end.
        field.links.broker.lock().await.set(Weather::Torn(rng.usize(1..6_000)));
        tokio::time::sleep(Duration::from_millis(rng.u64(100..1000))).await;
        field.links.broker.lock().await.restore().await;
    })
    .await;
    format!("{times} times")
}

async fn byte_by_byte(field: &Field, mut rng: Rng) -> String {
    field.links.broker.lock().await.set(Weather::Dribble);
    field.start_workers(2).await;
    let calls = field.mixed(&mut rng, field.scale.of(300));
    field.work_off(&calls).await;
    "from the first byte on".to_owned()
}

async fn memory_alarm(field: &Field, mut rng: Rng) -> String {
    field.start_workers(2).await;
    let calls = field.mixed(&mut rng, field.scale.of(400));
    field.ask(&calls).await;
    // These come down and are stored while nothing can be said of them.
    let long = Reply::wav(16_000).pieces(4_000, Duration::from_millis(1500));
    let long: Vec<_> = (0..24).map(|n| field.scripted(TENANTS[n % 2], long.clone())).collect();
    field.ask(&long).await;
    field.node.memory_alarm(true).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    field.fleet.kill(0).await;
    field.fleet.start(0).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    field.node.memory_alarm(false).await;
    "30 s, one worker killed".to_owned()
}

async fn subscriber_full(field: &Field, mut rng: Rng) -> String {
    field.start_workers(2).await;
    let times = field.scale.of(6);
    let queue = field.world.queue("full");
    during_work(field, &mut rng, (times, 80), async |rng| {
        let rabbit = field.node.client().await;
        rabbit.declare_for_one(&queue).await;
        // All that is said, one kind of it, one tenant's.
        let key = ["#", "recording.failed.#", "recording.archived.acme"][rng.usize(..3)];
        rabbit.bind(&queue, &field.world.events_exchange, key).await;
        rabbit.send(&queue, "{}").await;
        tokio::time::sleep(Duration::from_millis(rng.u64(1_000..10_000))).await;
        let place = rng.usize(..2);
        field.fleet.kill(place).await;
        field.fleet.start(place).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(1_000..5_000))).await;
        rabbit.delete(&queue).await;
    })
    .await;
    format!("{times} times, as many workers killed")
}
