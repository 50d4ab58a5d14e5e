//! THE LINE: one recording from CC-FS into the bucket and announced.
//!
//! What came before it (parsing, locating) is in `intake`, what a failure does to the message in
//! `outcome`. No AMQP, HTTP or S3 type is named here.

use std::sync::Arc;

use super::Tools;
use super::source::{Meter, Source};
use super::stage::Running;
use super::tenant::Tenant;
use super::transfer::{Target, Transferred, transfer};
use crate::ccfs::{Ask, Download};
use crate::clock;
use crate::event::{self, ArchivedObject, Event};
use crate::failure::Failure;
use crate::metrics::{self, Stage};
use crate::recording::{self, Audio, ObjectKey, Place};
use crate::request::{CcId, Echo, RecordingRequest};
use crate::store::{Identity, NewObject, StoredObject};

/// One recording to archive.
pub struct Job {
    pub tenant: Arc<Tenant>,
    pub request: RecordingRequest,
    pub place: Place,
    /// Whether it may have been stored before, so that asking is cheaper than downloading.
    pub seen_before: bool,
    /// Tries that counted, this one included.
    pub attempts: u32,
}

/// What a job has archived.
pub struct Archived {
    pub object: StoredObject,
    /// Whether CC-FS was asked for it this time.
    pub downloaded: bool,
}

impl Job {
    /// Runs the line.
    ///
    /// # Errors
    /// The first stage that failed says why; nothing is visible in the store then, or it is and
    /// the next try finds it.
    pub async fn run(&self, tools: &Tools) -> Result<Archived, Failure> {
        if let Some(found) = self.find().await? {
            let object = self.announce(tools, found, None).await?;
            return Ok(Archived { object, downloaded: false });
        }
        let source = self.fetch(tools).await?;
        let Transferred { stored, audio } = self.store(tools, source).await?;
        let object = self.announce(tools, stored, audio).await?;
        Ok(Archived { object, downloaded: true })
    }

    /// Asks the store for what an earlier try or message has stored.
    async fn find(&self) -> Result<Option<StoredObject>, Failure> {
        if !self.seen_before || self.request.force {
            return Ok(None);
        }
        let identity = self.identity();
        let mut asked = None;
        for extension in recording::likely_extensions(&self.request.wanted) {
            let key = self.key(&extension)?;
            if asked.as_ref() == Some(&key) {
                continue; // The template does not use the extension: one key for all.
            }
            if let Some(found) = self.tenant.store.find(&key, &identity).await? {
                return Ok(Some(found));
            }
            asked = Some(key);
        }
        Ok(None)
    }

    /// Asks CC-FS, which judges the answer by its status, header and first bytes.
    async fn fetch(&self, tools: &Tools) -> Result<Source, Failure> {
        let Tenant { ccfs, store, max_size, label, .. } = &*self.tenant;
        let mut stage = Running::start(&tools.metrics, Stage::Download);
        let answer = ccfs.download(&self.ask()).await;
        tools.metrics.ccfs_response(*label, code(&answer));
        if answer.is_err() {
            stage.end(&answer);
        }
        let meter = Meter { metrics: Arc::clone(&tools.metrics), tenant: *label };
        Ok(Source::new(answer?, stage, meter, store.part_size() as u64, *max_size))
    }

    /// Stores what comes, once it is proven whole.
    async fn store(&self, tools: &Tools, source: Source) -> Result<Transferred, Failure> {
        let format = source.format();
        let extension = recording::extension(format, &self.request.wanted);
        let new = NewObject {
            key: self.key(&extension)?,
            content_type: format.content_type(),
            identity: self.identity(),
            force: self.request.force,
        };
        let store = &self.tenant.store;
        let (budget, metrics) = (&tools.budget, &tools.metrics);
        transfer(source, Target { store, new, budget, metrics }).await
    }

    /// Says that it is there, and returns once the broker has confirmed.
    async fn announce(
        &self,
        tools: &Tools,
        stored: StoredObject,
        audio: Option<Audio>,
    ) -> Result<StoredObject, Failure> {
        let mut stage = Running::start(&tools.metrics, Stage::Announce);
        let event = self.event(&stored, audio);
        let said = tools.publisher.event(&event).await;
        stage.end(&said);
        said?;
        Ok(stored)
    }

    fn event(&self, stored: &StoredObject, audio: Option<Audio>) -> Event {
        let now = clock::now();
        let stored_before = stored.last_modified.filter(|_| stored.already_there);
        event::archived(&event::Archived {
            echo: &Echo::from(&self.request),
            tenant: &self.tenant.id,
            place: &self.place,
            cc_id: self.cc_id(),
            force: self.request.force,
            objects: &[announced(stored, audio)],
            already_archived: stored.already_there,
            attempts: self.attempts,
            archived_at: stored_before.unwrap_or(now),
            now,
        })
    }

    fn cc_id(&self) -> &CcId {
        self.request.wanted.cc_id.as_ref().unwrap_or(&self.tenant.cc_id)
    }

    fn ask(&self) -> Ask<'_> {
        let wanted = &self.request.wanted;
        Ask {
            call_id: wanted.call_id.as_ref(),
            file_name: wanted.file_name.as_ref(),
            cc_id: self.cc_id(),
        }
    }

    fn key(&self, extension: &str) -> Result<ObjectKey, Failure> {
        let Tenant { id, keys, .. } = &*self.tenant;
        keys.key(id, self.cc_id(), &self.request.wanted, &self.place, extension)
    }

    fn identity(&self) -> Identity {
        let wanted = &self.request.wanted;
        Identity {
            tenant: self.tenant.id.clone(),
            call_id: wanted.call_id.clone(),
            file_name: wanted.file_name.clone(),
        }
    }
}

/// `code` of `callvault_ccfs_responses_total`.
fn code(answer: &Result<Download, Failure>) -> &str {
    match answer {
        Ok(_) => metrics::OK,
        Err(failure) => failure.reason.ccfs_code().unwrap_or("other"),
    }
}

fn announced(stored: &StoredObject, audio: Option<Audio>) -> ArchivedObject {
    ArchivedObject {
        bucket: stored.bucket.clone(),
        key: stored.key.clone(),
        size: stored.size,
        sha256: stored.sha256.clone(),
        etag: stored.etag.clone(),
        version_id: stored.version_id.clone(),
        content_type: stored.content_type.clone(),
        audio,
    }
}
