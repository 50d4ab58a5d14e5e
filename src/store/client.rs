//! The SDK's client from the configuration: credentials, endpoint, timeouts, retries.
//!
//! Nothing of it comes from the environment but, where no key is configured, the credentials.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryPartition;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, IdentityCache, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use super::credentials::Keys;
use super::http::{self, HttpError};
use crate::config;

/// How often a request is sent before its error is ours to judge.
const ATTEMPTS: u32 = 3;

/// What the SDK may wait between all attempts of a request; its backoff is at most 1 s, then 2 s.
const BACKOFF: Duration = Duration::from_secs(5);

/// A body that goes up slower than this, in bytes a second, counts as stalled.
const SLOWEST: u64 = 64 * 1024;

/// The client, and the credentials in it, which want to hear of refusals.
pub(super) fn build(settings: &config::Store) -> Result<(Client, Keys), HttpError> {
    let http = http::client(settings)?;
    let keys = match settings.credentials.clone() {
        Some(keys) => Keys::configured(keys),
        None => Keys::chain(&settings.region, http.clone(), attempt(settings)),
    };
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
        .retry_partition(RetryPartition::new(partition(settings)))
        .timeout_config(timeouts(settings, Duration::ZERO))
        // It kills an upload whose connection pauses for 5 s; the attempt timeout is ours.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // The default sends aws-chunked bodies with trailers, which several stores refuse.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.endpoint_url(endpoint.as_str());
    }
    Ok((Client::from_conf(builder.build()), keys))
}

/// Whose failures use up whose retries: without a name of its own, a store that is down would take
/// them from every other tenant's.
fn partition(settings: &config::Store) -> String {
    let endpoint = settings.endpoint.as_ref().map_or(settings.region.as_str(), url::Url::as_str);
    format!("{endpoint} {}", settings.bucket)
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
