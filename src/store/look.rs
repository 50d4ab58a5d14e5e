//! Looking at what is under a key (HEAD), and judging whether it is the same recording.

use std::collections::HashMap;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use jiff::Timestamp;

use super::condition::PROBE;
use super::error::Refusal;
use super::{Identity, NewObject, Sha256Digest, Store, StoredObject, metadata};
use crate::failure::{Class, Failure, Reason};
use crate::metrics::StoreOperation;
use crate::recording::{Audio, ObjectKey};

/// What a HEAD says of an object.
pub(super) struct Found {
    object: StoredObject,
    metadata: HashMap<String, String>,
}

impl Found {
    fn new(bucket: &str, key: &ObjectKey, size: u64, head: HeadObjectOutput) -> Self {
        let metadata = head.metadata.unwrap_or_default();
        let modified = head.last_modified.map(|at| Timestamp::from_second(at.secs()));
        let object = StoredObject {
            bucket: bucket.to_owned(),
            key: key.clone(),
            size,
            sha256: metadata::sha256(&metadata),
            etag: head.e_tag,
            version_id: head.version_id,
            content_type: head.content_type,
            audio: metadata::audio(&metadata),
            unproven: metadata::unproven(&metadata),
            last_modified: modified.and_then(Result::ok),
            already_there: true,
        };
        Self { object, metadata }
    }

    /// Whether it says of an object what every S3 server does; a web page does not.
    fn speaks_s3(&self) -> bool {
        self.object.etag.is_some() || !self.metadata.is_empty()
    }

    pub(super) fn size(&self) -> u64 {
        self.object.size
    }

    /// Whether its metadata names this recording.
    pub(super) fn names(&self, who: &Identity) -> bool {
        metadata::names(&self.metadata, who)
    }

    /// Whether it is shorter than the sound that it was stored for: the store has taken more than it
    /// keeps. What CC-FS itself contradicts (contract 3) says nothing of its length.
    fn falls_short(&self) -> bool {
        let least = self.object.audio.as_ref().map_or(0, Audio::least_bytes);
        self.object.unproven.is_none() && self.object.size < least
    }

    /// Of how many objects it is one.
    pub(super) fn entries(&self) -> Option<usize> {
        metadata::entries(&self.metadata)
    }

    pub(super) fn into_object(self) -> StoredObject {
        self.object
    }

    /// The same recording if its hash says so, or without one if its size is equal and it does
    /// not name another recording (contract 3).
    fn is(&self, who: &Identity, size: u64, sha256: &Sha256Digest) -> bool {
        match &self.object.sha256 {
            Some(hash) => *hash == hex::encode(sha256),
            None => {
                let metadata = &self.metadata;
                let other = !metadata::anonymous(metadata) && !self.names(who);
                self.object.size == size && !other
            }
        }
    }
}

fn size_of(head: &HeadObjectOutput) -> Option<u64> {
    u64::try_from(head.content_length?).ok()
}

impl Store {
    /// The object under `key`, if its metadata names this recording. One that is not as long as it says
    /// is none: what is downloaded meets it, as another under this key.
    ///
    /// # Errors
    /// The store did not answer. A 403 is no answer either way (HEAD of a missing key is 403
    /// without permission to list), so it is `None`.
    pub async fn find(
        &self,
        key: &ObjectKey,
        who: &Identity,
    ) -> Result<Option<StoredObject>, Failure> {
        match self.look(key).await {
            Ok(Some(found)) if found.names(who) && found.falls_short() => {
                let (bucket, size) = (self.bucket(), found.size());
                tracing::error!(bucket, size, "an object is shorter than what was stored as it");
                Ok(None)
            }
            Ok(Some(found)) if found.names(who) => Ok(Some(self.heard(found.object).await)),
            Ok(_) => Ok(None),
            Err(refusal) if refusal.status() == Some(403) => Ok(None),
            Err(refusal) => Err(self.failure(refusal)),
        }
    }

    /// Asks the bucket for an answer of any kind, with the right that archiving needs least: a HEAD
    /// of a key that no recording has.
    ///
    /// # Errors
    /// What the store answered, or that it did not.
    pub async fn reach(&self) -> Result<(), Failure> {
        let key = ObjectKey::new(PROBE)?;
        self.look(&key).await.map(drop).map_err(|refusal| self.failure(refusal))
    }

    /// HEAD; `None` for 404.
    pub(super) async fn look(&self, key: &ObjectKey) -> Result<Option<Found>, Refusal> {
        let Some(mut head) = self.head(key.as_str()).await? else { return Ok(None) };
        self.may_read();
        if size_of(&head).is_none() {
            // Something between drops Content-Length: unknown is not zero. Once may be a whim.
            let Some(again) = self.head(key.as_str()).await? else { return Ok(None) };
            head = again;
        }
        let size = match size_of(&head) {
            Some(size) => size,
            // Who may not list either does not know.
            None => self.listed_size(key).await.ok().flatten().ok_or_else(Refusal::no_size)?,
        };
        Ok(Some(Found::new(self.bucket(), key, size, head)))
    }

    /// HEAD as it comes; `None` for 404.
    pub(super) async fn head(&self, key: &str) -> Result<Option<HeadObjectOutput>, Refusal> {
        let request = self.0.way.client.head_object().bucket(self.bucket()).key(key);
        match self.ask(StoreOperation::Head, request.send()).await {
            Ok(head) => Ok(Some(head)),
            Err(refusal) if refusal.status() == Some(404) => Ok(None),
            Err(refusal) if refusal.keeps_its_reason() => Err(self.reason_for(refusal, key).await),
            Err(refusal) => Err(refusal),
        }
    }

