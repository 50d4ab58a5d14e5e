//! An object in parts: how they go up, how they become one object, and what is aborted.

use std::time::Duration;

use callvault::config;
use callvault::failure::Class;
use callvault::recording::Audio;
use callvault::store::NewObject;
use jiff::Timestamp;

use super::{
    MIB, PART, content, key, local, new_object, object_key, parts, payload, reason, settings,
    settings_at, sha256, signed_plainly, store, under, upload, who,
};
use crate::support::link::{Link, Weather};
use crate::support::s3::sink::Sink;
use crate::support::s3::{ALWAYS, Fault, LocalS3, Op, seaweed};

#[tokio::test]
async fn seaweedfs_takes_a_multipart_upload() {
    let s3 = seaweed().await;
    let bucket = s3.bucket().await;
    let store = store(&settings(&s3, &bucket)).await;
    let body = content(20 * MIB + 7);
    let stored = upload(&store, &new_object(), &body).await.unwrap();
    assert_eq!((stored.size, stored.already_there), (body.len() as u64, false));
    assert_eq!(stored.sha256, Some(hex::encode(sha256(&body))));

    let object = s3.object(&bucket, key().as_str()).await.unwrap();
    assert!(object.body == body, "the content is another");
    assert_eq!(object.content_type.as_deref(), Some("audio/wav"));
    assert_eq!(object.metadata["call-id"], "1777093663-792075");
    assert_eq!(object.metadata.get("sha256"), None);

    // The same again, and another one of another size.
    let again = upload(&store, &new_object(), &body).await.unwrap();
    assert!(again.already_there);
    let conflict = reason(upload(&store, &new_object(), &content(5 * MIB + 1)).await);
    assert_eq!(conflict, (Class::Permanent, "store.conflict".to_owned()));
    assert!(s3.object(&bucket, key().as_str()).await.unwrap().body == body);
    s3.no_upload_left(&bucket).await;
}

#[tokio::test]
async fn parts_on_the_wire() {
    let (server, bucket, store) = local().await;
    let body = content(PART + 3);
    upload(&store, &new_object(), &body).await.unwrap();
    let mut sent = server.seen_of(Op::UploadPart);
    sent.sort_by_key(|seen| seen.query["partNumber"].clone());
    assert!(sent.len() == 2 && sent.iter().all(signed_plainly));
    assert_eq!(sent[0].body.len() + sent[1].body.len(), body.len());
    let complete = server.seen_of(Op::CompleteMultipart);
    assert_eq!(complete[0].header("if-none-match"), Some("*"));
    assert!(complete[0].hash_matches);
    // Looked at before it is announced, and nothing is open.
    assert_eq!(server.ops().last(), Some(&Op::Head));
    assert_eq!(server.open_uploads(), 0);
    assert!(server.s3().object(&bucket, key().as_str()).await.unwrap().body == body);
}

#[tokio::test]
async fn a_failed_part_is_sent_again() {
    let (server, bucket, store) = local().await;
    let body = content(PART + 5);
    // Once within a request, by the SDK …
    server.fault(Op::UploadPart, 1, Fault::ResetAfterBytes(MIB));
    server.fault(Op::UploadPart, 1, Fault::Answer { status: 500, code: "InternalError" });
    let upload = store.start_multipart(new_object()).await.unwrap();
    let mut parts = parts(&upload, &body).await;
    // … and by the caller, who still has the part: the last one sent counts.
    server.fault(Op::UploadPart, 1, Fault::Answer { status: 400, code: "BadDigest" });
    let last = body.slice(PART..);
    let failed = reason(upload.part(2, &payload(&last)).await);
    assert_eq!(failed, (Class::Failure, "store.BadDigest".to_owned()));
    parts.retain(|part| part.number() == 1);
    parts.push(upload.part(2, &payload(&last)).await.unwrap());
    upload.complete(parts, body.len() as u64, sha256(&body)).await.unwrap();
    assert!(server.s3().object(&bucket, key().as_str()).await.unwrap().body == body);
}

#[tokio::test]
async fn a_part_over_a_slow_link_goes_up() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let link = Link::to(server.s3().address()).await;
    let endpoint = format!("http://{}", link.address());
    // Two seconds for five MiB: longer than what the store may take to answer.
    let hasty = config::Store {
        connect_timeout: Duration::from_millis(500),
        read_timeout: Duration::from_millis(500),
        ..settings_at(&endpoint, &bucket)
    };
    let store = store(&hasty).await;
    let upload = store.start_multipart(new_object()).await.unwrap();
    link.set(Weather::Slow(5 * MIB as u32 / 2));
    let body = content(PART);
    let part = upload.part(1, &payload(&body)).await.unwrap();
    link.set(Weather::Fine);
    upload.complete(vec![part], PART as u64, sha256(&body)).await.unwrap();
    assert_eq!(server.seen_of(Op::UploadPart).len(), 1);
}

