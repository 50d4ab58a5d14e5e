//! Memory is bounded by configuration, not by the length of recordings: eight in flight of 1 GiB
//! each, and as many bytes in recordings of 10 MiB.

use tokio::time::Instant;

use crate::flow::{Calls, Events, worker};
use crate::limit::{Limit, MEBIBYTE};
use crate::support::s3::sink::Sink;
use crate::support::usage;
use crate::support::world::World;

/// Recordings in flight.
const IN_FLIGHT: usize = 8;

/// Every place is for one tenant, and every part buffer is within the budget.
const WORKER: (&str, &str) =
    ("worker", "concurrency = 8\ntenant_share = 1.0\nmemory = \"64MiB\"\njob_deadline = \"29m\"");

const SHORT: &str = "10m";

/// Short recordings before those that are measured.
const WARM_UP: usize = 2 * IN_FLIGHT;

/// `long`: the length of a long recording, as the simulator reads it in a call id.
pub async fn measure(long: &str) -> Vec<Limit> {
    let long_bytes = bytes(long);
    let rounds = usize::try_from(long_bytes / bytes(SHORT)).expect("few").max(1);
    let long_run = run(long, IN_FLIGHT).await;
    let short_run = run(SHORT, IN_FLIGHT * rounds).await;
    let what = format!("peak RSS with {IN_FLIGHT} recordings of {long} in flight, budget 64 MiB");
    let than = format!("the same over {short_run:.1} MiB, that with recordings of {SHORT}");
    vec![
        Limit::at_most(what, 128.0, long_run, " MiB"),
        Limit::at_most(than, 1.1, long_run / short_run, ""),
    ]
}

fn bytes(length: &str) -> u64 {
    let (number, unit) = length.split_at(length.len() - 1);
    let shift = if unit == "g" { 30 } else { 20 };
    number.parse::<u64>().expect("a number of MiB or GiB, 10m or 1g") << shift
}

/// The most that a worker had resident, in MiB.
async fn run(length: &str, count: usize) -> f64 {
    let world = World::new().await;
    world.ccfs.remember(false);
    let sink = Sink::start(false).await;
    let worker = worker(&world, &sink, &[WORKER, ("ccfs", "read_timeout = \"2m\"")], "").await;
    let (calls, mut events) = (Calls::of(&world), Events::of(&world).await);
    // A tenant begins with an eighth of the places, and has all of them after a few answers.
    let name = |length| move |n| ("acme".to_owned(), format!("1777093663.{n}-w{length}"));
    tokio::join!(calls.publish_all(0..WARM_UP, name(SHORT)), events.skip(WARM_UP));
    worker.metric_reaches("callvault_jobs_total", &["outcome=\"archived\""], WARM_UP as f64).await;

    let started = Instant::now();
    tokio::join!(calls.publish_all(WARM_UP..WARM_UP + count, name(length)), events.skip(count));
    let seconds = started.elapsed().as_secs_f64();
    let peak = usage::peak_rss(worker.pid()) as f64 / MEBIBYTE;
    // Short ones may be on their way to the store meanwhile, one or the other.
    let together = world.ccfs.peak();
    assert!(count > IN_FLIGHT || together == IN_FLIGHT, "{together} came down at once");
    let (objects, stored) = sink.take();
    assert_eq!(objects, WARM_UP + count, "every recording is stored");
    assert_eq!(worker.metric("callvault_retries_total", &[]).await, 0.0, "at its first try");
    println!(
        "memory: {count} × {length} in {seconds:.0} s, {stored} bytes, peak RSS {peak:.1} MiB"
    );
    worker.stop().await;
    peak
}
