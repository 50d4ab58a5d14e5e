//! A backfill from the index to the bucket, with `callvault dump` and `callvault reconcile`,
//! whoever is killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Desk, Ended, row};
use crate::support::broker::client::Seen;
use crate::support::broker::node;
use crate::support::ccfs::Reply;
use crate::support::child::GuardedChild;
use crate::support::eventually;
use crate::support::link::{Link, Weather};
use crate::support::world::{SOON, World};

const RECONCILE: &str = "reconcile --config callvault.toml --tenant acme --index record.csv";

/// Rows of two days, each with both names; more of the second than the store lists at once.
fn index(rows: usize) -> String {
    let row = |n: usize| {
        let day = ["2026-04-24", "2026-04-25"][usize::from(n >= 50)];
        row(&format!("1777093663-{n}"), day, &format!("X:/4/0/20260425/512/{n}.V3"))
    };
    (0..rows).map(row).collect()
}

/// The ids of events: of each recording's, and of each request's.
#[derive(Default)]
struct Told {
    archived: BTreeMap<String, BTreeSet<String>>,
    expanded: BTreeMap<String, BTreeSet<String>>,
}

impl Told {
    fn hear(&mut self, event: &Seen) {
        let event = event.json();
        let (all, of) = match event["type"].as_str() {
            Some("recording.archived") => (&mut self.archived, &event["subject"]),
            Some("dump.expanded") => (&mut self.expanded, &event["data"]["requestId"]),
            _ => panic!("neither archived nor expanded: {event}"),
        };
        all.entry(of.to_string()).or_default().insert(event["id"].to_string());
    }
}

