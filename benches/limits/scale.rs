//! How throughput grows with workers and with jobs in flight, on a CC-FS that takes a while to its
//! first byte; what the model of docs/SCALING.md says of it; and what a drain costs the others.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::flow::{Calls, Events, worker};
use crate::limit::Limit;
use crate::model::{Recording, throughput};
use crate::support::ccfs::Reply;
use crate::support::s3::sink::Sink;
use crate::support::worker::Worker;
use crate::support::world::World;

/// To the first byte, on the average: from half of it to half as much again. Were it always the same, all jobs of
/// a worker would begin together, wait together and want the cores together, for ever.
const DISTANCE: Duration = Duration::from_millis(200);

/// As by default.
const PLACES: usize = 64;

/// Places with which the cores are the bound, and recordings by which is seen what a core does then.
const BUSY: (usize, usize) = (1024, 16_000);

/// Of the recordings of a run the first part, which fills the places, counts for nothing.
const WARM_UP: usize = 4;

/// What the model may be off by.
const OFF: f64 = 0.15;

pub async fn measure() -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut twice: f64 = 0.0;
    for (workers, places) in [(1, PLACES), (2, PLACES), (4, PLACES), (1, 256), (1, 2048)] {
        // What the machine takes for a recording, all that takes part in it together, where nothing else is the
        // bound. On the same CC-FS: a job that waits costs more than one that is answered at once. Anew for
        // each row, since that drifts from minute to minute by more than the model may be off.
        let (busy, recordings) = BUSY;
        let machine = run(1, busy, DISTANCE, recordings).await.rate;
        let recording = Recording { waits: DISTANCE.as_secs_f64(), cpu: 1.0 / machine };
        let expected = throughput(workers * places, recording, 1.0);
        let count = (expected * 12.0) as usize;
        let Run { rate, repeated } = run(workers, places, DISTANCE, count).await;
        let ideal = (workers * places) as f64 / DISTANCE.as_secs_f64();
        println!(
            "scale: {workers} × {places} in flight: {rate:.0} recordings/s; ideal {ideal:.0}, model \
             {expected:.0}; {repeated} done twice; {busy} in flight {machine:.0}: {:.2} ms of the machine each",
            1e3 / machine
        );
        twice = twice.max(repeated as f64 / count as f64);
        let what = format!("scale: model over measured, {workers} × {places} in flight, off by");
        limits.push(Limit::at_most(what, OFF, (expected / rate - 1.0).abs(), ""));
    }
    limits.push(Limit::at_most("scale: share of recordings done twice", 0.01, twice, ""));
    limits.push(drained().await);
    limits
}

struct Run {
    /// Recordings a second.
    rate: f64,
    repeated: usize,
}

fn keys(places: usize) -> String {
    format!("concurrency = {places}\ntenant_share = 1.0")
}

/// A world whose queue holds so many calls, with its sink.
async fn filled(distance: Duration, count: usize, worker_keys: &str) -> (World, Sink) {
    let world = World::new().await;
    world.ccfs.remember(false);
    world.ccfs.default_reply(Reply::wav(16 << 10).after_between(distance / 2, distance * 3 / 2));
    let sink = Sink::start(false).await;
    // It makes the queues.
    worker(&world, &sink, &[("worker", worker_keys)], "").await.stop().await;
    let name = |n: usize| (["acme", "globex"][n % 2].to_owned(), format!("1777093663-{n}"));
    Calls::of(&world).publish_all(0..count, name).await;
    (world, sink)
}

async fn run(workers: usize, places: usize, distance: Duration, count: usize) -> Run {
    let own = keys(places);
    let (world, sink) = filled(distance, count, &own).await;
    let mut events = Events::of(&world).await;
    let mut running: Vec<Worker> = Vec::new();
    for _ in 0..workers {
        running.push(worker(&world, &sink, &[("worker", &own)], "").await);
    }
    let (mut seen, mut repeated, mut first) = (HashSet::new(), 0, None);
    let warm = count / WARM_UP;
    while seen.len() < count {
        let event = events.next().await;
        let subject = event["subject"].as_str().expect("an event has a subject").to_owned();
        repeated += usize::from(!seen.insert(subject));
        if first.is_none() && seen.len() == warm {
            first = Some(Instant::now());
        }
    }
    let seconds = first.expect("there are enough").elapsed().as_secs_f64();
    for worker in running {
        worker.stop().await;
    }
    Run { rate: (count - warm) as f64 / seconds, repeated }
}

/// The longest that no recording is archived while one of four workers drains.
async fn drained() -> Limit {
    const RECORDINGS: usize = 8000;
    let own = keys(PLACES);
    let (world, sink) = filled(DISTANCE, RECORDINGS, &own).await;
    let mut events = Events::of(&world).await;
    let mut running: Vec<Worker> = Vec::new();
    for _ in 0..4 {
        running.push(worker(&world, &sink, &[("worker", &own)], "").await);
    }
    events.skip(RECORDINGS / 2).await;
    let leaving = running.pop().expect("four were started");
    let mut draining = std::pin::pin!(leaving.stop());
    let (mut longest, mut last) = (Duration::ZERO, Instant::now());
    loop {
        tokio::select! {
            _log = &mut draining => break,
            _event = events.next() => {
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
        }
    }
    for mut worker in running {
        worker.kill();
    }
    let what = "scale: the longest without an event while one of four drains";
    Limit::at_most(what, 0.5, longest.as_secs_f64(), " s")
}
