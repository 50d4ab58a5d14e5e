//! What a tenant feels of others: of one whose CC-FS is silent, of a long backlog before its call;
//! and what a CC-FS feels of us that takes few requests at once.

use std::time::Duration;

use tokio::time::Instant;

use crate::flow::{Calls, Events, median, worker};
use crate::limit::Limit;
use crate::support::ccfs::{self, Reply, Simulator};
use crate::support::s3::sink::Sink;
use crate::support::world::{World, access_key, secret_key};

/// Recordings of the one that is well.
const RECORDINGS: usize = 500;

/// Requests that the other's CC-FS takes and never answers.
const UNANSWERED: usize = 200;

/// To the first byte.
const DISTANCE: Duration = Duration::from_millis(100);

const ROUNDS: usize = 3;

/// As they are by default.
const KEYS: [(&str, &str); 2] = [
    ("ccfs", "read_timeout = \"30s\""),
    ("retry", "delays = [\"5s\", \"30s\", \"2m\", \"10m\", \"30m\", \"2h\"]"),
];

pub async fn measure(backlog: usize) -> Vec<Limit> {
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let (alone, beside) = (beside_silence(0).await, beside_silence(UNANSWERED).await);
        println!(
            "neighbours: round {round}: {RECORDINGS} in {alone:.2} s alone, {beside:.2} beside"
        );
        ratios.push(beside / alone);
    }
    let silent = format!("time of {RECORDINGS} recordings beside a silent tenant");
    let before = format!("a call behind {backlog} of a tenant with max_concurrency = 2");
    vec![
        Limit::at_most(silent, 1.15, median(ratios), " of that alone"),
        throttled().await,
        Limit::at_most(before, 15.0, behind(backlog).await, " s"),
    ]
}

/// Seconds for the recordings of one, while another's CC-FS takes `unanswered` requests and answers
/// none of them. From its first message on, so from a cold start.
async fn beside_silence(unanswered: usize) -> f64 {
    let world = World::new().await;
    world.ccfs.remember(false);
    world.ccfs.default_reply(Reply::wav(16 << 10).after(DISTANCE));
    let silent = Simulator::start().await;
    silent.account(&access_key("acme"), &secret_key("acme"));
    silent.default_reply(Reply::hang());
    let own = format!("[tenants.ccfs]\nendpoints = [\"{}\"]\n", silent.url());
    let sink = Sink::start(false).await;
    let keys = [KEYS[0], KEYS[1], ("acme", own.as_str())];
    let mut worker = worker(&world, &sink, &keys, "").await;
    let (calls, mut events) = (Calls::of(&world), Events::of(&world).await);
    calls.publish_all(0..unanswered, |n| ("acme".into(), format!("1777093663-{n}"))).await;
    let began = Instant::now();
    let well = calls.publish_all(0..RECORDINGS, |n| ("globex".into(), format!("1777093664-{n}")));
    tokio::join!(well, events.skip(RECORDINGS));
    worker.kill();
    began.elapsed().as_secs_f64()
}

/// Flow-control answers per recording of a CC-FS that takes four requests at once.
async fn throttled() -> Limit {
    const RECORDINGS: usize = 300;
    const AT_ONCE: usize = 4;
    let takes = Duration::from_millis(60);
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(16 << 10).after(takes));
    let few = ccfs::Limit { concurrent: Some(AT_ONCE), per_second: None };
    world.ccfs.limit(&access_key("acme"), few);
    let sink = Sink::start(false).await;
    let mut worker = worker(&world, &sink, &[], "").await;
    let (calls, mut events) = (Calls::of(&world), Events::of(&world).await);
    let began = Instant::now();
    let publishing =
        calls.publish_all(0..RECORDINGS, |n| ("acme".into(), format!("1777093663-{n}")));
    tokio::join!(publishing, events.skip(RECORDINGS));
    let seconds = began.elapsed().as_secs_f64();
    let refused = world.ccfs.requests().len() - RECORDINGS;
    worker.kill();
    let ideal = takes.as_secs_f64() * (RECORDINGS / AT_ONCE) as f64;
    println!(
        "neighbours: {RECORDINGS} of a CC-FS that takes {AT_ONCE} in {seconds:.1} s (ideal {ideal:.1})"
    );
    let per_recording = refused as f64 / RECORDINGS as f64;
    Limit::at_most("flow-control answers per recording", 0.25, per_recording, "")
}

/// Seconds from the start of consuming to the event of a call that stands behind `backlog` messages
/// of a tenant which may have two jobs at once.
async fn behind(backlog: usize) -> f64 {
    let world = World::new().await;
    world.ccfs.remember(false);
    world.ccfs.default_reply(Reply::wav(16 << 10).after(DISTANCE));
    let sink = Sink::start(false).await;
    let keys = [KEYS[0], KEYS[1], ("acme", "max_concurrency = 2")];
    // It makes the queues.
    worker(&world, &sink, &keys, "").await.stop().await;
    let (calls, mut events) = (Calls::of(&world), Events::of(&world).await);
    calls.publish_all(0..backlog, |n| ("acme".into(), format!("1777093663-{n}"))).await;
    calls.publish("globex", "1777093664-1").await;
    let mut worker = worker(&world, &sink, &keys, "").await;
    let began = Instant::now();
    while events.next().await["data"]["tenant"] != "globex" {}
    worker.kill();
    began.elapsed().as_secs_f64()
}
