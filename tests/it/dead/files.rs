//! Export and import: what goes through a file comes back as it was, once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use insta::assert_snapshot;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, DecimalValue, FieldTable};
use serde_json::Value;

use super::{CONFIG, Dead, bury_many, done, plain, quiet};
use crate::cli::{Desk, LEAST};
use crate::ends::by_call;
use crate::support::broker::client::{table, text};
use crate::support::child::GuardedChild;
use crate::support::eventually;
use crate::support::world::{SOON, World};

/// Headers of all types that the broker takes.
fn every_kind() -> FieldTable {
    table([
        ("void", AMQPValue::Void),
        ("flag", AMQPValue::Boolean(true)),
        ("int8", AMQPValue::ShortShortInt(-8)),
        ("int16", AMQPValue::ShortInt(-16)),
        ("int32", AMQPValue::LongInt(-32)),
        ("int64", AMQPValue::LongLongInt(i64::MIN)),
        ("float", AMQPValue::Float(0.1)),
        ("double", AMQPValue::Double(0.1)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 })),
        ("time", AMQPValue::Timestamp(1_777_093_963)),
        ("bytes", AMQPValue::ByteArray(ByteArray::from(vec![0, 255]))),
        ("latin1", AMQPValue::LongString(b"M\xfcller".to_vec().into())),
        ("list", AMQPValue::FieldArray(vec![text("a"), AMQPValue::LongInt(1)].into())),
        ("table", AMQPValue::FieldTable(table([("text", text("a"))]))),
        ("callvault-reason", text("store.AccessDenied")),
        ("callvault-dead-at", text("2026-04-25T06:00:00.25Z")),
    ])
}

/// Five of all kinds, as the broker gives them.
async fn five(world: &World) {
    Dead::new("1777093663-1").bury(world).await;
    Dead { tenant: "globex", reason: "store.conflict", ..Dead::new("1777093663-2") }
        .bury(world)
        .await;
    let all = BasicProperties::default()
        .with_message_id("odd".into())
        .with_type("call.completed".into())
        .with_content_type("application/octet-stream".into())
        .with_content_encoding("x".into())
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_app_id("a".into())
        .with_timestamp(1_777_093_963)
        .with_priority(3)
        .with_delivery_mode(2)
        .with_headers(every_kind());
    world.rabbit.publish("", &world.queue("dead"), b"\xff\0 not UTF-8", all).await;
    // Two that nothing tells apart.
    for _ in 0..2 {
        world.rabbit.send(&world.queue("dead"), b"no JSON \x1b[2J").await;
    }
}

