//! THE LINE: one recording from CC-FS into the bucket and announced.
//!
//! What came before it (parsing, locating) is in `intake`, what a failure does to the message in
//! `outcome`. No AMQP, HTTP or S3 type is named here.

use std::sync::Arc;

use super::Tools;
use super::gate::Pass;
use super::source::{Meter, Source};
use super::stage::Running;
use super::tenant::Tenant;
use super::transfer::{Target, Transferred, transfer};
use crate::ccfs::{Ask, Download};
use crate::clock;
use crate::crash::{self, Point};
use crate::event::{self, ArchivedObject, Event};
use crate::failure::{Class, Failure};
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
        // A key that is too long is so whatever comes: nobody has to be asked.
        self.key("wav")?;
        let mut store = self.tenant.store_gate.enter()?;
        if store.probes() {
            // A store that is still down shows it now, rather than after a download in vain.
            let answer = self.tenant.store.reach().await;
            if answer.as_ref().is_err_and(|down| down.class == Class::Unavailable) {
                store.note(&answer);
                answer?;
            }
        }
        if let Some(found) = self.find(&mut store).await? {
            let object = self.announce(tools, found, None).await?;
            return Ok(Archived { object, downloaded: false });
        }
        let mut ccfs = self.tenant.ccfs_gate.enter()?;
        let source = self.fetch(tools, &mut ccfs).await?;
        let transferred = self.store(tools, source).await;
        ccfs.note(&transferred);
        store.note(&transferred);
        let Transferred { stored, audio } = transferred?;
        let object = self.announce(tools, stored, audio).await?;
        Ok(Archived { object, downloaded: true })
    }

    /// Asks the store for what an earlier try or message has stored.
    async fn find(&self, pass: &mut Pass) -> Result<Option<StoredObject>, Failure> {
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
            let answer = self.tenant.store.find(&key, &identity).await;
            // That nothing is there says nothing of whether anything can be put there.
            if !matches!(answer, Ok(None)) {
                pass.note(&answer);
            }
            if let Some(found) = answer? {
                return Ok(Some(found));
            }
            asked = Some(key);
        }
        Ok(None)
    }

    /// Asks CC-FS, which judges the answer by its status, header and first bytes.
    async fn fetch(&self, tools: &Tools, pass: &mut Pass) -> Result<Source, Failure> {
        let Tenant { ccfs, store, max_size, label, .. } = &*self.tenant;
        let mut stage = Running::start(&tools.metrics, Stage::Download);
        let answer = ccfs.download(&self.ask()).await;
        pass.note(&answer);
        tools.metrics.ccfs_response(*label, code(&answer));
        if answer.is_err() {
            stage.end(&answer);
        }
        let download = answer?;
        crash::point(Point::FirstByte);
        let meter = Meter { metrics: Arc::clone(&tools.metrics), tenant: *label };
        Ok(Source::new(download, stage, meter, store.part_size() as u64, *max_size))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::metrics::Metrics;
    use crate::request::{Hints, Request, parse};
    use crate::worker::Tenants;

    const CONFIG: &str = r#"
        [ccfs]
        endpoints = ["http://127.0.0.1:1"]
        [store]
        bucket = "recordings"
        endpoint = "http://127.0.0.1:1"
        access_key_id = "id"
        secret_access_key = "secret"
        key = "{tenant}/{cc_id}/{yyyy}/{name}.{ext}"
        [[tenants]]
        id = "acme"
        access_key = "AK"
        secret_key = "SK"
        cc_id = "1"
    "#;

    async fn job(body: &str) -> Job {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("callvault.toml");
        std::fs::write(&file, CONFIG).unwrap();
        let config = Config::load(Some(&file), std::iter::empty()).unwrap().config;
        let metrics = Metrics::new(&[], &[], &[]);
        let tenants = Tenants::connect(&config, &metrics).await.unwrap();
        let tenant = Arc::clone(tenants.iter().next().unwrap());
        let Ok(Request::Recording(request)) = parse(body.as_bytes(), Hints::default()) else {
            panic!("one recording is wanted");
        };
        let place = recording::locate(&request.wanted, &tenant.zone, None).unwrap();
        Job { tenant, request, place, seen_before: false, attempts: 1 }
    }

    #[tokio::test]
    async fn the_key_holds_the_call_centre_that_is_asked() {
        let own = r#"{"type":"call.completed","tenant":"acme","callId":"1777093663-1"}"#;
        assert_eq!(job(own).await.key("wav").unwrap().as_str(), "acme/1/2026/1777093663-1.wav");
        let other =
            r#"{"type":"call.completed","tenant":"acme","callId":"1777093663-1","ccId":"2"}"#;
        assert_eq!(job(other).await.key("wav").unwrap().as_str(), "acme/2/2026/1777093663-1.wav");
    }

    #[tokio::test]
    async fn a_key_over_the_limit_is_an_invalid_message() {
        let name = "\u{6c49}".repeat(200);
        let body = format!(
            r#"{{"type":"call.completed","tenant":"acme","callId":"1777093663-1","fileName":"{name}"}}"#
        );
        let failure = job(&body).await.key("wav").unwrap_err();
        assert_eq!(failure.reason.as_str(), "message.invalid");
    }
}
