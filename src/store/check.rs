//! Whether a bucket would take what a worker puts, and which settings of `[store]` follow.
//!
//! Everything is tried on a probe object of its own, which is deleted again.

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::checksum::Proof;
use super::error::{Refusal, plainly};
use super::signed_body::SignedBody;
use super::{Guard, Sha256Digest, Store, attributes};
use crate::config::{Checksum, Conditional, ZipMode};
use crate::finding::Finding;
use crate::metrics::StoreOperation;

const ANSWER: &str = "answer";
const PUT: &str = "put";
const CREATE: &str = "conditional create";
const HEAD: &str = "head";
const HASH: &str = "body hash";
const CHECKSUM: &str = "checksum";
const MULTIPART: &str = "multipart";
const LIST: &str = "list";
const SWEEP: &str = "sweep";
const DELETE: &str = "delete";

const BODY: &[u8] = b"callvault check";

impl Store {
    /// Puts, looks at, uploads in parts and deletes a probe object under `key`, which nobody uses.
    pub async fn check(&self, key: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        let readable = self.try_answer(key).await;
        let answered = !matches!(&readable, Err(refusal) if unusable(refusal));
        findings.push(match &readable {
            Ok(()) => Finding::well(ANSWER, "the store answers, and knows the key"),
            // HEAD of a missing key is 403 without the right to list: putting tells.
            Err(refusal) if answered => Finding::well(ANSWER, refusal.to_string()),
            Err(refusal) => Finding::failed(ANSWER, refusal.to_string(), advice(refusal)),
        });
        if !answered {
            for check in [PUT, CREATE, HEAD, HASH, MULTIPART, DELETE] {
                findings.push(Finding::skipped(check, "without an answer of the store"));
            }
            return findings;
        }
        let put = self.try_put(key, &mut findings, readable.is_ok()).await;
        if put {
            findings.push(self.try_again(key).await);
            findings.push(self.try_head(key).await);
            findings.push(self.try_wrong_hash(key).await);
            findings.extend(self.try_checksum(key).await);
        }
        findings.extend(self.try_multipart(&format!("{key}-parts")).await);
        if self.0.settings.zip == ZipMode::Unpack {
            findings.push(self.try_list(key).await);
        }
        findings.push(self.try_sweep(key).await);
        if put {
            findings.push(self.try_delete(key).await);
        }
        findings
    }

