//! An object in one request: how it goes over the wire, is found again and is counted.

use callvault::failure::Class;
use callvault::metrics::Metrics;
use callvault::store::{NewObject, Store};

use super::{
    PART, content, key, local, new_object, object_key, other, payload, put, reason, settings,
    sha256, signed_plainly, store, upload, who,
};
use crate::support::s3::{ALWAYS, Fault, LocalS3, Op, seaweed};

#[tokio::test]
async fn a_put_on_the_wire() {
    let (server, bucket, store) = local().await;
    let body = content(64 * 1024);
    let stored = put(&store, &new_object(), &body).await.unwrap();

    let seen = server.seen_of(Op::Put);
    // The second finds out whether the store keeps the condition.
    let [seen, _] = seen.as_slice() else { panic!("two puts: {seen:?}") };
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
    let payload = payload(&content(100)).hashed(sha256(b"something else"));
    let result = store.put(&new_object(), &payload).await;
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
async fn every_request_is_counted() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let metrics = Metrics::new();
    let settings = settings(server.s3(), &bucket);
    let store = Store::new(&settings, std::sync::Arc::clone(&metrics)).unwrap();
    put(&store, &new_object(), &content(10)).await.unwrap();
    put(&store, &new_object(), &content(10)).await.unwrap();
    let long = NewObject { key: object_key("acme/long.wav"), ..new_object() };
    upload(&store, &long, &content(PART + 1)).await.unwrap();
    store.start_multipart(long).await.unwrap().abort().await;
    store.find(&object_key("acme/missing.wav"), &who()).await.unwrap();
    let text = metrics.render();
    for (labels, count) in [
        (r#"operation="put",result="ok""#, 1),
        (r#"operation="put",result="PreconditionFailed""#, 2),
        (r#"operation="head",result="ok""#, 2),
        (r#"operation="head",result="NotFound""#, 3),
        (r#"operation="create_multipart",result="ok""#, 2),
        (r#"operation="upload_part",result="ok""#, 2),
        (r#"operation="complete_multipart",result="ok""#, 1),
        (r#"operation="abort_multipart",result="ok""#, 1),
    ] {
        let line = format!("callvault_store_requests_total{{{labels}}} {count}");
        assert!(text.lines().any(|found| found == line), "no {line} in:\n{text}");
    }
}
