//! One tenant that stalls does not slow another: what one archives alone, and beside the deep
//! backlog of one whose CC-FS takes requests and never answers.

use std::time::Duration;

use tokio::time::Instant;

use crate::flow::{Calls, Events, median, worker};
use crate::limit::Limit;
use crate::support::ccfs::Reply;
use crate::support::s3::sink::Sink;
use crate::support::world::World;

/// The other's CC-FS is somewhere else: it takes this long to its first byte.
const DISTANCE: Duration = Duration::from_millis(100);

/// What the other has in the queue or at work: never so little that it has to wait for more.
const OUTSTANDING: usize = 1000;

/// How much to do.
pub struct Sizes {
    /// Measured, of each half of a round.
    pub seconds: u64,
    pub rounds: usize,
    /// Messages of the one that stalls.
    pub backlog: usize,
}

/// Fresh worlds in turn, alone and beside; the limit is for the median of the rounds' ratios.
pub async fn measure(sizes: &Sizes) -> Limit {
    let mut ratios = Vec::new();
    for round in 1..=sizes.rounds {
        let alone = run(sizes, 0).await;
        let beside = run(sizes, sizes.backlog).await;
        let ratio = beside.rate / alone.rate;
        println!(
            "isolation: round {round}: {:.1} recordings/s alone, {:.1} beside, ratio {ratio:.3}; \
             the first after {:.1} s and {:.1} s",
            alone.rate, beside.rate, alone.first, beside.first
        );
        ratios.push(ratio);
    }
    let what = format!("throughput beside a tenant that stalls with {} messages", sizes.backlog);
    Limit::at_least(what, 0.9, median(ratios), " of that alone")
}

struct Measured {
    /// Recordings a second, from the first one on.
    rate: f64,
    /// Seconds to the first one, which stood behind the whole backlog.
    first: f64,
}

async fn run(sizes: &Sizes, backlog: usize) -> Measured {
    let world = World::new().await;
    world.ccfs.remember(false);
    world.ccfs.default_reply(Reply::wav(16 << 10).after(DISTANCE));
    let sink = Sink::start(false).await;
    // As they are by default.
    let keys = [
        ("ccfs", "read_timeout = \"30s\""),
        ("retry", "delays = [\"5s\", \"30s\", \"2m\", \"10m\", \"30m\", \"2h\"]"),
    ];
    let worker = worker(&world, &sink, &keys, "").await;
    let (calls, mut events) = (Calls::of(&world), Events::of(&world).await);
    calls.publish_all(0..backlog, |n| ("acme".into(), format!("1777093663.{n}-hang"))).await;

    let other = |n| ("globex".to_owned(), format!("1777093664-{n}"));
    let started = Instant::now();
    calls.publish_all(0..OUTSTANDING, other).await;
    let mut next = OUTSTANDING..;
    let mut one_more = async || {
        events.next().await;
        let (tenant, call_id) = other(next.next().expect("numbers do not end"));
        // Nobody waits for the confirm, which would be what is measured.
        drop(calls.send(&tenant, &call_id).await);
    };
    one_more().await;
    let first = started.elapsed().as_secs_f64();
    let (began, limit) = (Instant::now(), Duration::from_secs(sizes.seconds));
    let mut archived = 0;
    while began.elapsed() < limit {
        one_more().await;
        archived += 1;
    }
    let rate = f64::from(archived) / began.elapsed().as_secs_f64();
    let mut worker = worker;
    worker.kill();
    Measured { rate, first }
}
