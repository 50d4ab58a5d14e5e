//! THE LINE: one recording from CC-FS into the bucket and announced.
//!
//! What came before it (parsing, locating) is in `intake`, what a failure does to the message in
//! `outcome`. No AMQP, HTTP or S3 type is named here.

use std::sync::Arc;

use tracing::field::display;

use super::ended::Archived;
use super::tools::Tools;
use crate::board::{Progress, Step};
use crate::ccfs::{Ask, Download};
use crate::clock;
use crate::crash::{self, Point};
use crate::event::{self, ArchivedObject, Event};
use crate::failure::{Failure, Unproven};
use crate::metrics::{self, Stage};
use crate::recording::{self, Entry, Format, KeyFolder, Located, ObjectKey, Place};
use crate::request::{CcId, Echo, RecordingRequest};
use crate::store::{Identity, NewObject, StoredObject};
use crate::traces;
use crate::worker::fairness::Question;
use crate::worker::outages::{For, Pass, Waits};
use crate::worker::tenant::Tenant;
use crate::worker::transfer::{
    self, Body, Coming, Running, Shelf, Source, Taken, Target, transfer,
};

/// As what an archive is announced, also where its entries are objects of their own.
const ZIP: &str = "zip";

/// One recording to archive.
pub struct Job {
    pub tenant: Arc<Tenant>,
    pub request: RecordingRequest,
    pub place: Place,
    /// Whether it may have been stored before, so that asking is cheaper than downloading.
    pub seen_before: bool,
    /// Tries that counted, this one included.
    pub attempts: u32,
    /// What is taken though it contradicts itself, if it comes once more.
    pub accepted: Option<Unproven>,
    pub question: Question,
    /// Whom it has waited for.
    pub waits: Waits,
    /// How far it is, for people.
    pub progress: Progress,
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
        let finding = Box::pin(self.find(&mut store));
        let finding = self.waits.during(For::Transfer, finding);
        if let Some((objects, extension)) = finding.await? {
            self.announce(tools, &objects, &extension).await?;
            return Ok(Archived { objects, folder: self.folder(), downloaded: false });
        }
        let ccfs = self.tenant.ccfs_gate.enter()?;
        let source = self.fetch(tools, ccfs).await?;
        let extension = recording::extension(source.format(), &self.request.wanted);
        let storing = Box::pin(self.store(tools, source, &extension));
        let stored = self.waits.during(For::Transfer, storing).await;
        store.note(&stored);
        let objects = stored?;
        self.announce(tools, &objects, &extension).await?;
        Ok(Archived { objects, folder: self.folder(), downloaded: true })
    }

    /// Asks the store for what an earlier try or message has stored, and as what.
    async fn find(&self, pass: &mut Pass) -> Result<Option<(Vec<StoredObject>, String)>, Failure> {
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
            if let Some(found) = answer?.filter(|found| self.may_be_all(found)) {
                let extension = self.extension_of(&found, extension);
                return Ok(Some((vec![found], extension)));
            }
            asked = Some(key);
        }
        if !self.tenant.unpack {
            return Ok(None);
        }
        let answer = self.tenant.store.find_unpacked(&self.folder(), &identity).await;
        if !matches!(answer, Ok(None)) {
            pass.note(&answer);
        }
        let found = answer?.filter(|found| found.len() > 1 || !self.is_of_several());
        Ok(found.map(|found| (found, ZIP.to_owned())))
    }

    /// Whether CC-FS is known to have several files for this call.
    fn is_of_several(&self) -> bool {
        self.request.wanted.expected.is_some_and(|files| files > 1)
    }

    /// A single file does not stand for several.
    fn may_be_all(&self, found: &StoredObject) -> bool {
        let archive = found.content_type.as_deref() == Some(Format::Zip.content_type());
        archive || !self.is_of_several()
    }

    /// As what an object is announced that was found where one of extension `asked` would be.
    fn extension_of(&self, found: &StoredObject, asked: String) -> String {
        if self.tenant.keys.uses_extension() {
            return asked;
        }
        let format = Format::of_content_type(found.content_type.as_deref().unwrap_or_default());
        recording::extension(format, &self.request.wanted)
    }

    /// Asks CC-FS, which judges the answer by its status, header and first bytes.
    async fn fetch(&self, tools: &Tools, mut pass: Pass) -> Result<Source, Failure> {
        let Tenant { ccfs, store, max_size, label: tenant, .. } = &*self.tenant;
        let mut stage = Running::start(&tools.metrics, Stage::Download);
        self.progress.step(Step::Download);
        let ask = self.ask();
        let asking = Box::pin(ccfs.download(&ask, || self.question.asked()));
        let answer = self.waits.during(For::Answer, stage.during(asking)).await;
        self.question.answered();
        if let Some(code) = code(&answer) {
            tools.metrics.ccfs_response(*tenant, code);
        }
        if answer.is_err() {
            pass.note(&answer);
            stage.end(&answer);
        }
        let download = answer?;
        self.question.comes();
        self.progress.comes(download.framing().length());
        crash::point(Point::FirstByte);
        let metrics = Arc::clone(&tools.metrics);
        let (waits, progress) = (self.waits.clone(), self.progress.clone());
        let tenant = *tenant;
        let coming = Coming { download, stage, metrics, tenant, pass, waits, progress, seen: 0 };
        let body = Body::Download(Box::new(coming));
        let source = Source::new(body, store.part_size() as u64, *max_size);
        Ok(source.accepting(self.accepted.clone()))
    }

    /// Stores what comes, once it is proven whole.
    async fn store(
        &self,
        tools: &Tools,
        source: Source,
        extension: &str,
    ) -> Result<Vec<StoredObject>, Failure> {
        let Tenant { store, max_size, unpack, .. } = &*self.tenant;
        let (budget, metrics) = (&tools.budget.of(&self.waits), &tools.metrics);
        let progress = &self.progress;
        let format = source.format();
        let new = self.object(self.key(extension)?, format, None);
        if format != Format::Zip || !*unpack {
            return Ok(vec![
                transfer(source, Target { store, new, budget, metrics, progress }).await?,
            ]);
        }
        let shelf = Shelf { store, budget, metrics, progress };
        let kept = match Box::pin(transfer::take(source, budget, *max_size)).await? {
            Taken::Kept(kept) => kept,
            Taken::Unpacked(archive, entries) => match self.objects(entries) {
                Ok(objects) => return Box::pin(archive.store(objects, shelf)).await,
                Err(too_long) => archive.keep(too_long.detail),
            },
        };
        let tenant = display(&self.tenant.id);
        tracing::warn!(tenant, why = kept.why(), "a ZIP is not unpacked, but stored as it is");
        Ok(vec![Box::pin(kept.store(new, shelf)).await?])
    }

    /// Says that it is there, and returns once the broker has confirmed.
    async fn announce(
        &self,
        tools: &Tools,
        stored: &[StoredObject],
        extension: &str,
    ) -> Result<(), Failure> {
        self.progress.step(Step::Announce);
        let mut stage = Running::start(&tools.metrics, Stage::Announce);
        let saying = stage.during(async { tools.say(&self.event(stored, extension)).await });
        let said = self.waits.during(For::Broker, saying).await;
        stage.end(&said);
        said
    }

    fn event(&self, stored: &[StoredObject], extension: &str) -> Event {
        let now = clock::now();
        let objects: Vec<_> = stored.iter().map(announced).collect();
        let already_archived = stored.iter().all(|object| object.already_there);
        let last_modified = stored.iter().filter_map(|object| object.last_modified).max();
        event::archived(&event::Archived {
            echo: &Echo::from(&self.request),
            tenant: &self.tenant.id,
            place: &self.place,
            extension,
            cc_id: self.cc_id(),
            foreign: self.foreign_cc_id().is_some(),
            force: self.request.force,
            objects: &objects,
            already_archived,
            attempts: self.attempts,
            archived_at: last_modified.filter(|_| already_archived).unwrap_or(now),
            now,
            trace: traces::next().as_ref(),
        })
    }

    /// What each entry of a ZIP becomes.
    fn objects(&self, entries: Vec<Entry>) -> Result<Vec<(Entry, NewObject)>, Failure> {
        let (folder, count) = (self.folder(), entries.len());
        let object = |entry: Entry| {
            let new = self.object(folder.key(&entry.name)?, entry.format, Some(count));
            Ok((entry, new))
        };
        entries.into_iter().map(object).collect()
    }

    fn object(&self, key: ObjectKey, format: Format, entries: Option<usize>) -> NewObject {
        let content_type = format.content_type();
        let force = self.request.force;
        let identity = self.identity();
        let (audio, packed, unproven) = (None, None, None);
        NewObject { key, content_type, identity, entries, audio, packed, unproven, force }
    }

    fn cc_id(&self) -> &CcId {
        self.tenant.cc_id(&self.request.wanted)
    }

    /// That of the message, where it is not the tenant's.
    fn foreign_cc_id(&self) -> Option<&CcId> {
        Some(self.cc_id()).filter(|id| **id != self.tenant.cc_id)
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
        self.tenant.keys.key(self.located(), extension)
    }

    fn folder(&self) -> KeyFolder {
        self.tenant.keys.folder(self.located())
    }

    fn located(&self) -> Located<'_> {
        self.tenant.located(&self.request.wanted, &self.place)
    }

    fn identity(&self) -> Identity {
        let wanted = &self.request.wanted;
        Identity {
            tenant: self.tenant.id.clone(),
            call_id: wanted.call_id.clone(),
            file_name: wanted.file_name.clone(),
            cc_id: self.foreign_cc_id().cloned(),
        }
    }
}

