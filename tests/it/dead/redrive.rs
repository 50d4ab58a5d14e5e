//! Putting back: fresh attempts, nothing lost, nothing archived twice, whoever is killed.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use insta::assert_snapshot;
use lapin::types::AMQPValue;

use super::{CONFIG, Dead, bury_many, done, plain, quiet};
use crate::support::broker::client::{table, text};
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
    let names: Vec<_> = headers.inner().keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["callvault-redrive", "trace", "x-delivery-count"], "ours: redrive alone");
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
    for _ in 0..20 {
        // A quorum queue takes a few more than it may.
        let ended = desk.run(&format!("dead redrive {CONFIG}"));
        assert_eq!(ended.code, i32::from(!ended.stderr.contains("3 (")), "{}", ended.stderr);
        if ended.code == 1 {
            assert!(
                ended.stderr.contains("takes no more: look for a length limit"),
                "{}",
                ended.stderr
            );
        }
        eventually("every message is somewhere", SOON, async || {
            (world.depth("dead").await + world.depth("jobs").await >= 3).then_some(())
        })
        .await;
        if ended.code == 1 {
            return;
        }
        bury_many(&world, 3).await;
    }
    panic!("the queue is never full");
}

/// Lets a worker archive what is in jobs; how many events there were.
async fn archive_all(world: &World, calls: usize) -> usize {
    let copies = world.depth("jobs").await as usize;
    let worker = world.worker(&[]).await;
    let events = world.events(copies).await;
    world.settled(&worker).await;
    worker.stop().await;
    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].to_string()).collect();
    assert!(events.iter().all(|event| event["type"] == "recording.archived"));
    assert_eq!(ids.len(), calls, "an event id for each call, and for no copy");
    assert_eq!(world.store.s3().keys(&world.bucket, "acme/").await.len(), calls);
    // Two that are at work side by side may both find nothing stored yet.
    assert!((calls..=copies).contains(&world.ccfs.requests().len()), "no download of a third kind");
    let again = events.iter().filter(|event| event["data"]["alreadyArchived"] == true).count();
    assert_eq!(again, copies - calls, "every copy is told to be one");
    assert_eq!((world.depth("dead").await, world.rabbit.ready(&world.events).await), (0, 0));
    copies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_between_confirm_and_ack_doubles_a_message_that_is_archived_once() {
    let (world, desk) = quiet().await;
    bury_many(&world, 5).await;
    let crash = [("CALLVAULT_CRASH", "before_ack:3")];
    let mut command = desk.command(&format!("dead redrive {CONFIG}"), &crash);
    let output = command.output().expect("it starts");
    assert_eq!(output.status.code(), None, "it is killed: {output:?}");
    world.rabbit.until_ready(&world.queue("jobs"), 3).await;
    world.rabbit.until_ready(&world.queue("dead"), 3).await;

    done(&desk, "redrive");
    let copies = world.rabbit.take_many(&world.queue("jobs"), 6).await;
    let told = |name: &str| {
        let of = copies.iter().map(|copy| (copy.json()["callId"].to_string(), copy.header(name)));
        of.collect::<BTreeSet<_>>()
    };
    assert_eq!(told("callvault-redrive").len(), 5, "the copy can be told");
    for copy in copies {
        world.rabbit.publish("", &world.queue("jobs"), &copy.body, copy.properties).await;
    }
    assert_eq!(archive_all(&world, 5).await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_twenty_times_it_loses_nothing_and_nothing_is_archived_twice() {
    const CALLS: usize = 400;
    let (world, desk) = quiet().await;
    bury_many(&world, CALLS).await;
    let mut random = fastrand::Rng::with_seed(20_260_425);
    let mut kills = 0;
    while kills < 20 {
        let before = world.depth("jobs").await;
        let mut command = desk.command(&format!("dead redrive --rate 200 {CONFIG}"), &[]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut redrive = GuardedChild::spawn(&mut command).expect("it starts");
        eventually("it is at work", SOON, async || {
            (world.depth("jobs").await > before).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_micros(random.u64(0..40_000))).await;
        assert_eq!(redrive.exited(), None, "killed {kills} times, and done too early");
        redrive.kill();
        kills += 1;
    }
    eventually("the dead are back", SOON, async || {
        let both = world.depth("dead").await + world.depth("jobs").await;
        (both as usize >= CALLS).then_some(())
    })
    .await;
    assert!(world.depth("dead").await > 0, "killed in the midst");
    done(&desk, "redrive --rate 10000");

    let copies = archive_all(&world, CALLS).await;
    println!("{} copies of {CALLS}", copies - CALLS);
    assert!(copies <= CALLS + 20, "at most one copy a kill: {copies}");
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
