//! The store against S3 servers, over sockets: one with scripted faults, and SeaweedFS.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use callvault::config::{
    self, Checksum, Conditional, LockMode, ObjectLock, Secret, Sse, StoreCredentials, ZipMode,
};
use callvault::failure::{Class, Failure};
use callvault::metrics::Metrics;
use callvault::recording::ObjectKey;
use callvault::request::{CallId, FileName, TenantId};
use callvault::store::{Identity, NewObject, Part, Sha256Digest, Store, StoredObject, Upload};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::support::link::{Link, Weather};
use crate::support::s3::{
    ACCESS_KEY, ALWAYS, Fault, LocalS3, Op, REGION, S3, SECRET_KEY, Seen, seaweed,
};
use crate::support::{free_port, unique};

const MIB: usize = 1024 * 1024;
const PART: usize = 5 * MIB;

/// A store of a bucket that exists, with no extras.
fn settings(s3: &S3, bucket: &str) -> config::Store {
    settings_at(s3.endpoint(), bucket)
}

fn settings_at(endpoint: &str, bucket: &str) -> config::Store {
    config::Store {
        bucket: bucket.to_owned(),
        endpoint: Some(endpoint.parse().unwrap()),
        region: REGION.to_owned(),
        path_style: true,
        credentials: Some(StoreCredentials {
            access_key_id: Secret::fixed(ACCESS_KEY),
            secret_access_key: Secret::fixed(SECRET_KEY),
        }),
        key: "{tenant}/{yyyy}/{mm}/{dd}/{name}.{ext}".to_owned(),
        part_size: PART as u64,
        checksum: Checksum::None,
        conditional: Conditional::Auto,
        zip: ZipMode::Keep,
        storage_class: None,
        sse: None,
        tags: BTreeMap::new(),
        object_lock: None,
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(10),
    }
}

async fn store(settings: &config::Store) -> Store {
    Store::new(settings, Metrics::new(&[], &[], &[])).await.unwrap()
}

/// A server with scripted faults, a bucket in it and a store of that.
async fn local() -> (LocalS3, String, Store) {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let store = store(&settings(server.s3(), &bucket)).await;
    (server, bucket, store)
}

fn who() -> Identity {
    Identity {
        tenant: TenantId::new("acme").unwrap(),
        call_id: Some(CallId::new("1777093663-792075").unwrap()),
        file_name: Some(FileName::new("X:/4/0/20260425/512/1629533.V3").unwrap()),
    }
}

fn other() -> Identity {
    Identity { call_id: Some(CallId::new("1777093663-792076").unwrap()), ..who() }
}

