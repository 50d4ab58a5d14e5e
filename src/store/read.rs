//! What an object's own bytes say of it, where its metadata does not: some of its first bytes, some
//! of its last.

use std::time::Duration;

use tokio::time::timeout;

use super::error::Refusal;
use super::look::Found;
use super::{NewObject, Store, StoredObject};
use crate::failure::Failure;
use crate::metrics::StoreOperation;
use crate::recording::{self, Format, ObjectKey, TAIL_BYTES};

/// In so many bytes the header of a WAV is, also behind a chunk of the writer's own.
const HEAD_BYTES: u64 = 16 << 10;

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
        let size = found.size();
        let tail = TAIL_BYTES.min(size);
        if tail == 0 {
            return Ok(false);
        }
        let read = self.read(&new.key, size - tail, tail).await;
        let read = read.map_err(|refusal| self.failure(refusal))?;
        Ok(recording::packed(size, &read).as_ref() == Some(ours))
    }

    /// `length` bytes of an object from `start` on; less where the store breaks off, or is too
    /// slow: what is missing is not there to be compared.
    async fn read(&self, key: &ObjectKey, start: u64, length: u64) -> Result<Vec<u8>, Refusal> {
        let range = format!("bytes={start}-{}", start + length - 1);
        let request = self.0.client.get_object().bucket(self.bucket()).key(key.as_str());
        let answer = self.ask(StoreOperation::Get, request.range(range).send()).await?;
        // A store that knows no ranges sends all of it from its beginning.
        let ranged = answer.content_range.is_some() || start == 0;
        let mut body = answer.body;
        let most = usize::try_from(length).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        let all = async {
            while ranged && bytes.len() < most {
                let Ok(Some(chunk)) = body.try_next().await else { break };
                bytes.extend_from_slice(&chunk[..chunk.len().min(most - bytes.len())]);
            }
        };
        let limit: Duration = self.0.settings.read_timeout;
        if timeout(limit, all).await.is_err() {
            tracing::debug!(bucket = self.bucket(), "the bytes of an object came too slowly");
        }
        Ok(bytes)
    }
}
