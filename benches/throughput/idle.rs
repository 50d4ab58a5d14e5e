//! A worker that starts, and one that rests.

use std::time::Duration;

use tokio::time::Instant;

use crate::case::IDLE;
use crate::figure::{Bound, Figure, Measured};
use crate::stage::{Names, Stage};
use crate::support::usage;
use crate::support::world::call;

const MEBIBYTE: f64 = 1_048_576.0;

/// `worker.concurrency`, as by default.
const CONCURRENCY: usize = 64;

/// What the start leaves to do is done by then.
const SETTLED: Duration = Duration::from_secs(3);

const WATCHED: Duration = Duration::from_secs(30);

/// The call that waits for a worker to start.
const CALL: &str = "waiting-w65536";

pub async fn measure(stage: &Stage) -> Measured {
    let names = Names::new(&stage.rabbit).await;
    let (cpu, rss) = rest(stage, &names).await;
    let start = start(stage, &names).await;
    let figure = |key, label, value, most| {
        Figure::of_worker(key, label, value).wanted(Some(Bound::AtMost(most)))
    };
    let figures = vec![
        figure("start_ms", "to the first call, ms", start, 300.0),
        figure("cpu_percent", "CPU at rest, %", cpu, 0.1),
        figure("rss_mib", "RSS at rest, MiB", rss, 20.0),
    ];
    Measured { case: IDLE, recordings: 0, bytes: 0, figures }
}

/// Per cent of a core, and MiB, of one that has not been asked for anything.
async fn rest(stage: &Stage, names: &Names) -> (f64, f64) {
    let worker = stage.worker(names, CONCURRENCY).ready().await;
    let pid = worker.pid();
    tokio::time::sleep(SETTLED).await;
    let (watched, before) = (Instant::now(), usage::on_cpu(pid));
    tokio::time::sleep(WATCHED).await;
    let busy = usage::on_cpu(pid).saturating_sub(before);
    let cpu = busy.as_secs_f64() / watched.elapsed().as_secs_f64() * 100.0;
    let rss = usage::rss(pid) as f64 / MEBIBYTE;
    worker.stop().await;
    (cpu, rss)
}

/// Milliseconds from the start of the program until CC-FS has been asked for a call that waited in the
/// queue: until it has been delivered, and a little more.
async fn start(stage: &Stage, names: &Names) -> f64 {
    let waiting = stage.publish(&names.calls, &call(CALL).to_string()).await;
    waiting.await.expect("confirmed");
    stage.ccfs.remember(true);
    let started = Instant::now();
    let worker = stage.worker(names, CONCURRENCY);
    stage.rabbit.take_many(&names.events, 1).await;
    stage.ccfs.remember(false);
    worker.ready().await.stop().await;
    stage.sink.take();
    let asked = stage.ccfs.requests_for(CALL).pop().expect("it has been asked for").at;
    (asked - started).as_secs_f64() * 1e3
}
