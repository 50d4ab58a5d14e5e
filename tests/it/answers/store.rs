//! Every class of what the store answers.

use std::collections::BTreeMap;

use super::{End, LOOK, case, come_back, play, series};
use crate::ends::{assert_dead, assert_unarchived};
use crate::support::ccfs::Reply;
use crate::support::s3::{ALWAYS, Fault, Op};
use crate::support::world::{World, call};

#[tokio::test]
async fn every_error_of_the_store_has_its_class() {
    use End::{Dead, Failed, Parked, Waiting};
    let world = World::new().await;
    let timeouts = "connect_timeout = \"1s\"\nread_timeout = \"1s\"";
    let worker = world.worker(&[LOOK, ("store", timeouts)]).await;
    let answer = |status, code| Fault::Answer { status, code };
    let cases = [
        (answer(403, "AccessDenied"), Waiting, "store.AccessDenied"),
        (answer(403, "InvalidAccessKeyId"), Waiting, "store.InvalidAccessKeyId"),
        (answer(403, "SignatureDoesNotMatch"), Waiting, "store.SignatureDoesNotMatch"),
        (answer(404, "NoSuchBucket"), Waiting, "store.NoSuchBucket"),
        (answer(400, "ExpiredToken"), Waiting, "store.ExpiredToken"),
        (answer(403, "RequestTimeTooSkewed"), Waiting, "store.RequestTimeTooSkewed"),
        (answer(503, "SlowDown"), Parked, "store.SlowDown"),
        (answer(503, "ServiceUnavailable"), Failed, "store.ServiceUnavailable"),
        (answer(429, "TooManyRequests"), Parked, "store.TooManyRequests"),
        (answer(409, "ConditionalRequestConflict"), Parked, "store.ConditionalRequestConflict"),
        (answer(409, ""), Parked, "store.http_409"),
        (answer(500, "InternalError"), Failed, "store.InternalError"),
        (answer(502, ""), Failed, "store.http_502"),
        (answer(400, "InvalidStorageClass"), Waiting, "store.InvalidStorageClass"),
        (answer(400, "KMS.NotFoundException"), Waiting, "store.KMS.NotFoundException"),
        (answer(503, "QuotaExceeded"), Waiting, "store.QuotaExceeded"),
        (answer(301, "PermanentRedirect"), Waiting, "store.PermanentRedirect"),
        (answer(400, "MadeUpByTheStore"), Failed, "store.MadeUpByTheStore"),
        (Fault::ResetBefore, Failed, "store.unreachable"),
        (Fault::ResetAfterBytes(1000), Failed, "store.unreachable"),
        (Fault::Stall, Failed, "store.timeout"),
        (answer(400, "KeyTooLongError"), Dead, "store.KeyTooLongError"),
        (answer(400, "EntityTooLarge"), Dead, "store.EntityTooLarge"),
    ];
    let mut waiting = Vec::new();
    for (number, (fault, end, reason)) in cases.iter().enumerate() {
        world.store.fault(Op::Put, ALWAYS, fault.clone());
        let case = case(&format!("store {number}"), Reply::wav(4000), *end, reason);
        waiting.extend(play(&world, &worker, &[case]).await.into_values());
        world.store.heal();
    }

    let text = worker.get("/metrics").await.1;
    let mut counted = series(&text, "callvault_retries_total", "reason");
    counted.extend(series(&text, "callvault_dead_total", "reason"));
    let mut expected = BTreeMap::new();
    for (_, _, reason) in &cases {
        let known = *reason != "store.MadeUpByTheStore";
        let label = if known { reason } else { "store.other" };
        *expected.entry(label.to_owned()).or_default() += 1.0;
    }
    assert_eq!(counted, expected);
    // With the store well again, each that waited is archived.
    let waiting: Vec<_> =
        waiting.iter().filter(|seen| seen.header("callvault-dead-at").is_none()).collect();
    for seen in &waiting {
        come_back(&world, seen).await;
    }
    for event in world.events(waiting.len()).await {
        assert_eq!(event["type"], "recording.archived", "{event:#}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn an_answer_that_was_lost_is_looked_for() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    // Lost once, the repeat is told that it is there; lost always, only a look can tell.
    for (id, times) in [("1777093663-1", 1), ("1777093663-2", ALWAYS)] {
        world.store.fault(Op::Put, times, Fault::ResetInsteadOfAnswer);

        world.call(id).await;

        let event = world.event().await.json();
        assert_eq!(event["type"], "recording.archived", "{event:#}");
        assert_eq!((&event["data"]["callId"], &event["data"]["attempts"]), (&id.into(), &1.into()));
        world.store.heal();
    }
    worker.stop().await;
}

#[tokio::test]
async fn other_content_under_the_key_is_a_conflict_and_stays() {
    let world = World::new().await;
    let worker = world.worker(&[LOOK]).await;
    let key = "acme/2026/04/25/1777093663-1.wav";
    let others = [("tenant", "acme"), ("call-id", "1777093663-2")];
    world.store.s3().put(&world.bucket, key, b"another recording", &others).await;

    world.publish(&call("1777093663-1")).await;

    let event = world.event().await;
    assert_unarchived(&event, "recording.failed", Some("acme"), "store.conflict", 1);
    let dead = world.take("dead").await;
    assert_dead(&world, &dead, "store.conflict", 1, 0);
    let detail = dead.header("callvault-detail").unwrap_or_default();
    assert!(detail.contains("another recording") && !detail.contains("1777093663"), "{detail}");
    world.settled(&worker).await;
    let object = world.store.s3().object(&world.bucket, key).await.expect("it stays");
    assert_eq!(object.body, b"another recording"[..]);
    let labels = ["tenant=\"acme\"", "reason=\"store.conflict\""];
    assert_eq!(worker.metric("callvault_dead_total", &labels).await, 1.0);
    worker.stop().await;
}

#[tokio::test]
async fn the_same_content_under_the_key_is_already_archived() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    world.call("1777093663-1").await;
    let first = world.event().await.json();

    world.call("1777093663-1").await;

    let second = world.event().await.json();
    assert_eq!(second["id"], first["id"]);
    assert_eq!(
        (&first["data"]["alreadyArchived"], &second["data"]["alreadyArchived"]),
        (&false.into(), &true.into())
    );
    assert_eq!(first["data"]["objects"][0]["sha256"], second["data"]["objects"][0]["sha256"]);
    world.settled(&worker).await;
    let labels = ["outcome=\"already_archived\""];
    assert_eq!(worker.metric("callvault_jobs_total", &labels).await, 1.0);
    worker.stop().await;
}
