//! Whole or absent: a body that is cut, in any framing and at any place, never becomes an object,
//! and is archived when a later answer is whole (contract 1, promise 3).

use std::time::Duration;

use super::{Case, End, LOOK, assert_nothing_more, case, come_back, play};
use crate::support::ccfs::{Framing, Recording, Reply, Sizes};
use crate::support::worker::Worker;
use crate::support::world::World;

const FRAMINGS: [(&str, Framing); 3] =
    [("length", Framing::Length), ("chunks", Framing::Chunked), ("close", Framing::Close)];

/// Every framing, cut and reset at every kind of place; then whole.
fn cuts() -> Vec<Case> {
    let length = 40_000;
    let mut all = Vec::new();
    for (name, framing) in FRAMINGS {
        let wav = || Reply::wav(length).framing(framing).pieces(1000, Duration::ZERO);
        for at in [0, 1, 3, 57, 1000, length / 2, length - 1] {
            // Where the end of the connection ends the body, no byte at all is an empty one.
            let empty = framing == Framing::Close && at == 0;
            let reason = if empty { "ccfs.empty" } else { "ccfs.truncated" };
            let cut = case(&format!("cut {name} {at}"), wav().cut_at(at), End::Failed, reason);
            all.push(cut.then(wav()));
            let reset = wav().reset_at(at);
            let reset = case(&format!("rst {name} {at}"), reset, End::Failed, "ccfs.truncated");
            all.push(reset.then(wav()));
        }
        let zip = || Reply::zip([9000, 9000]).framing(framing);
        let cut = case(&format!("zip {name}"), zip().cut_at(17_000), End::Failed, "ccfs.truncated");
        all.push(cut.then(zip()));
        // Longer than a part, so that an upload was open when it broke.
        let cut = long(framing).cut_at(11 << 19);
        let cut = case(&format!("long {name}"), cut, End::Failed, "ccfs.truncated");
        all.push(cut.then(long(framing)));
    }
    all
}

/// A little more than a part.
fn long(framing: Framing) -> Reply {
    Reply::wav(6 << 20).framing(framing)
}

/// Bodies that end in order and yet are not what they say, or cannot be known to be whole.
fn lies() -> Vec<Case> {
    let sized = |sizes| Reply::recording(Recording::wav(9000).sizes(sizes));
    let raw = || Reply::recording(Recording::raw(9000));
    let case = |name: &str, reply: Reply, whole: Reply| {
        case(name, reply, End::Failed, "ccfs.truncated").then(whole)
    };
    let wav = || Reply::wav(9000);
    vec![
        case("last chunk missing", wav().framing(Framing::Chunked).cut_at(9000), wav()),
        case("less than declared", wav().declared_length(20_000), wav()),
        case("declared too short", wav().declared_length(5000), wav()),
        case("RIFF says more", sized(Sizes::More(1000)), wav()),
        case("RIFF more, chunks", sized(Sizes::More(2)).framing(Framing::Chunked), wav()),
        case("unsized, closing 1", sized(Sizes::Zero).framing(Framing::Close), sized(Sizes::Zero)),
        case("unsized, closing 2", sized(Sizes::Max).framing(Framing::Close), sized(Sizes::Max)),
        case("unknown, closing", raw().framing(Framing::Close), raw()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_whole_is_no_object_until_it_is() {
    let world = World::new().await;
    // Nothing falls silent here but a busy machine.
    let patient = ("acme", "[tenants.ccfs]\nread_timeout = \"60s\"");
    let worker = world.worker(&[LOOK, PART, patient]).await;
    let cases: Vec<_> = cuts().into_iter().chain(lies()).collect();

    broken_then_whole(&world, &worker, &cases).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_falls_silent_is_no_object_until_it_is_whole() {
    let world = World::new().await;
    let worker = world.worker(&[LOOK, PART]).await;
    let cases = FRAMINGS.map(|(name, framing)| {
        let stalled = long(framing).stall_at(11 << 19);
        case(name, stalled, End::Failed, "ccfs.timeout").then(long(framing))
    });

    broken_then_whole(&world, &worker, &cases).await;
    worker.stop().await;
}

const PART: (&str, &str) = ("store", "part_size = \"5MiB\"");

/// Plays `cases` once, which leaves nothing, and then again.
async fn broken_then_whole(world: &World, worker: &Worker, cases: &[Case]) {
    // It sees to it that nothing is in the bucket and no upload is open.
    let waiting = play(world, worker, cases).await;

    for seen in waiting.values() {
        come_back(world, seen).await;
    }
    for event in world.events(cases.len()).await {
        let told = format!("{event:#}");
        assert_eq!(event["type"], "recording.archived", "{told}");
        assert_eq!(event["data"]["attempts"], 2, "{told}");
        assert_eq!(event["data"]["alreadyArchived"], false, "{told}");
        let call = event["data"]["callId"].as_str().expect("its callId");
        let content = world.ccfs.expected(call);
        let object = &event["data"]["objects"][0];
        assert_eq!(object["sha256"], content.sha256(), "{told}");
        let key = object["key"].as_str().expect("its key");
        let stored = world.store.s3().object(&world.bucket, key).await.expect("it is stored");
        assert!(stored.body == content.to_vec(), "{key} is what CC-FS sent at last");
    }
    assert_eq!(world.store.s3().keys(&world.bucket, "").await.len(), cases.len());
    world.store.s3().no_upload_left(&world.bucket).await;
}

#[tokio::test]
async fn nothing_is_left_of_a_store_that_breaks_in_the_middle() {
    use crate::support::s3::{ALWAYS, Fault, Op};
    let world = World::new().await;
    // On a busy machine the five last longer than `breaker_window`.
    let patient = ("retry", "breaker_failures = 100");
    let worker = world.worker(&[LOOK, PART, patient]).await;
    let internal = Fault::Answer { status: 500, code: "InternalError" };
    for (name, op, fault, reason) in [
        ("create", Op::CreateMultipart, internal.clone(), "store.InternalError"),
        ("part", Op::UploadPart, internal.clone(), "store.InternalError"),
        ("part broken", Op::UploadPart, Fault::ResetAfterBytes(1 << 20), "store.unreachable"),
        ("complete", Op::CompleteMultipart, internal, "store.InternalError"),
        (
            "complete, 200",
            Op::CompleteMultipart,
            Fault::OkWithError { code: "InternalError" },
            "store.InternalError",
        ),
    ] {
        world.store.fault(op, ALWAYS, fault);
        play(&world, &worker, &[case(name, Reply::wav(6 << 20), End::Failed, reason)]).await;
        world.store.heal();
    }
    assert_nothing_more(&world, &worker).await;
    worker.stop().await;
}
