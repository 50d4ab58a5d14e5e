//! `callvault reconcile`: what it finds in the bucket, and what it says.

use std::process::Stdio;

use futures_util::{StreamExt as _, stream};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Desk, LEAST, row};
use crate::support::s3::Op;
use crate::support::world::World;

const DAY: &str = "2026-04-25";
const FILE: &str = "X:/4/0/20260425/512/1.V3";
const FILE_PART: &str = "X_4_0_20260425_512_1";

#[tokio::test(flavor = "multi_thread")]
async fn any_key_of_a_recording_on_its_day_will_do() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    let s3 = world.store.s3();
    let put = async |key: &str, body: &str| {
        s3.put(&world.bucket, key, body.as_bytes(), &[]).await;
    };
    put("acme/2026/04/25/1-1.wav", "x").await;
    put(&format!("acme/2026/04/25/{FILE_PART}.mp3"), "x").await;
    put(&format!("acme/2026/04/25/1-3_{FILE_PART}.zip"), "x").await;
    put("acme/2026/04/25/1-4/1.wav", "x").await;
    // Empty, but for one of two; another day; another tenant; another name.
    put("acme/2026/04/25/1-5.wav", "").await;
    put("acme/2026/04/25/1-6.wav", "").await;
    put("acme/2026/04/25/1-6.zip", "x").await;
    put("acme/2026/04/26/1-7.wav", "x").await;
    put("globex/2026/04/25/1-7.wav", "x").await;
    put("acme/2026/04/25/1-77.wav", "x").await;
    let none = "X:/4/0/20260425/512/9.V3";
    let index = row("1-1", DAY, none)
        + &row("1-2", DAY, FILE)
        + "not,a,row\r\n"
        + &row("1-3", DAY, FILE)
        + &row("1-4", DAY, none)
        + &row("1-5", DAY, none)
        + &row("1-6", DAY, none)
        + &row("1-7", DAY, none)
        + &row("1-8", "2026-04-24", "");
    desk.file("record.csv", index);

    let line = "reconcile --config callvault.toml --tenant acme --index record.csv";
    let ended = desk.run(line);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, "line 3: has 3 columns, fewer than 13\n"));
    assert_snapshot!(ended.stdout, @r"
    missing  acme/2026/04/24/1-8.*  (line 9)
    empty    acme/2026/04/25/1-5.*  (line 6)
    missing  acme/2026/04/25/1-7.*  (line 8)
    9 rows: 5 present, 0 partial, 2 missing, 1 empty, 1 not usable
    ");
    let ended = desk.run(&format!("{line} --json"));
    assert_eq!(ended.code, 1);
    let report: Value = serde_json::from_str(&ended.stdout).expect("one JSON document");
    let expected = json!({
        "tenant": "acme", "bucket": world.bucket,
        "recordings": [
            { "state": "missing", "line": 9, "callId": "1-8", "key": "acme/2026/04/24/1-8.*" },
            { "state": "empty", "line": 6, "callId": "1-5", "fileName": none,
              "key": "acme/2026/04/25/1-5.*" },
            { "state": "missing", "line": 8, "callId": "1-7", "fileName": none,
              "key": "acme/2026/04/25/1-7.*" },
        ],
        "rows": 9, "present": 5, "partial": 0, "missing": 2, "empty": 1, "bad": 1,
    });
    assert_eq!(report, expected);

    desk.file("record.csv", row("1-1", DAY, ""));
    assert_eq!(
        desk.printed(line, &[]),
        "1 rows: 1 present, 0 partial, 0 missing, 0 empty, 0 not usable\n"
    );
    let whole = desk.printed(&format!("{line} --json"), &[]);
    let whole: Value = serde_json::from_str(&whole).expect("one JSON document");
    assert_eq!(whole["recordings"], json!([]));

    // What is empty, or cannot be used, is not all there either.
    desk.file("record.csv", row("1-1", DAY, "") + &row("1-5", DAY, ""));
    assert_eq!(desk.run(line).code, 1);
    desk.file("record.csv", row("1-1", DAY, "") + "not,a,row\r\n");
    assert_eq!(desk.run(line).code, 1);
    // Where the row has no times, its file's name tells the day, also of the key by call id.
    let timeless = |row: String| row.replace(&format!("{DAY} 11:55:00,{DAY} 12:00:00"), ",");
    desk.file("record.csv", timeless(row("1-1", DAY, "X:/4/0/20260425/512/7.V3")));
    assert_eq!(desk.run(line).code, 0);
}

