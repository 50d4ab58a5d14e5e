//! A thousand tenants cost what one costs, but for a little memory: at rest, at a scrape, at the
//! start and at work. All of them have one CC-FS and one store, as with a provider.

use std::time::Duration;

use tokio::time::Instant;

use crate::flow::{Calls, Events, accounts, median, worker};
use crate::limit::{Limit, MEBIBYTE};
use crate::support::ccfs::Reply;
use crate::support::s3::sink::Sink;
use crate::support::usage;
use crate::support::worker::Worker;
use crate::support::world::World;

const TENANTS: usize = 1000;

/// Recordings of a run: several of each tenant.
const RECORDINGS: usize = 8000;

const ROUNDS: usize = 3;

/// Descriptors are counted so often while it works.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// Fresh workers in turn, with a thousand tenants and with one; the limit for the throughput is for
/// the median of the rounds' ratios, every other for the median of the runs with a thousand.
pub async fn measure() -> Vec<Limit> {
    let (mut runs, mut ratios) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let (one, many) = (run(1).await, run(TENANTS).await);
        println!(
            "many: round {round}: one tenant: {one}\n\
             many: round {round}: {TENANTS} tenants: {many}"
        );
        ratios.push(many.rate / one.rate);
        runs.push(many);
    }
    let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure));
    let at_most = |what: &str, bound, figure, unit| {
        Limit::at_most(format!("{TENANTS} tenants: {what}"), bound, of(figure), unit)
    };
    let rate = format!("{TENANTS} tenants: recordings/s");
    vec![
        at_most("from the start to consuming", 0.3, |run| run.start, " s"),
        at_most("RSS at rest", 48.0, |run| run.rss, " MiB"),
        at_most("a scrape before any call", 1.0, |run| run.idle.megabytes, " MB"),
        at_most("the time that it takes", 30.0, |run| run.idle.milliseconds, " ms"),
        at_most("lines of a scrape with each at work", 60_000.0, |run| run.busy.lines, ""),
        at_most("descriptors with 64 in flight", 250.0, |run| run.descriptors, ""),
        Limit::at_least(rate, 0.97, median(ratios), " of those with one"),
    ]
}

struct Run {
    /// Seconds.
    start: f64,
    /// MiB.
    rss: f64,
    idle: Scrape,
    busy: Scrape,
    /// The most that were open.
    descriptors: f64,
    /// Recordings a second.
    rate: f64,
}

struct Scrape {
    megabytes: f64,
    milliseconds: f64,
    lines: f64,
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { start, rss, idle, busy, descriptors, rate } = self;
        write!(
            f,
            "started in {start:.2} s, {rss:.1} MiB at rest, a scrape {:.2} MB in {:.1} ms, {} lines \
             ({} at work), {descriptors} descriptors, {rate:.0} recordings/s",
            idle.megabytes, idle.milliseconds, idle.lines, busy.lines
        )
    }
}

async fn run(tenants: usize) -> Run {
    let world = World::new().await;
    world.ccfs.remember(false);
    world.ccfs.default_reply(Reply::wav(16 << 10));
    let sink = Sink::start(false).await;
    let text = accounts(&world, tenants);
    let started = Instant::now();
    let worker = worker(&world, &sink, &[], &text).await;
    let start = started.elapsed().as_secs_f64();
    let idle = scrape(&worker).await;
    let rss = usage::rss(worker.pid()) as f64 / MEBIBYTE;

    let (calls, mut events) = (Calls::of(&world), Events::of(&world).await);
    let name = |n| (format!("t{}", n % tenants), format!("1777093663-{n}"));
    let working = async {
        // From the first one on: what comes before it is the kit's.
        tokio::join!(calls.publish_all(0..RECORDINGS, name), async {
            events.skip(1).await;
            let first = Instant::now();
            events.skip(RECORDINGS - 1).await;
            (RECORDINGS - 1) as f64 / first.elapsed().as_secs_f64()
        })
        .1
    };
    let mut working = std::pin::pin!(working);
    let mut descriptors = 0;
    let rate = loop {
        tokio::select! {
            rate = &mut working => break rate,
            () = tokio::time::sleep(SAMPLE_EVERY) => {
                descriptors = descriptors.max(usage::descriptors(worker.pid()));
            }
        }
    };
    let busy = scrape(&worker).await;
    worker.stop().await;
    Run { start, rss, idle, busy, descriptors: descriptors as f64, rate }
}

/// The median of a few, as seen by whoever scrapes.
async fn scrape(worker: &Worker) -> Scrape {
    let mut times = Vec::new();
    let mut text = String::new();
    for _ in 0..5 {
        let asked = Instant::now();
        text = worker.get("/metrics").await.1;
        times.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    let lines = text.lines().count() as f64;
    Scrape { megabytes: text.len() as f64 / 1e6, milliseconds: median(times), lines }
}
