//! Stores with ways of their own, and servers that are none: an answer is not believed for its
//! status alone.

use bytes::Bytes;
use callvault::config;
use callvault::failure::Class;
use callvault::recording::{Format, Framing, Proof};
use callvault::store::{NewObject, Store};

use super::{
    PART, content, key, local, new_object, object_key, put, reason, settings, settings_at, sha256,
    store, under, upload, who,
};
use crate::support::s3::odd::{Odd, Reply, error};
use crate::support::s3::{ALWAYS, Fault, Op};

async fn store_at(server: &Odd) -> Store {
    store(&settings_at(&server.endpoint(), "recordings")).await
}

fn nothing_there() -> Reply {
    Reply::Whole("HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n".to_owned())
}

fn page(status: &str) -> Reply {
    let page = "<html><body>no</body></html>";
    let length = page.len();
    Reply::Whole(format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{page}"
    ))
}

#[tokio::test]
async fn a_web_page_is_no_store() {
    let page = Odd::web_page().await;
    let refused = (Class::Refused, "store.http_200".to_owned());
    let (new, body) = (new_object(), content(100));
    for conditional in [config::Conditional::Auto, config::Conditional::Never] {
        let settings = settings_at(&page.endpoint(), "recordings");
        let store = store(&config::Store { conditional, ..settings }).await;
        let failure = put(&store, &new, &body).await.unwrap_err();
        assert!(failure.detail.contains("store.endpoint"), "{failure}");
        assert_eq!(reason::<()>(Err(failure)), refused, "{conditional:?}");
        // What is stored over all there is has nothing to ask for, and is looked at all the same.
        let forced = NewObject { force: true, ..new_object() };
        assert_eq!(reason(put(&store, &forced, &body).await), refused);
        assert_eq!(store.find(&key(), &who()).await.unwrap(), None);
        assert_eq!(reason(upload(&store, &new, &content(PART + 1)).await), refused);
    }
}

/// As web servers answer who wants to create something.
#[tokio::test]
async fn a_web_server_that_says_no_is_no_store_either() {
    for status in ["400 Bad Request", "404 Not Found", "405 Method Not Allowed"] {
        let server = Odd::start(move |request| match request.starts_with("HEAD ") {
            true => nothing_there(),
            false => page(status),
        })
        .await;
        let store = store_at(&server).await;
        let refused = (Class::Refused, format!("store.http_{}", &status[..3]));
        let failure = put(&store, &new_object(), &content(10)).await.unwrap_err();
        assert!(failure.detail.contains("store.endpoint"), "{failure}");
        assert_eq!(reason::<()>(Err(failure)), refused);
        assert_eq!(reason(upload(&store, &new_object(), &content(PART + 1)).await), refused);
    }
}

/// What the configuration has every request say, and no header can.
#[tokio::test]
async fn a_request_that_cannot_be_built_is_refused() {
    let (server, bucket, _) = local().await;
    let storage_class = Some("STANDARD\n".to_owned());
    let odd = config::Store { storage_class, ..settings(server.s3(), &bucket) };
    let failed = reason(put(&store(&odd).await, &new_object(), &content(10)).await);
    assert_eq!(failed, (Class::Refused, "store.RequestNotSent".to_owned()));
}

#[tokio::test]
async fn a_put_without_an_etag_is_looked_at() {
    let (server, bucket, store) = local().await;
    server.fault(Op::Put, ALWAYS, Fault::NoEtag);
    let stored = put(&store, &new_object(), &content(100)).await.unwrap();
    let object = server.s3().object(&bucket, key().as_str()).await.unwrap();
    assert_eq!((stored.size, stored.etag), (100, object.etag));
    assert!(!stored.already_there);

    // Nothing is there: not announced.
    let lost = NewObject { key: object_key("acme/lost.wav"), ..new_object() };
    server.heal();
    server.fault(Op::Put, 1, Fault::Xml { status: 200, body: "" });
    let failed = reason(put(&store, &lost, &content(100)).await);
    assert_eq!(failed, (Class::Failure, "store.IncompleteBody".to_owned()));
    put(&store, &lost, &content(100)).await.unwrap();
}

