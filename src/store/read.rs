//! What an object's own bytes say of it, where its metadata does not: some of its first bytes, some
//! of its last.

use tokio::time::timeout;

use super::error::Refusal;
use super::look::Found;
use super::trouble::root_cause;
use super::{NewObject, Store, StoredObject};
use crate::failure::{Failure, Reason};
use crate::metrics::StoreOperation;
use crate::recording::{self, Format, Listing, ObjectKey, Packed, TAIL_BYTES};

/// In so many bytes the header of a WAV is, also behind a chunk of the writer's own.
const HEAD_BYTES: u64 = 16 << 10;

/// The longest directory of a ZIP that is read: that of some 150,000 recordings.
const LONGEST_DIRECTORY: u64 = 16 << 20;

impl Store {
    /// The object with what is heard in it. One that an older version stored does not say so in its
    /// metadata; nor does one whose length was not known when its upload began say how long it
    /// lasts.
    pub(super) async fn heard(&self, object: StoredObject) -> StoredObject {
        let known = object.audio.as_ref().is_some_and(|audio| audio.duration_ms.is_some());
        let wav = object.content_type.as_deref() == Some(Format::Wav.content_type());
        if known || !wav || object.size == 0 {
            return object;
        }
        match self.read(&object.key, 0, HEAD_BYTES.min(object.size)).await {
            Ok(head) => {
                let heard = recording::heard(&head, object.size);
                StoredObject { audio: heard.or(object.audio), ..object }
            }
            Err(refusal) => {
                // It is there all the same, which is what was asked.
                let bucket = self.bucket();
                tracing::debug!(bucket, %refusal, "the first bytes of an object were not read");
                object
            }
        }
    }

    /// Whether a ZIP that was found lists the same entries as the one that is to be stored: it was
    /// made anew, with other times in it.
    pub(super) async fn packs_the_same(
        &self,
        found: &Found,
        new: &NewObject,
    ) -> Result<bool, Failure> {
        let Some(ours) = &new.packed else { return Ok(false) };
        match self.packed(&new.key, found.size()).await {
            Ok(theirs) => Ok(theirs.as_ref() == Some(ours)),
            Err(refusal) if refusal.is_frozen() => Err(frozen(self.bucket())),
            Err(refusal) => Err(self.failure(refusal)),
        }
    }

    /// What a ZIP of `size` bytes lists that is there, of whose end a piece is read, and its
    /// directory where that is longer; `None` where it does not tell.
    async fn packed(&self, key: &ObjectKey, size: u64) -> Result<Option<Packed>, Refusal> {
        let tail = TAIL_BYTES.min(size);
        if tail == 0 {
            return Ok(None);
        }
        let read = self.read(key, size - tail, tail).await?;
        let Some(directory) = recording::directory(size, &read) else { return Ok(None) };
        let begun = directory.offset < size - tail;
        if !begun || directory.size > LONGEST_DIRECTORY {
            return Ok(directory.packed);
        }
        let mut listing = Listing::default();
        self.read_into(key, directory.offset, directory.size, |bytes| listing.update(bytes))
            .await?;
        Ok(listing.packed(0, directory.size, directory.entries))
    }

    /// `length` bytes of an object from `start` on.
    ///
    /// # Errors
    /// What the store answered; or fewer came: half of an object says nothing of the whole.
    async fn read(&self, key: &ObjectKey, start: u64, length: u64) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        self.read_into(key, start, length, |more| bytes.extend_from_slice(more)).await?;
        Ok(bytes)
    }

    /// The same, handed out as it comes.
    async fn read_into(
        &self,
        key: &ObjectKey,
        start: u64,
        length: u64,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Refusal> {
        let range = format!("bytes={start}-{}", start + length - 1);
        let request = self.0.way.client.get_object().bucket(self.bucket()).key(key.as_str());
        let answer = self.ask(StoreOperation::Get, request.range(range).send()).await?;
        // A store that knows no ranges sends all of it from its beginning.
        let mut before = match answer.content_range.as_deref().map(first_of) {
            None => start,
            Some(first) if first == Some(start) => 0,
            Some(_) => return Err(Refusal::cut(StoreOperation::Get)),
        };
        let (mut body, mut left) = (answer.body, length);
        while left > 0 {
            let chunk = match timeout(self.0.settings.read_timeout, body.try_next()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Err(Refusal::cut(StoreOperation::Get)),
                Ok(Err(error)) => {
                    let said = root_cause(&error).to_string();
                    return Err(Refusal::broke_off(StoreOperation::Get, said));
                }
                Err(_) => return Err(Refusal::slow(StoreOperation::Get)),
            };
            let skipped = at_most(chunk.len(), before);
            before -= skipped as u64;
            let wanted = &chunk[skipped..];
            let wanted = &wanted[..at_most(wanted.len(), left)];
            take(wanted);
            left -= wanted.len() as u64;
        }
        Ok(())
    }
}

/// The lesser of both.
fn at_most(bytes: usize, most: u64) -> usize {
    usize::try_from(most).map_or(bytes, |most| bytes.min(most))
}

/// Where the bytes of a `Content-Range` begin: `bytes 100-199/200`.
fn first_of(range: &str) -> Option<u64> {
    let (first, _) = range.trim().strip_prefix("bytes")?.trim_start().split_once('-')?;
    first.parse().ok()
}

/// What nobody can look into is not known to be the same.
fn frozen(bucket: &str) -> Failure {
    let detail = format!(
        "bucket {bucket} has a ZIP under this key that its storage class keeps from being read, so \
         that it cannot be compared; restore it and redrive, or ask with force"
    );
    Failure::permanent(Reason::STORE_CONFLICT, detail)
}