/// More rows than are held at once: each lot of them is looked for where its own keys are.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_many_rows_is_not_listed_again_and_again() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    let call = |n: usize| format!("4-{n:05}");
    let stored = (0..1_000).chain(19_500..20_001);
    stream::iter(stored)
        .for_each_concurrent(16, async |n| {
            let key = format!("acme/2026/04/25/{}.wav", call(n));
            world.store.s3().put(&world.bucket, &key, b"x", &[]).await;
        })
        .await;
    desk.file("record.csv", (0..20_001).map(|n| row(&call(n), DAY, "")).collect::<String>());
    let line = "reconcile --config callvault.toml --tenant acme --index record.csv";
    let ended = desk.run(line);
    let last = ended.stdout.lines().last().unwrap_or_default();
    let due = "20001 rows: 1501 present, 0 partial, 18500 missing, 0 empty, 0 not usable";
    assert_eq!((ended.code, last), (1, due));
    // The objects of the first lot are two pages, with a gap between; that of the second is one.
    assert_eq!(world.store.seen_of(Op::List).len(), 3);
}

/// The second rows of calls come after the first rows of all.
fn calls_of_two(calls: &[&str]) -> String {
    let rows = |part: &str| -> String {
        let file = |call: &str| format!("X:/4/0/20260425/512/{call}{part}.V3");
        calls.iter().map(|call| row(call, DAY, &file(call))).collect()
    };
    rows("a") + &rows("b")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_file_does_not_stand_for_a_call_of_several() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    let stored = [
        "2-1.wav",
        // All of a call: one ZIP, what was unpacked of it, each recording by its own name.
        "2-2.zip",
        "2-3/1.wav",
        "2-3/2.wav",
        "X_4_0_20260425_512_2-4a.wav",
        "2-4_X_4_0_20260425_512_2-4b.wav",
        // One by its own name, and one that is of either.
        "X_4_0_20260425_512_2-5a.wav",
        "2-5.wav",
        "2-6/1.wav",
        "2-8.wav",
    ];
    for name in stored {
        world.store.s3().put(&world.bucket, &format!("acme/2026/04/25/{name}"), b"x", &[]).await;
    }
    let calls = ["2-1", "2-2", "2-3", "2-4", "2-5", "2-6", "2-7"];
    desk.file("record.csv", calls_of_two(&calls) + &row("2-8", DAY, ""));
    let line = "reconcile --config callvault.toml --tenant acme --index record.csv --enqueue";
    let ended = desk.run(line);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, ""));
    let (report, asked) = ended.stdout.split_once("asked for").expect("it asks");
    assert_snapshot!(report, @r"
    partial  acme/2026/04/25/2-1.*  (line 1)
    partial  acme/2026/04/25/2-1.*  (line 8)
    partial  acme/2026/04/25/2-5.*  (line 12)
    partial  acme/2026/04/25/2-6.*  (line 6)
    partial  acme/2026/04/25/2-6.*  (line 13)
    missing  acme/2026/04/25/2-7.*  (line 7)
    missing  acme/2026/04/25/2-7.*  (line 14)
    15 rows: 8 present, 5 partial, 2 missing, 0 empty, 0 not usable
    ");
    assert!(asked.starts_with(" 4 recordings in 1 request"), "{asked}");
    let dump = world.take("jobs").await.json();
    let of = |call: &str| {
        json!({ "callId": call, "ccId": "1", "expected": 2,
                "callBegin": "2026-04-25T11:55:00Z", "callEnd": "2026-04-25T12:00:00Z" })
    };
    assert_eq!(dump["recordings"], json!(["2-1", "2-5", "2-6", "2-7"].map(of)), "a call once");

    let ended = desk.run(&format!("{line} --by file-name --json"));
    let report: Value = serde_json::from_str(&ended.stdout).expect("one JSON document");
    let counts = ["rows", "present", "partial", "missing"].map(|name| report[name].clone());
    assert_eq!(json!(counts), json!([15, 8, 5, 2]));
    assert_eq!(report["recordings"][0]["state"], "partial");
    let dump = world.take("jobs").await.json();
    let recordings = dump["recordings"].as_array().expect("a list");
    assert_eq!(recordings.len(), 7, "a recording each");
    assert!(recordings.iter().all(|recording| recording["expected"].is_null()), "{dump}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_the_beginning_alone_has_all_asked_for() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    let rows: String = (0..3000).map(|n| row(&format!("4-{n}"), DAY, "")).collect();
    desk.file("record.csv", rows);
    let line = "reconcile --config callvault.toml --tenant acme --index record.csv --enqueue";
    for json in ["", " --json"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = desk.command(&format!("{line}{json}"), &[]);
        let output = command.stdout(writer).stderr(Stdio::piped()).output().expect("it starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), told.as_str()), (Some(1), ""), "not all is there");
        let mut asked = 0;
        while asked < 3000 {
            let dump = world.take("jobs").await.json();
            asked += dump["recordings"].as_array().expect("a list").len();
        }
        assert_eq!((asked, world.depth("jobs").await), (3000, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_midnight_is_looked_for_on_both_days() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    for key in ["24/3-1.wav", "25/3-2.wav", "25/3-4.zip", "24/3-5.wav", "23/3-3.wav"] {
        let key = format!("acme/2026/04/{key}");
        world.store.s3().put(&world.bucket, &key, b"x", &[]).await;
    }
    let at = |call: &str, begin: &str, end: &str| {
        let times = format!("{DAY} 11:55:00,{DAY} 12:00:00");
        row(call, DAY, "").replace(&times, &format!("2026-04-{begin}:00,2026-04-{end}:00"))
    };
    let over = |call: &str| at(call, "24 23:55", "25 00:05");
    let index = over("3-1")
        + &over("3-2")
        + &over("3-3")
        // Of a call of two the message gives the day on which it ended.
        + &at("3-4", "24 23:50", "24 23:58")
        + &at("3-4", "25 00:01", "25 00:05")
        // Not over midnight, and on another day.
        + &at("3-5", "25 00:01", "25 00:05");
    desk.file("record.csv", index);
    let line = "reconcile --config callvault.toml --tenant acme --index record.csv";
    let ended = desk.run(line);
    assert_snapshot!(ended.stdout, @r"
    missing  acme/2026/04/25/3-3.*  (line 3)
    missing  acme/2026/04/25/3-5.*  (line 6)
    6 rows: 4 present, 0 partial, 2 missing, 0 empty, 0 not usable
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_asked_for_by_one_of_its_names() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    world.store.s3().put(&world.bucket, "acme/2026/04/25/1-1.wav", b"x", &[]).await;
    world.store.s3().put(&world.bucket, "acme/2026/04/25/1-2.wav", b"", &[]).await;
    let index = ["1-1", "1-2"].map(|id| row(id, DAY, "")).concat();
    desk.file("record.csv", index + &row("1-3", DAY, FILE) + &row("1-4", DAY, ""));
    let line = "reconcile --config callvault.toml --tenant acme --index record.csv --enqueue";
    for (by, name, value) in [("call-id", "callId", "1-3"), ("file-name", "fileName", FILE)] {
        assert_eq!(desk.run(&format!("{line} --by {by}")).code, 1);
        let dump = world.take("jobs").await.json();
        let times = [("callBegin", "2026-04-25T11:55:00Z"), ("callEnd", "2026-04-25T12:00:00Z")];
        let recording = |name: &str, value: &str| {
            let mut recording = json!({ name: value, "ccId": "1" });
            times.iter().for_each(|(name, time)| recording[*name] = json!(time));
            recording
        };
        let other = recording("callId", "1-4");
        assert_eq!(dump["recordings"], json!([recording(name, value), other]), "the missing alone");
        assert_ne!(dump["force"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_other_templates_are_found_too() {
    let world = World::new().await;
    let s3 = world.store.s3();
    // The extension first, none at all, and no day to list.
    let cases = [
        (
            "{ext}/{tenant}/{yyyy}{mm}{dd}/{hh}/{name}",
            "v3/acme/20260425/12/1-1_X_4_0_20260425_512_1",
        ),
        ("{tenant}/{yyyy}-{mm}-{dd}.{hh}.{call_id}", "acme/2026-04-25.12.1-1"),
        ("all/{tenant}/{cc_id}/{name}-{ext}", "all/acme/1/1-1-zip"),
    ];
    for (template, key) in cases {
        let desk = Desk::new(&world.config(&[("store", &format!("key = \"{template}\""))]));
        desk.file("record.csv", row("1-1", DAY, FILE));
        let line = "reconcile --config callvault.toml --tenant acme --index record.csv";
        let ended = desk.run(line);
        assert_eq!(ended.code, 1, "{template}: {}{}", ended.stdout, ended.stderr);
        s3.put(&world.bucket, key, b"x", &[]).await;
        let ended = desk.run(line);
        assert_eq!(ended.code, 0, "{template}: {}{}", ended.stdout, ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_list_is_an_error() {
    let world = World::new().await;
    let config = world.config(&[]).replace(&world.bucket, "no-such-bucket");
    let desk = Desk::new(&config);
    desk.file("record.csv", row("1-1", DAY, FILE));
    let told =
        desk.told("reconcile --config callvault.toml --tenant acme --index record.csv", &[], 1);
    assert_snapshot!(told, @"callvault: store.NoSuchBucket: ListObjectsV2 in bucket no-such-bucket: status 404, store.NoSuchBucket; correct store.bucket, or create it; the report is not whole");
    let told = Desk::new(LEAST).told("reconcile --config callvault.toml --tenant acme", &[], 2);
    assert!(told.contains("--index <FILE>"), "{told}");
}
