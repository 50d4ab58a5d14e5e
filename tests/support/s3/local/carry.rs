//! A request is carried out by s3s-fs, with what that lacks beside a real store.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use sha2::{Digest, Sha256};

use super::wire::{Answer, Op, begun, error, of_unknown_length, target, upload_id, whole, xml};
use super::{
    CRC64NVME, Fault, Inner, OpenUpload, OverTls, UNBROKEN, Write, crc64nvme, hash_of, is_unsigned,
};
use crate::support::s3::{ACCESS_KEY, OBSERVER};

impl Inner {
    /// To its end, even if the client goes meanwhile: servers do not stop half-way.
    pub(super) async fn carry_out(
        self: &Arc<Self>,
        op: Op,
        parts: Parts,
        body: Bytes,
        fault: Option<Fault>,
    ) -> Answer {
        let inner = Arc::clone(self);
        let work = async move { inner.work(op, parts, body, fault.as_ref()).await };
        tokio::spawn(work).await.expect("s3s does not panic")
    }

    async fn work(&self, op: Op, parts: Parts, body: Bytes, fault: Option<&Fault>) -> Answer {
        let overwrite = fault == Some(&Fault::IgnoreCondition);
        let (bucket, key) = target(parts.uri.path());
        if let Some(refusal) = self.refusal(op, &parts, &body, &bucket) {
            return refusal;
        }
        let looks = !matches!(fault, Some(Fault::IgnoreChecksum | Fault::IgnoreChecksumOfUnsigned));
        if looks && !fits_its_checksum(&parts, &body) {
            return error(400, "BadDigest");
        }
        let writer = Arc::clone(
            self.writers.lock().expect(UNBROKEN).entry(parts.uri.path().to_owned()).or_default(),
        );
        let creates = matches!(op, Op::Put | Op::CompleteMultipart);
        // Who looks sees the old one or the new one, never that the old one was taken away.
        let waits = creates || op == Op::Head;
        let _one_writer = if waits { Some(writer.lock().await) } else { None };
        let path = self.path(&bucket, &key);
        if overwrite && creates {
            self.overwriting.lock().expect(UNBROKEN).insert(path.clone());
            let _ = std::fs::remove_file(&path);
        }
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let mut request = Request::from_parts(parts, s3s::Body::from(body));
        // Of parts s3s believes any checksum; of objects only who is not asked to sign may leave it out.
        let service = if looks || op != Op::Put {
            &self.service
        } else {
            for name in ["authorization", CRC64NVME] {
                request.headers_mut().remove(name);
            }
            &self.lenient
        };
        let answer = match service.call(request).await {
            Ok(answer) => answer,
            Err(failure) => panic!("s3s failed: {failure:?}"),
        };
        let (mut parts, body) = answer.into_parts();
        let body = body.collect().await.expect("s3s sends whole bodies").to_bytes();
        if op == Op::ListMultipart && parts.status == StatusCode::NOT_IMPLEMENTED {
            return self.list_uploads(&bucket, &prefix(&query), fault == Some(&Fault::ByWholeKey));
        }
        match fault {
            Some(Fault::MissingIsForbidden) if parts.status == StatusCode::NOT_FOUND => {
                return error(403, "");
            }
            Some(Fault::NoEtag) => drop(parts.headers.remove("etag")),
            Some(Fault::NoLength) => {
                parts.headers.remove("content-length");
                return Response::from_parts(parts, of_unknown_length());
            }
            Some(Fault::NoRange) => {
                let all = std::fs::read(&path).expect("what is read is there");
                return Response::new(whole(all));
            }
            Some(Fault::TornBody(most) | Fault::StalledBody(most)) => {
                parts.headers.insert("content-length", body.len().into());
                let stays = matches!(fault, Some(Fault::StalledBody(_)));
                return Response::from_parts(parts, begun(body.slice(..*most), stays));
            }
            _ => {}
        }
        if parts.status.is_success() {
            if creates {
                self.write_down(&bucket, &key).await;
            }
            self.keep_uploads(op, &query, &body, bucket, key);
        }
        if overwrite && creates {
            self.overwriting.lock().expect(UNBROKEN).remove(&path);
        }
        Response::from_parts(parts, whole(body))
    }

