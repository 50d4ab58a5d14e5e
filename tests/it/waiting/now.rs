//! Putting back at once: as the retry would have, nothing lost and nothing doubled, whoever is killed.

use std::collections::BTreeSet;
use std::fs::{File, read_to_string};
use std::process::Stdio;
use std::time::Duration;

use insta::assert_snapshot;
use lapin::types::AMQPValue;

use super::{CONFIG, LONG, Waiting, done, park_many, quiet};
use crate::dead::{plain, quiet_with};
use crate::ends::by_call;
use crate::support::broker::client::{table, text};
use crate::support::ccfs::Reply;
use crate::support::child::GuardedChild;
use crate::support::eventually;
use crate::support::world::{SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_back_to_its_queue_as_it_is() {
    let (world, desk) = quiet().await;
    let one = Waiting::new("1777093663-1");
    one.park(&world).await;
    Waiting { queue: "bulk", delay: "5m", ..Waiting::new("1777093663-2") }.park(&world).await;
    Waiting { queue: "suspect", ..Waiting::new("1777093663-3") }.park(&world).await;
    Waiting { reason: "ccfs.0300012", ..Waiting::new("1777093663-4") }.park(&world).await;
    // As one that fails again while it is at work.
    Waiting { since: "2999-01-01T00:00:00Z", ..Waiting::new("1777093663-5") }.park(&world).await;

    let dry = done(&desk, "now --reason store --dry-run");
    assert_eq!((dry.stdout.lines().count(), world.depth("retry.2h").await), (4, 4));
    assert_eq!(dry.stderr, "3 of 5 waiting messages are meant\n");
    let ended = done(&desk, "now --reason store");
    assert_snapshot!(plain(&world, &ended.stderr), @"3 (1 to cv.bulk, 1 to cv.jobs, 1 to cv.suspect) put back");
    assert_eq!(world.depth("retry.2h").await, 2);

    let back = world.take("jobs").await;
    assert_eq!(String::from_utf8_lossy(&back.body), one.body());
    assert_eq!(back.header("x-first-death-reason").as_deref(), Some("rejected"));
    assert_eq!(back.sent_properties(), one.properties(&world), "attempts, step and all");
    assert_eq!(world.take("bulk").await.json()["callId"], "1777093663-2");
    let suspect = world.take("suspect").await;
    assert_eq!(suspect.json()["callId"], "1777093663-3");
    assert_eq!(suspect.header("callvault-crashes").as_deref(), Some("1"));

    assert_eq!(done(&desk, "now id-1777093663-4").code, 0);
    assert_eq!(world.take("jobs").await.json()["callId"], "1777093663-4");
    let told = desk.told(&format!("waiting now id-1777093663-4 {CONFIG}"), &[], 1);
    assert_snapshot!(plain(&world, &told), @r"
    0 put back
    callvault: not in the retry queues: id-1777093663-4; `callvault waiting list` shows what is there
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_cause_is_mended_nobody_waits_for_the_ladder() {
    let (world, desk) = quiet().await;
    let worker = world.worker(&[LONG]).await;
    let id = "1777093663-1";
    world.ccfs.script(id, [Reply::status(500), Reply::status(500), Reply::wav(640)]);
    world.call(id).await;
    for waits_in in ["retry.5m", "retry.2h"] {
        world.rabbit.until_ready(&world.queue(waits_in), 1).await;
        done(&desk, "now");
    }
    let event = world.event().await.json();
    assert_eq!(event["type"], "recording.archived");
    assert_eq!(event["data"]["attempts"], 3, "each try counted");
    assert_eq!(world.depth("dead").await, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_that_waits_is_no_less_a_suspect_when_it_is_put_back() {
    let (world, desk) = quiet().await;
    // Twice it was around when a worker died; a third time would be the last.
    let suspect =
        Waiting { queue: "suspect", reason: "job.crashed", ..Waiting::new("1777093663-1") };
    suspect.park(&world).await;
    done(&desk, "now");
    let worker = world.worker(&[LONG]).await;
    let event = world.event().await.json();
    assert_eq!(event["type"], "recording.archived", "being put back is no crash");
    world.settled(&worker).await;
    // Without its mark, and with it.
    worker.metric_reaches("callvault_messages_settled_total", &["how=\"acked\""], 2.0).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_gone_or_another_keeps_what_waits() {
    let (world, desk) = quiet().await;
    park_many(&world, 3).await;
    world.rabbit.delete(&world.queue("jobs")).await;
    let told = desk.told(&format!("waiting now {CONFIG}"), &[], 1);
    assert_snapshot!(plain(&world, &told), @r"
    0 put back so far
    callvault: there is no queue cv.jobs to put messages back to: `callvault run` makes it
    ");
    world.rabbit.until_ready(&world.queue("retry.2h"), 3).await;

    // One that would drop what it rejects.
    let (world, desk) = quiet().await;
    let queue = world.queue("retry.2h");
    world.rabbit.delete(&queue).await;
    world
        .rabbit
        .declare(
            &queue,
            table([("x-queue-type", text("quorum")), ("x-delivery-limit", AMQPValue::LongInt(9))]),
        )
        .await;
    world.rabbit.bind(&queue, &queue, "").await;
    park_many(&world, 3).await;
    let told = desk.told(&format!("waiting now {CONFIG}"), &[], 1);
    insta::with_settings!({ filters => vec![(r"inequivalent arg .*? current is '.*?'", "[difference]")] }, {
        assert_snapshot!(plain(&world, &told), @r"
        0 put back so far
        callvault: queue cv.retry.2h: queue.declare: PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-exchange' for queue 'cv.retry.2h' in vhost '/': received the value '' of type 'longstr' but current is none; nothing is put back from there: only a queue with callvault's own arguments is sure to move what is let go, and seeing that they are takes the permission to configure it
        ");
    });
    world.rabbit.until_ready(&queue, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_two_steps_it_loses_and_doubles_nothing() {
    let (world, desk) = quiet().await;
    for point in ["before_ack:3", "after_ack:3"] {
        park_many(&world, 5).await;
        let mut command =
            desk.command(&format!("waiting now {CONFIG}"), &[("CALLVAULT_CRASH", point)]);
        let output = command.output().expect("it starts");
        assert_eq!(output.status.code(), None, "it is killed: {output:?}");
        done(&desk, "now");
        world.rabbit.until_ready(&world.queue("jobs"), 5).await;
        let seen = world.rabbit.take_many(&world.queue("jobs"), 5).await;
        assert_eq!(by_call(seen).len(), 5, "each once: {point}");
        assert_eq!(world.depth("retry.2h").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_five_times_it_loses_and_doubles_nothing() {
    const CALLS: usize = 200;
    let (world, desk) = quiet().await;
    park_many(&world, CALLS).await;
    let mut random = fastrand::Rng::with_seed(20_260_425);
    for _ in 0..5 {
        let before = world.depth("jobs").await;
        let mut command = desk.command(&format!("waiting now --rate 200 {CONFIG}"), &[]);
        let said = File::create(desk.folder().join("said")).unwrap();
        command.stdout(Stdio::null()).stderr(said);
        let mut now = GuardedChild::spawn(&mut command).expect("it starts");
        let at_work = async || (world.depth("jobs").await > before).then_some(());
        eventually("it is at work", SOON, at_work).await;
        tokio::time::sleep(Duration::from_micros(random.u64(0..40_000))).await;
        let said = read_to_string(desk.folder().join("said")).unwrap();
        assert_eq!(now.exited(), None, "it is at work still: {said}");
        now.kill();
    }
    assert!(world.depth("retry.2h").await > 0, "killed in the midst");
    eventually("the broker has back what the last one held", SOON, async || {
        let all = world.depth("retry.2h").await + world.depth("jobs").await;
        (all as usize == CALLS).then_some(())
    })
    .await;
    done(&desk, "now --rate 10000");
    world.rabbit.until_ready(&world.queue("jobs"), u32::try_from(CALLS).unwrap()).await;
    let seen = world.rabbit.take_many(&world.queue("jobs"), CALLS).await;
    let calls: BTreeSet<_> = seen.iter().map(|seen| seen.json()["callId"].to_string()).collect();
    assert_eq!(calls.len(), CALLS, "each once");
    assert_eq!(everything_else(&world).await, 0);
}

async fn everything_else(world: &World) -> u32 {
    world.depth("retry.2h").await + world.depth("retry.5m").await + world.depth("dead").await
}

/// Two at once take turns, and who was told to stop stops between two messages.
#[tokio::test(flavor = "multi_thread")]
async fn who_looks_meanwhile_gets_a_turn() {
    let (world, desk) = quiet_with(&[("retry", "delays = [\"2h\"]")]).await;
    park_many(&world, 120).await;
    let mut command = desk.command(&format!("waiting now --rate 15 {CONFIG}"), &[]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut now = GuardedChild::spawn(&mut command).expect("it starts");
    eventually("it is at work", SOON, async || (world.depth("jobs").await > 0).then_some(())).await;
    let list = done(&desk, "list");
    let waited = list.stderr.starts_with("another `callvault waiting` is at it; waiting");
    assert!(waited, "{}", list.stderr);
    assert_eq!(now.exited(), None, "it got its turn before the other was done");
    now.signal("TERM");
    assert_eq!(now.wait(SOON).await.code(), Some(1));
    eventually("nothing is lost", SOON, async || {
        (world.depth("retry.2h").await + world.depth("jobs").await == 120).then_some(())
    })
    .await;
}
