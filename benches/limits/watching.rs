//! What it costs to be watched: recordings a second with the page open and a scrape each second, over
//! those with nobody looking.

use std::time::Duration;

use tokio::time::Instant;

use crate::flow::{Calls, Events, accounts, median, worker};
use crate::limit::Limit;
use crate::support::ccfs::Reply;
use crate::support::s3::sink::Sink;
use crate::support::worker::Worker;
use crate::support::world::World;

const TENANTS: usize = 20;

/// Of a turn; enough for some seconds.
const RECORDINGS: usize = 4000;

/// Turns of each kind, one after the other, so that what drifts is in both.
const TURNS: usize = 9;

pub async fn measure() -> Limit {
    let world = World::new().await;
    world.ccfs.remember(false);
    world.ccfs.default_reply(Reply::wav(16 << 10));
    let sink = Sink::start(false).await;
    let worker = worker(&world, &sink, &[], &accounts(&world, TENANTS)).await;
    let (calls, mut events) = (Calls::of(&world), Events::of(&world).await);
    let mut first = 0;
    let mut turn = async || {
        let name = |n| (format!("t{}", n % TENANTS), format!("1777093663-{n}"));
        let range = first..first + RECORDINGS;
        first = range.end;
        tokio::join!(calls.publish_all(range, name), async {
            events.skip(1).await;
            let began = Instant::now();
            events.skip(RECORDINGS - 1).await;
            (RECORDINGS - 1) as f64 / began.elapsed().as_secs_f64()
        })
        .1
    };
    turn().await;
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.push(turn().await);
        watched.push(tokio::select! {
            rate = turn() => rate,
            () = watch(&worker) => unreachable!("it watches for ever"),
        });
    }
    worker.stop().await;
    let ratio = median(alone.iter().zip(&watched).map(|(alone, watched)| watched / alone));
    let (alone, watched) = (median(alone), median(watched));
    println!(
        "watching: {alone:.0} recordings/s alone, {watched:.0} watched, in {TURNS} turns each"
    );
    Limit::at_least("recordings/s with the page open and a scrape each second", 0.98, ratio, "")
}

/// What a page asks for, and a Prometheus. The browser itself is on another machine.
async fn watch(worker: &Worker) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        tokio::join!(worker.get("/api/status"), worker.get("/metrics"));
    }
}
