//! All recordings of a case at once: through a fresh worker and through the bare loop.

use tokio::time::Instant;

use crate::by_hand;
use crate::case::Case;
use crate::count::Counter;
use crate::figure::{Bound, Figure, Measured};
use crate::floor::{self, Took};
use crate::stage::{Names, Stage};
use crate::support::usage;

const MEBIBYTE: f64 = 1_048_576.0;
const GIGABYTE: f64 = 1e9;
const MILLION: f64 = 1e6;

/// What a worker may have resident besides its budget, in MiB.
const BESIDES: f64 = 96.0;

/// Both over the same servers, one after the other.
pub async fn measure(stage: &Stage, case: &Case, worker_first: bool) -> Measured {
    let (worker, floor) = if worker_first {
        let worker = run(stage, case).await;
        (worker, floor::run(stage, case).await)
    } else {
        let floor = floor::run(stage, case).await;
        (run(stage, case).await, floor)
    };
    let mut figures = figures(stage, case, &worker, &floor);
    if stage.python {
        let python = by_hand::run(stage, case).await;
        eprintln!(
            "by hand in Python: {:.3} CPU s/1,000, {:.1} recordings/s, {:.1} MiB",
            python.cpu_seconds * 1000.0 / case.count as f64,
            case.count as f64 / python.wall.as_secs_f64(),
            python.peak_rss as f64 / MEBIBYTE
        );
        let ratio = worker.took.cpu_seconds / python.cpu_seconds;
        let wanted = case.wanted.of_python.map(Bound::AtMost);
        figures
            .push(Figure::of_worker("cpu_over_python", "CPU over Python's", ratio).wanted(wanted));
    }
    Measured { case: case.name, recordings: case.count, bytes: worker.bytes, figures }
}

/// What a worker did.
struct Worked {
    took: Took,
    /// Of all recordings.
    bytes: u64,
    /// `worker.memory`, in bytes.
    budget: f64,
}

async fn run(stage: &Stage, case: &Case) -> Worked {
    let names = Names::new(&stage.rabbit).await;
    let worker = stage.worker(&names, case.at_once).ready().await;
    let pid = worker.pid();
    let mut events = stage.consumer(&names.events).await;
    stage.archive(&names, &mut events, case, 0..case.warm_up).await;
    stage.sink.take();

    let counting = stage.counter.start(pid).await;
    let (started, before) = (Instant::now(), usage::cpu_seconds(pid));
    stage.archive(&names, &mut events, case, case.warm_up..case.warm_up + case.count).await;
    let wall = started.elapsed();
    let cpu_seconds = usage::cpu_seconds(pid) - before;
    let instructions = match counting {
        Some(counting) => Some(counting.stop().await),
        None => None,
    };
    let peak_rss = usage::peak_rss(pid);

    let (objects, bytes) = stage.sink.take();
    assert_eq!(objects, case.count, "every recording is stored\n{}", worker.log());
    // The event of the last job is here before the worker has counted it.
    let all = (case.warm_up + case.count) as f64;
    worker.metric_reaches("callvault_jobs_total", &["outcome=\"archived\""], all).await;
    assert_eq!(worker.metric("callvault_retries_total", &[]).await, 0.0, "at its first try");
    let budget = worker.metric("callvault_buffer_limit_bytes", &[]).await;
    worker.stop().await;
    let took = Took { wall, cpu_seconds, peak_rss, instructions, each: Vec::new() };
    Worked { took, bytes, budget }
}

fn figures(stage: &Stage, case: &Case, worker: &Worked, floor: &Took) -> Vec<Figure> {
    let (count, gigabytes) = (case.count as f64, worker.bytes as f64 / GIGABYTE);
    let wanted = if stage.tls { case.wanted } else { Default::default() };
    let both = |key, label, of: &dyn Fn(&Took) -> f64| {
        Figure::of_both(key, label, of(&worker.took), of(floor))
    };
    let mut figures = Vec::new();
    // On a simulated processor times say nothing, and memory little.
    if stage.counter != Counter::Callgrind {
        let budget = worker.budget / MEBIBYTE;
        figures.extend([
            both("cpu_seconds_per_1000", "CPU s/1,000", &|took| took.cpu_seconds * 1000.0 / count)
                .wanted(wanted.cpu.map(Bound::RatioAtMost)),
            both("cpu_seconds_per_gb", "CPU s/GB", &|took| took.cpu_seconds / gigabytes),
            both("recordings_per_second", "recordings/s", &|took| count / took.wall.as_secs_f64())
                .wanted(wanted.rate.map(Bound::RatioAtLeast)),
            both("peak_rss_mib", "peak RSS, MiB", &|took| took.peak_rss as f64 / MEBIBYTE)
                .wanted(Some(Bound::AtMost(budget + BESIDES))),
        ]);
    }
    if let (Some(worker), Some(floor)) = (worker.took.instructions, floor.instructions) {
        let million = |instructions: f64| instructions / MILLION / count;
        let (key, label) = ("million_instructions_per_recording", "M instructions each");
        figures.push(Figure::of_both(key, label, million(worker), million(floor)));
    }
    figures
}
