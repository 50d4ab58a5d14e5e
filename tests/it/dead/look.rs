//! Listing and showing, which leave everything as it was; dropping, which does not.

use std::process::{Command, Stdio};

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{CONFIG, Dead, bury_many, done, plain, quiet};
use crate::cli::{Desk, LEAST};
use crate::ends::call_of;
use crate::support::world::World;

/// Five of all kinds.
async fn five(world: &World) {
    let of = |call: &str, tenant, reason| Dead { tenant, reason, ..Dead::new(call) };
    of("1777093663-1", "acme", "ccfs.timeout").bury(world).await;
    of("1777093663-2", "acme", "store.conflict").bury(world).await;
    of("1777093663-3", "globex", "store.AccessDenied").bury(world).await;
    let late = Dead { died: "2026-05-01T00:00:00Z".into(), ..Dead::new("1777093663-4") };
    late.bury(world).await;
    world.rabbit.send(&world.queue("dead"), b"no JSON \x1b[2J \xff").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_says_when_whose_and_why_and_leaves_all_where_it_was() {
    let (world, desk) = quiet().await;
    let empty = done(&desk, "list");
    assert_eq!(
        (empty.stdout.lines().count(), empty.stderr.as_str()),
        (1, "0 of 0 dead messages\n")
    );

    five(&world).await;
    let all = done(&desk, "list");
    assert_snapshot!(all.stdout, @r"
    WHEN                  TENANT        CALL OR FILE               REASON                ATTEMPTS  ID
    2026-04-25T06:00:00Z  acme          1777093663-1               ccfs.timeout                12  ea34529dedc8
    2026-04-25T06:00:00Z  acme          1777093663-2               store.conflict              12  363a78165a25
    2026-04-25T06:00:00Z  globex        1777093663-3               store.AccessDenied          12  7b61706c744f
    2026-05-01T00:00:00Z  acme          1777093663-4               ccfs.timeout                12  3b58e5b8bf04
    -                     -             -                          -                            0  ee2533bd0811
    ");
    assert_eq!(all.stderr, "5 of 5 dead messages\n");
    assert!(!all.stdout.contains("86138"), "no field of the body but the call");
    assert_eq!(done(&desk, "list").stdout, all.stdout, "the same ids, the same order");

    let calls = |line: &str| -> Vec<String> {
        let listed = done(&desk, line).stdout;
        let rows = listed.lines().skip(1).filter_map(|row| row.split_whitespace().nth(2));
        rows.map(|call| call.rsplit('-').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(calls("list --tenant globex"), ["3"]);
    assert_eq!(calls("list --reason ccfs.timeout"), ["1", "4"]);
    assert_eq!(calls("list --reason store"), ["2", "3"]);
    assert_eq!(calls("list --reason store.AccessDenie"), [""; 0]);
    assert_eq!(calls("list --text 93663-3"), ["3"]);
    assert_eq!(calls("list --text ACCESSdenied"), ["3"]);
    assert_eq!(calls("list --text id-1777093663-2"), ["2"]);
    assert_eq!(calls("list --text globex --reason ccfs"), [""; 0]);
    assert_eq!(calls("list --text 86138"), [""; 0], "not in what the sender says of the call");
    assert_eq!(calls("list --tenant acme --reason store --limit 1"), ["2"]);
    assert_eq!(calls("list --older-than 3650d --reason store"), [""; 0]);

    let rows = done(&desk, "list --json --tenant globex").stdout;
    let row: Value = serde_json::from_str(&rows).expect("an object a line");
    assert_eq!(row["callId"], "1777093663-3");
    assert_eq!(row["deadAt"], "2026-04-25T06:00:00.25Z");
    assert_eq!((&row["attempts"], &row["messageId"]), (&12.into(), &"id-1777093663-3".into()));
    assert_eq!(row["queue"], world.queue("jobs"));

    let left = world.rabbit.take_many(&world.queue("dead"), 5).await;
    let order: Vec<_> = left.iter().take(4).map(call_of).collect();
    assert_eq!(order, [1, 2, 3, 4].map(|n| format!("1777093663-{n}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_call_id_is_listed_by_its_file() {
    let (world, desk) = quiet().await;
    for name in [r"X:\17\0\20260425\15470\2043295.V3", "X:/4/0/1629533.V3/"] {
        let body = json!({ "type": "recording.dump-item", "tenant": "acme", "requestId": "year",
                           "fileName": name });
        world.rabbit.send(&world.queue("dead"), body.to_string()).await;
    }
    let all = done(&desk, "list").stdout;
    let listed = |at: usize| all.lines().nth(at).unwrap().split_whitespace().nth(2).unwrap();
    assert_eq!((listed(1), listed(2)), ("2043295.V3", "1629533.V3"), "{all}");
    let rows = done(&desk, "list --json").stdout;
    let row: Value = serde_json::from_str(rows.lines().next().unwrap()).expect("an object a line");
    assert_eq!(row["fileName"], r"X:\17\0\20260425\15470\2043295.V3");
    assert_eq!(row["callId"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_shown_with_all_that_it_carries() {
    let (world, desk) = quiet().await;
    five(&world).await;
    let listed = done(&desk, "list").stdout;
    let ids: Vec<_> = listed.lines().skip(1).filter_map(|row| row.split(' ').next_back()).collect();
    let shown = done(&desk, &format!("show {}", ids[0])).stdout;
    assert_snapshot!(plain(&world, &shown), @r#"
    message_id: id-1777093663-1
    type: call.completed
    content_type: application/json
    timestamp: 2026-04-25T05:12:43Z
    delivery_mode: 2
    callvault-attempts: 12
    callvault-crashes: 0
    callvault-dead-at: 2026-04-25T06:00:00.25Z
    callvault-detail: no answer within 30s
    callvault-first-seen: 2026-04-25T05:13:00Z
    callvault-queue: cv.jobs
    callvault-reason: ccfs.timeout
    callvault-step: 14
    trace: kept

    {"callEnd":"2026-04-25T05:12:44Z","callId":"1777093663-1","metadata":{"caller":"8613800138000"},"tenant":"acme","type":"call.completed"}
    "#);
    assert_eq!(done(&desk, "show id-1777093663-1").stdout, shown, "by message_id too");

    let strange = done(&desk, &format!("show {}", ids[4])).stdout;
    assert!(!strange.contains('\u{1b}') && strange.contains("no JSON"), "{strange:?}");
    let json = done(&desk, &format!("show {} --json", ids[1])).stdout;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["headers"]["trace"], "kept");
    assert_eq!(json["properties"]["timestamp"], "2026-04-25T05:12:43Z");
    let body: Value =
        serde_json::from_str(json["body"].as_str().expect("text")).expect("as it was");
    assert_eq!(body["callId"], "1777093663-2");

    let told = desk.told(&format!("dead show nothing {CONFIG}"), &[], 1);
    assert_snapshot!(plain(&world, &told), @r"callvault: not in cv.dead: nothing; `callvault dead list` shows what is there");
    assert_eq!(world.depth("dead").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_listed_by_several_at_once_in_its_order() {
    let (world, desk) = quiet().await;
    bury_many(&world, 150).await;
    let line = format!("dead list --json {CONFIG}");
    let start = || desk.command(&line, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let children = [start(), start(), start()].map(|child| child.expect("it starts"));
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        let listed = String::from_utf8(output.stdout).expect("UTF-8");
        let calls: Vec<_> = listed
            .lines()
            .map(|row| serde_json::from_str::<Value>(row).expect("JSON")["callId"].to_string())
            .collect();
        let expected: Vec<_> = (0..150).map(|n| format!("\"1777093663-{n}\"")).collect();
        assert_eq!(calls, expected);
        assert!(output.status.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drop_asks_and_drops_what_is_meant_alone() {
    let (world, desk) = quiet().await;
    five(&world).await;
    let told = desk.told(&format!("dead drop {CONFIG}"), &[], 2);
    assert_snapshot!(told, @r"callvault: drop is for good and there is no terminal to ask on; say --yes, or look first with --dry-run");
    let dry = done(&desk, "drop --reason store --dry-run");
    assert_eq!((dry.stdout.lines().count(), world.depth("dead").await), (3, 5), "{}", dry.stdout);
    assert_eq!(dry.stderr, "2 of 5 dead messages are meant\n");

    // A terminal, as `script` makes one; it is part of every Debian.
    let answered = |answer: &str| {
        let line = format!("dead drop --reason store {CONFIG}");
        let command = desk.command(&line, &[]);
        let program = command.get_program().to_string_lossy().into_owned();
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{program} {line}"), "/dev/null"]);
        script.current_dir(command.get_current_dir().expect("the desk's")).stdin(Stdio::piped());
        let mut child = script.stdout(Stdio::piped()).spawn().expect("script is there");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut stdin, answer.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        drop(stdin);
        let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        (output.status.code(), text)
    };
    let (code, text) = answered("n\n");
    let question = "Drop 2 (1 store.AccessDenied, 1 store.conflict) for good? [y/N] ";
    assert!(text.contains(question) && text.contains("callvault: nothing is dropped"), "{text}");
    assert_eq!((code, world.depth("dead").await), (Some(1), 5));
    let (code, text) = answered("y\n");
    assert!(text.contains("2 (1 store.AccessDenied, 1 store.conflict) dropped"), "{text}");
    assert_eq!((code, world.depth("dead").await), (Some(0), 3));

    let ended = done(&desk, "drop id-1777093663-1 --yes");
    assert_eq!(ended.stderr, "1 (1 ccfs.timeout) dropped\n");
    assert_eq!(
        done(&desk, "drop --yes").stderr,
        "2 (1 ccfs.timeout, 1 without a reason) dropped\n"
    );
    assert_eq!(world.depth("dead").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_work_is_said_with_what_to_do() {
    let told = Desk::new(LEAST).told(&format!("dead list {CONFIG}"), &[], 1);
    assert_snapshot!(told, @"callvault: broker: connection refused by 127.0.0.1:1; check host and port of broker.url (5672, or 5671 with amqps://; 15672 is the management's), and that RabbitMQ runs there");
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[]));
    let told = desk.told(&format!("dead list {CONFIG}"), &[], 1);
    assert_snapshot!(plain(&world, &told), @r"callvault: there is no queue cv.dead: `callvault run` makes it; else check broker.queue_prefix and the virtual host of broker.url");
    let told = desk.told(&format!("dead drop --reason mesage.invalid --yes {CONFIG}"), &[], 2);
    assert_snapshot!(told, @r"
    error: invalid value 'mesage.invalid' for '--reason <CODE>': there is no such reason; did you mean message.invalid?

    For more information, try '--help'.
    ");
    let told = desk.told(&format!("dead redrive --tenant a/b {CONFIG}"), &[], 2);
    assert_snapshot!(told, @r"
    error: invalid value 'a/b' for '--tenant <ID>': must match [A-Za-z0-9][A-Za-z0-9_-]{0,63}

    For more information, try '--help'.
    ");
    // One that was removed may have dead messages still.
    world.worker(&[]).await.stop().await;
    Dead { tenant: "gone", ..Dead::new("1777093663-1") }.bury(&world).await;
    let ended = done(&desk, "list --tenant gone");
    assert_eq!(ended.stdout.lines().count(), 2);
    let what = "--tenant gone: is not in the configuration, which has acme, globex";
    assert!(ended.stderr.starts_with(what), "{}", ended.stderr);
    assert_snapshot!(done(&desk, "drop --tenant globx --yes").stderr, @r"
    --tenant globx: is not in the configuration, which has acme, globex; did you mean globex?
    0 dropped
    ");
    let told = desk.told(&format!("dead list --older-than soon {CONFIG}"), &[], 2);
    assert_snapshot!(told, @r"
    error: invalid value 'soon' for '--older-than <AGE>': write it as 30s, 90m, 12h or 7d

    For more information, try '--help'.
    ");
}
