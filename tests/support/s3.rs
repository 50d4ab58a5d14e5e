//! S3 servers for the tests: one in this process whose faults are scripted ([`local`]), and a real
//! one, SeaweedFS ([`seaweed`]). Both hand out an [`S3`]: where it is, and what is in it.

pub mod local;
pub mod odd;
pub mod seaweed;
pub mod shelf;
pub mod sink;
pub mod tls;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation,
};
use bytes::Bytes;

use super::{eventually, unique};

pub use local::{ALWAYS, Fault, LocalS3, Op, Seen, Write, crc64nvme};
pub use seaweed::seaweed;

pub const ACCESS_KEY: &str = "kit-access-key";
pub const SECRET_KEY: &str = "kit-secret-key-0123456789";
/// The key of the kit's own client: no fault hits it, no request of it is written down.
pub const OBSERVER: &str = "kit-observer";
pub const REGION: &str = "us-east-1";

/// An S3 server and a plain client of it.
#[derive(Clone, Debug)]
pub struct S3 {
    endpoint: String,
    client: Client,
}

/// An object as it lies there.
#[derive(Clone, Debug)]
pub struct Object {
    pub body: Bytes,
    pub content_type: Option<String>,
    pub metadata: HashMap<String, String>,
    pub etag: Option<String>,
}

impl S3 {
    fn new(endpoint: String) -> Self {
        Self::of(endpoint, OBSERVER)
    }

    /// The same server, asked by somebody else, whose secret is the same.
    #[must_use]
    pub fn asked_by(&self, access_key: &str) -> Self {
        Self::of(self.endpoint.clone(), access_key)
    }

    fn of(endpoint: String, access_key: &str) -> Self {
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&endpoint)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            // s3s-fs keeps the checksum of what was overwritten.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .credentials_provider(Credentials::new(access_key, SECRET_KEY, None, None, "kit"))
            .build();
        Self { endpoint, client: Client::from_conf(config) }
    }

    /// `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// `127.0.0.1:port`, for a link in front of it.
    pub fn address(&self) -> std::net::SocketAddr {
        let address = self.endpoint.strip_prefix("http://").expect("an http endpoint");
        address.parse().expect("an address and a port")
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A new bucket of a name that no other test uses.
    pub async fn bucket(&self) -> String {
        let bucket = unique("kit");
        self.create_bucket(&bucket, false).await;
        bucket
    }

    /// A new bucket whose objects can be locked.
    pub async fn locked_bucket(&self) -> String {
        let bucket = unique("kit-lock");
        self.create_bucket(&bucket, true).await;
        bucket
    }

    /// Creates `bucket` and waits until it can be used.
    pub async fn create_bucket(&self, bucket: &str, lock: bool) {
        let create = self.client.create_bucket().bucket(bucket);
        create.object_lock_enabled_for_bucket(lock).send().await.expect("the bucket is created");
        eventually("the bucket can be used", Duration::from_secs(20), || async {
            self.client.head_bucket().bucket(bucket).send().await.ok()
        })
        .await;
    }

    /// All keys that begin with `prefix`, in order.
    pub async fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let list = self.client.list_objects_v2().bucket(bucket).prefix(prefix);
        let mut pages = list.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.expect("the bucket can be listed");
            keys.extend(
                page.contents().iter().filter_map(|object| object.key().map(str::to_owned)),
            );
        }
        keys.sort();
        keys
    }

    pub async fn object(&self, bucket: &str, key: &str) -> Option<Object> {
        let answer = self.client.get_object().bucket(bucket).key(key).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_key()) => {
                return None;
            }
            Err(error) => panic!("{key} cannot be read: {error:?}"),
        };
        let metadata = answer.metadata.unwrap_or_default();
        let body = answer.body.collect().await.expect("the object can be read").into_bytes();
        let (content_type, etag) = (answer.content_type, answer.e_tag);
        Some(Object { body, content_type, metadata, etag })
    }

    /// Puts an object as another program would.
    pub async fn put(&self, bucket: &str, key: &str, body: &[u8], metadata: &[(&str, &str)]) {
        let mut put = self.client.put_object().bucket(bucket).key(key).body(body.to_vec().into());
        for (name, value) in metadata {
            put = put.metadata(*name, *value);
        }
        put.send().await.expect("the object is stored");
    }

    /// Key and id of the uploads that are open.
    pub async fn open_uploads(&self, bucket: &str) -> Vec<(String, String)> {
        let list = self.client.list_multipart_uploads().bucket(bucket).send().await;
        let uploads = list.expect("uploads can be listed").uploads.unwrap_or_default();
        uploads.into_iter().filter_map(|upload| upload.key.zip(upload.upload_id)).collect()
    }

    /// Waits until no upload is open; aborts may still be on their way.
    pub async fn no_upload_left(&self, bucket: &str) {
        eventually("no upload is left open", Duration::from_secs(20), || async {
            self.open_uploads(bucket).await.is_empty().then_some(())
        })
        .await;
    }
}