#[tokio::test]
async fn a_head_without_a_length_is_not_zero() {
    let (server, bucket, store) = local().await;
    let (short, long) = (content(100), content(PART + 1));
    let of_parts = NewObject { key: object_key("acme/long.wav"), ..new_object() };
    // Once, and it is asked again; always, and it is listed.
    for times in [1, ALWAYS] {
        server.heal();
        server.fault(Op::Head, times, Fault::NoLength);
        upload(&store, &of_parts, &long).await.unwrap();
        server.s3().put(&bucket, key().as_str(), &short, &[]).await;
        let there = put(&store, &new_object(), &short).await.unwrap();
        assert!(there.already_there && there.size == 100);
    }
    assert!(!server.seen_of(Op::List).is_empty());

    // Who may not list either does not know, which is neither a conflict nor a loss.
    server.fault(Op::List, ALWAYS, Fault::Answer { status: 403, code: "AccessDenied" });
    let failed = reason(upload(&store, &of_parts, &long).await);
    assert_eq!(failed.0, Class::Refused);
    let whole = server.s3().object(&bucket, "acme/long.wav").await.unwrap();
    assert!(whole.body == long);
}

#[tokio::test]
async fn errors_of_the_field() {
    let table = [
        ("400 Bad Request", "KMS.NotFoundException", Class::Refused, "store.KMS.NotFoundException"),
        (
            "403 Forbidden",
            "InArrearOrInsufficientBalance",
            Class::Refused,
            "store.InArrearOrInsufficientBalance",
        ),
        ("301 Moved Permanently", "PermanentRedirect", Class::Refused, "store.PermanentRedirect"),
        ("503 Slow Down", "SlowDownWrite", Class::Throttled, "store.SlowDownWrite"),
        (
            "507 Insufficient Storage",
            "XMinioStorageFull",
            Class::Refused,
            "store.XMinioStorageFull",
        ),
        // A number is no code: it was a phone's.
        ("400 Bad Request", "491711234567", Class::Failure, "store.http_400"),
        ("400 Bad Request", "+49-171-1234567", Class::Failure, "store.http_400"),
    ];
    for (status, code, class, expected) in table {
        let message = "arn:aws:kms:eu-west-1:1:key/491711234567";
        let server = Odd::start(move |request| match request.starts_with("HEAD ") {
            true => nothing_there(),
            false => error(status, code, message),
        })
        .await;
        let failure = put(&store_at(&server).await, &new_object(), &content(10)).await.unwrap_err();
        assert!(!format!("{failure:?}").contains("1234567"), "{failure:?}");
        assert_eq!(reason::<()>(Err(failure)), (class, expected.to_owned()), "{code}");
    }
}

/// A HEAD that is refused has no body, and so no code.
#[tokio::test]
async fn what_a_head_cannot_say_a_listing_does() {
    let (server, _bucket, store) = local().await;
    let expired =
        |op| server.fault(op, ALWAYS, Fault::Answer { status: 400, code: "ExpiredToken" });
    server.fault(Op::Head, ALWAYS, Fault::Answer { status: 400, code: "" });
    let refused = (Class::Refused, "store.http_400".to_owned());
    assert_eq!(reason(store.find(&key(), &who()).await), refused);
    expired(Op::List);
    let refused = (Class::Refused, "store.ExpiredToken".to_owned());
    assert_eq!(reason(store.find(&key(), &who()).await), refused);
    assert_eq!(reason(put(&store, &new_object(), &content(10)).await), refused);
}

#[tokio::test]
async fn a_bucket_that_wants_a_checksum_says_which_setting_to_change() {
    let server = Odd::start(|request| match request.starts_with("HEAD ") {
        true => nothing_there(),
        false => error(
            "400 Bad Request",
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with \
             Object Lock parameters",
        ),
    })
    .await;
    let failure = put(&store_at(&server).await, &new_object(), &content(10)).await.unwrap_err();
    assert!(failure.detail.contains("set store.checksum"), "{failure}");
    let refused = (Class::Refused, "store.InvalidRequest".to_owned());
    assert_eq!(reason::<()>(Err(failure)), refused);
}

