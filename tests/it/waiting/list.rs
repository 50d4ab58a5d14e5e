//! Listing, which leaves everything as it was, and in time.

use std::process::Stdio;

use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CONFIG, LONG, Waiting, done, park_many, quiet};
use crate::cli::{Desk, LEAST};
use crate::dead::{plain, quiet_with};
use crate::support::ccfs::Reply;
use crate::support::child::GuardedChild;
use crate::support::eventually;
use crate::support::world::{SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_list_says_until_when_whose_and_why_and_leaves_all_where_it_was() {
    let (world, desk) = quiet().await;
    let empty = done(&desk, "list");
    let lines = empty.stdout.lines().count();
    assert_eq!((lines, empty.stderr.as_str()), (1, "0 of 0 waiting messages\n"));

    let late = Waiting { since: "2026-04-25T06:30:00Z", ..Waiting::new("1777093663-2") };
    Waiting::new("1777093663-1").park(&world).await;
    late.park(&world).await;
    Waiting {
        tenant: "globex",
        delay: "5m",
        reason: "ccfs.0300012",
        ..Waiting::new("1777093663-3")
    }
    .park(&world)
    .await;
    world
        .rabbit
        .publish(&world.queue("retry.5m"), "x", b"no JSON \x1b[2J", Default::default())
        .await;
    let all = done(&desk, "list");
    assert_snapshot!(all.stdout, @r"
        UNTIL                 SINCE                 TENANT        CALL OR FILE               REASON                ATTEMPTS  ID            DETAIL
        2026-04-25T06:05:00Z  2026-04-25T05:13:00Z  globex        1777093663-3               ccfs.0300012                 2  7b61706c744f  PutObject in bucket recordings: status 403
        -                     -                     -             -                          -                            0  de4561df1b34  -
        2026-04-25T08:00:00Z  2026-04-25T05:13:00Z  acme          1777093663-1               store.AccessDenied           2  ea34529dedc8  PutObject in bucket recordings: status 403
        2026-04-25T08:30:00Z  2026-04-25T05:13:00Z  acme          1777093663-2               store.AccessDenied           2  0bb6aa7ab248  PutObject in bucket recordings: status 403
        ");
    assert_eq!(all.stderr, "4 of 4 waiting messages\n");
    assert!(!all.stdout.contains("86138"), "no field of the body but the call");
    assert_eq!(done(&desk, "list").stdout, all.stdout, "the same ids, the same order");

    let calls = |line: &str| -> Vec<String> {
        let listed = done(&desk, &format!("{line} --json")).stdout;
        let rows = listed.lines().map(|row| serde_json::from_str::<Value>(row).expect("JSON"));
        rows.map(|row| row["callId"].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(calls("list --tenant globex"), ["1777093663-3"]);
    assert_eq!(calls("list --reason store"), ["1777093663-1", "1777093663-2"]);
    assert_eq!(calls("list --reason store --limit 1"), ["1777093663-1"]);
    assert_eq!(calls("list --text BUCKET"), ["1777093663-3", "1777093663-1", "1777093663-2"]);
    assert_eq!(calls("list --text 663-2"), ["1777093663-2"]);
    let row = done(&desk, "list --json --text 663-2").stdout;
    let row: Value = serde_json::from_str(&plain(&world, &row)).expect("an object a line");
    let expected = json!({
        "id": row["id"], "messageId": "id-1777093663-2", "tenant": "acme",
        "callId": "1777093663-2", "fileName": null, "requestId": null,
        "reason": "store.AccessDenied", "detail": "PutObject in bucket recordings: status 403",
        "attempts": 2, "queue": "cv.jobs", "firstSeen": "2026-04-25T05:13:00Z",
        "retriedAt": "2026-04-25T06:30:00Z", "dueAt": "2026-04-25T08:30:00Z",
    });
    assert_eq!(row, expected);

    let left = world.rabbit.take_many(&world.queue("retry.2h"), 2).await;
    for (seen, of) in left.iter().zip([Waiting::new("1777093663-1"), late]) {
        assert_eq!(String::from_utf8_lossy(&seen.body), of.body(), "in their order");
        assert_eq!(
            (&seen.routing_key, seen.header("trace")),
            (&world.queue("jobs"), Some("kept".into()))
        );
    }
}

/// What the broker counts of looks must never move a message: it comes when its time is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_again_and_again_comes_back_when_its_time_is_over() {
    let (world, desk) = quiet_with(&[("retry", "delays = [\"4s\"]")]).await;
    for call in ["1777093663-1", "1777093663-2", "1777093663-3"] {
        Waiting { delay: "4s", ..Waiting::new(call) }.park(&world).await;
    }
    for _ in 0..4 {
        assert_eq!(done(&desk, "list").stderr, "3 of 3 waiting messages\n");
    }
    let back = world.rabbit.take_many(&world.queue("jobs"), 3).await;
    let calls: Vec<_> = back.iter().map(|seen| seen.json()["callId"].to_string()).collect();
    assert_eq!(calls, ["\"1777093663-1\"", "\"1777093663-2\"", "\"1777093663-3\""]);
    for seen in back {
        assert_eq!(seen.header("x-first-death-reason").as_deref(), Some("expired"));
        assert_eq!(seen.header("callvault-attempts").as_deref(), Some("2"));
    }
    assert_eq!(done(&desk, "list").stderr, "0 of 0 waiting messages\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_keeps_no_message() {
    let (world, desk) = quiet().await;
    // More than a pipe holds.
    park_many(&world, 600).await;
    let mut command = desk.command(&format!("waiting list {CONFIG}"), &[]);
    let mut pager = GuardedChild::spawn(command.stdout(Stdio::piped()).stderr(Stdio::null()))
        .expect("it starts");
    let queue = world.queue("retry.2h");
    eventually("it has looked", SOON, async || {
        (world.rabbit.ready(&queue).await < 600).then_some(())
    })
    .await;
    world.rabbit.until_ready(&queue, 600).await;
    assert_eq!(pager.exited(), None, "nobody has read what it found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_sends_to_wait_says_why_and_until_when() {
    let (world, desk) = quiet().await;
    world.ccfs.default_reply(Reply::status(500));
    let worker = world.worker(&[LONG]).await;
    world.call("1777093663-1").await;
    world.rabbit.until_ready(&world.queue("retry.5m"), 1).await;
    let row = done(&desk, "list --json").stdout;
    let row: Value = serde_json::from_str(&row).expect("an object a line");
    assert_eq!((&row["reason"], &row["attempts"]), (&"ccfs.http_500".into(), &1.into()));
    let at = |name: &str| row[name].as_str().unwrap_or_default().parse::<Timestamp>().expect(name);
    assert_eq!(at("dueAt").duration_since(at("retriedAt")).as_secs(), 300);
    assert!(at("retriedAt") >= at("firstSeen"));
    worker.stop().await;
}

#[test]
fn help_says_what_becomes_of_what_waits() {
    let desk = Desk::new(LEAST);
    assert_snapshot!(desk.printed("waiting list --help", &[]), @r"
    List what waits for a retry: until when, since when it is known, whose it is, why.

    The messages stay where they are, and come back when their time is over; a listing keeps none for
    longer than it takes to read its queue. SINCE is when a worker first saw the message; UNTIL counts
    from when it was last sent to wait. The queues are those of retry.delays.

    Usage: callvault waiting list [OPTIONS]

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

          --json
              An object a line, for scripts

          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      callvault waiting list --config callvault.toml
      callvault waiting list --tenant acme --reason store.AccessDenied
      callvault waiting list --json | jq -r .dueAt
    ");
    assert_snapshot!(desk.printed("waiting now --help", &[]), @r"
    Put what waits back at once, for when the cause is mended.

    As if its time were over: to the queue that it came from, with the attempts and the place on the
    ladder that it has. Only what waits when it begins; what fails again waits again. It can be stopped
    or killed and started again at any time: nothing is lost, and nothing doubled.

    Usage: callvault waiting now [OPTIONS] [ID]...

    Arguments:
      [ID]...
              Only these: IDs of `callvault waiting list`, or AMQP message_ids

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

          --rate <N>
              At most so many a second

              [default: 50]

          --dry-run
              List what would be put back, and leave it where it is

          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      callvault waiting now --reason store.AccessDenied --dry-run
      callvault waiting now --reason store.AccessDenied
      callvault waiting now --tenant acme --rate 10
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_work_is_said_with_what_to_do() {
    let told = Desk::new(LEAST).told(&format!("waiting list {CONFIG}"), &[], 1);
    assert_snapshot!(told, @"callvault: broker: connection refused by 127.0.0.1:1; check host and port of broker.url (5672, or 5671 with amqps://; 15672 is the management's), and that RabbitMQ runs there");
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[("retry", "delays = [\"5m\"]")]));
    let told = desk.told(&format!("waiting list {CONFIG}"), &[], 1);
    assert_snapshot!(plain(&world, &told), @"callvault: there is no queue cv.retry.5m: `callvault run` makes it; else check broker.queue_prefix and the virtual host of broker.url");
    // Of several one may be new in the configuration, and not yet made.
    world.worker(&[LONG]).await.stop().await;
    let desk = Desk::new(&world.config(&[("retry", "delays = [\"5m\", \"1h\", \"2h\"]")]));
    Waiting::new("1777093663-1").park(&world).await;
    assert_snapshot!(plain(&world, &done(&desk, "list").stderr), @r"
    there is no queue cv.retry.1h: `callvault run` makes it; else check broker.queue_prefix and the virtual host of broker.url
    1 of 1 waiting messages
    ");
    // One that is mistyped is told from one that is gone.
    let told = |line: &str| desk.told(&format!("waiting now --reason {line} {CONFIG}"), &[], 2);
    assert_snapshot!(told("stor.AccessDenied"), @r"
    error: invalid value 'stor.AccessDenied' for '--reason <CODE>': there is no such reason; did you mean store.AccessDenied?

    For more information, try '--help'.
    ");
    assert_snapshot!(told("mesage.invalid"), @r"
    error: invalid value 'mesage.invalid' for '--reason <CODE>': there is no such reason; did you mean message.invalid?

    For more information, try '--help'.
    ");
    assert!(told("nonsense").contains("there is no such reason; "));
    assert_snapshot!(plain(&world, &done(&desk, "list --tenant acne").stderr), @r"
    --tenant acne: is not in the configuration, which has acme, globex; did you mean acme?
    there is no queue cv.retry.1h: `callvault run` makes it; else check broker.queue_prefix and the virtual host of broker.url
    0 of 1 waiting messages
    ");
    for open in ["ccfs.0300099", "store.SomeCode", "ccfs.http_418"] {
        done(&desk, &format!("list --reason {open}"));
    }
}
