//! Uploads that killed workers left open are given back.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;

use super::Store;
use super::error::Refusal;
use super::list::moved_on;
use super::prefixes::Prefixes;
use crate::failure::Failure;
use crate::metrics::StoreOperation;
use crate::recording::ObjectKey;

/// The most keys that are remembered to be swept one by one.
const MOST_KEYS: usize = 1000;

/// Where a listing goes on: at a key, and at an upload of it where the store tells which.
type Markers = (Option<String>, Option<String>);

/// An open upload that is old enough.
struct Stale {
    key: String,
    id: String,
}

/// What a listing of open uploads does not show, as MinIO's does not.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// Whether it shows them by their whole key alone; found out by the first upload. Not so of a
    /// store that shows nobody, or not us, which uploads are open: nothing is found there either way.
    by_whole_key: OnceLock<bool>,
    /// Keys under which others have left uploads open, the oldest first.
    keys: Mutex<VecDeque<String>>,
}

impl Leftovers {
    fn note(&self, key: &str) {
        let mut keys = self.keys();
        if keys.iter().any(|known| known == key) {
            return;
        }
        keys.push_back(key.to_owned());
        if keys.len() > MOST_KEYS {
            keys.pop_front();
        }
    }

    /// Who may not list open uploads, or whose store does not, need not ask at each of their own.
    fn refused(&self, refusal: &Refusal) {
        if matches!(refusal.status(), Some(403 | 405 | 501)) {
            // Another may have found something out meanwhile.
            let _ = self.by_whole_key.set(false);
        }
    }

    fn of(&self, ours: &Prefixes) -> Vec<String> {
        self.keys().iter().filter(|key| ours.hold(key)).cloned().collect()
    }

    fn forget(&self, key: &str) {
        self.keys().retain(|known| known != key);
    }

    fn keys(&self) -> MutexGuard<'_, VecDeque<String>> {
        // It is whole between any two of its changes.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Aborts the uploads under keys of ours that were opened before `before`; says how many. They
    /// are listed once, for all tenants.
    ///
    /// # Errors
    /// The store did not list them. One that cannot be aborted is logged and left to the next sweep.
    pub async fn sweep(&self, ours: &Prefixes, before: Timestamp) -> Result<u32, Failure> {
        let mut swept = 0;
        let mut page = None;
        loop {
            let (stale, next) = self
                .list_stale(ours.common(), before, page)
                .await
                .map_err(|refusal| self.failure(refusal))?;
            // Not every store heeds the prefix.
            for upload in stale.into_iter().filter(|upload| ours.hold(&upload.key)) {
                swept += u32::from(self.give_back(upload).await == Some(true));
            }
            let Some(next) = next else { break };
            page = Some(next);
        }
        Ok(swept + self.sweep_noted(ours, before).await?)
    }

    /// The same of those that a listing does not show, as far as this store has noted their keys.
    ///
    /// # Errors
    /// As of [`Self::sweep`].
    pub async fn sweep_noted(&self, ours: &Prefixes, before: Timestamp) -> Result<u32, Failure> {
        let mut swept = 0;
        for key in self.0.leftovers.of(ours) {
            let failed = |refusal| self.failure(refusal);
            let (stale, _) = self.list_stale(&key, before, None).await.map_err(failed)?;
            let mut gone = !stale.is_empty();
            for upload in stale.into_iter().filter(|upload| ours.hold(&upload.key)) {
                let given_back = self.give_back(upload).await;
                gone &= given_back.is_some();
                swept += u32::from(given_back == Some(true));
            }
            if gone {
                self.0.leftovers.forget(&key);
            }
        }
        Ok(swept)
    }

    /// Notes what was left open under the key of upload `id`, which has just been opened, where a
    /// sweep would not find it. That costs one request, once, where a listing is as it should be.
    pub(super) async fn look_for_leftovers(&self, key: &ObjectKey, id: &str) {
        let leftovers = &self.0.leftovers;
        let by_whole_key = leftovers.by_whole_key.get();
        if by_whole_key == Some(&false) {
            return;
        }
        let key = key.as_str();
        if by_whole_key.is_none() {
            let most_of_it = key.char_indices().next_back().map_or("", |(last, _)| &key[..last]);
            match self.open_uploads(most_of_it).await {
                Ok(open) if open.iter().any(|open| open == id) => {
                    // Another may have found it out meanwhile.
                    let _ = leftovers.by_whole_key.set(false);
                    return;
                }
                Ok(_) => {}
                Err(refusal) => return leftovers.refused(&refusal),
            }
        }
        let open = match self.open_uploads(key).await {
            Ok(open) => open,
            Err(refusal) => return leftovers.refused(&refusal),
        };
        if !open.iter().any(|open| open == id) {
            return;
        }
        if leftovers.by_whole_key.set(true).is_ok() {
            let bucket = self.bucket();
            tracing::warn!(
                bucket,
                "the store lists open uploads by their whole key alone: those of killed workers \
                 are swept where the same key is uploaded again; have the store expire others"
            );
        }
        if open.len() > 1 {
            leftovers.note(key);
        }
    }

    /// The ids of open uploads under keys that begin with `prefix`: a page of them.
    pub(super) async fn open_uploads(&self, prefix: &str) -> Result<Vec<String>, Refusal> {
        let list = self.0.way.client.list_multipart_uploads().bucket(self.bucket()).prefix(prefix);
        let list = self.ask(StoreOperation::ListMultipart, list.send()).await?;
        let uploads = list.uploads.unwrap_or_default().into_iter();
        Ok(uploads.filter_map(|upload| upload.upload_id).collect())
    }

    /// A page of stale uploads, and the markers of the next one.
    async fn list_stale(
        &self,
        prefix: &str,
        before: Timestamp,
        page: Option<Markers>,
    ) -> Result<(Vec<Stale>, Option<Markers>), Refusal> {
        let from = page.clone();
        let (key_marker, id_marker) = page.unwrap_or_default();
        let request = self
            .0
            .way
            .client
            .list_multipart_uploads()
            .bucket(self.bucket())
            .prefix(prefix)
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker);
        let list = self.ask(StoreOperation::ListMultipart, request.send()).await?;
        let next = match list.is_truncated {
            Some(true) => {
                let to = (filled(list.next_key_marker), filled(list.next_upload_id_marker));
                let to = (to != Markers::default()).then_some(to);
                moved_on(StoreOperation::ListMultipart, &from, to)?
            }
            _ => None,
        };
        let stale = list.uploads.unwrap_or_default().into_iter().filter_map(|upload| {
            let (key, id) = upload.key.zip(upload.upload_id)?;
            let old = upload.initiated?.secs() < before.as_second();
            old.then_some(Stale { key, id })
        });
        Ok((stale.collect(), next))
    }

    /// Whether it was us who aborted it; `None`: it stays open.
    async fn give_back(&self, upload: Stale) -> Option<bool> {
        let request = self.0.way.client.abort_multipart_upload().bucket(self.bucket());
        let request = request.key(upload.key).upload_id(upload.id);
        match self.ask(StoreOperation::AbortMultipart, request.send()).await {
            Ok(_) => Some(true),
            // Another worker was quicker.
            Err(refusal) if refusal.upload_gone() => Some(false),
            Err(refusal) => {
                tracing::warn!(bucket = self.bucket(), %refusal, "a stale upload stays open");
                None
            }
        }
    }
}

fn filled(marker: Option<String>) -> Option<String> {
    marker.filter(|marker| !marker.is_empty())
}
