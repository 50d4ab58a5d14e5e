//! Uploads in parts: whether they can be begun, given back, found, and ended without overwriting.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};

use super::{BODY, COMPLETE, Guard, MULTIPART, SWEEP, probe};
use crate::finding::Finding;
use crate::metrics::StoreOperation;
use crate::store::error::Refusal;
use crate::store::{Store, attributes};

/// An upload of the probe, of one part.
struct Probe {
    key: String,
    id: String,
    part: CompletedPart,
}

impl Store {
    /// An upload of one part under `key`, that is looked for by what it begins with, and aborted.
    pub(super) async fn try_multipart(&self, key: &str, prefix: &str) -> Vec<Finding> {
        let id = match self.open_probe(key).await {
            Ok(id) => id,
            Err(refusal) => {
                return vec![
                    Finding::failed(MULTIPART, refusal.to_string(), self.advice(&refusal)),
                    Finding::skipped(SWEEP, "without an upload"),
                ];
            }
        };
        let sent = self.send_probe(key, &id).await;
        let sweep = self.try_sweep(key, prefix, &id).await;
        let aborted = self.abort_probe(key, &id).await;
        let multipart = match (sent, aborted) {
            (Err(refusal), _) => {
                let seen = format!("a part is refused: {refusal}");
                Finding::failed(MULTIPART, seen, self.advice(&refusal))
            }
            (Ok(_), Err(refusal)) => Finding::failed(
                MULTIPART,
                format!("it cannot be aborted: {refusal}"),
                "grant s3:AbortMultipartUpload, or parts of failed uploads stay and cost",
            ),
            (Ok(_), Ok(())) => Finding::well(MULTIPART, "begun, a part sent, aborted"),
        };
        vec![multipart, sweep]
    }

    /// The end of an upload over what is there, on the condition that nothing is.
    pub(super) async fn try_completing(&self, key: &str) -> Finding {
        let answer = match self.begin_probe(key).await {
            Ok(probe) => self.complete_probe(probe).await,
            Err(refusal) => Err(refusal),
        };
        match answer {
            Err(refusal) if refusal.exists() => {
                Finding::well(COMPLETE, "an upload over what is there is refused (412)")
            }
            Err(refusal) if refusal.refuses_condition() => Finding::well(
                COMPLETE,
                "the store cannot do it and says so: a worker asks right before, as always",
            ),
            Err(refusal) => Finding::failed(COMPLETE, refusal.to_string(), self.advice(&refusal)),
            Ok(()) => Finding::note(
                COMPLETE,
                "an upload in parts goes over what is there, whatever the condition says: a \
                 worker asks right before",
                "let no two programs upload under the same keys at the same moment",
            ),
        }
    }

    /// Whether what killed workers left open would be found.
    async fn try_sweep(&self, key: &str, prefix: &str, id: &str) -> Finding {
        let expiry = "have the store drop uploads that are not completed: a lifecycle rule, or \
                      MinIO's stale_uploads_expiry";
        let by_prefix = match self.lists_upload(prefix, id).await {
            Ok(listed) => listed,
            Err(refusal) => {
                return Finding::note(
                    SWEEP,
                    format!("open uploads cannot be listed: {refusal}"),
                    "grant s3:ListBucketMultipartUploads, or have a lifecycle rule abort \
                     incomplete uploads",
                );
            }
        };
        if by_prefix {
            return Finding::well(SWEEP, "open uploads can be listed");
        }
        match self.lists_upload(key, id).await {
            Ok(true) => Finding::note(
                SWEEP,
                "open uploads are listed by their whole key alone, as MinIO does: what killed \
                 workers left open is found where the same recording is uploaded again",
                expiry,
            ),
            _ => Finding::note(SWEEP, "a listing does not show an upload that is open", expiry),
        }
    }

    async fn lists_upload(&self, prefix: &str, id: &str) -> Result<bool, Refusal> {
        Ok(self.open_uploads(prefix).await?.iter().any(|open| open == id))
    }

    async fn begin_probe(&self, key: &str) -> Result<Probe, Refusal> {
        let id = self.open_probe(key).await?;
        match self.send_probe(key, &id).await {
            Ok(part) => Ok(Probe { key: key.to_owned(), id, part }),
            Err(refusal) => {
                let _ = self.abort_probe(key, &id).await;
                Err(refusal)
            }
        }
    }

    async fn open_probe(&self, key: &str) -> Result<String, Refusal> {
        let crc = self.signed_proof().is_crc();
        let create = self.0.way.client.create_multipart_upload().bucket(self.bucket()).key(key);
        let create = attributes::on_create(create, &self.0.settings)
            .set_checksum_algorithm(crc.then_some(ChecksumAlgorithm::Crc64Nvme))
            .set_checksum_type(crc.then_some(ChecksumType::FullObject));
        let created = self.ask(StoreOperation::CreateMultipart, create.send()).await?;
        let id = created.upload_id.filter(|id| !id.is_empty());
        id.ok_or_else(|| Refusal::not_s3(StoreOperation::CreateMultipart))
    }

    async fn send_probe(&self, key: &str, id: &str) -> Result<CompletedPart, Refusal> {
        let (payload, proof) = (probe(), self.signed_proof());
        let crc64nvme = proof.crc64nvme(&payload);
        let part = self.0.way.client.upload_part().bucket(self.bucket()).key(key).upload_id(id);
        let part = part
            .part_number(1)
            .set_content_md5(proof.content_md5(&payload))
            .set_checksum_crc64_nvme(crc64nvme.clone())
            .body(ByteStream::from_static(BODY))
            .customize()
            .interceptor(proof.signature(&payload));
        let sent = self.ask(StoreOperation::UploadPart, part.send()).await?;
        let part = CompletedPart::builder().part_number(1).set_e_tag(sent.e_tag);
        Ok(part.set_checksum_crc64_nvme(crc64nvme).build())
    }

    /// What is refused is aborted.
    async fn complete_probe(&self, Probe { key, id, part }: Probe) -> Result<(), Refusal> {
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let complete = self
            .0
            .way
            .client
            .complete_multipart_upload()
            .bucket(self.bucket())
            .key(&key)
            .upload_id(&id)
            .set_if_none_match(Guard::Condition.if_none_match())
            .multipart_upload(parts);
        let answer = self.ask(StoreOperation::CompleteMultipart, complete.send()).await;
        if answer.is_err() {
            let _ = self.abort_probe(&key, &id).await;
        }
        answer.map(drop)
    }

    async fn abort_probe(&self, key: &str, id: &str) -> Result<(), Refusal> {
        let abort = self.0.way.client.abort_multipart_upload().bucket(self.bucket());
        let abort = abort.key(key).upload_id(id);
        self.ask(StoreOperation::AbortMultipart, abort.send()).await.map(drop)
    }
}
