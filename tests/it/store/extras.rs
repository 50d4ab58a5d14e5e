//! What new objects get where it is configured: checksums, encryption, tags, a lock, a class.

use std::collections::BTreeMap;

use callvault::config::{self, Checksum, LockMode, ObjectLock, Sse};
use callvault::store::NewObject;

use super::{
    PART, content, key, local, new_object, object_key, payload, put, settings, signed_plainly,
    store, upload,
};
use crate::support::s3::{LocalS3, Op, seaweed};

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
        upload.part(1, &payload(&content(10))).await.unwrap();
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
