//! A body that is read to its end, and whether it is what its head says of it. Of its bytes nothing
//! is kept.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request};
use sha2::{Digest, Sha256};

/// What S3 says where a checksum is not that of the body.
pub const BAD_DIGEST: &str = "BadDigest";

const CHECKSUM: &str = "x-amz-checksum-crc64nvme";
const SIGNED_HASH: &str = "x-amz-content-sha256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

pub struct Body {
    pub length: u64,
    /// Where the head has one: it costs little, so it is always looked at.
    pub crc: Option<u64>,
    /// S3's code for what the head claims and is not so.
    pub wrong: Option<&'static str>,
}

impl Body {
    /// `verify`: whether the signed hash is looked at, too, which costs as much as all the rest.
    pub async fn read(request: Request<Incoming>, verify: bool) -> io::Result<Self> {
        let (head, mut body) = request.into_parts();
        // The checksum of a request that completes an upload is that of the object.
        let claimed = claimed(&head.headers).filter(|_| head.method == Method::PUT);
        let signed = head.headers.get(SIGNED_HASH).filter(|hash| verify && *hash != UNSIGNED);
        let mut crc = claimed.as_ref().map(|_| crc_fast::Digest::new(Crc64Nvme));
        let mut hash = signed.map(|_| Sha256::new());
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(io::Error::other)?;
            let data = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
            length += data.len() as u64;
            if let Some(crc) = &mut crc {
                crc.update(data);
            }
            if let Some(hash) = &mut hash {
                hash.update(data);
            }
        }
        let crc = crc.map(|crc| crc.finalize());
        let hash = hash.map(|hash| hex::encode(hash.finalize()));
        let wrong = if claimed != crc.map(written) {
            Some(BAD_DIGEST)
        } else if signed.zip(hash).is_some_and(|(signed, hash)| *signed != *hash) {
            Some("XAmzContentSHA256Mismatch")
        } else {
            None
        };
        Ok(Self { length, crc, wrong })
    }
}

/// The checksum that a request carries.
pub fn claimed(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(CHECKSUM)?.to_str().unwrap_or_default().to_owned())
}

/// A checksum as it stands in a header.
pub fn written(crc: u64) -> String {
    STANDARD.encode(crc.to_be_bytes())
}