fn object_key(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

fn key() -> ObjectKey {
    object_key("acme/2026/04/25/1777093663-792075_X%3A.wav")
}

fn new_object() -> NewObject {
    NewObject { key: key(), content_type: "audio/wav", identity: who(), force: false }
}

/// Bytes that differ from place to place, so that swapped or lost parts show.
fn content(length: usize) -> Bytes {
    (0..length).map(|at| (at / 251 + at) as u8).collect::<Vec<_>>().into()
}

fn sha256(body: &[u8]) -> Sha256Digest {
    Sha256::digest(body).into()
}

async fn put(store: &Store, new: &NewObject, body: &Bytes) -> Result<StoredObject, Failure> {
    store.put(new, body.clone(), sha256(body)).await
}

/// Sends `body` in parts, side by side.
async fn parts(upload: &Upload, body: &Bytes) -> Vec<Part> {
    let parts = body.chunks(PART).zip(1..).map(|(part, number)| {
        let part = body.slice_ref(part);
        async move { upload.part(number, part.clone(), sha256(&part)).await.unwrap() }
    });
    let mut parts = futures_util::future::join_all(parts).await;
    // The order in which they went up is none.
    parts.reverse();
    parts
}

async fn upload(store: &Store, new: &NewObject, body: &Bytes) -> Result<StoredObject, Failure> {
    let upload = store.start_multipart(new.clone()).await?;
    let parts = parts(&upload, body).await;
    upload.complete(parts, body.len() as u64, sha256(body)).await
}

fn reason<T: std::fmt::Debug>(result: Result<T, Failure>) -> (Class, String) {
    let failure = result.unwrap_err();
    (failure.class, failure.reason.as_str().to_owned())
}

/// The request is signed with the hash of its body and carries nothing that stores refuse.
fn signed_plainly(seen: &Seen) -> bool {
    let plain = ["content-encoding", "x-amz-trailer", "x-amz-decoded-content-length"]
        .iter()
        .all(|name| seen.header(name).is_none());
    let length = seen.header("content-length") == Some(&seen.body.len().to_string());
    seen.hash_matches && plain && length && seen.header("transfer-encoding").is_none()
}

#[tokio::test]
async fn a_put_on_the_wire() {
    let (server, bucket, store) = local().await;
    let body = content(64 * 1024);
    let stored = put(&store, &new_object(), &body).await.unwrap();

    let seen = server.seen_of(Op::Put);
    let [seen] = seen.as_slice() else { panic!("one put: {seen:?}") };
    assert!(signed_plainly(seen), "{:?}", seen.headers);
    assert_eq!(seen.header("x-amz-content-sha256"), Some(&*hex::encode(sha256(&body))));
    assert_eq!(seen.header("if-none-match"), Some("*"));
    assert_eq!(seen.header("content-type"), Some("audio/wav"));
    let extras = seen.headers.keys().filter(|name| name.contains("checksum"));
    assert_eq!(extras.count(), 0, "{:?}", seen.headers);

    let object = server.s3().object(&bucket, key().as_str()).await.unwrap();
    assert_eq!(object.body, body);
    assert_eq!(object.metadata["tenant"], "acme");
    assert_eq!(object.metadata["call-id"], "1777093663-792075");
    assert_eq!(object.metadata["file-name"], "X%3A%2F4%2F0%2F20260425%2F512%2F1629533.V3");
    assert_eq!(object.metadata["sha256"], hex::encode(sha256(&body)));
    assert!(!stored.already_there);
    assert_eq!((stored.size, stored.bucket), (64 * 1024, bucket));
    assert_eq!(stored.sha256, Some(hex::encode(sha256(&body))));
    assert_eq!(stored.etag, object.etag);
}

#[tokio::test]
async fn a_body_that_is_not_what_was_signed_is_refused() {
    let (server, bucket, store) = local().await;
    let result = store.put(&new_object(), content(100), sha256(b"something else")).await;
    let expected = (Class::Failure, "store.XAmzContentSHA256Mismatch".to_owned());
    assert_eq!(reason(result), expected);
    assert_eq!(server.s3().keys(&bucket, "").await, [""; 0]);
}

#[tokio::test]
async fn seaweedfs_takes_a_put_and_knows_it_again() {
    let s3 = seaweed().await;
    let bucket = s3.bucket().await;
    let store = store(&settings(&s3, &bucket)).await;
    let body = content(64 * 1024);
    assert_eq!(store.find(&key(), &who()).await.unwrap(), None);
    let first = put(&store, &new_object(), &body).await.unwrap();
    let again = put(&store, &new_object(), &body).await.unwrap();
    assert!(!first.already_there && again.already_there);
    assert_eq!((&first.sha256, &first.etag), (&again.sha256, &again.etag));

    let found = store.find(&key(), &who()).await.unwrap().unwrap();
    assert_eq!((found.size, found.content_type.as_deref()), (64 * 1024, Some("audio/wav")));
    assert!(found.already_there && found.last_modified.is_some());
    assert_eq!(store.find(&key(), &other()).await.unwrap(), None);
}

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
async fn what_is_there_is_judged_by_hash_then_size() {
    let (server, bucket, store) = local().await;
    let (ours, s3) = (content(1000), server.s3());
    let (hash, zeros) = (hex::encode(sha256(&ours)), "0".repeat(64));
    let (same_size, longer) = (content(1001).slice(1..), content(1001));
    // What is there, with which metadata, and whether it is the same recording.
    let table = [
        (&ours, vec![("sha256", &*hash)], true),
        (&same_size, vec![("sha256", &*zeros)], false),
        (&same_size, vec![], true),
        (&longer, vec![], false),
        (&same_size, vec![("tenant", "acme"), ("call-id", "2")], false),
    ];
    for (there, metadata, same) in table {
        s3.put(&bucket, key().as_str(), there, &metadata).await;
        match put(&store, &new_object(), &ours).await {
            Ok(stored) => assert!(same && stored.already_there, "{metadata:?}"),
            Err(failure) => {
                assert!(!same, "{metadata:?}");
                assert_eq!(failure.reason.as_str(), "store.conflict");
                assert_eq!(failure.class, Class::Permanent);
            }
        }
        assert_eq!(s3.object(&bucket, key().as_str()).await.unwrap().body, there);
    }
}

#[tokio::test]
async fn force_stores_over_what_is_there() {
    let (server, bucket, store) = local().await;
    let forced = NewObject { force: true, ..new_object() };
    for body in [content(10), content(PART + 10)] {
        server.s3().put(&bucket, key().as_str(), b"old", &[]).await;
        let before = server.ops().len();
        let stored = match body.len() {
            10 => put(&store, &forced, &body).await.unwrap(),
            _ => upload(&store, &forced, &body).await.unwrap(),
        };
        assert!(!stored.already_there);
        let seen = &server.seen()[before..];
        assert!(seen.iter().all(|seen| seen.header("if-none-match").is_none()));
        assert!(server.s3().object(&bucket, key().as_str()).await.unwrap().body == body);
    }
}

#[tokio::test]
async fn a_store_without_conditions_is_asked_before_each_put() {
    let (server, bucket, store) = local().await;
    server.fault(Op::Put, ALWAYS, Fault::RefuseCondition);
    server.fault(Op::CompleteMultipart, ALWAYS, Fault::RefuseCondition);
    let body = content(10);
    put(&store, &new_object(), &body).await.unwrap();
    assert_eq!(server.ops(), [Op::Put, Op::Head, Op::Put]);

    // It has learnt.
    let next = NewObject { key: object_key("acme/next.wav"), ..new_object() };
    put(&store, &next, &body).await.unwrap();
    assert_eq!(server.ops()[3..], [Op::Head, Op::Put]);
    let conflict = reason(put(&store, &next, &content(11)).await);
    assert_eq!(conflict.1, "store.conflict");
    assert_eq!(server.ops()[5..], [Op::Head]);
    let seen = server.seen();
    assert!(seen[3..].iter().all(|seen| seen.header("if-none-match").is_none()));

    // A multipart upload asks before it becomes visible.
    let long = NewObject { key: object_key("acme/long.wav"), ..new_object() };
    upload(&store, &long, &content(PART + 1)).await.unwrap();
    let tail = [Op::Head, Op::CompleteMultipart, Op::Head];
    assert_eq!(server.ops()[server.ops().len() - 3..], tail);
    assert_eq!(server.s3().keys(&bucket, "acme/").await.len(), 3);
}

#[tokio::test]
async fn a_multipart_upload_learns_it_too() {
    let (server, _bucket, store) = local().await;
    server.fault(Op::CompleteMultipart, ALWAYS, Fault::RefuseCondition);
    upload(&store, &new_object(), &content(PART + 1)).await.unwrap();
    let tail = [Op::CompleteMultipart, Op::Head, Op::CompleteMultipart, Op::Head];
    assert_eq!(server.ops()[server.ops().len() - 4..], tail);
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test]
async fn not_implemented_for_another_reason_teaches_nothing() {
    let (server, _bucket, store) = local().await;
    server.fault(Op::Put, 2, Fault::Answer { status: 501, code: "NotImplemented" });
    let failed = reason(put(&store, &new_object(), &content(10)).await);
    assert_eq!(failed, (Class::Unavailable, "store.NotImplemented".to_owned()));
    put(&store, &new_object(), &content(10)).await.unwrap();
    assert_eq!(server.seen_of(Op::Put).last().unwrap().header("if-none-match"), Some("*"));
}

#[tokio::test]
async fn always_never_gives_the_condition_up() {
    let (server, bucket, _) = local().await;
    let always =
        config::Store { conditional: Conditional::Always, ..settings(server.s3(), &bucket) };
    let store = store(&always).await;
    server.fault(Op::Put, ALWAYS, Fault::RefuseCondition);
    let failed = reason(put(&store, &new_object(), &content(10)).await);
    assert_eq!(failed.1, "store.NotImplemented");
    assert_eq!(server.s3().keys(&bucket, "").await, [""; 0]);
}

#[tokio::test]
async fn never_asks_before_each_put() {
    let (server, bucket, _) = local().await;
    let never = config::Store { conditional: Conditional::Never, ..settings(server.s3(), &bucket) };
    let store = store(&never).await;
    let body = content(10);
    assert!(!put(&store, &new_object(), &body).await.unwrap().already_there);
    assert!(put(&store, &new_object(), &body).await.unwrap().already_there);
    assert_eq!(server.ops(), [Op::Head, Op::Put, Op::Head]);
    assert_eq!(server.seen_of(Op::Put)[0].header("if-none-match"), None);
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_looked_at() {
    let (server, bucket, store) = local().await;
    let body = content(1000);
    // Every attempt is carried out or refused by what the first one stored; none is heard.
    server.fault(Op::Put, ALWAYS, Fault::ResetInsteadOfAnswer);
    let stored = put(&store, &new_object(), &body).await.unwrap();
    assert!(stored.already_there && stored.size == 1000);
    let conflict = reason(put(&store, &new_object(), &content(999)).await);
    assert_eq!(conflict.1, "store.conflict");

    // Where nothing got through, the first error is the cause.
    server.heal();
    server.fault(Op::Put, ALWAYS, Fault::ResetAfterBytes(500));
    let next = NewObject { key: object_key("acme/next.wav"), ..new_object() };
    let failed = reason(put(&store, &next, &body).await);
    assert_eq!(failed, (Class::Unavailable, "store.unreachable".to_owned()));
    assert_eq!(server.s3().keys(&bucket, "").await, [key().as_str()]);
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
    let failed = reason(upload.part(2, last.clone(), sha256(&last)).await);
    assert_eq!(failed, (Class::Failure, "store.BadDigest".to_owned()));
    parts.retain(|part| part.number() == 1);
    parts.push(upload.part(2, last.clone(), sha256(&last)).await.unwrap());
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
    let part = upload.part(1, body.clone(), sha256(&body)).await.unwrap();
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
    let part = upload.part(1, body.clone(), sha256(&body)).await.unwrap();
    let failed = upload.complete(vec![part], PART as u64 + 1, sha256(&body)).await;
    // Another try would find it by its metadata and announce it.
    assert_eq!(reason(failed), (Class::Permanent, "store.IncompleteBody".to_owned()));
    assert_eq!(server.ops().iter().filter(|op| **op == Op::Head).count(), 1);
}

#[tokio::test]
async fn an_upload_that_is_dropped_or_given_up_is_aborted() {
    let (server, _bucket, store) = local().await;
    let body = content(PART);
    let dropped = store.start_multipart(new_object()).await.unwrap();
    dropped.part(1, body.clone(), sha256(&body)).await.unwrap();
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
async fn errors_are_told_apart() {
    let (server, bucket, store) = local().await;
    let table = [
        (403, "AccessDenied", Class::Refused, "store.AccessDenied"),
        (403, "", Class::Refused, "store.http_403"),
        (404, "NoSuchBucket", Class::Refused, "store.NoSuchBucket"),
        (409, "OperationAborted", Class::Throttled, "store.OperationAborted"),
        (429, "TooManyRequests", Class::Throttled, "store.TooManyRequests"),
        (400, "EntityTooLarge", Class::Permanent, "store.EntityTooLarge"),
        (400, "KeyTooLongError", Class::Permanent, "store.KeyTooLongError"),
        (400, "BadDigest", Class::Failure, "store.BadDigest"),
        (418, "", Class::Failure, "store.http_418"),
    ];
    for (status, code, class, expected) in table {
        server.fault(Op::Put, 1, Fault::Answer { status, code });
        let failure = put(&store, &new_object(), &content(10)).await.unwrap_err();
        assert_eq!((failure.class, failure.reason.as_str()), (class, expected));
        let detail = &failure.detail;
        assert!(detail.contains("PutObject") && detail.contains(&bucket), "{detail}");
        assert!(detail.contains(&status.to_string()), "{detail}");
        for private in [SECRET_KEY, ACCESS_KEY, "792075"] {
            assert!(!format!("{failure:?}").contains(private), "{failure:?}");
        }
    }
}

#[tokio::test]
async fn a_store_that_is_overloaded_or_broken_is_tried_three_times() {
    let (server, _bucket, store) = local().await;
    let table = [
        (503, "SlowDown", Class::Throttled, "store.SlowDown"),
        (503, "", Class::Unavailable, "store.http_503"),
    ];
    for (status, code, class, expected) in table {
        let before = server.seen_of(Op::Put).len();
        server.fault(Op::Put, 3, Fault::Answer { status, code });
        let failed = reason(put(&store, &new_object(), &content(10)).await);
        assert_eq!(failed, (class, expected.to_owned()));
        assert_eq!(server.seen_of(Op::Put).len() - before, 3);
    }
    server.fault(Op::Put, 2, Fault::Answer { status: 500, code: "InternalError" });
    put(&store, &new_object(), &content(10)).await.unwrap();
}

#[tokio::test]
async fn wrong_keys_and_buckets_are_refused() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let keys = |id: &str, secret: &str| {
        let credentials = StoreCredentials {
            access_key_id: Secret::fixed(id),
            secret_access_key: Secret::fixed(secret),
        };
        config::Store { credentials: Some(credentials), ..settings(server.s3(), &bucket) }
    };
    let table = [
        (keys("nobody", SECRET_KEY), "store.InvalidAccessKeyId"),
        (keys(ACCESS_KEY, "wrong"), "store.SignatureDoesNotMatch"),
        (settings(server.s3(), &unique("kit-missing")), "store.NoSuchBucket"),
    ];
    for (settings, expected) in table {
        let store = store(&settings).await;
        let failed = reason(put(&store, &new_object(), &content(10)).await);
        assert_eq!(failed, (Class::Refused, expected.to_owned()));
    }
}

#[tokio::test]
async fn a_store_nobody_listens_for_is_unreachable() {
    let store = store(&settings_at(&format!("http://127.0.0.1:{}", free_port()), "b")).await;
    let expected = (Class::Unavailable, "store.unreachable".to_owned());
    let failure = put(&store, &new_object(), &content(10)).await.unwrap_err();
    let cause = std::error::Error::source(&failure).expect("the network said why").to_string();
    assert!(cause.contains("refused") && !cause.contains('{'), "{cause}");
    assert_eq!(reason::<()>(Err(failure)), expected);
    assert_eq!(reason(store.find(&key(), &who()).await), expected);
    assert_eq!(reason(store.start_multipart(new_object()).await), expected);
}

#[tokio::test]
async fn a_store_that_does_not_answer_times_out() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let hasty = config::Store {
        connect_timeout: Duration::from_millis(200),
        read_timeout: Duration::from_millis(200),
        ..settings(server.s3(), &bucket)
    };
    let store = store(&hasty).await;
    server.fault(Op::Put, ALWAYS, Fault::Stall);
    server.fault(Op::Head, ALWAYS, Fault::Stall);
    let expected = (Class::Unavailable, "store.timeout".to_owned());
    assert_eq!(reason(store.find(&key(), &who()).await), expected);
    assert_eq!(reason(put(&store, &new_object(), &content(10)).await), expected);
}

#[tokio::test]
async fn a_head_that_is_forbidden_is_no_answer() {
    let (server, _bucket, store) = local().await;
    put(&store, &new_object(), &content(10)).await.unwrap();
    server.fault(Op::Head, 1, Fault::Answer { status: 403, code: "" });
    assert_eq!(store.find(&key(), &who()).await.unwrap(), None);
    assert!(store.find(&key(), &who()).await.unwrap().is_some());
    // But it cannot tell what a refused creation ran into.
    server.fault(Op::Head, 1, Fault::Answer { status: 403, code: "" });
    let failed = reason(put(&store, &new_object(), &content(10)).await);
    assert_eq!(failed.1, "store.PreconditionFailed");
}

#[tokio::test]
async fn seaweedfs_checks_the_stores_own_checksums() {
    let s3 = seaweed().await;
    for checksum in [Checksum::Md5, Checksum::Crc64Nvme] {
        let bucket = s3.bucket().await;
        let store = store(&config::Store { checksum, ..settings(&s3, &bucket) }).await;
        put(&store, &new_object(), &content(1000)).await.unwrap();
        let long = NewObject { key: object_key("acme/long.wav"), ..new_object() };
        upload(&store, &long, &content(2 * PART + 1)).await.unwrap();
        assert!(s3.object(&bucket, "acme/long.wav").await.unwrap().body == content(2 * PART + 1));
    }
}

#[tokio::test]
async fn checksums_are_headers() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let table = [(Checksum::Md5, "content-md5"), (Checksum::Crc64Nvme, "x-amz-checksum-crc64nvme")];
    for (checksum, header) in table {
        let store = store(&config::Store { checksum, ..settings(server.s3(), &bucket) }).await;
        let new = NewObject { key: object_key(header), ..new_object() };
        put(&store, &new, &content(1000)).await.unwrap();
        let seen = server.seen_of(Op::Put).pop().unwrap();
        assert!(seen.header(header).is_some() && signed_plainly(&seen), "{:?}", seen.headers);
        let upload = store.start_multipart(new).await.unwrap();
        upload.part(1, content(10), sha256(&content(10))).await.unwrap();
        let seen = server.seen_of(Op::UploadPart).pop().unwrap();
        assert!(seen.header(header).is_some() && signed_plainly(&seen), "{:?}", seen.headers);
    }
}

