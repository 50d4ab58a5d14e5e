//! Plain lists of call ids, and indexes and lists without a row, for `dump` and `reconcile`.

use std::fs::File;
use std::process::Stdio;

use insta::assert_snapshot;
use serde_json::json;

use super::{Desk, Ended, LEAST, package, row};
use crate::support::world::World;

/// As people write it: a byte order mark, line ends of two kinds, blanks, what a spreadsheet leaves.
const LIST: &str = "\u{feff}1777093663-1\r\n\r\n  1777093663-2 \t\n\n\"1777093663-3\"\n1777093663-1\n\
                    1777093663-1\r\n'1777093663-4";

#[test]
fn a_list_is_asked_for_once_each_and_a_bad_line_is_named() {
    let desk = Desk::new(LEAST);
    let bad = "\n1777093663-5,4915550123\nno-date\n4915550123491555012349155501234\n";
    desk.file("calls.txt", LIST.to_owned() + bad);
    let line = "dump --config callvault.toml --tenant acme --dry-run --call-ids";
    let ended = desk.run(&format!("{line} calls.txt"));
    assert_eq!(ended.code, 1);
    assert_snapshot!(ended.stdout, @r"
    acme/2026/04/25/1777093663-1.*
    acme/2026/04/25/1777093663-2.*
    acme/2026/04/25/1777093663-3.*
    acme/2026/04/25/1777093663-4.*
    ");
    assert_snapshot!(ended.stderr, @r"
    line 9: holds more than a call id; give one a line
    line 10: the day of the call is in none of callEnd, callBegin, fileName, callId and the AMQP timestamp
    line 11: call id must have 1 to 25 characters, has 31
    2 lines repeat a call id; it counts once
    callvault: 3 of what was to be asked for could not be, for the reasons above
    ");
    // By a pipe it is the same, and with calls of the command line besides.
    let list = File::open(desk.file("calls.txt", LIST)).expect("it was written");
    let mut command = desk.command(&format!("{line} - --call-id 1777093663-9"), &[]);
    let ended = Ended::of(&command.stdin(Stdio::from(list)).output().expect("it starts"));
    assert_eq!((ended.code, ended.stdout.lines().count()), (0, 5), "{}", ended.stderr);
    assert_eq!(ended.stderr, "2 lines repeat a call id; it counts once\n");
}

#[test]
fn what_cannot_be_a_list_is_refused() {
    let desk = Desk::new(LEAST);
    desk.file("wide.txt", b"\xff\xfe1\0");
    let told = |line: &str, code| desk.told(&format!("{line} --config callvault.toml"), &[], code);
    assert_snapshot!(told("dump --tenant acme --dry-run --call-ids wide.txt", 1), @"callvault: --call-ids wide.txt: line 1: is UTF-16; save it as UTF-8");
    assert_snapshot!(told("dump --tenant acme --call-ids nowhere.txt", 2), @"callvault: --call-ids nowhere.txt: cannot be opened: No such file or directory (os error 2); name a readable file, or - for standard input");
    assert_snapshot!(told("dump --tenant acme --call-ids - --index -", 2), @r"
    error: the argument '--call-ids <FILE>' cannot be used with '--index <FILE>'

    Usage: callvault dump --tenant <ID> --config <FILE> <--call-id <ID>...|--file-name <NAME>...|--index <FILE>|--call-ids <FILE>|--day <DAY>|--from <DAY>>

    For more information, try '--help'.
    ");
    assert_snapshot!(told("dump --tenant acme --call-ids - --by file-name", 2), @r"
    error: the argument '--call-ids <FILE>' cannot be used with '--by <BY>'

    Usage: callvault dump --tenant <ID> --config <FILE> <--call-id <ID>...|--file-name <NAME>...|--index <FILE>|--call-ids <FILE>|--day <DAY>|--from <DAY>>

    For more information, try '--help'.
    ");
    assert_snapshot!(told("reconcile --tenant acme", 2), @r"
    error: the following required arguments were not provided:
      <--index <FILE>|--call-ids <FILE>|--day <DAY>|--from <DAY>>

    Usage: callvault reconcile --tenant <ID> --config <FILE> <--index <FILE>|--call-ids <FILE>|--day <DAY>|--from <DAY>>

    For more information, try '--help'.
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_asked_for_by_call_id_alone() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    desk.file("calls.txt", LIST);
    let line = "dump --config callvault.toml --tenant acme --call-ids calls.txt --request-id mine";
    let ended = desk.run(line);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "asked for 4 recordings in 1 request, mine\n")
    );
    let asked = [1, 2, 3, 4].map(|n| json!({ "callId": format!("1777093663-{n}") }));
    assert_eq!(
        world.take("jobs").await.json()["recordings"],
        json!(asked),
        "none is expected twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_held_against_the_bucket() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    let key = |call: &str| format!("acme/2026/04/25/{call}.wav");
    for call in ["1777093663-1", "1777093663-4"] {
        world.store.s3().put(&world.bucket, &key(call), b"x", &[]).await;
    }
    desk.file("calls.txt", LIST.to_owned() + "\nno-date");
    let line = "reconcile --config callvault.toml --tenant acme --call-ids calls.txt --enqueue";
    let ended = desk.run(line);
    assert_eq!(ended.code, 1);
    let (report, _) =
        ended.stdout.split_once("asked for 2 recordings in 1 request").expect("it asks");
    assert_snapshot!(report, @r"
    missing  acme/2026/04/25/1777093663-2.*  (line 3)
    missing  acme/2026/04/25/1777093663-3.*  (line 5)
    5 rows: 2 present, 0 partial, 2 missing, 0 empty, 1 not usable
    ");
    assert_snapshot!(ended.stderr, @r"
    line 9: the day of the call is in none of callEnd, callBegin, fileName, callId and the AMQP timestamp
    2 lines repeat a call id; it counts once
    ");
    let asked = [2, 3].map(|n| json!({ "callId": format!("1777093663-{n}") }));
    assert_eq!(world.take("jobs").await.json()["recordings"], json!(asked));
    desk.file("calls.txt", "1777093663-1\n1777093663-4\n1777093663-4");
    assert_eq!(desk.run(line).code, 0, "one file is all there is of each");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_row_nobody_says_that_all_is_well() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    desk.file("empty.csv", "\r\n");
    desk.file("empty.zip", package(&[("20260425_record_1.csv", String::new())]));
    desk.file("empty.txt", "\u{feff}\n \t\n");
    desk.file("bad.csv", "not,a,row\n");
    let of_acme = "--config callvault.toml --tenant acme";
    let told = |line: &str| desk.run(&format!("{line} {of_acme}"));
    let said = |line: &str| {
        let Ended { code, stdout, stderr } = told(line);
        assert_eq!(code, 1, "{line}");
        stdout + &stderr
    };
    assert_snapshot!(said("dump --index empty.csv --dry-run"), @"callvault: --index empty.csv: has no row; name the right file, or say --allow-empty if there was nothing to archive");
    assert_snapshot!(said("dump --call-ids empty.txt --request-id mine"), @r"
    asked for 0 recordings in 0 requests, mine
    callvault: --call-ids empty.txt: has no row; name the right file, or say --allow-empty if there was nothing to archive
    ");
    assert_snapshot!(said("reconcile --index empty.zip"), @"callvault: --index empty.zip: has no row; name the right file, or say --allow-empty if there was nothing to archive");
    assert_snapshot!(said("reconcile --call-ids empty.txt --json"), @"callvault: --call-ids empty.txt: has no row; name the right file, or say --allow-empty if there was nothing to archive");
    for line in
        ["dump --index empty.csv --dry-run", "dump --index empty.zip", "dump --call-ids empty.txt"]
    {
        assert_eq!(told(&format!("{line} --allow-empty")).code, 0, "{line}");
    }
    assert_snapshot!(told("reconcile --index empty.zip --allow-empty").stdout, @"0 rows: 0 present, 0 partial, 0 missing, 0 empty, 0 not usable");
    // One that cannot be used is a row, and what is asked for besides is asked for.
    assert!(said("dump --index bad.csv --dry-run --allow-empty").contains("line 1: has 3 columns"));
    desk.file("record.csv", row("1777093663-1", "2026-04-25", ""));
    assert_eq!(told("dump --index record.csv").code, 0);
    assert!(
        said("dump --index empty.csv --call-id 1777093663-2").starts_with("asked for 1 recording")
    );
}
