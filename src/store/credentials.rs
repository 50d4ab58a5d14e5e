//! What requests are signed with: the configured keys, or what the SDK's own chain finds.
//!
//! Both are read anew when they were rotated: nothing of it needs a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::config::{Region, SharedHttpClient};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::clock;
use crate::config::{SecretError, StoreCredentials, is_visible};

/// After a refusal the chain is asked at most this often, as a secret's file is (contract 6).
const REREAD_AFTER: Duration = Duration::from_secs(30);
/// How long what does not expire is used before the chain is asked again.
const LONGEST_USE: Duration = Duration::from_secs(15 * 60);
/// Credentials that expire sooner are replaced before.
const TOO_SOON: SignedDuration = SignedDuration::from_secs(60);
/// How long a `credential_process` or a metadata service may take at most.
const LOADING: Duration = Duration::from_secs(20);
/// How long nobody asks again after there were none: whoever waited meanwhile has the same answer.
const NONE_FOR: Duration = Duration::from_secs(5);

/// Where the credentials come from.
#[derive(Clone, Debug)]
pub(super) enum Keys {
    Configured(StoreCredentials),
    /// With the time that whoever asks it has.
    Chain(Arc<Chain>, Duration),
}

impl Keys {
    pub(super) fn configured(keys: StoreCredentials) -> Self {
        Self::Configured(keys)
    }

    /// `patience`: how long who wants to send a request waits for all of it.
    pub(super) fn chain(chain: Arc<Chain>, patience: Duration) -> Self {
        // The end has to come in time, or it is taken for the store's.
        Self::Chain(chain, LOADING.min(patience / 2))
    }

    /// The store refused them: they are to be read again.
    pub(super) fn refused(&self) {
        match self {
            Self::Configured(keys) => {
                keys.access_key_id.refresh_after_refusal();
                keys.secret_access_key.refresh_after_refusal();
                keys.session_token.iter().for_each(|token| token.refresh_after_refusal());
            }
            Self::Chain(chain, _) => chain.refused.store(true, Ordering::Relaxed),
        }
    }
}

impl ProvideCredentials for Keys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        match self {
            Self::Configured(keys) => future::ProvideCredentials::ready(
                read(keys)
                    .map_err(CredentialsError::provider_error)
                    .and_then(|found| sendable(found).map_err(Why::error)),
            ),
            Self::Chain(chain, patience) => {
                future::ProvideCredentials::new(chain.credentials(*patience))
            }
        }
    }
}

/// The configured keys; a [`crate::config::Secret`] caches its file itself.
fn read(keys: &StoreCredentials) -> Result<Credentials, SecretError> {
    let id = keys.access_key_id.read()?;
    let secret = keys.secret_access_key.read()?;
    let token = keys.session_token.as_ref().map(|token| token.read()).transpose()?;
    let token = token.map(|token| token.expose_secret().to_owned());
    Ok(Credentials::new(id.expose_secret(), secret.expose_secret(), token, None, "callvault"))
}

/// What no header takes is refused here: the SDK panics at such an id (aws-runtime 1.x, `calculate_signing_headers`),
/// in whatever task has sent the request.
fn sendable(credentials: Credentials) -> Result<Credentials, Why> {
    let sent = [Some(credentials.access_key_id()), credentials.session_token()];
    if sent.into_iter().flatten().all(is_visible) { Ok(credentials) } else { Err(Why::Garbled) }
}

/// The SDK's own chain: environment, profile with its `credential_process`, web identity, container,
/// instance metadata.
///
/// The SDK reads a profile's files once, and keeps what came of it: whoever rotates them would have
/// to restart us. So the chain is built anew whenever credentials are wanted anew; all who use it
/// share what came of that.
#[derive(Debug)]
pub(super) struct Chain {
    region: Region,
    http: SharedHttpClient,
    refused: AtomicBool,
    /// Whoever needs new ones waits for the one who asks.
    known: Mutex<Asked>,
}

/// What the last one who asked has found.
#[derive(Debug, Default)]
struct Asked {
    known: Option<Known>,
    /// When there were none, and why.
    none: Option<(Instant, Why)>,
}