    async fn try_answer(&self, key: &str) -> Result<(), Refusal> {
        let request = self.0.client.head_object().bucket(self.bucket()).key(key);
        match self.ask(StoreOperation::Head, request.send()).await {
            Err(refusal) if refusal.status() != Some(404) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// As recordings are put: with the hash, the configured checksum, class, tags, encryption.
    async fn put_probe(&self, key: &str, guard: Guard) -> Result<(), Refusal> {
        self.put_claiming(key, guard, Sha256::digest(BODY).into(), BODY).await
    }

    /// Sends the probe with the checksums of `claimed`, and `sha256` as what is signed.
    async fn put_claiming(
        &self,
        key: &str,
        guard: Guard,
        sha256: Sha256Digest,
        claimed: &'static [u8],
    ) -> Result<(), Refusal> {
        let proof = Proof::of(&Bytes::from_static(claimed), self.0.settings.checksum);
        let request = self
            .0
            .client
            .put_object()
            .bucket(self.bucket())
            .key(key)
            .content_type("application/octet-stream")
            .set_if_none_match(guard.if_none_match())
            .set_content_md5(proof.md5)
            .set_checksum_crc64_nvme(proof.crc64nvme)
            .body(ByteStream::from_static(BODY));
        let request = attributes::on_put(request, &self.0.settings)
            .customize()
            .interceptor(SignedBody(sha256));
        self.ask(StoreOperation::Put, request.send()).await.map(drop)
    }

    /// Puts the probe; whether it is there.
    async fn try_put(&self, key: &str, findings: &mut Vec<Finding>, readable: bool) -> bool {
        match self.put_probe(key, Guard::None).await {
            Ok(()) => {
                findings.push(Finding::well(PUT, "taken"));
                return true;
            }
            Err(refusal) if readable && refusal.status() == Some(403) => {
                let seen = format!("the bucket reads but does not write: {refusal}");
                findings.push(Finding::failed(PUT, seen, advice(&refusal)));
            }
            Err(refusal) => {
                findings.push(Finding::failed(PUT, refusal.to_string(), advice(&refusal)));
            }
        }
        for check in [CREATE, HEAD, HASH, DELETE] {
            findings.push(Finding::skipped(check, "without a put"));
        }
        false
    }

    /// A second put of what is there, on the condition that nothing is.
    async fn try_again(&self, key: &str) -> Finding {
        let configured = self.0.settings.conditional;
        match self.put_probe(key, Guard::Condition).await {
            Err(refusal) if refusal.exists() => match configured {
                Conditional::Never => Finding::note(
                    CREATE,
                    "the store can do it, and is not asked to",
                    "conditional = \"auto\" saves a HEAD a recording",
                ),
                _ => Finding::well(CREATE, "a second put is refused (412)"),
            },
            Err(refusal) if refusal.refuses_condition() => match configured {
                Conditional::Always => Finding::failed(
                    CREATE,
                    format!("the store cannot do it: {refusal}"),
                    "set conditional = \"auto\" or \"never\"",
                ),
                _ => Finding::well(CREATE, "the store cannot do it and says so: HEAD comes first"),
            },
            Err(refusal) => Finding::failed(CREATE, refusal.to_string(), advice(&refusal)),
            Ok(()) if configured == Conditional::Never => {
                Finding::well(CREATE, "the store only pretends; it is not asked to")
            }
            Ok(()) => Finding::failed(
                CREATE,
                "the store only pretends: it took a second put on the condition that nothing \
                 was there",
                "set conditional = \"never\": every put then asks first",
            ),
        }
    }

    async fn try_head(&self, key: &str) -> Finding {
        let request = self.0.client.head_object().bucket(self.bucket()).key(key);
        let length = i64::try_from(BODY.len()).ok();
        match self.ask(StoreOperation::Head, request.send()).await {
            Ok(head) if head.content_length == length => Finding::well(HEAD, "says the size"),
            Ok(_) => Finding::failed(
                HEAD,
                "the size of the probe is not what was put",
                "look at what stands between this machine and the store",
            ),
            Err(refusal) => Finding::failed(HEAD, refusal.to_string(), advice(&refusal)),
        }
    }

    /// A body that is not what was signed: whether the store looks.
    async fn try_wrong_hash(&self, key: &str) -> Finding {
        let other = Sha256::digest(b"another body").into();
        match self.put_claiming(key, Guard::None, other, BODY).await {
            Err(refusal) if refusal.status().is_some_and(|status| status < 500) => {
                Finding::well(HASH, "a body that is not what was signed is refused")
            }
            Err(refusal) => Finding::failed(HASH, refusal.to_string(), advice(&refusal)),
            Ok(()) if self.0.settings.checksum == Checksum::None => Finding::note(
                HASH,
                "the store takes a body that is not what was signed",
                "set checksum = \"md5\" or \"crc64nvme\", and check again",
            ),
            Ok(()) => Finding::well(HASH, "the store does not look; `checksum` does"),
        }
    }

    /// The configured checksum, of another body.
    async fn try_checksum(&self, key: &str) -> Option<Finding> {
        if self.0.settings.checksum == Checksum::None {
            return None;
        }
        let sha256 = Sha256::digest(BODY).into();
        Some(match self.put_claiming(key, Guard::None, sha256, b"another body").await {
            Err(refusal) if refusal.status().is_some_and(|status| status < 500) => {
                Finding::well(CHECKSUM, "a body that does not fit it is refused")
            }
            Err(refusal) => Finding::failed(CHECKSUM, refusal.to_string(), advice(&refusal)),
            Ok(()) => Finding::failed(
                CHECKSUM,
                "the store takes a body that does not fit it",
                "choose the other of \"md5\" and \"crc64nvme\", or \"none\"",
            ),
        })
    }

    /// An upload of one part, that is aborted.
    async fn try_multipart(&self, key: &str) -> Option<Finding> {
        let (client, bucket) = (&self.0.client, self.bucket());
        let create = client.create_multipart_upload().bucket(bucket).key(key);
        let create = attributes::on_create(create, &self.0.settings);
        let id = match self.ask(StoreOperation::CreateMultipart, create.send()).await {
            Ok(created) => created.upload_id?,
            Err(refusal) => {
                return Some(Finding::failed(MULTIPART, refusal.to_string(), advice(&refusal)));
            }
        };
        let part = client.upload_part().bucket(bucket).key(key).upload_id(&id).part_number(1);
        let part = part
            .body(ByteStream::from_static(BODY))
            .customize()
            .interceptor(SignedBody(Sha256::digest(BODY).into()));
        let sent = self.ask(StoreOperation::UploadPart, part.send()).await;
        let abort = client.abort_multipart_upload().bucket(bucket).key(key).upload_id(&id);
        let aborted = self.ask(StoreOperation::AbortMultipart, abort.send()).await;
        Some(match (sent, aborted) {
            (Err(refusal), _) => {
                let seen = format!("a part is refused: {refusal}");
                Finding::failed(MULTIPART, seen, advice(&refusal))
            }
            (Ok(_), Err(refusal)) => Finding::failed(
                MULTIPART,
                format!("it cannot be aborted: {refusal}"),
                "grant s3:AbortMultipartUpload, or parts of failed uploads stay and cost",
            ),
            (Ok(_), Ok(_)) => Finding::well(MULTIPART, "begun, a part sent, aborted"),
        })
    }

    /// The right to find the entries of a ZIP again.
    async fn try_list(&self, key: &str) -> Finding {
        match self.list_page(key, None).await {
            Ok(_) => Finding::well(LIST, "what is there of a ZIP can be found again"),
            Err(refusal) => Finding::note(
                LIST,
                format!("objects cannot be listed: {refusal}"),
                "grant s3:ListBucket, or a repeat of a ZIP that was unpacked downloads it again",
            ),
        }
    }

    /// The right to look for what killed workers left open.
    async fn try_sweep(&self, key: &str) -> Finding {
        let list = self.0.client.list_multipart_uploads().bucket(self.bucket()).prefix(key);
        match self.ask(StoreOperation::ListMultipart, list.send()).await {
            Ok(_) => Finding::well(SWEEP, "open uploads can be listed"),
            Err(refusal) => Finding::note(
                SWEEP,
                format!("open uploads cannot be listed: {refusal}"),
                "grant s3:ListBucketMultipartUploads, or have a lifecycle rule abort incomplete \
                 uploads",
            ),
        }
    }

    /// The worker never deletes; the probe goes where that is allowed.
    async fn try_delete(&self, key: &str) -> Finding {
        let delete = self.0.client.delete_object().bucket(self.bucket()).key(key);
        match delete.send().await {
            Ok(_) => Finding::well(DELETE, "the probe is gone"),
            Err(error) => Finding::note(
                DELETE,
                format!("the probe {key} stays: {}", plainly(&error)),
                "delete it by hand; the worker itself deletes nothing and needs no right to",
            ),
        }
    }
}

/// Nothing that is asked of it will be answered.
fn unusable(refusal: &Refusal) -> bool {
    // A HEAD has no body, and so no code: of 403 nothing more is known.
    refusal.status().is_none_or(|status| status >= 500 || status == 301)
}

/// Which key to change.
fn advice(refusal: &Refusal) -> &'static str {
    match refusal.label().as_str() {
        "AccessDenied" | "http_403" => {
            "grant s3:PutObject, s3:GetObject and s3:AbortMultipartUpload on the bucket to the \
             key; with SSE-KMS also the use of the KMS key"
        }
        "InvalidAccessKeyId" => "correct access_key_id",
        "SignatureDoesNotMatch" => "correct secret_access_key, and region where the store cares",
        "RequestTimeTooSkewed" => "set the clock of this machine (NTP)",
        "ExpiredToken" | "InvalidToken" => "renew the session of the credentials",
        "NoSuchBucket" | "http_404" => "correct bucket, or create it",
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "http_301" => {
            "correct region and endpoint: the bucket is elsewhere"
        }
        "NoCredentials" => {
            "set access_key_id and secret_access_key, or give the machine a role that the SDK's \
             chain finds"
        }
        "unreachable" => "check endpoint (scheme, host, port) and its certificate",
        "timeout" => "check endpoint; raise connect_timeout or read_timeout where it is far away",
        "MethodNotAllowed" | "http_405" | "VirtualHostDomainRequired" => "change path_style",
        "InvalidStorageClass" => "correct storage_class",
        _ => "look up the code in the store's documentation; the keys are those of [store]",
    }
}