#[tokio::test]
async fn new_objects_get_what_is_configured() {
    let s3 = seaweed().await;
    let bucket = s3.locked_bucket().await;
    let store = store(&config::Store {
        checksum: Checksum::Md5,
        sse: Some(Sse::Aes256),
        tags: BTreeMap::from([("team".to_owned(), "a & b".to_owned())]),
        object_lock: Some(ObjectLock { days: 2, mode: LockMode::Governance }),
        ..settings(&s3, &bucket)
    })
    .await;
    put(&store, &new_object(), &content(10)).await.unwrap();
    let long = NewObject { key: object_key("acme/long.wav"), ..new_object() };
    upload(&store, &long, &content(PART + 1)).await.unwrap();
    for key in [key().as_str(), "acme/long.wav"] {
        let head = s3.client().head_object().bucket(&bucket).key(key).send().await.unwrap();
        let encryption = head.server_side_encryption().map(|sse| sse.as_str());
        assert_eq!(encryption, Some("AES256"), "{key}");
        let until = head.object_lock_retain_until_date().expect("it is locked").secs();
        let left = until - callvault::clock::now().as_second();
        assert!((2 * 86_400 - 60..=2 * 86_400).contains(&left), "{key}: {left} s");
        let tags = s3.client().get_object_tagging().bucket(&bucket).key(key).send().await.unwrap();
        let tags: Vec<_> = tags.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
        assert_eq!(tags, [("team", "a & b")], "{key}");
    }
}