/// All that is dead, taken out.
async fn taken(world: &World, count: usize) -> Vec<(Vec<u8>, BasicProperties)> {
    let seen = world.rabbit.take_many(&world.queue("dead"), count).await;
    seen.into_iter().map(|seen| (seen.body.clone(), seen.sent_properties())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_dropped_and_imported_is_as_it_was() {
    let (world, desk) = quiet().await;
    five(&world).await;
    let ids = done(&desk, "list").stdout;
    let ended = done(&desk, "export dead.jsonl");
    assert_eq!(
        (ended.stdout.as_str(), ended.stderr.as_str()),
        ("", "5 of 5 dead messages written to dead.jsonl\n")
    );
    assert_eq!(world.depth("dead").await, 5, "they stay");
    let before = taken(&world, 5).await;

    let ended = done(&desk, "import dead.jsonl");
    assert_snapshot!(plain(&world, &ended.stderr), @"5 put into cv.dead, 0 were there already");
    assert_eq!(done(&desk, "list").stdout, ids, "under the same ids");
    // What is there is not put in twice, and what is not there is put in.
    assert_snapshot!(plain(&world, &done(&desk, "import dead.jsonl").stderr), @"0 put into cv.dead, 5 were there already");
    let after = taken(&world, 5).await;
    assert_eq!(after, before);
    // Brokers that know priorities give it first.
    let odd = before.iter().find(|(body, _)| body.starts_with(b"\xff")).expect("it is there");
    let kept = odd.1.headers().clone().unwrap();
    assert_eq!(kept.inner().len(), every_kind().inner().len());

    // By a pipe it is the same; some of them are there again.
    let file = fs::read(desk.folder().join("dead.jsonl")).expect("a file");
    desk.file(
        "three.jsonl",
        file.split_inclusive(|byte| *byte == b'\n').take(4).collect::<Vec<_>>().concat(),
    );
    done(&desk, "import three.jsonl");
    let from = fs::File::open(desk.folder().join("dead.jsonl")).expect("a file");
    let mut command = desk.command(&format!("dead import - {CONFIG}"), &[]);
    let output = command.stdin(from).output().expect("it starts");
    assert_snapshot!(plain(&world, &String::from_utf8_lossy(&output.stderr)), @"1 put into cv.dead, 4 were there already");
    assert_eq!(done(&desk, "export -").stdout.as_bytes(), file);
}

#[test]
fn help_says_what_is_in_the_file_and_what_a_second_import_does() {
    let desk = Desk::new(LEAST);
    assert_snapshot!(desk.printed("dead export --help", &[]), @r"
    Write dead messages to a file, whole: properties, headers and body, a line of JSON each.

    The messages stay where they are. The file holds what the senders wrote, personal data included;
    only its owner may read it. It is there whole or not at all, and one that is there already is never
    replaced.

    Usage: callvault dead export [OPTIONS] <FILE>

    Arguments:
      <FILE>
              Where to: a file that is not there yet, or - for standard output

    Options:
          --tenant <ID>
              Only of this tenant, whether it is configured or not

          --reason <CODE>
              Only with this reason code, or one of its family: store is every store.…

          --text <TEXT>
              Only with this text somewhere in its ID, message_id, tenant, call, file, request, reason
              or detail; capitals do not matter

          --limit <N>
              At most so many, those nearest to the head of the queue

          --older-than <AGE>
              Only what died longer ago, such as 90m or 7d

          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      callvault dead export dead.jsonl
      callvault dead export --reason store.AccessDenied denied.jsonl
      callvault dead export - | gzip > dead.jsonl.gz
    ");
    assert_snapshot!(desk.printed("dead import --help", &[]), @r"
    Put messages of a file into the dead queue, as `callvault dead export` wrote them.

    Each with its message_id, its headers and its ID, and confirmed by the broker. What is in the queue
    already is passed over, so that it can be stopped or killed and run again. A line that is no message
    is reported with its number; the others are put in all the same, and it ends with 1. Run one at a
    time: two would put in the same twice. Nothing is worked on until `callvault dead redrive`.

    Usage: callvault dead import [OPTIONS] <FILE>

    Arguments:
      <FILE>
              The file, or - for standard input

    Options:
          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      callvault dead import dead.jsonl
      zcat dead.jsonl.gz | callvault dead import -
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_chosen_is_written_whole_or_not_at_all() {
    let (world, desk) = quiet().await;
    five(&world).await;
    done(&desk, "export --reason store some.jsonl");
    let some = desk.folder().join("some.jsonl");
    let written = fs::read_to_string(&some).expect("it is there");
    let lines: Vec<Value> =
        written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["headers"]["callvault-reason"], "store.conflict");
    assert!(lines[0]["body"].as_str().expect("text").contains("\"callId\":\"1777093663-2\""));
    assert!(lines[1]["bodyBase64"].is_string() && lines[1]["body"].is_null());
    let mode = fs::metadata(&some).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds what senders wrote");

    assert_snapshot!(desk.told(&format!("dead export some.jsonl {CONFIG}"), &[], 2), @"callvault: some.jsonl is there already, and is not replaced: name another");
    assert_eq!(fs::read_to_string(&some).expect("it is there"), written);
    assert_snapshot!(desk.told(&format!("dead export nowhere/dead.jsonl {CONFIG}"), &[], 1), @"callvault: nowhere/dead.jsonl: No such file or directory (os error 2); nothing is written there: name a place that can be written, and has room");
    // Who is killed leaves no half of a file under its name.
    world.rabbit.delete(&world.queue("dead")).await;
    desk.told(&format!("dead export half.jsonl {CONFIG}"), &[], 1);
    let names =
        fs::read_dir(desk.folder()).expect("a folder").map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["callvault.toml", "some.jsonl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_no_message_is_said_and_takes_no_other_along() {
    let (world, desk) = quiet().await;
    bury_many(&world, 2).await;
    let file = done(&desk, "export -").stdout;
    done(&desk, "drop --yes");
    let lines: Vec<_> = file.lines().collect();
    // Names of queues differ in length.
    let cut = &lines[0][..200];
    desk.file(
        "dead.jsonl",
        format!("{}\r\n\n{cut}\n{{\"callId\":\"5550123\"}}\n{}", lines[0], lines[1]),
    );
    let told = desk.told(&format!("dead import dead.jsonl {CONFIG}"), &[], 1);
    assert_snapshot!(plain(&world, &told), @r"
    line 3: is no JSON, or not all of it, at character 200
    line 4: is not as `callvault dead export` writes a message, at character 9: it has properties, headers, and body or bodyBase64
    2 put into cv.dead, 0 were there already
    callvault: 2 lines are no messages, for the reasons above
    ");
    assert_eq!(world.depth("dead").await, 2);

    assert_snapshot!(desk.told(&format!("dead import nothing.jsonl {CONFIG}"), &[], 2), @"callvault: nothing.jsonl: cannot be opened: No such file or directory (os error 2); name a readable file, or -");
    world.rabbit.delete(&world.queue("dead")).await;
    let one =
        table([("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", text("reject-publish"))]);
    world.rabbit.declare(&world.queue("dead"), one).await;
    desk.file("dead.jsonl", &file);
    let told = desk.told(&format!("dead import dead.jsonl {CONFIG}"), &[], 1);
    assert_snapshot!(plain(&world, &told), @r"
    1 put into cv.dead, 0 were there already
    callvault: line 2: cv.dead takes no more: look for a length limit set by a policy; the lines before it are in the queue; run it again: what is there is not put in twice
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_goes_on_where_it_was() {
    let (world, desk) = quiet().await;
    bury_many(&world, 300).await;
    done(&desk, "export dead.jsonl");
    done(&desk, "drop --yes");
    let mut command = desk.command(&format!("dead import dead.jsonl {CONFIG}"), &[]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut import = GuardedChild::spawn(&mut command).expect("it starts");
    let some = async || (world.depth("dead").await > 20).then_some(());
    eventually("some are there", SOON, some).await;
    import.kill();
    let before = world.depth("dead").await;
    assert!(before < 300, "killed in the midst");
    let told = done(&desk, "import dead.jsonl").stderr;
    assert!(!told.contains(" 0 were there"), "{told}");
    world.rabbit.until_ready(&world.queue("dead"), 300).await;
    let seen = world.rabbit.take_many(&world.queue("dead"), 300).await;
    assert_eq!(by_call(seen).len(), 300, "each once");
}