/// Why there are no credentials: the kind of an error. Its text may quote what a program printed,
/// or hold what a service answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Why {
    #[error("none are configured, nor found")]
    Nowhere,
    #[error("none came in time")]
    Late,
    #[error("what names them is wrong")]
    Configuration,
    #[error("who is to give them failed")]
    Failed,
    #[error(
        "the key's id or the token holds a blank, a control character or a letter that is not ASCII"
    )]
    Garbled,
}

impl Why {
    fn of(error: &CredentialsError) -> Self {
        match error {
            CredentialsError::CredentialsNotLoaded(_) => Self::Nowhere,
            CredentialsError::ProviderTimedOut(_) => Self::Late,
            CredentialsError::InvalidConfiguration(_) => Self::Configuration,
            _ => Self::Failed,
        }
    }

    fn error(self) -> CredentialsError {
        CredentialsError::provider_error(self)
    }
}

#[derive(Debug)]
struct Known {
    credentials: Credentials,
    asked_at: Instant,
}

impl Known {
    fn is_good(&self, refused: bool, now: Timestamp) -> bool {
        let age = self.asked_at.elapsed();
        let stale = age >= LONGEST_USE || (refused && age >= REREAD_AFTER);
        // What expires is asked for again in time, and not in every request of its last minute.
        let expires = self.expires_within(TOO_SOON, now) && age >= REREAD_AFTER;
        !stale && !expires && !self.expires_within(SignedDuration::ZERO, now)
    }

    fn expires_within(&self, time: SignedDuration, now: Timestamp) -> bool {
        let expiry = self.credentials.expiry().and_then(|at| Timestamp::try_from(at).ok());
        expiry.is_some_and(|at| at.duration_since(now) <= time)
    }
}

impl Chain {
    pub(super) fn new(region: &str, http: SharedHttpClient) -> Self {
        let region = Region::new(region.to_owned());
        Self { region, http, refused: AtomicBool::new(false), known: Mutex::default() }
    }

    async fn credentials(&self, patience: Duration) -> Result<Credentials, CredentialsError> {
        let mut asked = self.known.lock().await;
        let refused = self.refused.load(Ordering::Relaxed);
        if let Some(known) = &asked.known
            && known.is_good(refused, clock::now())
        {
            return Ok(known.credentials.clone());
        }
        if let Some((at, why)) = asked.none
            && at.elapsed() < NONE_FOR
        {
            return Err(why.error());
        }
        let asked_at = Instant::now();
        // A task of its own: the chain's futures are deep, and polled inside a job's they have been
        // seen to overflow a stack.
        let loading =
            AbortOnDropHandle::new(tokio::spawn(ask(self.region.clone(), self.http.clone())));
        let loaded = match timeout(patience, loading).await {
            Ok(Ok(loaded)) => loaded.map_err(|error| Why::of(&error)).and_then(sendable),
            Ok(Err(_panicked)) => Err(Why::Failed),
            Err(_) => Err(Why::Late),
        };
        match (loaded, &mut asked.known) {
            (Ok(credentials), known) => {
                self.refused.store(false, Ordering::Relaxed);
                *known = Some(Known { credentials: credentials.clone(), asked_at });
                asked.none = None;
                Ok(credentials)
            }
            // A file may be half-written, a service away for a moment.
            (Err(why), Some(known))
                if !known.expires_within(SignedDuration::ZERO, clock::now()) =>
            {
                tracing::warn!(%why, "no new credentials of the store; keeping those from before");
                known.asked_at = asked_at;
                Ok(known.credentials.clone())
            }
            (Err(why), _) => {
                tracing::warn!(
                    %why,
                    "no credentials of the store; a credential_process says more where it is run \
                     by hand"
                );
                asked.none = Some((Instant::now(), why));
                Err(why.error())
            }
        }
    }
}

async fn ask(region: Region, http: SharedHttpClient) -> Result<Credentials, CredentialsError> {
    // Its clones share the profile that one of them has read, so it is made anew, too.
    let config = ProviderConfig::default().with_region(Some(region)).with_http_client(http);
    let chain = DefaultCredentialsChain::builder().configure(config).build().await;
    chain.provide_credentials().await
}
