//! Uploads that killed workers left open are given back.

use jiff::Timestamp;

use super::Store;
use super::error::Refusal;
use crate::failure::Failure;
use crate::metrics::StoreOperation;

/// An open upload that is old enough.
struct Stale {
    key: String,
    id: String,
}

impl Store {
    /// Aborts the uploads under keys that begin with `prefix` and that were opened before `before`;
    /// says how many.
    ///
    /// # Errors
    /// The store did not list them. One that cannot be aborted is logged and left to the next sweep.
    pub async fn sweep(&self, prefix: &str, before: Timestamp) -> Result<u32, Failure> {
        let mut swept = 0;
        let mut page = None;
        loop {
            let (stale, next) = self
                .list_stale(prefix, before, page)
                .await
                .map_err(|refusal| self.failure(refusal))?;
            for upload in stale {
                swept += u32::from(self.give_back(upload).await);
            }
            let Some(next) = next else { return Ok(swept) };
            page = Some(next);
        }
    }

    /// A page of stale uploads, and the markers of the next one.
    async fn list_stale(
        &self,
        prefix: &str,
        before: Timestamp,
        page: Option<(String, String)>,
    ) -> Result<(Vec<Stale>, Option<(String, String)>), Refusal> {
        let (key_marker, id_marker) = page.unzip();
        let request = self
            .0
            .client
            .list_multipart_uploads()
            .bucket(self.bucket())
            .prefix(prefix)
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker);
        let list = self.ask(StoreOperation::ListMultipart, request.send()).await?;
        let truncated = list.is_truncated == Some(true);
        let next = list.next_key_marker.zip(list.next_upload_id_marker).filter(|_| truncated);
        let stale = list.uploads.unwrap_or_default().into_iter().filter_map(|upload| {
            let (key, id) = upload.key.zip(upload.upload_id)?;
            // Not every store heeds the prefix.
            let old = upload.initiated?.secs() < before.as_second();
            (old && key.starts_with(prefix)).then_some(Stale { key, id })
        });
        Ok((stale.collect(), next))
    }

    async fn give_back(&self, upload: Stale) -> bool {
        let request = self.0.client.abort_multipart_upload().bucket(self.bucket());
        let request = request.key(upload.key).upload_id(upload.id);
        match self.ask(StoreOperation::AbortMultipart, request.send()).await {
            Ok(_) => true,
            // Another worker was quicker.
            Err(refusal) if refusal.upload_gone() => false,
            Err(refusal) => {
                tracing::warn!(bucket = self.bucket(), %refusal, "a stale upload stays open");
                false
            }
        }
    }
}
