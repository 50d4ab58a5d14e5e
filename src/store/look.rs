//! Looking at what is under a key (HEAD), and judging whether it is the same recording.

use std::collections::HashMap;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use jiff::Timestamp;

use super::error::Refusal;
use super::{Identity, NewObject, Sha256Digest, Store, StoredObject, metadata};
use crate::failure::{Failure, Reason};
use crate::metrics::StoreOperation;
use crate::recording::ObjectKey;

/// What a HEAD says of an object.
pub(super) struct Found {
    object: StoredObject,
    metadata: HashMap<String, String>,
}

impl Found {
    fn new(bucket: &str, key: &ObjectKey, head: HeadObjectOutput) -> Self {
        let metadata = head.metadata.unwrap_or_default();
        let modified = head.last_modified.map(|at| Timestamp::from_second(at.secs()));
        let object = StoredObject {
            bucket: bucket.to_owned(),
            key: key.clone(),
            size: head.content_length.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            sha256: metadata::sha256(&metadata),
            etag: head.e_tag,
            version_id: head.version_id,
            content_type: head.content_type,
            last_modified: modified.and_then(Result::ok),
            already_there: true,
        };
        Self { object, metadata }
    }

    pub(super) fn size(&self) -> u64 {
        self.object.size
    }

    /// Whether its metadata names this recording.
    pub(super) fn names(&self, who: &Identity) -> bool {
        metadata::names(&self.metadata, who)
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

impl Store {
    /// The object under `key`, if its metadata names this recording.
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
            Ok(Some(found)) if found.names(who) => Ok(Some(found.object)),
            Ok(_) => Ok(None),
            Err(refusal) if refusal.status() == Some(403) => Ok(None),
            Err(refusal) => Err(self.failure(refusal)),
        }
    }

    /// Asks the bucket for an answer of any kind, with the right that archiving needs least: a HEAD
    /// of a key that nobody uses.
    ///
    /// # Errors
    /// What the store answered, or that it did not.
    pub async fn reach(&self) -> Result<(), Failure> {
        let key = ObjectKey::new(".callvault-probe")?;
        self.look(&key).await.map(drop).map_err(|refusal| self.failure(refusal))
    }

    /// HEAD; `None` for 404.
    pub(super) async fn look(&self, key: &ObjectKey) -> Result<Option<Found>, Refusal> {
        let request = self.0.client.head_object().bucket(self.bucket()).key(key.as_str());
        match self.ask(StoreOperation::Head, request.send()).await {
            Ok(head) => Ok(Some(Found::new(self.bucket(), key, head))),
            Err(refusal) if refusal.status() == Some(404) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// What is under the key of a new object: nothing, or the same recording.
    ///
    /// # Errors
    /// `store.conflict` if it is another recording; or the store did not answer.
    pub(super) async fn look_for(
        &self,
        new: &NewObject,
        size: u64,
        sha256: &Sha256Digest,
    ) -> Result<Option<StoredObject>, Failure> {
        let Some(found) = self.look(&new.key).await.map_err(|refusal| self.failure(refusal))?
        else {
            return Ok(None);
        };
        if found.is(&new.identity, size, sha256) {
            return Ok(Some(found.object));
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
            // The first error is the cause; a second one says nothing new.
            Ok(None) | Err(_) => Err(self.failure(unheard)),
        }
    }
}
