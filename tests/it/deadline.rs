//! A job that outlives its deadline is cancelled, cleaned up and tried again.

use std::time::Duration;

use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::link::{Link, Weather};
use crate::support::s3::Op;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World};

#[tokio::test]
async fn a_recording_that_drips_is_cut_off_at_the_deadline_and_tried_again() {
    let world = World::new().await;
    let id = "1777093663-1";
    // A part comes at once, and then never so little that the read timeout would notice.
    let drips = Reply::wav(60 << 20).pieces(512 << 10, Duration::from_millis(200));
    world.ccfs.script(id, [drips]);
    let keys = [
        ("worker", "job_deadline = \"8s\""),
        ("store", "part_size = \"5MiB\""),
        ("retry", "delays = [\"1h\"]"),
    ];
    let worker = world.worker(&keys).await;
    world.call(id).await;

    let again = world.take("retry.1h").await;
    assert_eq!(again.header("callvault-reason").as_deref(), Some("job.deadline"));
    assert_eq!(again.header("callvault-attempts").as_deref(), Some("1"), "it counts");
    assert_eq!(again.header("callvault-queue"), Some(world.queue("jobs")));
    world.store.s3().no_upload_left(&world.bucket).await;
    assert_eq!(world.store.seen_of(Op::AbortMultipart).len(), 1);
    assert_eq!(world.store.s3().keys(&world.bucket, "").await, [""; 0]);
    world.settled(&worker).await;
    let canceled = ["stage=\"download\"", "result=\"canceled\""];
    let canceled = worker.metric("callvault_stage_duration_seconds_count", &canceled).await;
    assert_eq!(canceled, 1.0);
    worker.stop().await;
}

#[tokio::test]
async fn the_deadline_is_laid_to_whoever_was_waited_for_and_teaches_its_breaker() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(4096));
    let link = Link::to(world.store.s3().address()).await;
    link.set(Weather::BlackHole);
    let keys = [
        ("worker", "job_deadline = \"2s\""),
        ("store", "read_timeout = \"60s\""),
        ("retry", "delays = [\"1h\"]\nbreaker_failures = 2\nbreaker_window = \"1ms\""),
    ];
    let s3 = format!("http://{}", link.address());
    let worker = Worker::start(&world.config_at(&world.amqp, &world.ccfs.url(), &s3, &keys));
    let worker = worker.ready().await;
    // One after the other: two that fail in the same millisecond are not over a window of one.
    for n in 0..2 {
        world.call(&format!("1777093663-{n}")).await;
        let asked = || async { (world.ccfs.requests().len() > n).then_some(()) };
        eventually("CC-FS is asked for it", SOON, asked).await;
    }
    worker.metric_reaches("callvault_breaker_open", &["target=\"store:"], 1.0).await;
    let again = world.take("retry.1h").await;
    assert_eq!(again.header("callvault-reason").as_deref(), Some("job.deadline"));
    let detail = again.header("callvault-detail").unwrap_or_default();
    assert!(detail.contains("the store"), "{detail}");
    worker.stop().await;
}