    /// A HEAD has no body, and so no code: a listing that is refused with the same status has.
    async fn reason_for(&self, mute: Refusal, key: &str) -> Refusal {
        match self.list_page(key, None).await {
            Err(told) if told.status() == mute.status() && !told.keeps_its_reason() => told,
            _ => mute,
        }
    }

    /// The size that a listing tells, of who may list.
    pub(super) async fn listed_size(&self, key: &ObjectKey) -> Result<Option<u64>, Refusal> {
        let (listed, _) = self.list_page(key.as_str(), None).await?;
        Ok(listed.into_iter().find(|object| object.key == key.as_str()).map(|object| object.size))
    }

    /// What the store holds of an object that it has just taken, by HEAD, or by a listing of who may
    /// not; its ETag, if it tells.
    ///
    /// # Errors
    /// Nothing is there, or not as much: what was answered to `taken` was no success.
    pub(super) async fn look_at_new(
        &self,
        taken: StoreOperation,
        new: &NewObject,
        size: u64,
    ) -> Result<Option<String>, Failure> {
        let failed = |refusal| self.failure(refusal);
        let (there, etag, speaks_s3) = match self.look(&new.key).await {
            Ok(None) => (None, None, true),
            Ok(Some(found)) => {
                let speaks_s3 = found.speaks_s3();
                (Some(found.object.size), found.object.etag, speaks_s3)
            }
            Err(refusal) if refusal.status() == Some(403) => {
                let listed = self.listed_size(&new.key).await.map_err(|_| failed(refusal))?;
                (listed, None, true)
            }
            Err(refusal) => return Err(failed(refusal)),
        };
        if there == Some(size) {
            return Ok(etag);
        }
        if !speaks_s3 {
            return Err(failed(Refusal::not_s3(taken)));
        }
        let (class, there) = match there {
            // A store that shows it later, or never: another try finds it, or makes it anew.
            None => (Class::Failure, "nothing".to_owned()),
            // Another try would find it under our name and announce it: people have to look.
            Some(there) => (Class::Permanent, format!("{there} bytes")),
        };
        let bucket = self.bucket();
        let detail = format!("bucket {bucket} made {there} of an object of {size} bytes");
        // S3's own code for a body of another length than announced.
        Err(Failure::new(class, Reason::store("IncompleteBody", 200), detail))
    }

    /// The same as [`Store::look_for`], for who is about to store it. A HEAD that is refused with a
    /// 403 says nothing: what it means to this key is found out.
    pub(super) async fn look_before(
        &self,
        new: &NewObject,
        size: u64,
        sha256: &Sha256Digest,
    ) -> Result<Option<StoredObject>, Failure> {
        let refusal = match self.look(&new.key).await {
            Ok(found) => return self.judge(found, new, size, sha256).await,
            Err(refusal) => refusal,
        };
        if refusal.status() == Some(403) {
            match self.forbidden_is_absent(new).await {
                Ok(true) => return Ok(None),
                Ok(false) => {}
                Err(told) => return Err(told),
            }
        }
        Err(self.failure(refusal))
    }

    /// What is under the key of a new object: nothing, or the same recording.
    ///
    /// # Errors
    /// `store.conflict` if it is another recording, which is not one if it is a ZIP of the same
    /// entries; or the store did not answer.
    pub(super) async fn look_for(
        &self,
        new: &NewObject,
        size: u64,
        sha256: &Sha256Digest,
    ) -> Result<Option<StoredObject>, Failure> {
        let found = self.look(&new.key).await.map_err(|refusal| self.failure(refusal))?;
        self.judge(found, new, size, sha256).await
    }

    async fn judge(
        &self,
        found: Option<Found>,
        new: &NewObject,
        size: u64,
        sha256: &Sha256Digest,
    ) -> Result<Option<StoredObject>, Failure> {
        let Some(found) = found else { return Ok(None) };
        if found.is(&new.identity, size, sha256) || self.packs_the_same(&found, new).await? {
            let object = found.into_object();
            let audio = object.audio.clone().or(new.audio.clone());
            return Ok(Some(StoredObject { audio, ..object }));
        }
        if !found.speaks_s3() {
            return Err(self.failure(Refusal::not_s3(StoreOperation::Head)));
        }
        let (there, bucket) = (found.size(), self.bucket());
        let detail = format!(
            "bucket {bucket} has another recording under this key, of {there} bytes; ours has {size}"
        );
        Err(Failure::permanent(Reason::STORE_CONFLICT, detail))
    }

    /// After a request whose answer was not heard: the object, if it was carried out after all.
    pub(super) async fn look_after(
        &self,
        unheard: Refusal,
        new: &NewObject,
        size: u64,
        sha256: &Sha256Digest,
    ) -> Result<StoredObject, Failure> {
        match self.look_for(new, size, sha256).await {
            Ok(Some(object)) => Ok(object),
            Err(conflict) if conflict.reason == Reason::STORE_CONFLICT => Err(conflict),
            // That something is there was heard; what keeps us from seeing it has to be mended.
            Err(hidden) if unheard.exists() => Err(hidden),
            // The first error is the cause; a second one says nothing new.
            Ok(None) | Err(_) => Err(self.failure(unheard)),
        }
    }
}