/// `code` of `callvault_ccfs_responses_total`; `None` where it was not for CC-FS to answer.
fn code(answer: &Result<Download, Failure>) -> Option<&str> {
    match answer {
        Ok(_) => Some(metrics::OK),
        Err(failure) => failure.reason.ccfs_code(),
    }
}

fn announced(stored: &StoredObject) -> ArchivedObject {
    ArchivedObject {
        bucket: stored.bucket.clone(),
        key: stored.key.clone(),
        size: stored.size,
        sha256: stored.sha256.clone(),
        etag: stored.etag.clone(),
        version_id: stored.version_id.clone(),
        content_type: stored.content_type.clone(),
        audio: stored.audio.clone(),
        unproven: stored.unproven.clone(),
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
        let metrics = Metrics::new();
        let tenants = Tenants::connect(&config, &metrics, &Arc::default()).unwrap();
        let tenant = Arc::clone(tenants.now().iter().next().unwrap());
        let Ok(Request::Recording(request)) =
            parse(body.as_bytes(), Hints::default(), clock::now())
        else {
            panic!("one recording is wanted");
        };
        let place = recording::locate(&request.wanted, &tenant.zone, None, clock::now()).unwrap();
        Job {
            tenant,
            request,
            place,
            seen_before: false,
            attempts: 1,
            accepted: None,
            question: Question::default(),
            waits: Waits::default(),
            progress: Progress::default(),
        }
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
