//! A recording that fits one part: one PutObject.

use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::checksum::Proof;
use super::error::Refusal;
use super::signed_body::SignedBody;
use super::{Guard, NewObject, Sha256Digest, Store, StoredObject, attributes, client, metadata};
use crate::failure::Failure;
use crate::metrics::StoreOperation;

/// An object with its content.
struct Whole<'a> {
    new: &'a NewObject,
    body: Bytes,
    sha256: Sha256Digest,
    proof: Proof,
}

impl Store {
    /// Stores `body` in one request; `sha256` is its hash.
    ///
    /// # Errors
    /// `store.conflict` if another recording is under the key; else what the store said.
    pub async fn put(
        &self,
        new: &NewObject,
        body: Bytes,
        sha256: Sha256Digest,
    ) -> Result<StoredObject, Failure> {
        let proof = Proof::of(&body, self.0.settings.checksum);
        let whole = Whole { new, body, sha256, proof };
        let guard = self.guard_of_put(new);
        if guard.asks() {
            match self.ask_before(&whole).await {
                Ok(Some(there)) => return Ok(there),
                Ok(None) => {}
                // What cannot be seen is not overwritten: that was found out meanwhile.
                Err(_) if self.guard_of_put(new) == Guard::Condition => {}
                Err(failure) => return Err(failure),
            }
        }
        match self.send_put(&whole, guard).await {
            Ok(put) => self.created(&whole, put, guard).await,
            Err(refusal) if self.may_ask_instead(guard, &refusal) => {
                self.put_without_condition(&whole).await
            }
            Err(refusal) => self.judge_put(refusal, &whole, guard).await,
        }
    }

    async fn put_without_condition(&self, whole: &Whole<'_>) -> Result<StoredObject, Failure> {
        if let Some(there) = self.ask_before(whole).await? {
            return Ok(there);
        }
        match self.send_put(whole, Guard::Ask).await {
            Ok(put) => {
                // Where one with it had been refused.
                self.keeps_no_condition("it refuses it");
                self.created(whole, put, Guard::Ask).await
            }
            Err(refusal) => self.judge_put(refusal, whole, Guard::Ask).await,
        }
    }

    async fn ask_before(&self, whole: &Whole<'_>) -> Result<Option<StoredObject>, Failure> {
        self.look_before(whole.new, whole.body.len() as u64, &whole.sha256).await
    }

    /// The store has said yes: that proves nothing without an ETag, and nothing of the condition.
    async fn created(
        &self,
        whole: &Whole<'_>,
        mut put: PutObjectOutput,
        guard: Guard,
    ) -> Result<StoredObject, Failure> {
        let new = whole.new;
        if put.e_tag.as_ref().is_none_or(String::is_empty) {
            put.e_tag = self.look_at_new(StoreOperation::Put, new, whole.body.len() as u64).await?;
        }
        self.remember(&new.key);
        if guard == Guard::Both {
            put = self.find_out(put, self.send_put(whole, Guard::Condition)).await;
        }
        Ok(self.stored(whole, put))
    }

    /// An early 412 with a close shows as a broken pipe, and a lost answer may have been a
    /// success: both are looked at before they are judged.
    async fn judge_put(
        &self,
        refusal: Refusal,
        whole: &Whole<'_>,
        guard: Guard,
    ) -> Result<StoredObject, Failure> {
        // With `force` another's object says nothing of ours.
        if guard == Guard::None || !(refusal.exists() || refusal.unheard()) {
            return Err(self.failure(refusal));
        }
        if refusal.exists() {
            self.keeps_the_condition();
        }
        let size = whole.body.len() as u64;
        self.look_after(refusal, whole.new, size, &whole.sha256).await
    }

    async fn send_put(&self, whole: &Whole<'_>, guard: Guard) -> Result<PutObjectOutput, Refusal> {
        let Whole { new, body, sha256, proof } = whole;
        let own = client::own(&self.0.settings, client::sending(body.len()));
        let request = self
            .0
            .way
            .client
            .put_object()
            .bucket(self.bucket())
            .key(new.key.as_str())
            .content_type(new.content_type)
            .set_metadata(Some(metadata::write(new, Some(sha256))))
            .set_if_none_match(guard.if_none_match())
            .set_content_md5(proof.md5.clone())
            .set_checksum_crc64_nvme(proof.crc64nvme.clone())
            .body(ByteStream::from(body.clone()));
        let request = attributes::on_put(request, &self.0.settings)
            .customize()
            .config_override(own)
            .interceptor(SignedBody(*sha256));
        self.ask(StoreOperation::Put, request.send()).await
    }

    fn stored(&self, whole: &Whole<'_>, put: PutObjectOutput) -> StoredObject {
        StoredObject {
            bucket: self.bucket().to_owned(),
            key: whole.new.key.clone(),
            size: whole.body.len() as u64,
            sha256: Some(hex::encode(whole.sha256)),
            etag: put.e_tag,
            version_id: put.version_id,
            content_type: Some(whole.new.content_type.to_owned()),
            audio: whole.new.audio.clone(),
            unproven: whole.new.unproven.clone(),
            last_modified: None,
            already_there: false,
        }
    }
}
