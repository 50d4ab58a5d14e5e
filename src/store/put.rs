//! A recording that fits one part: one PutObject.

use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::primitives::ByteStream;

use super::condition::beside_recordings;
use super::error::Refusal;
use super::payload::Payload;
use super::proof::Proof;
use super::{Guard, NewObject, Store, StoredObject, attributes, client, metadata};
use crate::failure::Failure;
use crate::metrics::StoreOperation;

/// An object with its content.
struct Whole<'a> {
    new: &'a NewObject,
    payload: &'a Payload,
}

impl Store {
    /// Stores `payload` in one request.
    ///
    /// # Errors
    /// `store.conflict` if another recording is under the key; else what the store said.
    pub async fn put(&self, new: &NewObject, payload: &Payload) -> Result<StoredObject, Failure> {
        let whole = Whole { new, payload };
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
        match self.put_proven(&whole, guard).await {
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
        match self.put_proven(whole, Guard::Ask).await {
            Ok(put) => {
                // Where one with it had been refused.
                self.keeps_no_condition("it refuses it");
                self.created(whole, put, Guard::Ask).await
            }
            Err(refusal) => self.judge_put(refusal, whole, Guard::Ask).await,
        }
    }

    async fn ask_before(&self, whole: &Whole<'_>) -> Result<Option<StoredObject>, Failure> {
        self.look_before(whole.new, whole.payload.size(), whole.payload.sha256()).await
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
            put.e_tag = self.look_at_new(StoreOperation::Put, new, whole.payload.size()).await?;
        }
        self.remember(&new.key);
        if guard == Guard::Both {
            let again = self.send_put(whole, Guard::Condition, self.proof_of_put());
            put = self.find_out(put, again).await;
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
        let payload = whole.payload;
        self.look_after(refusal, whole.new, payload.size(), payload.sha256()).await
    }

    async fn put_proven(
        &self,
        whole: &Whole<'_>,
        guard: Guard,
    ) -> Result<PutObjectOutput, Refusal> {
        let (puts, signed) = (&self.0.verifying.puts, self.signed_proof());
        let send = |proof| self.send_put(whole, guard, proof);
        self.prove(puts, signed, self.try_wrong_beside(whole.new), send).await
    }

    /// With a few bytes of our own: a recording that were taken so would not be proven.
    async fn try_wrong_beside(&self, new: &NewObject) -> Result<(), Refusal> {
        match beside_recordings(new) {
            Ok(key) => self.try_wrong(key.as_str()).await,
            // What cannot be tried is not believed.
            Err(_) => Ok(()),
        }
    }

    async fn send_put(
        &self,
        whole: &Whole<'_>,
        guard: Guard,
        proof: Proof,
    ) -> Result<PutObjectOutput, Refusal> {
        let Whole { new, payload } = whole;
        let body = payload.body();
        let own = client::own(&self.0.settings, client::sending(body.len()));
        let request = self
            .0
            .way
            .client
            .put_object()
            .bucket(self.bucket())
            .key(new.key.as_str())
            .content_type(new.content_type)
            .set_metadata(Some(metadata::write(new, Some(payload.sha256()))))
            .set_if_none_match(guard.if_none_match())
            .set_content_md5(proof.content_md5(payload))
            .set_checksum_crc64_nvme(proof.crc64nvme(payload))
            .body(ByteStream::from(body.clone()));
        let request = attributes::on_put(request, &self.0.settings)
            .customize()
            .config_override(own)
            .interceptor(proof.signature(payload));
        self.ask(StoreOperation::Put, request.send()).await
    }

    fn stored(&self, whole: &Whole<'_>, put: PutObjectOutput) -> StoredObject {
        StoredObject {
            bucket: self.bucket().to_owned(),
            key: whole.new.key.clone(),
            size: whole.payload.size(),
            sha256: Some(hex::encode(whole.payload.sha256())),
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