#[tokio::test]
async fn a_completion_that_failed_inside_a_200_is_a_failure() {
    let (server, bucket, store) = local().await;
    server.fault(Op::CompleteMultipart, ALWAYS, Fault::OkWithError { code: "InternalError" });
    let failed = reason(upload(&store, &new_object(), &content(PART + 1)).await);
    assert_eq!(failed, (Class::Unavailable, "store.InternalError".to_owned()));
    assert_eq!(server.open_uploads(), 0);
    assert_eq!(server.s3().keys(&bucket, "").await, [""; 0]);
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_looked_at() {
    let (server, bucket, store) = local().await;
    // The SDK's second attempt finds no such upload.
    server.fault(Op::CompleteMultipart, 1, Fault::ResetInsteadOfAnswer);
    let body = content(PART + 1);
    let stored = upload(&store, &new_object(), &body).await.unwrap();
    assert_eq!(stored.size, body.len() as u64);
    assert!(server.s3().object(&bucket, key().as_str()).await.unwrap().body == body);
}

#[tokio::test]
async fn a_completed_object_of_another_size_is_not_announced() {
    let (server, _bucket, store) = local().await;
    let upload = store.start_multipart(new_object()).await.unwrap();
    let body = content(PART);
    let part = upload.part(1, &payload(&body)).await.unwrap();
    let failed = upload.complete(vec![part], PART as u64 + 1, sha256(&body)).await;
    // Another try would find it by its metadata and announce it.
    assert_eq!(reason(failed), (Class::Permanent, "store.IncompleteBody".to_owned()));
    assert_eq!(server.ops().iter().filter(|op| **op == Op::Head).count(), 2);
}

#[tokio::test]
async fn an_object_that_is_shorter_than_its_sound_is_never_taken_for_it() {
    let (_server, _bucket, store) = local().await;
    let sound = |bytes: usize| Audio {
        codec: "pcm_alaw".to_owned(),
        sample_rate: 8000,
        channels: 1,
        duration_ms: Some(bytes as u64 / 8),
    };
    let told = |bytes: usize| NewObject { audio: Some(sound(bytes)), ..new_object() };
    let (body, whole) = (content(PART), content(2 * PART));
    let upload_short = store.start_multipart(told(2 * PART)).await.unwrap();
    let part = upload_short.part(1, &payload(&body)).await.unwrap();
    let failed = upload_short.complete(vec![part], 2 * PART as u64, sha256(&whole)).await;
    assert_eq!(reason(failed).1, "store.IncompleteBody");
    // Whoever asks for the call again, or puts the dead message back.
    assert_eq!(store.find(&key(), &who()).await.unwrap(), None);
    let again = reason(upload(&store, &told(2 * PART), &whole).await);
    assert_eq!(again, (Class::Permanent, "store.conflict".to_owned()));

    let (_server, _bucket, store) = local().await;
    upload(&store, &told(2 * PART), &whole).await.unwrap();
    assert!(store.find(&key(), &who()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_completed_object_that_does_not_show_is_tried_again() {
    let (server, _bucket, store) = local().await;
    // Asked right before, and looked at after.
    server.fault(Op::Head, 2, Fault::Answer { status: 404, code: "" });
    let body = content(PART + 1);
    let failed = upload(&store, &new_object(), &body).await;
    assert_eq!(reason(failed), (Class::Failure, "store.IncompleteBody".to_owned()));
    let stored = upload(&store, &new_object(), &body).await.unwrap();
    assert!(stored.already_there, "it is found by the next try");
}

#[tokio::test]
async fn an_upload_that_is_dropped_or_given_up_is_aborted() {
    let (server, _bucket, store) = local().await;
    let body = content(PART);
    let dropped = store.start_multipart(new_object()).await.unwrap();
    dropped.part(1, &payload(&body)).await.unwrap();
    let given_up = store.start_multipart(new_object()).await.unwrap();
    assert_eq!(server.open_uploads(), 2);
    given_up.abort().await;
    assert_eq!(server.open_uploads(), 1);
    drop(dropped);
    store.settle_aborts().await;
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test]
async fn an_upload_whose_opening_was_cancelled_is_aborted() {
    let (server, _bucket, store) = local().await;
    let opening = store.start_multipart(new_object());
    // Polled once, so that it is under way, then dropped.
    tokio::select! {
        biased;
        _ = opening => panic!("nothing is that quick"),
        () = std::future::ready(()) => {}
    }
    store.settle_aborts().await;
    assert_eq!(server.seen_of(Op::CreateMultipart).len(), 1);
    assert_eq!(server.seen_of(Op::AbortMultipart).len(), 1);
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test]
async fn an_abort_that_fails_does_not_hide_the_cause() {
    let (server, _bucket, store) = local().await;
    server.fault(Op::CompleteMultipart, 1, Fault::Answer { status: 400, code: "InvalidPart" });
    server.fault(Op::AbortMultipart, ALWAYS, Fault::Answer { status: 403, code: "AccessDenied" });
    let failed = reason(upload(&store, &new_object(), &content(PART)).await);
    assert_eq!(failed, (Class::Failure, "store.InvalidPart".to_owned()));
}

#[tokio::test]
async fn the_sweep_takes_old_uploads_under_its_prefix_alone() {
    let s3 = seaweed().await;
    let bucket = s3.bucket().await;
    let store = store(&settings(&s3, &bucket)).await;
    let opened = |key: &'static str| {
        let create = s3.client().create_multipart_upload().bucket(&bucket).key(key);
        async move { create.send().await.unwrap() }
    };
    for key in ["acme/1.wav", "acme/2.wav", "other/1.wav"] {
        opened(key).await;
    }
    let now = callvault::clock::now();
    let minute = jiff::SignedDuration::from_mins(1);
    let acme = under("acme/");
    let sweep = |before: Timestamp| store.sweep(&acme, before);
    assert_eq!(sweep(now - minute).await.unwrap(), 0);
    assert_eq!(sweep(now + minute).await.unwrap(), 2);
    let left = s3.open_uploads(&bucket).await;
    assert_eq!(left.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["other/1.wav"]);
}

/// As MinIO does.
#[tokio::test]
async fn a_store_that_lists_by_the_whole_key_is_swept_where_the_key_comes_again() {
    let (server, bucket, store) = local().await;
    server.fault(Op::ListMultipart, ALWAYS, Fault::ByWholeKey);
    // As a worker leaves it that is killed.
    let killed = super::store(&settings(server.s3(), &bucket)).await;
    std::mem::forget(killed.start_multipart(new_object()).await.unwrap());
    let now = callvault::clock::now();
    let minute = jiff::SignedDuration::from_mins(1);
    assert_eq!(
        store.sweep(&under("acme/"), now + minute).await.unwrap(),
        0,
        "nobody can know of it"
    );

    upload(&store, &new_object(), &content(PART + 1)).await.unwrap();
    assert_eq!(server.open_uploads(), 1);
    assert_eq!(store.sweep(&under("acme/"), now - minute).await.unwrap(), 0, "it may be at work");
    assert_eq!(store.sweep(&under("other/"), now + minute).await.unwrap(), 0);
    server.fault(Op::AbortMultipart, 1, Fault::Answer { status: 403, code: "AccessDenied" });
    assert_eq!(
        store.sweep(&under("acme/"), now + minute).await.unwrap(),
        0,
        "it stays, and is kept in mind"
    );
    assert_eq!(store.sweep(&under("acme/"), now + minute).await.unwrap(), 1);
    assert_eq!(server.open_uploads(), 0);
    let before = server.seen_of(Op::ListMultipart).len();
    assert_eq!(store.sweep(&under("acme/"), now + minute).await.unwrap(), 0);
    assert_eq!(server.seen_of(Op::ListMultipart).len() - before, 1, "it is done with that key");
}

#[tokio::test]
async fn a_store_that_lists_no_uploads_is_asked_once() {
    for (status, code) in [(403, "AccessDenied"), (501, "NotImplemented")] {
        let (server, _bucket, store) = local().await;
        server.fault(Op::ListMultipart, ALWAYS, Fault::Answer { status, code });
        for upload in ["acme/1.wav", "acme/2.wav", "acme/3.wav"] {
            let new = NewObject { key: object_key(upload), ..new_object() };
            store.start_multipart(new).await.unwrap().abort().await;
        }
        let asked = server.seen_of(Op::ListMultipart).len();
        assert_eq!(asked, 1, "{status}");
    }
}

/// What is measured must work: the benches run by hand only.
#[tokio::test]
async fn the_sink_of_the_benches_is_a_store() {
    let sink = Sink::start(true).await;
    let store = store(&settings_at(sink.endpoint(), "bench")).await;
    let body = content(2 * PART + 1);
    let stored = upload(&store, &new_object(), &body).await.unwrap();
    assert_eq!((stored.size, stored.already_there), (body.len() as u64, false));
    assert_eq!(sink.take(), (1, body.len() as u64));
}
