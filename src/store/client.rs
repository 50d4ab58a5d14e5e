//! The SDK's client from the configuration: credentials, endpoint, timeouts, retries.
//!
//! Nothing of it comes from the environment but, where no key is configured, the credentials.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryPartition;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, IdentityCache, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use url::Url;

use super::credentials::{Chain, Keys};
use super::http::{self, HttpError};
use crate::config::{self, StoreCredentials};
use crate::shared::Shared;

/// How often a request is sent before its error is ours to judge.
const ATTEMPTS: u32 = 3;

/// What the SDK may wait between all attempts of a request; its backoff is at most 1 s, then 2 s.
const BACKOFF: Duration = Duration::from_secs(5);

/// A body that goes up slower than this, in bytes a second, counts as stalled.
const SLOWEST: u64 = 64 * 1024;

/// All clients that there are: stores of equal settings are asked by the same.
#[derive(Debug, Default)]
pub(super) struct Clients {
    connections: Shared<http::Settings, SharedHttpClient>,
    chains: Shared<(String, http::Settings), Chain>,
    clients: Shared<Settings, Connected>,
}

/// A client, and the credentials in it, which want to hear of refusals.
pub(super) struct Connected {
    pub client: Client,
    pub keys: Keys,
}

/// What makes one client another: how a store is reached, and as whom; neither its bucket nor what
/// is put there.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Settings {
    endpoint: Option<Url>,
    region: String,
    path_style: bool,
    credentials: Option<StoreCredentials>,
    http: http::Settings,
    connect_timeout: Duration,
    read_timeout: Duration,
}

impl Clients {
    /// Connects nowhere yet.
    pub(super) fn client(
        &self,
        store: &config::Store,
        http: &http::Settings,
    ) -> Result<Arc<Connected>, HttpError> {
        let settings = Settings {
            endpoint: store.endpoint.clone(),
            region: store.region.clone(),
            path_style: store.path_style,
            credentials: store.credentials.clone(),
            http: http.clone(),
            connect_timeout: store.connect_timeout,
            read_timeout: store.read_timeout,
        };
        self.clients.get(settings, |settings| {
            let http = self.http(settings.http.clone())?;
            let keys = match settings.credentials.clone() {
                Some(keys) => Keys::configured(keys),
                None => Keys::chain(self.chain(settings)?, attempt(store)),
            };
            let client = build(store, http, &keys);
            Ok(Connected { client, keys })
        })
    }

    fn chain(&self, settings: &Settings) -> Result<Arc<Chain>, HttpError> {
        let way = (settings.region.clone(), settings.http.clone().of_any_server());
        self.chains.get(way, |(region, way)| Ok(Chain::new(region, self.http(way.clone())?)))
    }

    fn http(&self, settings: http::Settings) -> Result<SharedHttpClient, HttpError> {
        self.connections.get(settings, http::connections).map(http::client)
    }
}

fn build(settings: &config::Store, http: SharedHttpClient, keys: &Keys) -> Client {
    let mut builder = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .force_path_style(settings.path_style)
        .disable_s3_express_session_auth(true)
        .http_client(http)
        .credentials_provider(keys.clone())
        // Both kinds keep a cache of their own; the SDK's would hide what was rotated for 15 min.
        .identity_cache(IdentityCache::no_cache())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .retry_partition(partition(settings))
        .timeout_config(timeouts(settings, Duration::ZERO))
        // It kills an upload whose connection pauses for 5 s; the attempt timeout is ours.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // The default sends aws-chunked bodies with trailers, which several stores refuse.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.endpoint_url(endpoint.as_str());
    }
    Client::from_conf(builder.build())
}

/// Whose failures use up whose retries: without a name of its own, a store that is down would take
/// them from every other.
fn partition(settings: &config::Store) -> RetryPartition {
    let endpoint = settings.endpoint.as_ref().map_or(settings.region.as_str(), Url::as_str);
    RetryPartition::new(endpoint.to_owned())
}

/// What is other for a request with a body of `extra` to send: a bucket that takes no more uses up
/// nobody else's retries.
pub(super) fn own(settings: &config::Store, extra: Duration) -> Builder {
    Builder::new()
        .timeout_config(timeouts(settings, extra))
        .retry_partition(RetryPartition::new(settings.place()))
}

/// The timeouts of a request that may take `extra` on top of the time to its answer.
///
/// The SDK's read timeout covers the sending of the body too and is part of the connection pool's
/// identity, so the time to the first byte is bounded by the attempt's timeout instead.
pub(super) fn timeouts(settings: &config::Store, extra: Duration) -> TimeoutConfig {
    let attempt = attempt(settings) + extra;
    TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout)
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt * ATTEMPTS + BACKOFF)
        .build()
}

/// How long a request without a body may take once.
fn attempt(settings: &config::Store) -> Duration {
    settings.connect_timeout + settings.read_timeout
}

/// How long the sending of `body` bytes may take.
pub(super) fn sending(body: usize) -> Duration {
    Duration::from_millis((body as u64).saturating_mul(1000) / SLOWEST)
}
