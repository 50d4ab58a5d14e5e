//! Putting back: fresh attempts, nothing lost, nothing archived twice, whoever is killed.

use std::collections::BTreeSet;
use std::fs::{File, read_to_string};
use std::process::Stdio;
use std::time::Duration;

use insta::assert_snapshot;
use lapin::types::AMQPValue;

use super::{CONFIG, Dead, bury_many, done, plain, quiet};
use crate::ends::by_call;
use crate::support::broker::client::{table, text};
use crate::support::broker::node;
use crate::support::ccfs::Reply;
use crate::support::child::GuardedChild;
use crate::support::eventually;
use crate::support::world::{SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_back_to_where_it_came_from_as_if_never_tried() {
    let (world, desk) = quiet().await;
    let one = Dead::new("1777093663-1");
    one.bury(&world).await;
    Dead { queue: "bulk", ..Dead::new("1777093663-2") }.bury(&world).await;
    Dead { queue: "nowhere", reason: "store.conflict", ..Dead::new("1777093663-3") }
        .bury(&world)
        .await;

    let dry = done(&desk, "redrive --dry-run");
    assert_eq!((dry.stdout.lines().count(), world.depth("dead").await), (4, 3));
    let id =
        done(&desk, "list").stdout.lines().nth(1).unwrap().rsplit(' ').next().unwrap().to_owned();
    let ended = done(&desk, "redrive --reason ccfs.timeout");
    assert_snapshot!(plain(&world, &ended.stderr), @r"2 (1 to cv.bulk, 1 to cv.jobs) put back");
    assert_eq!(world.depth("dead").await, 1);

    let back = world.take("jobs").await;
    assert_eq!(back.json(), one.body());
    let headers = back.properties.headers().clone().unwrap();
    let names = headers.inner().keys().map(|name| name.as_str());
    let ours: Vec<_> = names.filter(|name| name.starts_with("callvault-")).collect();
    assert_eq!(ours, ["callvault-redrive"]);
    assert_eq!(
        (back.header("callvault-redrive"), back.header("trace")),
        (Some(id), Some("kept".into()))
    );
    assert_eq!(back.properties.message_id().as_ref().unwrap().as_str(), "id-1777093663-1");
    assert_eq!(back.properties.kind().as_ref().unwrap().as_str(), "call.completed");
    assert_eq!(*back.properties.timestamp(), Some(1_777_093_963));
    assert_eq!(*back.properties.delivery_mode(), Some(2));
    assert_eq!(world.take("bulk").await.json()["callId"], "1777093663-2");

    assert_eq!(done(&desk, "redrive id-1777093663-3").code, 0);
    assert_eq!(world.take("jobs").await.json()["callId"], "1777093663-3", "else jobs");
    let told = desk.told(&format!("dead redrive id-1777093663-3 {CONFIG}"), &[], 1);
    assert_snapshot!(plain(&world, &told), @r"
    0 put back
    callvault: not in cv.dead: id-1777093663-3; `callvault dead list` shows what is there
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_end_is_announced_under_another_id() {
    let (world, desk) = quiet().await;
    let worker = world.worker(&[]).await;
    let id = "1777093663-1";
    world.ccfs.script(id, [Reply::code("0300004"), Reply::code("0300004"), Reply::wav(640)]);
    world.call(id).await;
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        let event = world.event().await.json();
        assert_eq!(
            (&event["type"], &event["data"]["attempts"]),
            (&"recording.failed".into(), &1.into())
        );
        assert!(seen.insert(event["id"].to_string()), "an id of its own: {event}");
        world.rabbit.until_ready(&world.queue("dead"), 1).await;
        let listed = done(&desk, "list").stdout;
        assert!(seen.insert(listed), "the same message died another death");
        done(&desk, "redrive");
    }
    assert_eq!(world.event().await.json()["type"], "recording.archived");
    assert_eq!(world.depth("dead").await, 0);

    // As where a redrive was killed: the copy is archived, and its original is put back again.
    let downloads = world.ccfs.requests().len();
    Dead::new(id).bury(&world).await;
    done(&desk, "redrive");
    assert_eq!(world.event().await.json()["data"]["alreadyArchived"], true);
    assert_eq!(world.ccfs.requests().len(), downloads, "it asks the store first");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_gone_or_full_takes_nothing_from_the_dead() {
    let (world, desk) = quiet().await;
    bury_many(&world, 3).await;
    let jobs = world.queue("jobs");
    world.rabbit.delete(&jobs).await;
    let told = desk.told(&format!("dead redrive {CONFIG}"), &[], 1);
    assert_snapshot!(plain(&world, &told), @r"
    0 put back so far
    callvault: there is no queue cv.jobs to put messages back to: `callvault run` makes it
    ");
    world.rabbit.until_ready(&world.queue("dead"), 3).await;

    let full = table([
        ("x-queue-type", text("quorum")),
        ("x-overflow", text("reject-publish")),
        ("x-max-length", AMQPValue::LongInt(1)),
    ]);
    world.rabbit.declare(&jobs, full).await;
    done(&desk, "redrive");
    assert_eq!(world.depth("dead").await, 0);
    // The broker tries again by itself, for as long as it takes.
    eventually("every message is somewhere", SOON, async || {
        let queues = node().await.queues().await;
        let of = |name: &str| queues.iter().find(|(queue, _)| *queue == world.queue(name));
        let count = |name: &str| of(name).map_or(0, |(_, messages)| *messages);
        (count("jobs") + count("jobs.redrive") >= 3).then_some(())
    })
    .await;
}

/// All of so many calls are in jobs, once each, and a worker archives them.
async fn assert_all_back(world: &World, calls: usize) {
    world.rabbit.until_ready(&world.queue("jobs"), u32::try_from(calls).unwrap()).await;
    let worker = world.worker(&[]).await;
    let events = world.events(calls).await;
    world.settled(&worker).await;
    worker.stop().await;
    let subjects: BTreeSet<_> = events.iter().map(|event| event["subject"].to_string()).collect();
    assert!(events.iter().all(|event| event["type"] == "recording.archived"));
    assert_eq!(subjects.len(), calls, "each call once");
    assert_eq!(world.store.s3().keys(&world.bucket, "acme/").await.len(), calls);
    assert_eq!((world.depth("dead").await, world.rabbit.ready(&world.events).await), (0, 0));
    for passage in ["jobs.redrive", "bulk.redrive"] {
        let queue = world.queue(passage);
        assert!(!world.rabbit.exists(&queue).await || world.rabbit.ready(&queue).await == 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_after_a_death_ends_what_was_begun() {
    let (world, desk) = quiet().await;
    for (point, line) in [("before_ack:3", "redrive"), ("after_ack:2", "redrive --limit 1")] {
        bury_many(&world, 5).await;
        let crash = [("CALLVAULT_CRASH", point)];
        let mut command = desk.command(&format!("dead redrive {CONFIG}"), &crash);
        let output = command.output().expect("it starts");
        assert_eq!(output.status.code(), None, "it is killed: {output:?}");
        world.rabbit.until_ready(&world.queue("jobs.redrive"), 1).await;
        let told = done(&desk, "list").stderr;
        assert!(told.contains("1 besides: left on their way when a redrive was killed"), "{told}");

        let told = done(&desk, line).stderr;
        assert!(told.contains("let go what a redrive that was killed had left"), "{told}");
        done(&desk, "redrive");
        world.rabbit.until_ready(&world.queue("jobs"), 5).await;
        let seen = world.rabbit.take_many(&world.queue("jobs"), 5).await;
        assert_eq!(by_call(seen).len(), 5, "each once: {point}");
        assert_eq!(world.depth("dead").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_twenty_times_it_loses_and_doubles_nothing() {
    const CALLS: usize = 400;
    let (world, desk) = quiet().await;
    bury_many(&world, CALLS).await;
    let mut random = fastrand::Rng::with_seed(20_260_425);
    let mut kills = 0;
    while kills < 20 {
        let before = world.depth("jobs").await;
        let mut command = desk.command(&format!("dead redrive --rate 200 {CONFIG}"), &[]);
        let said = File::create(desk.folder().join("said")).unwrap();
        command.stdout(Stdio::null()).stderr(said);
        let mut redrive = GuardedChild::spawn(&mut command).expect("it starts");
        eventually("it is at work", SOON, async || {
            (world.depth("jobs").await > before).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_micros(random.u64(0..40_000))).await;
        let said = read_to_string(desk.folder().join("said")).unwrap();
        assert_eq!(redrive.exited(), None, "it is at work still: {said}");
        redrive.kill();
        kills += 1;
    }
    let everywhere = async || {
        let passage = world.depth("jobs.redrive").await;
        world.depth("dead").await + world.depth("jobs").await + passage
    };
    eventually("the broker has back what the last one held", SOON, async || {
        (everywhere().await as usize >= CALLS).then_some(())
    })
    .await;
    assert!(world.depth("dead").await > 0, "killed in the midst");
    done(&desk, "redrive --rate 10000");
    assert_all_back(&world, CALLS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_meanwhile_gets_a_turn() {
    let (world, desk) = quiet().await;
    bury_many(&world, 120).await;
    let mut command = desk.command(&format!("dead redrive --rate 15 {CONFIG}"), &[]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut redrive = GuardedChild::spawn(&mut command).expect("it starts");
    eventually("it is at work", SOON, async || (world.depth("jobs").await > 0).then_some(())).await;

    let list = done(&desk, "list");
    assert!(
        list.stderr.starts_with("another `callvault dead` is at it; waiting"),
        "{}",
        list.stderr
    );
    assert_eq!(redrive.exited(), None, "it got its turn before the other was done");
    let left = list.stdout.lines().count() as u32 - 1;
    assert!(
        left > 0 && left + world.depth("jobs").await >= 120,
        "it saw all that were left: {left}"
    );

    // Told to stop, it stops between two messages.
    redrive.signal("TERM");
    assert_eq!(redrive.wait(SOON).await.code(), Some(1));
    eventually("nothing is lost", SOON, async || {
        (world.depth("dead").await + world.depth("jobs").await == 120).then_some(())
    })
    .await;
}