#[tokio::test]
async fn extras_on_the_wire() {
    let (server, bucket, _) = local().await;
    let store = store(&config::Store {
        storage_class: Some("STANDARD".to_owned()),
        sse: Some(Sse::Kms { key_id: Some("key-1".to_owned()) }),
        ..settings(server.s3(), &bucket)
    })
    .await;
    let _ = put(&store, &new_object(), &content(10)).await;
    let seen = server.seen_of(Op::Put).pop().unwrap();
    assert_eq!(seen.header("x-amz-storage-class"), Some("STANDARD"));
    assert_eq!(seen.header("x-amz-server-side-encryption"), Some("aws:kms"));
    assert_eq!(seen.header("x-amz-server-side-encryption-aws-kms-key-id"), Some("key-1"));
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
    let sweep = |before: Timestamp| store.sweep("acme/", before);
    assert_eq!(sweep(now - minute).await.unwrap(), 0);
    assert_eq!(sweep(now + minute).await.unwrap(), 2);
    let left = s3.open_uploads(&bucket).await;
    assert_eq!(left.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["other/1.wav"]);
}

#[tokio::test]
async fn two_at_once_make_one_object() {
    let s3 = seaweed().await;
    let bucket = s3.bucket().await;
    let store = store(&settings(&s3, &bucket)).await;
    let (new, body) = (new_object(), content(1000));
    let results = futures_util::future::join_all((0..8).map(|_| put(&store, &new, &body))).await;
    let stored = results.into_iter().map(Result::unwrap);
    assert_eq!(stored.filter(|stored| !stored.already_there).count(), 1);
}

