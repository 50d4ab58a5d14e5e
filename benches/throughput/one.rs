//! One recording after the other: what a worker with nothing else to do takes for it, from the
//! message to the event, beside what the bare loop takes for the same bytes.

use tokio::time::Instant;

use crate::case::{Case, ONE};
use crate::figure::{Bound, Figure, Measured};
use crate::floor;
use crate::stage::{Names, Stage, next};
use crate::support::broker::client::{table, text};
use crate::support::unique;
use crate::support::world::call;

const WANTED: f64 = 1.3;

/// `worker.concurrency`, as by default.
const CONCURRENCY: usize = 64;

pub async fn measure(stage: &Stage, worker_first: bool) -> Measured {
    let (worker, floor) = if worker_first {
        let worker = run(stage, &ONE).await;
        (worker, floor::run(stage, &ONE).await.each)
    } else {
        let floor = floor::run(stage, &ONE).await.each;
        (run(stage, &ONE).await, floor)
    };
    let (seconds, bytes) = worker;
    let both = |key, label, hundredth| {
        let (worker, floor) = (milliseconds(&seconds, hundredth), milliseconds(&floor, hundredth));
        Figure::of_both(key, label, worker, floor).wanted(Some(Bound::RatioAtMost(WANTED)))
    };
    let broker = brokers_own(stage).await;
    let figures = vec![
        both("p50_ms", "p50, ms", 50),
        both("p99_ms", "p99, ms", 99),
        Figure::of_worker("broker_p50_ms", "p50 of the broker, ms", milliseconds(&broker, 50)),
        Figure::of_worker("broker_p99_ms", "p99 of the broker, ms", milliseconds(&broker, 99)),
    ];
    Measured { case: ONE.name, recordings: ONE.count, bytes, figures }
}

/// The seconds of each recording, and the bytes of all.
async fn run(stage: &Stage, case: &Case) -> (Vec<f64>, u64) {
    let names = Names::new(&stage.rabbit).await;
    let worker = stage.worker(&names, CONCURRENCY).ready().await;
    let mut events = stage.consumer(&names.events).await;
    let mut seconds = Vec::new();
    for number in 0..case.warm_up + case.count {
        if number == case.warm_up {
            stage.sink.take();
        }
        let asked = Instant::now();
        let confirm = stage.ask(&names, case, number).await;
        next(&mut events).await;
        seconds.push(asked.elapsed().as_secs_f64());
        confirm.await.expect("confirmed");
    }
    let (objects, bytes) = stage.sink.take();
    assert_eq!(objects, case.count, "every recording is stored\n{}", worker.log());
    worker.stop().await;
    (seconds.split_off(case.warm_up), bytes)
}

/// What a message takes through a queue like the worker's, and another like an event's after it, where
/// nothing is done in between: the seconds of each.
async fn brokers_own(stage: &Stage) -> Vec<f64> {
    let names = Names::new(&stage.rabbit).await;
    let queue = unique("bench-jobs");
    stage.rabbit.declare(&queue, table([("x-queue-type", text("quorum"))])).await;
    stage.rabbit.bind(&queue, &names.calls, "#").await;
    let mut jobs = stage.consumer(&queue).await;
    let mut events = stage.consumer(&names.events).await;
    let mut seconds = Vec::new();
    for number in 0..ONE.warm_up + ONE.count {
        let body = call(&ONE.call("bench", number)).to_string();
        let asked = Instant::now();
        let asked_for = stage.publish(&names.calls, &body).await;
        next(&mut jobs).await;
        let announced = stage.publish(&names.events_exchange, &body).await;
        next(&mut events).await;
        seconds.push(asked.elapsed().as_secs_f64());
        asked_for.await.expect("confirmed");
        announced.await.expect("confirmed");
    }
    seconds.split_off(ONE.warm_up)
}

/// What so many hundredths of them do not exceed.
fn milliseconds(seconds: &[f64], hundredths: usize) -> f64 {
    let mut seconds = seconds.to_vec();
    seconds.sort_by(f64::total_cmp);
    let at = (seconds.len() * hundredths / 100).min(seconds.len().saturating_sub(1));
    seconds.get(at).map_or(f64::NAN, |seconds| seconds * 1e3)
}
