//! The store against S3 servers, over sockets: one with scripted faults, and SeaweedFS.

mod access;
mod checksum;
mod compare;
mod condition;
mod extras;
mod failures;
mod multipart;
mod odd;
mod put;
mod sink;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use callvault::config::{self, Checksum, Conditional, Secret, StoreCredentials, ZipMode};
use callvault::failure::{Class, Failure};
use callvault::metrics::Metrics;
use callvault::recording::ObjectKey;
use callvault::request::{CallId, FileName, TenantId};
use callvault::store::{
    Identity, NewObject, Part, Payload, Prefixes, Sha256Digest, Store, StoredObject, Upload,
};
use sha2::{Digest, Sha256};

use crate::support::s3::{ACCESS_KEY, LocalS3, REGION, S3, SECRET_KEY, Seen};

const MIB: usize = 1024 * 1024;
const PART: usize = 5 * MIB;

/// A store of a bucket that exists, with no extras.
/// What keys of ours begin with.
fn under(prefix: &str) -> Prefixes {
    Prefixes::new([prefix.to_owned()])
}

fn settings(s3: &S3, bucket: &str) -> config::Store {
    settings_at(s3.endpoint(), bucket)
}

fn settings_at(endpoint: &str, bucket: &str) -> config::Store {
    config::Store {
        bucket: bucket.to_owned(),
        endpoint: Some(endpoint.parse().unwrap()),
        region: REGION.to_owned(),
        allow_plain: false,
        path_style: true,
        credentials: Some(StoreCredentials {
            access_key_id: Secret::fixed(ACCESS_KEY),
            secret_access_key: Secret::fixed(SECRET_KEY),
            session_token: None,
        }),
        ca_file: None,
        proxy: None,
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
    Store::new(settings, Metrics::new()).unwrap()
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
        cc_id: None,
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
    NewObject {
        key: key(),
        content_type: "audio/wav",
        identity: who(),
        entries: None,
        audio: None,
        packed: None,
        unproven: None,
        force: false,
    }
}

/// Bytes that differ from place to place, so that swapped or lost parts show.
fn content(length: usize) -> Bytes {
    (0..length).map(|at| (at / 251 + at) as u8).collect::<Vec<_>>().into()
}

fn sha256(body: &[u8]) -> Sha256Digest {
    Sha256::digest(body).into()
}

fn payload(body: &Bytes) -> Payload {
    Payload::new(body.clone())
}

async fn put(store: &Store, new: &NewObject, body: &Bytes) -> Result<StoredObject, Failure> {
    store.put(new, &payload(body)).await
}

/// Sends `body` in parts, side by side.
async fn parts(upload: &Upload, body: &Bytes) -> Vec<Part> {
    let parts = body.chunks(PART).zip(1..).map(|(part, number)| {
        let part = body.slice_ref(part);
        async move { upload.part(number, &payload(&part)).await.unwrap() }
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
    seen.hash_matches && sent_plainly(seen)
}

/// It carries nothing that stores refuse: neither chunks nor trailers.
fn sent_plainly(seen: &Seen) -> bool {
    let plain = ["content-encoding", "x-amz-trailer", "x-amz-decoded-content-length"]
        .iter()
        .all(|name| seen.header(name).is_none());
    let length = seen.header("content-length") == Some(&seen.body.len().to_string());
    plain && length && seen.header("transfer-encoding").is_none()
}