#[tokio::test]
async fn a_rotated_key_file_takes_effect() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let credentials = Some(StoreCredentials {
        access_key_id: Secret::fixed(ACCESS_KEY),
        secret_access_key: Secret::file(&file),
    });
    let store = store(&config::Store { credentials, ..settings(server.s3(), &bucket) }).await;
    let body = content(10);
    let failed = reason(put(&store, &new_object(), &body).await);
    assert_eq!(failed, (Class::Refused, "store.NoCredentials".to_owned()));
    assert_eq!(server.seen().len(), 0);

    std::fs::write(&file, "stale\n").unwrap();
    a_file_may_be_read_again().await;
    let failed = reason(put(&store, &new_object(), &body).await);
    assert_eq!(failed.1, "store.SignatureDoesNotMatch");

    std::fs::write(&file, format!("{SECRET_KEY}\n")).unwrap();
    a_file_may_be_read_again().await;
    put(&store, &new_object(), &body).await.unwrap();
}

/// Secret files are read at most every 30 s.
async fn a_file_may_be_read_again() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_store_that_comes_back_is_used_again() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let mut link = Link::to(server.s3().address()).await;
    let store = store(&config::Store {
        connect_timeout: Duration::from_millis(300),
        read_timeout: Duration::from_millis(300),
        ..settings_at(&format!("http://{}", link.address()), &bucket)
    })
    .await;
    let body = content(MIB);
    let object = |name: &str| NewObject { key: object_key(name), ..new_object() };
    put(&store, &object("fine"), &body).await.unwrap();
    let table = [
        (Weather::BlackHole, "store.timeout"),
        (Weather::Torn(100_000), "store.unreachable"),
        (Weather::Cut, "store.unreachable"),
    ];
    for (weather, expected) in table {
        link.set(weather);
        // A MiB gets 16 s on top of the timeouts; a HEAD does not.
        match weather {
            Weather::BlackHole => assert_eq!(reason(store.find(&key(), &who()).await).1, expected),
            _ => assert_eq!(reason(put(&store, &object("lost"), &body).await).1, expected),
        }
        link.restore().await;
        put(&store, &object(&format!("{weather:?}")), &body).await.unwrap();
    }
    link.close().await;
    assert_eq!(reason(put(&store, &object("lost"), &body).await).1, "store.unreachable");
    link.restore().await;
    put(&store, &object("restored"), &body).await.unwrap();
    let kept = server.s3().keys(&bucket, "").await;
    assert_eq!(kept, ["BlackHole", "Cut", "Torn(100000)", "fine", "restored"]);
}

