//! `callvault audit`: what it finds of each day, what it says and tells, and what it ends with.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use callvault::clock;
use insta::assert_snapshot;
use jiff::ToSpan;
use jiff::civil::{DateTime, date};
use serde_json::{Value, json};

use super::{Desk, Ended, LEAST};
use crate::dead::{Dead, quiet_with};
use crate::support::ccfs::{IndexRow, Packages, Reply};
use crate::support::s3::{ALWAYS, Fault, Op};
use crate::support::world::{TENANTS, World, access_key};
use crate::waiting::Waiting;

const AUDIT: &str = "audit --config callvault.toml --day 2026-04-25";

/// A call of that day, of five minutes up to noon.
fn at_noon(call_id: &str) -> IndexRow {
    let end = date(2026, 4, 25).at(12, 0, 0, 0);
    IndexRow::new(call_id, end - 5.minutes(), end)
}

/// What an audit prints, without blanks that no two tables need to have in common.
fn told(ended: &Ended) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    ended.stdout.lines().map(|line| words(line) + "\n").collect()
}

fn document(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).expect("one JSON document")
}

async fn put(world: &World, key: &str, body: &str) {
    world.store.s3().put(&world.bucket, key, body.as_bytes(), &[]).await;
}

/// Two tenants: one with a recording of every kind, the other without any.
async fn two() -> (World, Desk) {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    let again = |file: &str| at_noon("1-4").file_name(format!("X:/4/0/20260425/512/{file}.V3"));
    let noon = date(2026, 4, 25).at(12, 0, 0, 0);
    let rows = [
        at_noon("1-1"),
        at_noon("1-2"),
        IndexRow::raw(noon, "not,a,row"),
        at_noon("1-3"),
        again("a"),
        again("b"),
    ];
    world.ccfs.knows(&access_key("acme"), rows);
    put(&world, "acme/2026/04/25/1-1.wav", "x").await;
    put(&world, "acme/2026/04/25/1-3.wav", "").await;
    put(&world, "acme/2026/04/25/1-4.wav", "x").await;
    (world, desk)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_day_is_held_against_the_bucket_and_told() {
    let (world, desk) = two().await;
    let ended = desk.run(&format!("{AUDIT} --textfile audit.prom"));
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_snapshot!(ended.stdout, @r"
    TENANT  DAY         ROWS  PRESENT  PARTIAL  MISSING  EMPTY  ON THE WAY  BAD  ASKED
    acme    2026-04-25     6        1        2        1      1           0    1      -
    globex  2026-04-25     0        0        0        0      0           0    0      -
    2 days of 2 tenants: 6 rows, 1 present, 2 partial, 1 missing, 1 empty, 0 on the way, 1 bad
    ");
    let (bad, why) = ended.stderr.trim_end().rsplit_once(": ").expect("why");
    assert!(bad.starts_with("acme 2026-04-25: ") && bad.ends_with("line 3"), "{bad}");
    assert_eq!(why, "has 3 columns, fewer than 13");

    let found = |tenant: &str, counts: [u64; 8]| {
        let names =
            ["rows", "present", "partial", "missing", "empty", "pending", "bad", "enqueued"];
        let mut found = json!({ "tenant": tenant, "day": "2026-04-25" });
        names.iter().zip(counts).for_each(|(name, count)| found[*name] = json!(count));
        found
    };
    let due = [found("acme", [6, 1, 2, 1, 1, 0, 1, 0]), found("globex", [0; 8])];
    let mut ids = Vec::new();
    let mut heard = async || {
        let mut heard = Vec::new();
        for message in world.rabbit.take_many(&world.events, 2).await {
            let event = message.json();
            let tenant = event["data"]["tenant"].as_str().expect("a tenant").to_owned();
            assert_eq!(message.routing_key, format!("audit.completed.{tenant}"));
            let message_id = message.properties.message_id().as_ref().expect("an id");
            assert_eq!(event["id"], message_id.as_str());
            assert_eq!(*message.properties.delivery_mode(), Some(2), "it outlives the broker");
            ids.push(event["id"].to_string());
            heard.push(event["data"].clone());
        }
        heard.sort_by_key(|data| data["tenant"].to_string());
        heard
    };
    assert_eq!(heard().await, due);

    // Prometheus reads it as another user, and never half of it.
    let path = desk.folder().join("audit.prom");
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o644);
    let numbers = fs::read_to_string(&path).expect("text");
    for line in [
        "callvault_audit_days 1",
        "callvault_audit_indexed{tenant=\"globex\"} 1",
        "callvault_audit_recordings{tenant=\"acme\",state=\"partial\"} 2",
        "callvault_audit_recordings{tenant=\"acme\",state=\"bad\"} 1",
        "callvault_audit_asked{tenant=\"acme\"} 0",
    ] {
        assert!(numbers.lines().any(|of| of == line), "{line}:\n{numbers}");
    }
    assert_eq!(fs::read_dir(desk.folder()).expect("a folder").count(), 2, "nothing else is left");

    let ended = desk.run(&format!("{AUDIT} --json"));
    assert_eq!(ended.code, 1);
    let report = document(&ended);
    let mut days = due.clone();
    days.iter_mut().for_each(|day| day["bucket"] = json!(world.bucket));
    assert_eq!(report["days"], json!(days));
    let totals = ["tenants", "rows", "missing", "failed", "complete"];
    let totals = totals.map(|name| report[name].clone());
    assert_eq!(json!(totals), json!([2, 6, 1, 0, false]));
    assert_eq!(report.get("recordings"), None);
    assert_eq!(heard().await, due);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "another audit is another event");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_asked_for_and_then_it_is_complete() {
    let (world, desk) = two().await;
    let ended = desk.run(&format!("{AUDIT} --tenant acme --enqueue"));
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_snapshot!(told(&ended), @r"
    TENANT DAY ROWS PRESENT PARTIAL MISSING EMPTY ON THE WAY BAD ASKED
    acme 2026-04-25 6 1 2 1 1 0 1 2
    1 day of 1 tenant: 6 rows, 1 present, 2 partial, 1 missing, 1 empty, 0 on the way, 1 bad; asked for 2 recordings
    ");
    let message = world.take("jobs").await;
    assert_eq!(message.routing_key, "recording.dump-requested.acme");
    let dump = message.json();
    assert!(dump["requestId"].as_str().is_some_and(|id| id.starts_with("audit-2")), "{dump}");
    let asked = dump["recordings"].as_array().expect("a list");
    let asked: Vec<_> = asked.iter().map(|of| (&of["callId"], &of["expected"])).collect();
    assert_eq!(asked, [(&json!("1-2"), &Value::Null), (&json!("1-4"), &json!(2))]);
    assert_eq!(world.event().await.json()["data"]["enqueued"], 2);

    let ended = desk.run(&format!("{AUDIT} --tenant acme --enqueue --by file-name --json"));
    let day = document(&ended)["days"][0].clone();
    let dump = world.take("jobs").await.json();
    assert_eq!((&day["requestId"], &day["enqueued"]), (&dump["requestId"], &json!(3)));

    world.ccfs.forgets(&access_key("acme"));
    world.ccfs.knows(&access_key("acme"), [at_noon("1-1"), at_noon("1-2")]);
    put(&world, "acme/2026/04/25/1-2.zip", "x").await;
    // The other tenant has no recording at all.
    let ended = desk.run(&format!("{AUDIT} --enqueue"));
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let last = ended.stdout.lines().last().unwrap_or_default();
    assert!(last.ends_with(" 0 bad; asked for 0 recordings; complete"), "{last}");
    let ended = desk.run(&format!("{AUDIT} --json"));
    assert_eq!((ended.code, &document(&ended)["complete"]), (0, &json!(true)));
    assert_eq!(world.depth("jobs").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_on_its_way_is_not_missing_yet() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[("retry", "not_ready_window = \"2h\"")]));
    let ago = |minutes: i64| {
        let then = clock::now() - minutes.minutes();
        then.to_zoned(jiff::tz::TimeZone::UTC).datetime()
    };
    let call = |id: &str, end: DateTime| IndexRow::new(id, end, end);
    // Of one day, whatever the clock says: 2 h 10 min ago, and as late as the day of that has it.
    let old = ago(130);
    let young = ago(1).min(old.date().at(23, 59, 0, 0));
    let young_too = young - 1.second();
    let several = |part: &str| call("2-3", young).file_name(format!("X:/4/{part}.V3"));
    world.ccfs.knows(
        &access_key("acme"),
        [call("2-1", young), several("a"), several("b"), call("2-4", young_too), call("2-5", old)],
    );
    let folder = old.date().strftime("acme/%Y/%m/%d").to_string();
    put(&world, &format!("{folder}/2-3.wav"), "x").await;
    put(&world, &format!("{folder}/2-4.wav"), "").await;
    let line = format!(
        "audit --config callvault.toml --tenant acme --day {} --enqueue --json",
        old.date()
    );
    let day = document(&desk.run(&line))["days"][0].clone();
    let is_young = ago(120) < young;
    let counts = ["pending", "missing", "partial", "empty", "enqueued"].map(|of| day[of].clone());
    // Shortly after midnight nothing of the day before is young any more.
    let due = if is_young { [3, 1, 0, 1, 1] } else { [0, 2, 2, 1, 3] };
    assert_eq!(json!(counts), json!(due), "{day}");

    world.ccfs.forgets(&access_key("acme"));
    world.ccfs.knows(&access_key("acme"), [call("2-1", young)]);
    let ended = desk.run(&line);
    assert_eq!(ended.code == 0, is_young, "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenants_failure_ends_nobody_elses_audit() {
    let (world, desk) = two().await;
    let globex = access_key("globex");
    world.ccfs.no_index(&globex, Reply::status(401));
    let day = |ended: &Ended, tenant: &str| {
        let days = document(ended)["days"].clone();
        let days = days.as_array().expect("days").clone();
        days.into_iter().find(|day| day["tenant"] == tenant).expect("its day")
    };
    let ended = desk.run(&format!("{AUDIT} --json --textfile audit.prom"));
    // That something is missing is worse than that something is not known.
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_eq!(day(&ended, "acme")["missing"], 1);
    let failed = day(&ended, "globex");
    assert_eq!(failed["failed"]["code"], "ccfs.unauthorized", "{failed}");
    assert_eq!(failed.get("rows"), None, "nothing is known of it");
    assert_eq!(document(&ended)["failed"], 1);
    let numbers = fs::read_to_string(desk.folder().join("audit.prom")).expect("text");
    assert!(numbers.contains("indexed{tenant=\"globex\"} 0\n"), "{numbers}");
    assert!(numbers.contains("missing\"} 1\n"), "{numbers}");
    assert_eq!(world.event().await.json()["data"]["tenant"], "acme");
    assert_eq!(world.rabbit.ready(&world.events).await, 0, "none of what was not audited");

    // All that is known is there.
    world.ccfs.forgets(&access_key("acme"));
    let ended = desk.run(AUDIT);
    assert_eq!(ended.code, 3, "{}", ended.stdout);
    let line = ended.stdout.lines().find(|line| line.starts_with("globex")).expect("its line");
    assert!(line.contains("2026-04-25  not audited: ccfs.unauthorized: "), "{line}");
    let last = ended.stdout.lines().last().unwrap_or_default();
    assert!(last.ends_with("; 1 day not audited"), "{last}");

    // What is still being made when the wait is over is no index either.
    let slow = access_key("acme");
    world.ccfs.packages(&slow, Packages::default().not_ready(100));
    let ended = desk.run(&format!("{AUDIT} --tenant acme --wait 1s"));
    assert_eq!(ended.code, 3, "{}", ended.stdout);
    assert!(ended.stdout.contains("not audited: ccfs.0300011: "), "{}", ended.stdout);
    assert!(ended.stdout.contains("; not within 1s (--wait)\n"), "{}", ended.stdout);

    // A bucket that is not listed is no want of an index.
    world.ccfs.packages(&slow, Packages::default());
    world.ccfs.knows(&slow, [at_noon("1-1")]);
    world.store.fault(Op::List, ALWAYS, Fault::Answer { status: 403, code: "AccessDenied" });
    let ended = desk.run(&format!("{AUDIT} --tenant acme"));
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    assert!(ended.stdout.contains("not audited: store.AccessDenied: "), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_explained_by_its_message() {
    let (world, desk) =
        quiet_with(&[("retry", "delays = [\"5m\", \"2h\"]\nmax_attempts = 3")]).await;
    let calls = ["1-1", "1-2", "1-3", "1-4"].map(at_noon);
    world.ccfs.knows(&access_key("acme"), calls);
    put(&world, "acme/2026/04/25/1-4.wav", "x").await;
    Dead { reason: "store.conflict", ..Dead::new("1-1") }.bury(&world).await;
    Waiting::new("1-2").park(&world).await;
    // Another tenant's call of that name.
    Dead { tenant: "globex", ..Dead::new("1-3") }.bury(&world).await;
    let ended = desk.run(&format!("{AUDIT} --tenant acme --explain"));
    assert_eq!((ended.code, ended.stderr.as_str()), (1, ""));
    let (_, explained) = ended.stdout.split_once("\n\n").expect("an empty line after the table");
    assert_snapshot!(explained, @r"
    missing     acme  2026-04-25  acme/2026/04/25/1-1.*  dead: store.conflict (029e48336c7f)
    missing     acme  2026-04-25  acme/2026/04/25/1-2.*  waits until 2026-04-25T08:00:00Z: store.AccessDenied (d91dbafa2d3a)
    missing     acme  2026-04-25  acme/2026/04/25/1-3.*  no message
    ");
    let ended = desk.run(&format!("{AUDIT} --tenant acme --explain --json"));
    let report = document(&ended);
    let of = |at: usize| report["recordings"][at].clone();
    assert_eq!(
        of(0)["message"],
        json!({ "queue": "dead", "reason": "store.conflict", "detail": "no answer within 30s",
                "id": of(0)["message"]["id"] })
    );
    assert_eq!(of(1)["message"]["queue"], "waiting");
    assert_eq!(of(1)["message"]["dueAt"], "2026-04-25T08:00:00.25Z");
    let third = of(2);
    assert_eq!((&third["state"], &third["message"]), (&json!("missing"), &Value::Null));
    assert!(third.get("message").is_some(), "that there is none is known");
    assert_eq!(of(3), Value::Null);
    assert_eq!((world.depth("dead").await, world.depth("retry.2h").await), (2, 1), "as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_it_is_shown_all_the_same() {
    let (world, _) = two().await;
    let nobody = "amqp://guest:guest@127.0.0.1:1/%2f";
    let (ccfs, s3) = (world.ccfs.url(), world.store.s3().endpoint());
    let desk = Desk::new(&world.config_at(nobody, &ccfs, s3, &[]));
    world.ccfs.forgets(&access_key("acme"));
    let ended = desk.run(&format!("{AUDIT} --enqueue --textfile audit.prom"));
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("the audit goes on, but tells and asks for nothing\n"));
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("callvault: cannot work with the broker: "), "{}", ended.stderr);
    let rows = ended.stdout.lines().filter(|line| line.contains("2026-04-25     0"));
    assert_eq!(rows.count(), TENANTS.len(), "{}", ended.stdout);
    assert!(!ended.stdout.contains("complete"), "{}", ended.stdout);
    assert!(desk.folder().join("audit.prom").exists());
}

#[test]
fn wrong_usage_is_told_before_anybody_is_asked() {
    let desk = Desk::new(LEAST);
    let told = |line: &str| desk.told(&format!("audit --config callvault.toml {line}"), &[], 2);
    assert_snapshot!(told("--tenant acme nobody"), @"callvault: --tenant nobody: is not in the configuration; it has acme");
    assert_snapshot!(told("--day 2962-04-25"), @"callvault: --day 2962-04-25: has yet to come for every tenant");
    let refused = told("--textfile nowhere/audit.prom");
    assert!(refused.starts_with("callvault: --textfile nowhere/audit.prom: "), "{refused}");
    assert!(refused.contains("; name a file in a folder that can be written"), "{refused}");
    assert!(told("--textfile .").contains("--textfile .: is a folder"));
    assert!(told("--since 0d").contains("write it as 1d, 3d or 30d"));
    assert!(told("--since 1d --day 2026-04-25").contains("cannot be used with"));
    assert!(told("--by file-name").contains("--enqueue"));
}
