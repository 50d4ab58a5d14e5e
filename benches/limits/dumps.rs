//! Dumps beside calls: what a call waits among requests, and what requests that wait cost.

use std::time::Duration;

use lapin::BasicProperties;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::flow::{Calls, Events, worker};
use crate::limit::{Limit, MEBIBYTE};
use crate::support::ccfs::Reply;
use crate::support::s3::sink::Sink;
use crate::support::usage;
use crate::support::world::World;

/// To the first byte, so that what was asked for keeps the worker busy.
const DISTANCE: Duration = Duration::from_millis(200);

/// Memory is looked at so often.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

pub async fn measure() -> Vec<Limit> {
    let waited = among(1000, 1000).await;
    let peak = waiting(100, 10_000).await;
    vec![
        Limit::at_most("a call among 1,000 dump requests of 1,000", 2.0, waited, " s"),
        Limit::at_most(
            "peak RSS with 100 requests of 10,000 waiting, worker.memory 64 MiB",
            64.0 + 64.0,
            peak,
            " MiB",
        ),
    ]
}

/// A request for so many recordings, each of which is told as completely as it can be.
fn request(number: usize, recordings: usize) -> Value {
    let recording = |n: usize| {
        json!({ "callId": format!("1777093663-{number}x{n}"), "ccId": "1",
                "callBegin": "2026-04-25T05:07:43Z", "callEnd": "2026-04-25T05:12:44Z" })
    };
    let recordings: Vec<_> = (0..recordings).map(recording).collect();
    json!({ "type": "recording.dump-requested", "tenant": "acme",
            "requestId": format!("audit-{number}"), "recordings": recordings })
}

async fn publish(world: &World, requests: std::ops::Range<usize>, recordings: usize) {
    for number in requests {
        let body = request(number, recordings).to_string();
        let properties = BasicProperties::default();
        world.publish_raw("recording.dump-requested", body.as_bytes(), properties).await;
    }
}

/// Seconds that a call of another tenant waits which stands amid so many requests, from the start of
/// consuming on.
async fn among(requests: usize, recordings: usize) -> f64 {
    let world = World::new().await;
    world.ccfs.remember(false);
    world.ccfs.default_reply(Reply::wav(16 << 10).after(DISTANCE));
    let sink = Sink::start(false).await;
    // It makes the queues.
    worker(&world, &sink, &[], "").await.stop().await;
    let (calls, mut events) = (Calls::of(&world), Events::of(&world).await);
    publish(&world, 0..requests / 2, recordings).await;
    calls.publish("globex", "1777093664-1").await;
    publish(&world, requests / 2..requests, recordings).await;
    let mut worker = worker(&world, &sink, &[], "").await;
    let began = Instant::now();
    while events.next().await["data"]["tenant"] != "globex" {}
    worker.kill();
    began.elapsed().as_secs_f64()
}

/// The most MiB that a worker has resident until it has expanded two of so many requests.
async fn waiting(requests: usize, recordings: usize) -> f64 {
    let world = World::new().await;
    world.ccfs.remember(false);
    world.ccfs.default_reply(Reply::wav(16 << 10).after(DISTANCE));
    let sink = Sink::start(false).await;
    let keys = [("worker", "memory = \"64MiB\"")];
    worker(&world, &sink, &keys, "").await.stop().await;
    let mut events = Events::of(&world).await;
    publish(&world, 0..requests, recordings).await;
    let mut worker = worker(&world, &sink, &keys, "").await;
    let expanded = async {
        for _ in 0..2 {
            while events.next().await["type"] != "dump.expanded" {}
        }
    };
    let mut expanded = std::pin::pin!(expanded);
    let mut peak = 0;
    loop {
        tokio::select! {
            () = &mut expanded => break,
            () = tokio::time::sleep(SAMPLE_EVERY) => peak = peak.max(usage::peak_rss(worker.pid())),
        }
    }
    worker.kill();
    peak as f64 / MEBIBYTE
}
