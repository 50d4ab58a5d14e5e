//! Everything at once: processes, broker, links and store in trouble while calls and dumps come in.

use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use tokio::sync::Mutex;

use crate::support::link::{Link, Weather};
use crate::support::s3::{Fault, Op};

use super::super::Scenario;
use super::super::field::Field;
use super::processes::POINTS;

pub const ALL: [Scenario; 1] = [Scenario {
    name: "mixed",
    about: "workers, broker, links and store in trouble at once, with calls and dumps coming in",
    short: true,
    run: |field, rng| mixed(field, rng).boxed_local(),
}];

/// How many workers there are at most.
const WORKERS: usize = 3;

async fn mixed(field: &Field, mut rng: Rng) -> String {
    field.start_workers(WORKERS).await;
    let calls = field.mixed(&mut rng, field.scale.of(1000));
    let mut done = Done::default();
    let (deaths, weather, faults, broker) = (rng.fork(), rng.fork(), rng.fork(), rng.fork());
    let trouble = async {
        tokio::join!(
            workers_die(field, deaths, &mut done.deaths),
            links_suffer(field, weather, &mut done.links),
            the_store_fails(field, faults, &mut done.faults),
            the_broker_fails(field, broker, &mut done.broker),
        )
    };
    tokio::select! {
        _ = trouble => {}
        () = asking(field, &calls, &mut rng) => {}
    }
    // Whatever was interrupted on the way.
    if field.node.try_client().await.is_none() {
        field.node.ensure_started().await;
    }
    field.node.memory_alarm(false).await;
    let Done { deaths, links, faults, broker } = done;
    format!("{deaths} deaths, {links} links, {faults} store faults, {broker} broker troubles")
}

#[derive(Default)]
struct Done {
    deaths: usize,
    links: usize,
    faults: usize,
    broker: usize,
}

/// Calls as they end, now and then a dump.
async fn asking(field: &Field, calls: &[super::super::ledger::Call], rng: &mut Rng) {
    for some in calls.chunks(20) {
        if rng.u32(..4) == 0 {
            field.ask_dump(some).await;
        } else {
            field.ask(some).await;
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(200..1200))).await;
    }
}

async fn pause(rng: &mut Rng, milliseconds: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(rng.u64(milliseconds))).await;
}

async fn workers_die(field: &Field, mut rng: Rng, done: &mut usize) {
    loop {
        pause(&mut rng, 300..1500).await;
        let place = rng.usize(..WORKERS);
        if rng.u32(..3) == 0 {
            field.fleet.stop(place).await;
        } else {
            field.fleet.kill(place).await;
        }
        match rng.usize(..POINTS.len() * 2) {
            at if at < POINTS.len() => {
                let crash = format!("{}:{}", POINTS[at].0, rng.u32(1..20));
                field.fleet.start_with(place, &[("CALLVAULT_CRASH", &crash)]).await;
            }
            _ => field.fleet.start(place).await,
        }
        *done += 1;
    }
}

async fn links_suffer(field: &Field, mut rng: Rng, done: &mut usize) {
    loop {
        pause(&mut rng, 500..4000).await;
        let links = [&field.links.broker, &field.links.store, &field.links.ccfs];
        let link: &Mutex<Link> = links[rng.usize(..links.len())];
        match rng.u32(..4) {
            0 => link.lock().await.cut_once(),
            1 => link.lock().await.set(Weather::Torn(rng.usize(1..30_000))),
            2 => link.lock().await.set(Weather::BlackHole),
            _ => link.lock().await.close().await,
        }
        pause(&mut rng, 100..2000).await;
        link.lock().await.restore().await;
        *done += 1;
    }
}

async fn the_store_fails(field: &Field, mut rng: Rng, done: &mut usize) {
    const OPS: [Op; 5] =
        [Op::Put, Op::Head, Op::CreateMultipart, Op::UploadPart, Op::CompleteMultipart];
    loop {
        pause(&mut rng, 300..1500).await;
        let op = OPS[rng.usize(..OPS.len())];
        let fault = match rng.u32(..8) {
            0 => Fault::Answer { status: 500, code: "InternalError" },
            1 => Fault::Answer { status: 503, code: "SlowDown" },
            2 => Fault::Answer { status: 403, code: "AccessDenied" },
            3 => Fault::ResetBefore,
            4 => Fault::ResetAfterBytes(rng.usize(..5000)),
            5 => Fault::ResetInsteadOfAnswer,
            6 => Fault::Stall,
            _ => Fault::IgnoreCondition,
        };
        field.world.store.fault(op, rng.u32(1..4), fault);
        *done += 1;
    }
}

async fn the_broker_fails(field: &Field, mut rng: Rng, done: &mut usize) {
    loop {
        pause(&mut rng, 5000..15_000).await;
        if rng.bool() {
            field.node.kill().await;
            pause(&mut rng, 0..1000).await;
            field.node.start().await;
        } else {
            field.node.memory_alarm(true).await;
            pause(&mut rng, 2000..8000).await;
            field.node.memory_alarm(false).await;
        }
        *done += 1;
    }
}
