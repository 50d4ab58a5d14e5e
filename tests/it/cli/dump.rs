//! `callvault dump`: what it asks for, what it shows, what it refuses.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::Stdio;

use callvault::clock;
use callvault::request::{self, Hints, Request};
use insta::assert_snapshot;
use lapin::types::FieldTable;
use serde_json::{Value, json};

use super::{Desk, LEAST, package, row};
use crate::support::broker::node;
use crate::support::child::GuardedChild;
use crate::support::link::Link;
use crate::support::world::{SOON, World};
use crate::support::{eventually, unique};

const DAY: &str = "2026-04-25";

fn rows(from: u32, count: u32) -> String {
    (from..from + count).map(|n| row(&format!("1777093663-{n}"), DAY, "")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_asked_for_in_requests_of_at_most_a_thousand() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    let bad = "not,a,row\r\n".to_owned() + &row("", DAY, "X:/4/0/20260425/512/1.V3");
    desk.file(
        "package.zip",
        package(&[
            ("20260425_call_1.csv", "not,an,index\r\n".to_owned()),
            ("20260425_record_1.csv", rows(0, 1500) + &bad),
            ("20260425_record_2.csv", rows(1500, 1000)),
        ]),
    );
    // No worker was ever here: the command sees to the queues, as a worker would.
    let line = "dump --config callvault.toml --tenant acme --index package.zip --request-id audit";
    let ended = desk.run(line);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_eq!(ended.stdout, "asked for 2500 recordings in 3 requests, audit\n");
    assert_snapshot!(ended.stderr, @r"
    20260425_record_1.csv, line 1501: has 3 columns, fewer than 13
    20260425_record_1.csv, line 1502: call_id must have 1 to 25 characters, has 0
    callvault: 2 of what was to be asked for could not be, for the reasons above
    ");

    // Run again it says the same under the same ids, by which copies can be told.
    assert_eq!(desk.run(line).stdout, ended.stdout);
    let (mut message_ids, mut ids, mut calls) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for message in world.rabbit.take_many(&world.queue("jobs"), 6).await {
        assert_eq!(message.exchange, world.calls);
        assert_eq!(message.routing_key, "recording.dump-requested.acme");
        assert_eq!(*message.properties.delivery_mode(), Some(2), "it outlives the broker");
        message_ids.insert(message.properties.message_id().as_ref().expect("an id").to_string());
        let read = request::parse(&message.body, Hints::default(), clock::now());
        let Ok(Request::Dump(dump)) = read else {
            panic!("no dump: {:?}", String::from_utf8_lossy(&message.body));
        };
        assert!(dump.recordings.len() <= 1000 && !dump.force);
        ids.insert(dump.request_id.to_string());
        for wanted in dump.recordings {
            assert_eq!((wanted.file_name, wanted.cc_id.unwrap().as_str()), (None, "1"));
            assert_eq!(wanted.call_end.unwrap().to_string(), "2026-04-25T12:00:00Z");
            calls.insert(wanted.call_id.unwrap().to_string());
        }
        assert!(!String::from_utf8_lossy(&message.body).contains("5550"), "a phone number");
    }
    assert_eq!(message_ids.len(), 3);
    assert_eq!(ids, ["audit", "audit.2", "audit.3"].map(str::to_owned).into());
    assert_eq!(calls.len(), 2500);
    assert_eq!(world.depth("jobs").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_a_call_are_one_request_that_says_how_many_they_are() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    let of = |call: &str, file: &str| row(call, DAY, &format!("X:/4/0/20260425/512/{file}.V3"));
    let later = of("1777093663-2", "b").replace(" 12:00:00", " 12:30:00");
    let other_centre = of("1777093663-2", "d").replacen(",1,512,", ",2,512,", 1);
    desk.file(
        "package.zip",
        package(&[
            ("20260425_record_1.csv", of("1777093663-2", "a") + &of("1777093663-1", "c")),
            ("20260425_record_2.csv", later + &other_centre),
        ]),
    );
    let line = "dump --config callvault.toml --tenant acme --index package.zip";
    let ended = desk.run(line);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let call = |id: &str, cc_id: &str, end: &str| json!({ "callId": id, "ccId": cc_id, "callBegin": "2026-04-25T11:55:00Z", "callEnd": end });
    let mut two = call("1777093663-2", "1", "2026-04-25T12:30:00Z");
    two["expected"] = json!(2);
    let noon = "2026-04-25T12:00:00Z";
    let expected = [call("1777093663-1", "1", noon), two, call("1777093663-2", "2", noon)];
    assert_eq!(world.take("jobs").await.json()["recordings"], json!(expected));

    assert_eq!(desk.run(&format!("{line} --by file-name")).code, 0);
    let by_file = world.take("jobs").await.json()["recordings"].clone();
    let by_file = by_file.as_array().expect("a list");
    assert_eq!(by_file.len(), 4);
    assert!(by_file.iter().all(|recording| recording["expected"].is_null()), "{by_file:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_asked_for_in_one_request() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    let ended = desk.run(
        "dump --config callvault.toml --tenant acme --force --call-id 1777093663-1 1777093663-2 \
         --file-name X:/4/0/20260425/512/1.V3",
    );
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let (asked, request_id) = ended.stdout.trim_end().split_once(", ").expect("an id");
    assert_eq!(asked, "asked for 3 recordings in 1 request");
    let message = world.take("jobs").await.json();
    assert_eq!(message["requestId"], request_id);
    assert!(request_id.starts_with("dump-2"), "a time: {request_id}");
    assert_eq!(message["force"], true);
    let recordings = serde_json::json!([
        { "callId": "1777093663-1" }, { "callId": "1777093663-2" },
        { "fileName": "X:/4/0/20260425/512/1.V3" },
    ]);
    assert_eq!(message["recordings"], recordings);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_have_the_times_of_their_tenants_clocks_and_their_own_call_centre() {
    let world = World::new().await;
    let tokyo = "time_zone = \"Asia/Tokyo\"\ncc_id = \"2\"";
    let key = "key = \"{tenant}/{yyyy}-{mm}-{dd}/{cc_id}/{name}\"";
    let desk = Desk::new(&world.config(&[("acme", tokyo), ("store", key)]));
    desk.file("record.csv", row("1777093663-1", DAY, "").replace(" 12:00:00", " 00:30:00"));
    let line = "dump --config callvault.toml --tenant acme --index record.csv \
                --call-id 1777093663-2";
    assert_eq!(desk.run(line).code, 0);
    let recordings = world.take("jobs").await.json()["recordings"].clone();
    assert_eq!(recordings[1]["callEnd"], "2026-04-24T15:30:00Z", "half past midnight in Tokyo");
    assert_eq!((&recordings[1]["ccId"], &recordings[0]["ccId"]), (&json!("1"), &Value::Null));
    let keys = desk.printed(&format!("{line} --dry-run"), &[]);
    assert_snapshot!(keys, @r"
    acme/2026-04-25/2/1777093663-2
    acme/2026-04-25/1/1777093663-1
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_its_queue_refuses_is_sent_until_it_is_taken() {
    let world = World::new().await;
    let jobs = world.queue("jobs");
    world.rabbit.declare_for_one(&jobs).await;
    world.rabbit.bind(&jobs, &world.calls, "recording.dump-requested.#").await;
    world.rabbit.send(&jobs, "the one that fits").await;
    let broker = Link::to(([127, 0, 0, 1], node().await.amqp_port()).into()).await;
    let amqp = format!("amqp://guest:guest@{}/%2f", broker.address());
    let (ccfs, s3) = (world.ccfs.url(), world.store.s3().endpoint());
    let desk = Desk::new(&world.config_at(&amqp, &ccfs, s3, &[]));
    desk.file("record.csv", rows(0, 900));
    let line = "dump --config callvault.toml --tenant acme --index record.csv --request-id year";
    let mut command = desk.command(line, &[]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut dump = GuardedChild::spawn(&mut command).expect("it starts");
    // A request of 900 recordings has 90 KB.
    let sent_twice = async || (broker.carried() > 180_000).then_some(());
    eventually("it was sent twice", SOON, sent_twice).await;
    assert_eq!(dump.exited(), None, "it tries again");
    assert_eq!(world.take("jobs").await.body, b"the one that fits");
    assert_eq!(world.take("jobs").await.json()["requestId"], "year");
    assert!(dump.wait(SOON).await.success());
}

#[test]
fn a_dry_run_shows_keys_and_needs_no_broker() {
    let desk =
        Desk::new(&LEAST.replace("id = \"acme\"", "id = \"acme\"\ntime_zone = \"Asia/Tokyo\""));
    let index = row("1777093663-1", DAY, "X:/4/0/20260424/512/1.V3")
        + &row("no-date", "", "x.V3").replace(" 11:55:00", "").replace(" 12:00:00", "")
        + &row("", DAY, r"X:\17\0\20260425\15470\2.V3");
    let index = File::open(desk.file("index", index)).expect("it was written");
    let line = "dump --config callvault.toml --tenant acme --dry-run --index -";
    let dry = |by: &str, index: &File| {
        let index = index.try_clone().expect("a second handle");
        std::io::Seek::rewind(&mut &index).expect("a file");
        let mut command = desk.command(&format!("{line} --by {by}"), &[]);
        let output = command.stdin(Stdio::from(index)).output().expect("it starts");
        assert_eq!(output.status.code(), Some(1));
        let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
        text(output.stdout) + &text(output.stderr)
    };
    assert_snapshot!(dry("call-id", &index), @r"
    acme/2026/04/25/1777093663-1.*
    line 2: the day of the call is in none of callEnd, callBegin, fileName, callId and the AMQP timestamp
    line 3: call_id must have 1 to 25 characters, has 0
    callvault: 2 of what was to be asked for could not be, for the reasons above
    ");
    assert_snapshot!(dry("file-name", &index), @r"
    acme/2026/04/25/X_4_0_20260424_512_1.*
    acme/2026/04/25/X_17_0_20260425_15470_2.*
    line 2: the day of the call is in none of callEnd, callBegin, fileName, callId and the AMQP timestamp
    callvault: 1 of what was to be asked for could not be, for the reasons above
    ");
}

#[test]
fn what_cannot_be_asked_for_is_said_with_what_to_do() {
    let desk = Desk::new(LEAST);
    desk.file("calls.zip", package(&[("20260425_call_1.csv", String::new())]));
    desk.file("wide.csv", b"\xff\xfed\0e\0v\0");
    let told = |line: &str, code| desk.told(&format!("{line} --config callvault.toml"), &[], code);
    assert_snapshot!(told("dump --tenant nobody --call-id 1777093663-1", 2), @"callvault: --tenant nobody: is not in the configuration; it has acme");
    assert_snapshot!(told("dump --tenant acme --index nowhere.csv", 2), @"callvault: --index nowhere.csv: cannot be opened: No such file or directory (os error 2); name a readable file, or - for standard input");
    assert_snapshot!(told("dump --tenant acme --index calls.zip", 2), @"callvault: --index calls.zip: has no …_record_N.csv in it; give the package as CC-FS made it, or the CSV itself");
    assert_snapshot!(told("dump --tenant acme --index wide.csv --dry-run", 1), @"callvault: --index wide.csv: line 1: is UTF-16; save it as UTF-8");
    assert_snapshot!(told("dump --tenant acme --call-id 1777093663-1", 1), @"callvault: cannot work with the broker: connection refused by 127.0.0.1:1; check host and port of broker.url (5672, or 5671 with amqps://; 15672 is the management's), and that RabbitMQ runs there");
    assert_snapshot!(told("dump --tenant acme", 2), @"
    error: the following required arguments were not provided:
      <--call-id <ID>...|--file-name <NAME>...|--index <FILE>|--call-ids <FILE>|--day <DAY>|--from <DAY>>

    Usage: callvault dump --tenant <ID> --config <FILE> <--call-id <ID>...|--file-name <NAME>...|--index <FILE>|--call-ids <FILE>|--day <DAY>|--from <DAY>>

    For more information, try '--help'.
    ");
    let long = "x".repeat(118);
    let told = told(&format!("dump --tenant acme --call-id 1 --request-id {long}"), 2);
    assert!(told.contains("must have 1 to 117 characters, has 118"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_no_queue_takes_is_an_error_and_no_loss() {
    let world = World::new().await;
    let line = "dump --config callvault.toml --tenant acme --call-id 1777093663-1";
    let unmade = Desk::new(&world.config(&[("broker", "declare = false")]));
    let told = unmade.told(line, &[], 1);
    assert!(told.contains("missing: queue ") && told.contains("`callvault topology`"), "{told}");

    assert_eq!(Desk::new(&world.config(&[])).run(line).code, 0);
    let key = "recording.dump-requested.#";
    let (jobs, calls) = (world.queue("jobs"), &world.calls);
    let unbound = world.rabbit.channel().queue_unbind(
        jobs.as_str().into(),
        calls.as_str().into(),
        key.into(),
        FieldTable::default(),
    );
    unbound.await.expect("it was bound");
    let told = unmade.told(line, &[], 1).replace(calls.as_str(), "calls");
    assert_snapshot!(told, @r#"callvault: no queue takes "recording.dump-requested.acme" from the exchange calls: have a worker declare its queues (broker.declare), or bind its jobs queue with recording.dump-requested.#"#);
    assert_eq!(world.depth("jobs").await, 1, "the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_publish_is_told_at_once() {
    let world = World::new().await;
    let node = node().await;
    let (user, prefix) = (unique("reader"), &world.prefix);
    node.ctl(&["add_user", &user, "pw"]).await;
    // All that a worker needs, but no write permission to the exchange of calls.
    let write = format!("^({prefix}\\..*|{}|amq\\.default)$", world.events_exchange);
    node.ctl(&["set_permissions", "-p", "/", &user, ".*", &write, ".*"]).await;
    let (_, host) = world.amqp.split_once('@').expect("a user in the URL");
    let amqp = format!("amqp://{user}:pw@{host}");
    let config = world.config_at(&amqp, &world.ccfs.url(), world.store.s3().endpoint(), &[]);
    let line = "dump --config callvault.toml --tenant acme --call-id 1777093663-1";
    let told = Desk::new(&config).told(line, &[], 1);
    assert!(told.contains("ACCESS_REFUSED") && told.contains(&world.calls), "{told}");
}

/// Nothing is published of a call that the worker would refuse, and all the others with it.
#[test]
fn what_has_yet_to_come_is_a_bad_row() {
    let desk = Desk::new(LEAST);
    let good = row("1777093663-1", DAY, "");
    let begin = row("1777093663-3", DAY, "").replace("2026-04-25 11:55:00", "2062-04-25 11:55:00");
    let dateless = good.replace("2026-04-25 11:55:00,2026-04-25 12:00:00", ",");
    let of_2062 = dateless.replace("1777093663-1", "2913253963-1");
    let index = [good, row("1777093663-2", "2062-04-25", ""), begin, of_2062, dateless].concat();
    desk.file("record.csv", index);
    let line = "dump --config callvault.toml --tenant acme --dry-run --index record.csv \
                --call-id 2913253963-2 --file-name X:/4/0/20620425/512/1.V3";
    let ended = desk.run(line);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    // The two rows of the call are one recording.
    assert_eq!(ended.stdout, "acme/2026/04/25/1777093663-1.*\n");
    insta::with_settings!({ filters => [(r"clock \(.{20}\)", "clock (now)")] }, {
        assert_snapshot!(ended.stderr, @r"
        --call-id 2913253963-2: the time that callId begins with is more than a day ahead of the clock (now)
        --file-name X:/4/0/20620425/512/1.V3: the day in fileName is more than a day ahead of the clock (now)
        line 2: callBegin is more than a day ahead of the clock (now)
        line 3: callBegin is more than a day ahead of the clock (now)
        line 4: the time that callId begins with is more than a day ahead of the clock (now)
        callvault: 5 of what was to be asked for could not be, for the reasons above
        ");
    });
}