    /// What a real store refuses and s3s does not, or says otherwise.
    fn refusal(&self, op: Op, parts: &Parts, body: &Bytes, bucket: &str) -> Option<Answer> {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let known = [ACCESS_KEY, OBSERVER].map(|id| format!("Credential={id}/"));
        let signed = header("authorization").unwrap_or_default();
        if !known.iter().any(|id| signed.contains(id)) {
            return Some(error(403, "InvalidAccessKeyId"));
        }
        let payload = header("x-amz-content-sha256").unwrap_or_default();
        let chunked = header("content-encoding").is_some_and(|value| value.contains("aws-chunked"));
        if chunked || payload.starts_with("STREAMING") || header("x-amz-trailer").is_some() {
            return Some(error(501, "NotImplemented"));
        }
        let sends = matches!(op, Op::Put | Op::UploadPart);
        // What is not signed is proven by TLS and a checksum, or not at all.
        let tls = parts.extensions.get::<OverTls>().is_some();
        let unsigned = is_unsigned(&parts.headers) && tls && header(CRC64NVME).is_some();
        if sends && !unsigned && payload != hex::encode(Sha256::digest(body)) {
            return Some(error(400, "XAmzContentSHA256Mismatch"));
        }
        let query = parts.uri.query().unwrap_or_default();
        let continues = matches!(op, Op::UploadPart | Op::CompleteMultipart | Op::AbortMultipart);
        if continues && !self.uploads.lock().expect(UNBROKEN).contains_key(&upload_id(query)) {
            return Some(error(404, "NoSuchUpload"));
        }
        let lacks_bucket = !bucket.is_empty() && !self.root.path().join(bucket).is_dir();
        (lacks_bucket && op != Op::Other).then(|| match op {
            Op::Head => error(404, ""),
            _ => error(404, "NoSuchBucket"),
        })
    }

    /// While the one writer's lock is held: it is what this request has written.
    async fn write_down(&self, bucket: &str, key: &str) {
        let path = self.path(bucket, key);
        let read = tokio::task::spawn_blocking(move || hash_of(&path)).await;
        let (sha256, size) = read.expect("reading does not panic").expect("it was just written");
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.writes.lock().expect(UNBROKEN).push(Write { bucket, key, sha256, size });
    }

    fn keep_uploads(&self, op: Op, query: &str, body: &Bytes, bucket: String, key: String) {
        let mut uploads = self.uploads.lock().expect(UNBROKEN);
        match op {
            Op::CreateMultipart => {
                let xml = String::from_utf8_lossy(body);
                let id = xml.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next());
                let id = id.expect("s3s names the upload").to_owned();
                uploads.insert(id, OpenUpload { bucket, key, since: callvault::clock::now() });
            }
            Op::CompleteMultipart | Op::AbortMultipart => {
                uploads.remove(&upload_id(query));
            }
            _ => {}
        }
    }

    fn list_uploads(&self, bucket: &str, prefix: &str, by_whole_key: bool) -> Answer {
        let uploads = self.uploads.lock().expect(UNBROKEN);
        let upload = |(id, OpenUpload { key, since, .. }): (&String, &OpenUpload)| {
            let since = format!("<Initiated>{since:.3}</Initiated>");
            format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId>{since}</Upload>")
        };
        let own = uploads.iter().filter(|(_, open)| {
            let fits = if by_whole_key { open.key == prefix } else { open.key.starts_with(prefix) };
            open.bucket == bucket && fits
        });
        let list: String = own.map(upload).collect();
        let root = "ListMultipartUploadsResult";
        xml(200, format!("<{root}><IsTruncated>false</IsTruncated>{list}</{root}>"))
    }
}

/// Or has none.
fn fits_its_checksum(parts: &Parts, body: &[u8]) -> bool {
    let sends = !body.is_empty() && parts.method == hyper::Method::PUT;
    let claimed = parts.headers.get(CRC64NVME);
    !sends || claimed.is_none_or(|claimed| claimed.as_bytes() == crc64nvme(body).as_bytes())
}

fn prefix(query: &str) -> String {
    let mut query = url::form_urlencoded::parse(query.as_bytes());
    query
        .find(|(name, _)| name == "prefix")
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}
