//! What does not fit one part goes through a temporary file without a name, and memory stays in
//! its budget.

use std::fs;
use std::path::Path;

use super::{UNPACK, deflated};
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::s3::Op;
use crate::support::worker::{Options, Worker, binary};
use crate::support::world::{SOON, World};

const PART: (&str, &str) = ("store", "part_size = \"5MiB\"");

/// A worker with a folder of its own for temporary files.
async fn worker_in(folder: &Path, world: &World, keys: &[(&str, &str)]) -> Worker {
    let environment = [("TMPDIR", folder.to_str().expect("a path in UTF-8"))];
    let config = world.config(keys);
    let options = Options { config: &config, environment: &environment, binary: &binary() };
    Worker::start_with(&options).ready().await
}

/// Whether the process has a file of that folder open.
fn has_open(worker: &Worker, folder: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{}/fd", worker.pid())).expect("it runs");
    open.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|file| file.starts_with(folder)))
}

fn assert_empty(folder: &Path) {
    assert_eq!(fs::read_dir(folder).expect("a folder").count(), 0, "a file is left behind");
}

#[tokio::test]
async fn what_does_not_fit_a_part_goes_through_a_file_that_nobody_sees() {
    let world = World::new().await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path();
    let keys = [UNPACK, PART, ("ccfs", "read_timeout = \"60s\"")];
    let (long, wide) = ("1777093663-1", "1777093663-2");

    // Killed in the middle of it.
    world.ccfs.script(
        long,
        [Reply::zip([6 << 20, 9000]).stall_at(11 << 19), Reply::zip([6 << 20, 9000])],
    );
    let mut first = worker_in(folder, &world, &keys).await;
    world.call(long).await;
    let taken = || async { has_open(&first, folder).then_some(()) };
    eventually("the archive is in a file", SOON, taken).await;
    assert_empty(folder);
    first.kill();
    assert_empty(folder);
    assert_eq!(world.store.s3().keys(&world.bucket, "").await, [""; 0]);

    let second = worker_in(folder, &world, &keys).await;
    let event = world.event().await.json();
    world.assert_unpacked(long, &event).await;
    assert_eq!(world.store.seen_of(Op::CompleteMultipart).len(), 1, "6 MiB are two parts");
    // An archive that fits a part, one of whose entries does not.
    let silence = vec![0; 12 << 20];
    world.ccfs.script(wide, [deflated(&[("a", b"a"), ("long", &silence), ("z", b"z")])]);
    world.call(wide).await;
    let event = world.event().await.json();
    world.assert_unpacked(wide, &event).await;
    assert_eq!(world.store.seen_of(Op::CompleteMultipart).len(), 2);
    for id in [long, wide] {
        let repeat = world.asked_again(id).await;
        assert_eq!(repeat["data"]["alreadyArchived"], true);
        world.assert_unpacked(id, &repeat).await;
    }
    world.settled(&second).await;
    assert!(!has_open(&second, folder));
    second.stop().await;
    assert_empty(folder);
    world.store.s3().no_upload_left(&world.bucket).await;
}

#[tokio::test]
async fn where_no_file_can_be_made_messages_wait() {
    let world = World::new().await;
    let parent = tempfile::tempdir().expect("a folder can be made");
    let folder = parent.path().join("later");
    let worker = worker_in(&folder, &world, &[UNPACK, PART]).await;
    let (small, long) = ("1777093663-1", "1777093663-2");
    world.ccfs.script(small, [Reply::zip([9000, 9000])]);
    world.ccfs.script(long, [Reply::zip([6 << 20])]);

    world.call(long).await;
    let reason = ["reason=\"job.no_disk\""];
    // More often than a message may fail.
    worker.metric_reaches("callvault_retries_total", &reason, 4.0).await;
    world.call(small).await;
    let event = world.event().await.json();
    world.assert_unpacked(small, &event).await;
    fs::create_dir(&folder).expect("a folder can be made");
    let event = world.event().await.json();
    world.assert_unpacked(long, &event).await;
    assert_eq!(event["data"]["attempts"], 1, "none counted");
    let log = worker.stop().await;
    assert!(log.contains("later"), "the log names the folder: {log}");
    assert_empty(&folder);
}

#[tokio::test]
async fn many_at_once_share_the_smallest_budget() {
    let world = World::new().await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let keys = [UNPACK, PART, ("worker", "memory = \"5MiB\"\nconcurrency = 16")];
    let silence = vec![0; 7 << 20];
    let kinds = [
        Reply::zip([1 << 20; 4]),
        Reply::zip([9000, 2 << 20]),
        Reply::zip([6 << 20, 9000]),
        deflated(&[("a", b"a"), ("long", &silence)]),
        Reply::wav(1 << 20),
    ];
    let ids: Vec<String> = (0..10).map(|n| format!("1777093663-{n}")).collect();
    let worker = worker_in(folder.path(), &world, &keys).await;
    for (id, kind) in ids.iter().zip(kinds.iter().cycle()) {
        world.ccfs.script(id, [kind.clone()]);
        world.call(id).await;
    }
    let archived = || async {
        let taken = worker.metric("callvault_buffer_bytes", &[]).await;
        assert!(taken <= f64::from(5 << 20), "{taken} bytes");
        assert_empty(folder.path());
        (world.rabbit.ready(&world.events).await >= 10).then_some(())
    };
    eventually("all are archived", SOON, archived).await;
    for event in world.events(ids.len()).await {
        assert_eq!(event["type"], "recording.archived", "{event:#}");
    }
    world.settled(&worker).await;
    assert_eq!(worker.metric("callvault_buffer_bytes", &[]).await, 0.0);
    worker.stop().await;
}
