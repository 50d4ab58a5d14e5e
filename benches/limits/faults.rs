//! Faults leave nothing behind: of many small jobs one in a hundred meets each fault, and
//! descriptors, threads and memory are at the end what they were at the beginning.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::flow::{Calls, Events, accounts, median, worker};
use crate::limit::{Limit, MEBIBYTE};
use crate::support::s3::sink::{Refusal, Sink};
use crate::support::usage;
use crate::support::worker::Worker;
use crate::support::world::World;

/// What CC-FS answers to one call in a hundred each, as the simulator reads it; `w4k` is a whole
/// recording. The first is never had, the second never asked for again.
const ANSWERS: [&str; 14] = [
    "nf",           // absent: the call is long over
    "c0300004",     // a parameter that can never be right: dead
    "c0300099.w4k", // a code in no table
    "c0300011.nf",  // not ready, which is absent too
    "th.w4k",       // flow control
    "html403.w4k",  // a firewall
    "h500.w4k",
    "h404.w4k",
    "h302.w4k",
    "empty.w4k",
    "cut.w4k",   // truncated
    "rst.w4k",   // reset
    "hang.w4k",  // no answer
    "stall.w4k", // silence in the middle
];

const REFUSALS: [Refusal; 6] = [
    Refusal::Answer { status: 500, code: "InternalError" },
    Refusal::Answer { status: 503, code: "SlowDown" },
    Refusal::Answer { status: 403, code: "AccessDenied" },
    Refusal::Answer { status: 409, code: "OperationAborted" },
    Refusal::Close,
    Refusal::Hang,
];

/// Throttling slows a tenant down, as it should; many of them together are still fast.
const TENANTS: usize = 24;

/// The most messages that are published and have not ended.
const OUTSTANDING: usize = 4000;

const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// Of all samples, those at the beginning that count for nothing: pools and buffers fill.
const WARM_UP: f64 = 0.1;

/// What the last quarter's median may have above the first quarter's: a pool opens a connection
/// more or less, a runtime keeps an idle thread.
const MORE_DESCRIPTORS: f64 = 16.0;
const MORE_THREADS: f64 = 2.0;
/// The AMQP client's buffers, in MiB: allocated at the start, resident once a burst has reached them.
const MORE_MEMORY: f64 = 10.0;

#[derive(Clone, Copy)]
struct Sample {
    descriptors: u64,
    threads: u64,
    rss: u64,
}

pub async fn measure(jobs: usize) -> Vec<Limit> {
    let world = World::new().await;
    world.ccfs.remember(false);
    let sink = Sink::start_refusing(&REFUSALS).await;
    let timeouts = "read_timeout = \"1s\"";
    let retry = "delays = [\"200ms\", \"500ms\", \"1s\"]\nmax_attempts = 100";
    let keys = [("ccfs", timeouts), ("store", timeouts), ("retry", retry)];
    let worker = worker(&world, &sink, &keys, &accounts(&world, TENANTS)).await;

    let started = Instant::now();
    let sampling = sample(&worker);
    let (samples, ends) = {
        let mut sampling = std::pin::pin!(sampling);
        let mut ends = std::pin::pin!(all(&world, jobs));
        let mut samples = Vec::new();
        loop {
            tokio::select! {
                ends = &mut ends => break (samples, ends),
                sample = &mut sampling => {
                    samples.push(sample);
                    sampling.set(self::sample(&worker));
                }
            }
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let retries = worker.metric("callvault_retries_total", &[]).await;
    println!("faults: {jobs} jobs in {seconds:.0} s, {retries} retries, ended {:?}", ends.by_type);
    worker.stop().await;
    limits(jobs, &ends, &samples)
}

async fn sample(worker: &Worker) -> Sample {
    tokio::time::sleep(SAMPLE_EVERY).await;
    let pid = worker.pid();
    let (descriptors, threads) = (usage::descriptors(pid), usage::threads(pid));
    Sample { descriptors, threads, rss: usage::rss(pid) }
}

/// Call → how many ends it had; and how often each end came.
#[derive(Default)]
struct Ends {
    of_call: HashMap<String, u32>,
    by_type: HashMap<String, usize>,
}

/// Publishes all jobs, never too many ahead, and waits for the end of each.
async fn all(world: &World, jobs: usize) -> Ends {
    let (calls, mut events) = (Calls::of(world), Events::of(world).await);
    let mut ends = Ends::default();
    let mut published = 0;
    while ends.of_call.len() < jobs {
        let room = OUTSTANDING - (published - ends.of_call.len());
        if published < jobs && room >= OUTSTANDING / 4 {
            let until = jobs.min(published + room);
            calls.publish_all(published..until, name).await;
            published = until;
        }
        let event = events.next().await;
        let subject = event["subject"].as_str().expect("an event has a subject").to_owned();
        let kind = event["type"].as_str().expect("an event has a type").to_owned();
        *ends.of_call.entry(subject).or_default() += 1;
        *ends.by_type.entry(kind).or_default() += 1;
        if ends.of_call.len() % 20_000 == 0 {
            eprintln!("faults: {} of {jobs}", ends.of_call.len());
        }
    }
    ends
}

/// Tenant and call id of a job.
fn name(n: usize) -> (String, String) {
    let answer = ANSWERS.get(n % 100).unwrap_or(&"w4k");
    // Not the number modulo a hundred: each tenant meets each fault.
    (format!("t{}", n / 100 % TENANTS), format!("{n}-{answer}"))
}

fn limits(jobs: usize, ends: &Ends, samples: &[Sample]) -> Vec<Limit> {
    let warm = &samples[(samples.len() as f64 * WARM_UP) as usize..];
    let quarter = warm.len() / 4;
    let (first, last) = (&warm[..quarter], &warm[warm.len() - quarter..]);
    let flat = |what: &str, more: f64, unit, of: fn(&Sample) -> f64| {
        let of = |samples: &[Sample]| median(samples.iter().map(of));
        let (before, after) = (of(first), of(last));
        let what = format!("{what} of the last quarter over {before:.1}{unit} of the first");
        Limit::at_most(what, more, after - before, unit)
    };
    let twice = ends.of_call.values().filter(|&&ended| ended > 1).count();
    let what = format!("of {jobs} jobs with faults, ended ({twice} said so twice)");
    let dead = ends.by_type.get("recording.failed").copied().unwrap_or(0);
    let meant = (0..jobs).filter(|n| n % 100 == 1).count();
    vec![
        Limit::at_least(what, jobs as f64, ends.of_call.len() as f64, ""),
        Limit::at_most("of them dead", meant as f64, dead as f64, ""),
        flat("descriptors", MORE_DESCRIPTORS, "", |sample| sample.descriptors as f64),
        flat("threads", MORE_THREADS, "", |sample| sample.threads as f64),
        flat("RSS", MORE_MEMORY, " MiB", |sample| sample.rss as f64 / MEBIBYTE),
    ]
}
