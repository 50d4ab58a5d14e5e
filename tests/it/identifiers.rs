//! `log.identifiers = "hashed"`: call ids, file names and keys are not in the log, whatever becomes
//! of a message and whatever is logged of it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::ccfs::Reply;
use crate::support::world::{World, call};

const HASHED: (&str, &str) = ("log", "level = \"trace\"\nidentifiers = \"hashed\"");

/// The fields of a name in all lines.
fn fields(log: &str, name: &str) -> BTreeSet<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line[name].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_message_is_told_without_its_names() {
    let world = World::new().await;
    let unpack = ("globex", "[tenants.store]\nzip = \"unpack\"");
    let worker = world.worker(&[HASHED, unpack]).await;
    // Each as it ends: archived, stored already, retried and then dead, absent for now, unpacked.
    let mut of = call("1777093663-1");
    of["fileName"] = json!("X:/4/0/20260425/512/1629533.V3");
    world.publish(&of).await;
    world.event().await;
    world.publish(&of).await;
    world.event().await;
    world.ccfs.script("1777093663-2", [Reply::status(500), Reply::status(500), Reply::status(500)]);
    world.call("1777093663-2").await;
    world.event().await;
    world.ccfs.script("1777093663-3", [Reply::not_found(), Reply::wav(640)]);
    world.call("1777093663-3").await;
    world.event().await;
    world.ccfs.script("1777093663-4", [Reply::zip([640, 640])]);
    let mut zipped = call("1777093663-4");
    zipped["tenant"] = json!("globex");
    world.publish(&zipped).await;
    world.event().await;
    // No message at all, and one of nobody.
    let mut unknown = call("1777093663-5");
    unknown["tenant"] = json!("initech");
    world.publish(&unknown).await;
    world.event().await;
    let mut bad = call("1777093663-6");
    bad["callEnd"] = json!("yesterday");
    world.publish(&bad).await;
    world.event().await;
    world.settled(&worker).await;
    let (_, status) = worker.get("/api/status").await;
    let log = worker.stop().await;

    for name in ["1777093663-", "1629533", "acme/2026", "globex/2026"] {
        assert!(!status.contains(name), "the status tells {name}: {status}");
        let lines: Vec<_> = log.lines().filter(|line| line.contains(name)).collect();
        assert_eq!(lines, [""; 0], "the log tells {name}");
    }
    let calls = fields(&log, "call");
    assert_eq!(calls.len(), 6, "{calls:?}");
    // Of the first, by the rule that docs/OPERATIONS.md gives.
    assert!(calls.contains("b3963795d43d"), "{calls:?}");
    let is_hash = |text: &String| {
        text.len() == 12 && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
    };
    let others = fields(&log, "file").into_iter().chain(fields(&log, "key"));
    let all: Vec<_> = calls.iter().cloned().chain(others).collect();
    assert!(all.len() >= 9 && all.iter().all(is_hash), "{all:?}");

    let status: Value = serde_json::from_str(&status).expect("the status is JSON");
    let failures = status["failures"].as_array().expect("a list").iter();
    let shown: BTreeSet<_> = failures.filter_map(|one| one["call"].as_str()).collect();
    assert!(shown.len() >= 3 && shown.iter().all(|call| calls.contains(*call)), "{shown:?}");

    // Another worker says the same of the same call, and another of another tenant's.
    let worker = world.worker(&[HASHED]).await;
    world.publish(&of).await;
    world.event().await;
    let again = fields(&worker.stop().await, "call");
    assert!(again.len() == 1 && again.is_subset(&calls), "{again:?} {calls:?}");
    let worker = world.worker(&[HASHED]).await;
    of["tenant"] = json!("globex");
    world.publish(&of).await;
    world.event().await;
    let other = fields(&worker.stop().await, "call");
    assert!(other.len() == 1 && other.is_disjoint(&calls), "{other:?} {calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unless_told_otherwise_the_log_has_them_as_they_are() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    world.call("1777093663-1").await;
    world.event().await;
    world.settled(&worker).await;
    let log = worker.stop().await;
    assert_eq!(fields(&log, "call"), ["1777093663-1".to_owned()].into());
    assert_eq!(fields(&log, "key"), ["acme/2026/04/25/1777093663-1.wav".to_owned()].into());
}
