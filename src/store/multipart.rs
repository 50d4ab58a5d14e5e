//! A recording that is longer than a part: a multipart upload, visible only when it is complete.
//!
//! An upload ends in one of two ways, complete or aborted; dropping it aborts it.

use std::time::Duration;

use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use tokio::sync::oneshot;

use super::error::Refusal;
use super::payload::{Payload, Sums};
use super::proof::{Crc, Proof};
use super::{Guard, NewObject, Sha256Digest, Store, StoredObject, attributes, client, metadata};
use crate::crash::{self, Point};
use crate::failure::Failure;
use crate::metrics::StoreOperation;
use crate::recording::Packed;
use crate::traces;

/// What the store may need on top of an answer's usual time: S3 assembles the parts first, "which
/// can take several minutes" (API reference, CompleteMultipartUpload).
const COMPLETING: Duration = Duration::from_secs(120);

/// A multipart upload that is open at the store.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    new: NewObject,
    /// Its parts carry their CRC64NVME: that is said when an upload is opened.
    crc: bool,
    /// `None` once the upload is complete or an abort has been started.
    id: Option<String>,
}

/// A part that the store has, as it wants to hear of it at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    number: u32,
    etag: Option<String>,
    /// As it was sent with it.
    crc: Option<Crc>,
}

impl Part {
    /// From 1.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Store {
    /// Opens a multipart upload.
    ///
    /// # Errors
    /// What the store said.
    pub async fn start_multipart(&self, new: NewObject) -> Result<Upload, Failure> {
        // In a task of its own: an upload whose opening is cancelled midway would stay open.
        let (opened, opening) = oneshot::channel();
        let store = self.clone();
        self.0.aborts.spawn(traces::carried(async move {
            // Nobody waits any more: what comes back with the error is dropped, hence aborted.
            drop(opened.send(store.open(new).await));
        }));
        opening.await.expect("the task that opens an upload always answers")
    }

    async fn open(&self, new: NewObject) -> Result<Upload, Failure> {
        let crc = self.parts_carry_crc();
        let (created, crc) = match self.create(&new, crc).await {
            Err(refusal) if self.may_open_without_crc(crc, &refusal) => {
                let created = self.create(&new, false).await;
                if created.is_ok() {
                    self.parts_carry_no_crc();
                }
                (created, false)
            }
            created => (created, crc),
        };
        let id = created.map_err(|refusal| self.failure(refusal))?;
        let upload = Upload { store: self.clone(), new, crc, id: Some(id.clone()) };
        self.look_for_leftovers(&upload.new.key, &id).await;
        Ok(upload)
    }

    /// CreateMultipartUpload; the upload's id.
    async fn create(&self, new: &NewObject, crc: bool) -> Result<String, Refusal> {
        let request = self
            .0
            .way
            .client
            .create_multipart_upload()
            .bucket(self.bucket())
            .key(new.key.as_str())
            .content_type(new.content_type)
            .set_metadata(Some(metadata::write(new, None)))
            .set_checksum_algorithm(crc.then_some(ChecksumAlgorithm::Crc64Nvme))
            .set_checksum_type(crc.then_some(ChecksumType::FullObject));
        let request = attributes::on_create(request, &self.0.settings);
        let created = self.ask(StoreOperation::CreateMultipart, request.send()).await?;
        let id = created.upload_id.filter(|id| !id.is_empty());
        id.ok_or_else(|| Refusal::not_s3(StoreOperation::CreateMultipart))
    }

    /// Gives the parts of an upload back; its own failure is only logged.
    async fn abort(&self, new: &NewObject, id: String) {
        let request = self.0.way.client.abort_multipart_upload().bucket(self.bucket());
        let request = request.key(new.key.as_str()).upload_id(id);
        match self.ask(StoreOperation::AbortMultipart, request.send()).await {
            Ok(_) => {}
            Err(refusal) if refusal.upload_gone() => {}
            Err(refusal) => {
                let bucket = self.bucket();
                tracing::warn!(bucket, %refusal, "an upload stays open until it is swept");
            }
        }
    }
}

impl Upload {
    /// The sums that a part of it takes.
    pub fn sums(&self) -> Sums {
        self.store.proof(&self.store.0.verifying.parts, self.unsure()).sums()
    }

    /// What proves a part until it is known what the store verifies.
    fn unsure(&self) -> Proof {
        if self.crc { Proof::SIGNED_CRC } else { self.store.signed_proof() }
    }

    /// Sends part `number` (from 1, at most [`super::MAX_PARTS`]). Parts may go up side by side; one
    /// that failed may be sent again.
    ///
    /// # Errors
    /// What the store said.
    pub async fn part(&self, number: u32, payload: &Payload) -> Result<Part, Failure> {
        let store = &self.store;
        let send = |proof| self.send_part(number, payload, proof);
        // It is sent again, whatever comes of it.
        let wrong = async { send(Proof::WRONG).await.map(drop) };
        let sent = store.prove(&store.0.verifying.parts, self.unsure(), wrong, send).await;
        sent.map_err(|refusal| store.failure(refusal))
    }

    async fn send_part(
        &self,
        number: u32,
        payload: &Payload,
        proof: Proof,
    ) -> Result<Part, Refusal> {
        let (store, body) = (&self.store, payload.body());
        let own = client::own(&store.0.settings, client::sending(body.len()));
        let request = store
            .0
            .way
            .client
            .upload_part()
            .bucket(store.bucket())
            .key(self.new.key.as_str())
            .set_upload_id(self.id.clone())
            .part_number(wire_number(number))
            .set_content_md5(proof.content_md5(payload))
            .set_checksum_crc64_nvme(proof.crc64nvme(payload))
            .body(ByteStream::from(body.clone()))
            .customize()
            .config_override(own)
            .interceptor(proof.signature(payload));
        let etag = store.ask(StoreOperation::UploadPart, request.send()).await?.e_tag;
        Ok(Part { number, etag, crc: proof.is_crc().then(|| Crc::of(payload)) })
    }

