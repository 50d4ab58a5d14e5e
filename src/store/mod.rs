//! The S3-compatible bucket: put, multipart upload, look, sweep. The only code that names the SDK.
//!
//! What comes in is whole and proven (`recording`); what goes out is an object that is stored, or
//! a [`Failure`] that says what that does to the message. It knows no broker and no CC-FS.

mod advice;
mod attributes;
mod check;
mod client;
mod codes;
mod condition;
mod credentials;
mod error;
mod http;
mod list;
mod look;
mod metadata;
mod multipart;
mod payload;
mod prefixes;
mod proof;
mod put;
mod read;
mod signed_body;
mod sweep;
mod traced;
mod trouble;
mod unpacked;
mod verified;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use jiff::Timestamp;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::failure::{Class, Failure, Reason};
use crate::metrics::{Metrics, StoreOperation};
use crate::recording::{Audio, ObjectKey, Packed};
use crate::request::{CallId, CcId, FileName, TenantId};
use crate::shared::Shared;

use client::{Clients, Connected};
use condition::{Guard, Learnt};
use error::Refusal;
use http::HttpError;
use sweep::Leftovers;
use verified::Verifying;

pub use crate::config::MAX_PARTS;
pub use codes::stops_everything;
pub use list::{Listed, NextPage};
pub use multipart::{Part, Upload};
pub use payload::{Payload, Summing, Sums};
pub use prefixes::Prefixes;

/// A SHA-256, as bytes.
pub type Sha256Digest = [u8; 32];

/// Whose recording an object is: what its metadata says (contract 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub tenant: TenantId,
    pub call_id: Option<CallId>,
    pub file_name: Option<FileName>,
    /// Where it is not the tenant's own: another call centre may have given the same names.
    pub cc_id: Option<CcId>,
}

/// An object that is to be.
#[derive(Clone, Debug)]
pub struct NewObject {
    pub key: ObjectKey,
    pub content_type: &'static str,
    pub identity: Identity,
    /// Of an entry of a ZIP: how many there are.
    pub entries: Option<usize>,
    /// What is heard in it, as far as that is known before it is sent.
    pub audio: Option<Audio>,
    /// Of a ZIP: what it lists.
    pub packed: Option<Packed>,
    /// What CC-FS itself has wrong in it.
    pub unproven: Option<Reason>,
    /// Overwrites what is there.
    pub force: bool,
}

/// An object that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    pub bucket: String,
    pub key: ObjectKey,
    /// Bytes.
    pub size: u64,
    /// Of the content, as hex; an object that was already there may carry none.
    pub sha256: Option<String>,
    pub etag: Option<String>,
    pub version_id: Option<String>,
    pub content_type: Option<String>,
    pub audio: Option<Audio>,
    /// What CC-FS itself has wrong in it.
    pub unproven: Option<Reason>,
    /// Known of objects that were already there.
    pub last_modified: Option<Timestamp>,
    /// Another try or message had stored it.
    pub already_there: bool,
}

/// Why there is no client for the configuration.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// More than memory can address.
    #[error("store.part_size: {0} bytes are more than this machine can hold")]
    PartSize(u64),
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// All stores that there are: those of equal settings are one, and go by one client as far as they
/// are reached in the same way.
#[derive(Debug)]
pub struct Stores {
    clients: Clients,
    known: Shared<(config::Store, http::Settings), Inner>,
    /// Aborts under way.
    aborts: TaskTracker,
    metrics: Arc<Metrics>,
}

/// A bucket, with one effective `[store]` section; cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    way: Arc<Connected>,
    settings: config::Store,
    part_size: usize,
    learnt: Learnt,
    verifying: Verifying,
    leftovers: Leftovers,
    /// Aborts under way.
    aborts: TaskTracker,
    metrics: Arc<Metrics>,
}

impl Stores {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let (clients, known) = (Clients::default(), Shared::default());
        Self { clients, known, aborts: TaskTracker::new(), metrics }
    }

    /// The store of these settings; sends no request.
    ///
    /// # Errors
    /// [`StoreError`] names the key that cannot be used.
    pub fn store(&self, settings: &config::Store) -> Result<Store, StoreError> {
        // A file that the settings name may have changed where they have not.
        let by = http::Settings::of(settings)?;
        let store = self.known.get((settings.clone(), by), |(settings, by)| {
            let part_size = usize::try_from(settings.part_size)
                .map_err(|_| StoreError::PartSize(settings.part_size))?;
            Ok(Inner {
                way: self.clients.client(settings, by)?,
                settings: settings.clone(),
                part_size,
                learnt: Learnt::default(),
                verifying: Verifying::default(),
                leftovers: Leftovers::default(),
                aborts: self.aborts.clone(),
                metrics: Arc::clone(&self.metrics),
            })
        });
        store.map(Store)
    }

    /// Waits for the aborts that dropped uploads have started; each is bounded by its timeout.
    pub async fn settle_aborts(&self) {
        self.aborts.close();
        self.aborts.wait().await;
        self.aborts.reopen();
    }
}

impl Store {
    /// The only one of its kind; sends no request.
    ///
    /// # Errors
    /// [`StoreError`] names the key that cannot be used.
    pub fn new(settings: &config::Store, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        Stores::new(metrics).store(settings)
    }

    /// Whether both are the same, and not merely alike.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Tells buckets apart, and the keys that they are seen with.
    pub fn view(&self) -> (usize, &str) {
        (Arc::as_ptr(&self.0.way).addr(), self.bucket())
    }

    pub fn bucket(&self) -> &str {
        &self.0.settings.bucket
    }

    /// Where it is: `{endpoint or region}/{bucket}`.
    pub fn place(&self) -> String {
        self.0.settings.place()
    }

    /// Host and port, for people.
    fn address(&self) -> String {
        let settings = &self.0.settings;
        let at = match &settings.endpoint {
            Some(url) => config::host_and_port(url),
            None => format!("no store.endpoint is set, so this is AWS ({})", settings.region),
        };
        match &settings.proxy {
            Some(proxy) => format!("{at}, by the proxy {}", config::host_and_port(proxy)),
            None => at,
        }
    }

    /// Bytes of a part, and the most that is put in one request.
    pub fn part_size(&self) -> usize {
        self.0.part_size
    }

    /// Waits for the aborts that dropped uploads have started; each is bounded by its timeout.
    pub async fn settle_aborts(&self) {
        self.0.aborts.close();
        self.0.aborts.wait().await;
        self.0.aborts.reopen();
    }

    /// The one way to the store: every request is counted, and a refused key is read again.
    async fn ask<T, E>(
        &self,
        operation: StoreOperation,
        request: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, Refusal>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        // The SDK's futures are some KiB each; boxed, they do not swell every future around them.
        let span = self.asking(operation);
        let answer = Box::pin(request).await.map_err(|error| Refusal::new(operation, error));
        traced::answered(&span, operation, &answer);
        match &answer {
            Ok(_) => self.0.metrics.store_request(operation, "ok"),
            Err(refusal) => {
                self.0.metrics.store_request(operation, &refusal.label());
                if refusal.class() == Class::Refused {
                    self.0.way.keys.refused();
                }
            }
        }
        answer
    }

    fn failure(&self, refusal: Refusal) -> Failure {
        refusal.into_failure(self.bucket(), &self.address())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.bucket())
    }
}