/// What a report ends with.
fn found(ended: &Ended) -> &str {
    ended.stdout.lines().last().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_was_killed_and_run_again_loses_and_doubles_nothing() {
    const ROWS: usize = 1500;
    const REQUESTS: u32 = 2;
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(640));
    // No worker meanwhile: what is in jobs is what was published.
    world.worker(&[]).await.stop().await;
    let line = "dump --config callvault.toml --tenant acme --index record.csv";
    let broker = Link::to(([127, 0, 0, 1], node().await.amqp_port()).into()).await;
    let amqp = format!("amqp://guest:guest@{}/%2f", broker.address());
    let (ccfs, s3) = (world.ccfs.url(), world.store.s3().endpoint());
    let slow = Desk::new(&world.config_at(&amqp, &ccfs, s3, &[]));
    let desk = Desk::new(&world.config(&[]));
    slow.file("record.csv", index(ROWS));
    desk.file("record.csv", index(ROWS));

    // How much a whole one comes to on the wire.
    assert_eq!(slow.run(line).code, 0);
    let whole = broker.carried();
    world.rabbit.until_ready(&world.queue("jobs"), REQUESTS).await;
    world.rabbit.purge(&world.queue("jobs")).await;

    let mut random = fastrand::Rng::with_seed(20_260_425);
    let mut killed = 0;
    // How many requests are published by then, and how far it is after that, in percent of all its
    // bytes; three quarters of them come before the end of the first request.
    for (requests, part) in [(0, 0..30), (0, 30..60), (1, 0..10), (1, 0..10)] {
        let (before, start) = (world.depth("jobs").await, broker.carried());
        broker.set(Weather::Slow(40_000));
        let mut command = slow.command(line, &[]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut dump = GuardedChild::spawn(&mut command).expect("it starts");
        let published = async || (world.depth("jobs").await >= before + requests).then_some(());
        eventually("so much is published", SOON, published).await;
        let moment = broker.carried() + whole * random.u64(part) / 100;
        let moment = moment.min(start + whole * 9 / 10);
        let come = async || (broker.carried() >= moment).then_some(());
        eventually("so much has crossed since", SOON, come).await;
        // On a busy machine the second request may be seen late.
        killed += u32::from(dump.exited().is_none());
        dump.kill();
        // What is on its way dies with it, as where the machine goes down.
        broker.set(Weather::Cut);
    }
    let published = world.depth("jobs").await;
    assert!(killed >= 2 && (2..4 * REQUESTS).contains(&published), "{killed}, {published}");

    let asked = desk.run(&format!("{line} --request-id year"));
    assert_eq!(asked.stdout, "asked for 1500 recordings in 2 requests, year\n");
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    let worker = world.worker(&[]).await;
    let mut told = Told::default();
    while told.archived.len() < ROWS {
        told.hear(&world.event().await);
    }
    world.settled(&worker).await;
    while let Some(event) = world.rabbit.get(&world.events).await {
        told.hear(&event);
    }
    let once = |ids: &BTreeSet<String>| ids.len() == 1;
    assert!(told.archived.values().all(once), "an id a recording, whichever request asked for it");
    assert!(told.expanded.values().all(once), "an id a request");
    assert_eq!(told.expanded.keys().filter(|id| id.starts_with("\"year")).count(), 2);
    assert_eq!(world.store.s3().keys(&world.bucket, "").await.len(), ROWS);
    let ended = desk.run(RECONCILE);
    assert_eq!(
        found(&ended),
        "1500 rows: 1500 present, 0 partial, 0 missing, 0 empty, 0 not usable"
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dumped_is_all_there_although_a_worker_was_killed() {
    const ROWS: usize = 1100;
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(2048));
    let config = world.config(&[]);
    let desk = Desk::new(&config);
    desk.file("record.csv", index(ROWS));

    let mut killed = world.worker(&[]).await;
    let worker = world.worker(&[]).await;
    let dump = "dump --config callvault.toml --tenant acme --index record.csv --request-id year";
    let asked = desk.run(dump);
    // On a busy machine stderr may have a line of progress.
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    assert_eq!(asked.stdout, "asked for 1100 recordings in 2 requests, year\n");
    let archived = ["outcome=\"archived\""];
    killed.metric_reaches("callvault_jobs_total", &archived, 100.0).await;
    killed.kill();
    // Each is announced, what the dead worker had not acknowledged perhaps twice.
    let mut stored = BTreeSet::new();
    while stored.len() < ROWS {
        for event in world.rabbit.take_many(&world.events, 1.max(ROWS - stored.len())).await {
            let event = event.json();
            if event["type"] == "recording.archived" {
                stored.insert(event["subject"].to_string());
            }
        }
    }
    let ended = desk.run(RECONCILE);
    assert_eq!(
        found(&ended),
        "1100 rows: 1100 present, 0 partial, 0 missing, 0 empty, 0 not usable"
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);

    // Somebody deletes one, somebody empties another: the one can be asked for.
    let client = world.store.s3().client();
    let gone = "acme/2026/04/25/1777093663-1050.wav";
    client.delete_object().bucket(&world.bucket).key(gone).send().await.expect("deleted");
    world.store.s3().put(&world.bucket, "acme/2026/04/24/1777093663-7.wav", b"", &[]).await;
    let ended = desk.run(&format!("{RECONCILE} --enqueue"));
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let stdout = ended.stdout.lines().map(|line| match line.split_once(", reconcile-2") {
        Some((asked, _)) => format!("{asked}, [id]\n"),
        None => format!("{line}\n"),
    });
    assert_snapshot!(stdout.collect::<String>(), @r"
    empty    acme/2026/04/24/1777093663-7.*  (line 8)
    missing  acme/2026/04/25/1777093663-1050.*  (line 1051)
    1100 rows: 1098 present, 0 partial, 1 missing, 1 empty, 0 not usable
    asked for 1 recording in 1 request, [id]
    ");
    let back = || async { world.store.s3().object(&world.bucket, gone).await };
    eventually("it is back", SOON, back).await;
    let ended = desk.run(&format!("{RECONCILE} --json"));
    let report: Value = serde_json::from_str(&ended.stdout).expect("one JSON document");
    assert_eq!((&report["missing"], &report["empty"]), (&json!(0), &json!(1)));
    worker.stop().await;
}