    /// The same, with what it lists if it is a ZIP: that is known at its end.
    pub fn holding(mut self, packed: Option<Packed>) -> Self {
        self.new.packed = packed.or(self.new.packed.take());
        self
    }

    /// Makes the object of its parts, in the order of their numbers, and looks at it; `size` and
    /// `sha256` are those of the whole. An upload that cannot be completed is aborted.
    ///
    /// # Errors
    /// `store.conflict` if another recording is under the key; else what the store said.
    pub async fn complete(
        mut self,
        mut parts: Vec<Part>,
        size: u64,
        sha256: Sha256Digest,
    ) -> Result<StoredObject, Failure> {
        parts.sort_by_key(|part| part.number);
        let stored = self.complete_guarded(&parts, size, &sha256).await;
        match &stored {
            Ok(stored) if !stored.already_there => self.id = None,
            // Not by us: our parts are given back. After an answer that was not heard there may be
            // none; the store then says that there is no such upload.
            Ok(_) | Err(_) => self.abort().await,
        }
        stored
    }

    async fn complete_guarded(
        &self,
        parts: &[Part],
        size: u64,
        sha256: &Sha256Digest,
    ) -> Result<StoredObject, Failure> {
        let store = &self.store;
        let guard = store.guard_of_completion(&self.new);
        if guard.asks()
            && let Some(there) = store.look_before(&self.new, size, sha256).await?
        {
            return Ok(there);
        }
        match self.send_complete(parts, guard).await {
            Ok(answer) => self.check(answer, size, sha256).await,
            Err(refusal) if store.may_ask_instead(guard, &refusal) => {
                store.completes_without_condition();
                self.complete_without_condition(parts, size, sha256).await
            }
            Err(refusal) => self.judge_complete(refusal, size, sha256).await,
        }
    }

    async fn complete_without_condition(
        &self,
        parts: &[Part],
        size: u64,
        sha256: &Sha256Digest,
    ) -> Result<StoredObject, Failure> {
        let (store, guard) = (&self.store, Guard::Ask);
        if let Some(there) = store.look_before(&self.new, size, sha256).await? {
            return Ok(there);
        }
        match self.send_complete(parts, guard).await {
            Ok(answer) => self.check(answer, size, sha256).await,
            Err(refusal) => self.judge_complete(refusal, size, sha256).await,
        }
    }

    /// An answer that was not heard may have been a success; the SDK's next attempt then finds no
    /// such upload.
    async fn judge_complete(
        &self,
        refusal: Refusal,
        size: u64,
        sha256: &Sha256Digest,
    ) -> Result<StoredObject, Failure> {
        if self.crc && refusal.refuses_checksum() {
            // The next try does without.
            self.store.parts_carry_no_crc();
        }
        let open = refusal.unheard() || refusal.upload_gone();
        if !refusal.exists() && (!open || self.new.force) {
            return Err(self.store.failure(refusal));
        }
        self.store.look_after(refusal, &self.new, size, sha256).await
    }

    async fn send_complete(
        &self,
        parts: &[Part],
        guard: Guard,
    ) -> Result<CompleteMultipartUploadOutput, Refusal> {
        // All of them, or none.
        let whole = Crc::whole(parts.iter().map(|part| part.crc));
        let parts = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(wire_number(part.number))
                .set_e_tag(part.etag.clone())
                .set_checksum_crc64_nvme(whole.and(part.crc).map(Crc::header))
                .build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let store = &self.store;
        let own = client::own(&store.0.settings, COMPLETING);
        let request = store
            .0
            .way
            .client
            .complete_multipart_upload()
            .bucket(store.bucket())
            .key(self.new.key.as_str())
            .set_upload_id(self.id.clone())
            .set_if_none_match(guard.if_none_match())
            .set_checksum_type(whole.is_some().then_some(ChecksumType::FullObject))
            .set_checksum_crc64_nvme(whole.map(Crc::header))
            .multipart_upload(parts)
            .customize()
            .config_override(own);
        store.ask(StoreOperation::CompleteMultipart, request.send()).await
    }

    /// What was completed is looked at before it is announced (contract 3).
    async fn check(
        &self,
        answer: CompleteMultipartUploadOutput,
        size: u64,
        sha256: &Sha256Digest,
    ) -> Result<StoredObject, Failure> {
        crash::point(Point::Completed);
        let store = &self.store;
        let etag = store.look_at_new(StoreOperation::CompleteMultipart, &self.new, size).await?;
        store.remember(&self.new.key);
        Ok(StoredObject {
            bucket: store.bucket().to_owned(),
            key: self.new.key.clone(),
            size,
            sha256: Some(hex::encode(sha256)),
            etag: answer.e_tag.or(etag),
            version_id: answer.version_id,
            content_type: Some(self.new.content_type.to_owned()),
            audio: self.new.audio.clone(),
            unproven: self.new.unproven.clone(),
            last_modified: None,
            already_there: false,
        })
    }

    /// Gives the parts back.
    pub async fn abort(mut self) {
        if let Some(aborting) = self.start_abort() {
            // Its own task, so that it goes on where this future is dropped.
            let _ = aborting.await;
        }
    }

    fn start_abort(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        let id = self.id.take()?;
        let (store, new) = (self.store.clone(), self.new.clone());
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let abort = traces::carried(async move { store.abort(&new, id).await });
        Some(self.store.0.aborts.spawn_on(abort, &runtime))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.start_abort();
    }
}

/// S3 counts in `i32`, to 10,000; what is beyond is for the store to refuse.
fn wire_number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