#[tokio::test]
async fn every_request_is_counted() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let metrics = Metrics::new(&[], &[], &[]);
    let settings = settings(server.s3(), &bucket);
    let store = Store::new(&settings, std::sync::Arc::clone(&metrics)).await.unwrap();
    put(&store, &new_object(), &content(10)).await.unwrap();
    put(&store, &new_object(), &content(10)).await.unwrap();
    let long = NewObject { key: object_key("acme/long.wav"), ..new_object() };
    upload(&store, &long, &content(PART + 1)).await.unwrap();
    store.start_multipart(long).await.unwrap().abort().await;
    store.find(&object_key("acme/missing.wav"), &who()).await.unwrap();
    let text = metrics.render();
    for (labels, count) in [
        (r#"operation="put",result="ok""#, 1),
        (r#"operation="put",result="PreconditionFailed""#, 1),
        (r#"operation="head",result="ok""#, 2),
        (r#"operation="head",result="NotFound""#, 1),
        (r#"operation="create_multipart",result="ok""#, 2),
        (r#"operation="upload_part",result="ok""#, 2),
        (r#"operation="complete_multipart",result="ok""#, 1),
        (r#"operation="abort_multipart",result="ok""#, 1),
    ] {
        let line = format!("callvault_store_requests_total{{{labels}}} {count}");
        assert!(text.lines().any(|found| found == line), "no {line} in:\n{text}");
    }
}
