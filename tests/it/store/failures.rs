//! What a store that refuses, is overloaded or cannot be reached is to the worker.

use std::time::Duration;

use callvault::config::{self, Secret, StoreCredentials};
use callvault::failure::Class;
use callvault::store::NewObject;

use super::{
    MIB, content, key, local, new_object, object_key, put, reason, settings, settings_at, store,
    who,
};
use crate::support::link::{Link, Weather};
use crate::support::s3::{ACCESS_KEY, ALWAYS, Fault, LocalS3, Op, SECRET_KEY};
use crate::support::{free_port, unique};

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
            session_token: None,
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
async fn a_rotated_key_file_takes_effect() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let credentials = Some(StoreCredentials {
        access_key_id: Secret::fixed(ACCESS_KEY),
        secret_access_key: Secret::file(&file),
        session_token: None,
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

#[tokio::test]
async fn a_key_id_that_no_header_takes_is_no_panic() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let keys = |id: &str, token: Option<&str>| {
        Some(StoreCredentials {
            access_key_id: Secret::fixed(id),
            secret_access_key: Secret::fixed(SECRET_KEY),
            session_token: token.map(Secret::fixed),
        })
    };
    for credentials in [keys("AK\r", None), keys("\u{43a}", None), keys(ACCESS_KEY, Some("a\nb"))] {
        let store = store(&config::Store { credentials, ..settings(server.s3(), &bucket) }).await;
        let failed = reason(put(&store, &new_object(), &content(10)).await);
        assert_eq!(failed, (Class::Refused, "store.NoCredentials".to_owned()));
    }
    assert_eq!(server.seen().len(), 0);
}

/// Secret files are read at most every 30 s.
pub(super) async fn a_file_may_be_read_again() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
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