/// What is not known of another ZIP does not make it another recording.
#[tokio::test]
async fn a_comparison_that_breaks_off_is_no_conflict() {
    const FIRST: &[u8] = include_bytes!("../../fixtures/zip-made-anew/first.zip");
    const SECOND: &[u8] = include_bytes!("../../fixtures/zip-made-anew/second.zip");
    let (server, bucket, store) = local().await;
    let mut proof = Proof::new(Format::Zip, Framing::Chunked);
    proof.update(SECOND);
    let packed = proof.finish().unwrap().packed;
    assert!(packed.is_some());
    let zip = NewObject { content_type: "application/zip", packed, ..new_object() };
    let hash = hex::encode(sha256(FIRST));
    server.s3().put(&bucket, key().as_str(), FIRST, &[("sha256", &hash)]).await;
    let second = Bytes::from_static(SECOND);
    server.fault(Op::Get, 1, Fault::Xml { status: 200, body: "PK, and no more of it" });
    let failed = reason(put(&store, &zip, &second).await);
    assert_eq!(failed, (Class::Failure, "store.http_200".to_owned()));
    assert!(put(&store, &zip, &second).await.unwrap().already_there);
}

/// A 400 without end took what memory there was.
#[tokio::test]
async fn of_an_endless_error_little_is_read() {
    let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/xml\r\n\
                connection: close\r\n\r\n<Error><Code>OddButKnown</Code><Message>";
    for start in ["HTTP/1.1 400 Bad Request", "HTTP/1.1 500 Oops", "HTTP/1.1 200 OK"] {
        let head = head.replace("HTTP/1.1 400 Bad Request", start);
        let server = Odd::start(move |_| {
            Reply::Endless(head.clone(), "and so on and so on and so on and so on ")
        })
        .await;
        let store = store_at(&server).await;
        let forced = NewObject { force: true, ..new_object() };
        put(&store, &forced, &content(10)).await.unwrap_err();
        // What else went out lay in the sockets' buffers.
        let sent = server.sent();
        assert!(sent < 64 << 20, "{sent} bytes of it were taken");
    }
}

#[tokio::test]
async fn a_listing_that_does_not_move_on_ends() {
    let (server, _bucket, store) = local().await;
    let stays = "<ListBucketResult><IsTruncated>true</IsTruncated>\
                 <NextContinuationToken>here</NextContinuationToken></ListBucketResult>";
    let nowhere = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    let failed = (Class::Failure, "store.http_200".to_owned());
    server.fault(Op::List, 2, Fault::Xml { status: 200, body: stays });
    let (_, next) = store.list("acme/", None).await.unwrap();
    assert_eq!(reason(store.list("acme/", next.clone()).await), failed);
    // One that says that there is more, and not where, has not ended.
    for page in [None, next] {
        server.fault(Op::List, 1, Fault::Xml { status: 200, body: nowhere });
        assert_eq!(reason(store.list("acme/", page).await), failed);
    }

    let stays = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>\
                 <NextKeyMarker>a</NextKeyMarker><NextUploadIdMarker></NextUploadIdMarker>\
                 </ListMultipartUploadsResult>";
    let nowhere = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>\
                   </ListMultipartUploadsResult>";
    for (body, requests) in [(stays, 2), (nowhere, 1)] {
        let before = server.seen_of(Op::ListMultipart).len();
        server.heal();
        server.fault(Op::ListMultipart, ALWAYS, Fault::Xml { status: 200, body });
        let now = callvault::clock::now();
        assert_eq!(reason(store.sweep(&under("acme/"), now).await), failed);
        assert_eq!(server.seen_of(Op::ListMultipart).len() - before, requests);
    }
}
