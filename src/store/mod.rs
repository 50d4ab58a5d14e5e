//! The S3-compatible bucket: put, multipart upload, look, sweep. The only code that names the SDK.
//!
//! What comes in is whole and proven (`recording`); what goes out is an object that is stored, or
//! a [`Failure`] that says what that does to the message. It knows no broker and no CC-FS.

mod advice;
mod attributes;
mod check;
mod checksum;
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
mod put;
mod read;
mod signed_body;
mod sweep;
mod trouble;
mod unpacked;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use jiff::Timestamp;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::failure::{Class, Failure, Reason};
use crate::metrics::{Metrics, StoreOperation};
use crate::recording::{Audio, ObjectKey, Packed};
use crate::request::{CallId, FileName, TenantId};

use condition::{Guard, Learnt};
use credentials::Keys;
use error::Refusal;
use http::HttpError;
use sweep::Leftovers;

pub use crate::config::MAX_PARTS;
pub use codes::stops_everything;
pub use list::{Listed, NextPage};
pub use multipart::{Part, Upload};

/// A SHA-256, as bytes.
pub type Sha256Digest = [u8; 32];

/// Whose recording an object is: what its metadata says (contract 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub tenant: TenantId,
    pub call_id: Option<CallId>,
    pub file_name: Option<FileName>,
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

/// A bucket, with one effective `[store]` section; cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    client: Client,
    settings: config::Store,
    part_size: usize,
    keys: Keys,
    learnt: Learnt,
    leftovers: Leftovers,
    /// Aborts under way.
    aborts: TaskTracker,
    metrics: Arc<Metrics>,
}

impl Store {
    /// Builds the client; sends no request.
    ///
    /// # Errors
    /// [`StoreError`] names the key that cannot be used.
    pub fn new(settings: &config::Store, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        let part_size = usize::try_from(settings.part_size)
            .map_err(|_| StoreError::PartSize(settings.part_size))?;
        let (client, keys) = client::build(settings)?;
        Ok(Self(Arc::new(Inner {
            client,
            settings: settings.clone(),
            part_size,
            keys,
            learnt: Learnt::default(),
            leftovers: Leftovers::default(),
            aborts: TaskTracker::new(),
            metrics,
        })))
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
        let answer = Box::pin(request).await.map_err(|error| Refusal::new(operation, error));
        match &answer {
            Ok(_) => self.0.metrics.store_request(operation, "ok"),
            Err(refusal) => {
                self.0.metrics.store_request(operation, &refusal.label());
                if refusal.class() == Class::Refused {
                    self.0.keys.refused();
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
