//! The configuration (contract 6): every key typed, validated and with its default, in one place.
//!
//! Only `cli` sees [`Config`] whole; the parts of the program get their own section.

mod secret;
mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::failure::Class;
use crate::request::{CcId, TenantId};

pub use secret::{Secret, SecretError};
pub use units::show_duration;

/// Everything an operator can set.
#[derive(Clone, Debug)]
pub struct Config {
    pub broker: Broker,
    pub worker: Worker,
    pub retry: Retry,
    pub http: Http,
    pub log: Log,
    /// In the order of the file, ids unique, at least one.
    pub tenants: Vec<Tenant>,
}

/// `[broker]`: RabbitMQ.
#[derive(Clone, Debug)]
pub struct Broker {
    /// amqp:// or amqps:// URLs, tried in order; secret, since they carry passwords.
    pub urls: Vec<Secret>,
    pub ca_file: Option<PathBuf>,
    pub client_cert_file: Option<PathBuf>,
    pub client_key_file: Option<PathBuf>,
    pub queue_prefix: String,
    pub calls_exchange: String,
    pub events_exchange: String,
    pub declare: bool,
    pub delivery_limit: u32,
    /// Whole seconds, as AMQP counts them.
    pub heartbeat: Duration,
    pub events_mandatory: bool,
}

/// `[worker]`: how much at once, and for how long.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Jobs in flight.
    pub concurrency: usize,
    /// Share of `concurrency` that bulk jobs may hold while live jobs wait, in (0, 1].
    pub bulk_share: f64,
    /// Share of `concurrency` that one of several tenants may hold, in (0, 1].
    pub tenant_share: f64,
    /// Bytes of all transfer buffers together; at least one part of every tenant.
    pub memory: u64,
    pub job_deadline: Duration,
    pub drain_timeout: Duration,
}

/// `[ccfs]`, and per tenant `[tenants.ccfs]` over it.
#[derive(Clone, Debug)]
pub struct Ccfs {
    /// Base URLs (scheme, host, port), tried in order when one cannot be reached.
    pub endpoints: Vec<url::Url>,
    pub ca_file: Option<PathBuf>,
    pub proxy: Option<url::Url>,
    /// The Host sent and signed; empty in the file: the endpoint's own.
    pub host: Option<String>,
    pub connect_timeout: Duration,
    /// To the first byte of the answer, and between two chunks.
    pub read_timeout: Duration,
    /// Bytes.
    pub max_size: u64,
    /// Extends the vendor's table: result code to class.
    pub result_codes: BTreeMap<String, Class>,
}

/// `[store]`, and per tenant `[tenants.store]` over it.
#[derive(Clone, Debug)]
pub struct Store {
    pub bucket: String,
    /// `None`: AWS.
    pub endpoint: Option<url::Url>,
    pub region: String,
    pub path_style: bool,
    /// `None`: the SDK's own credential chain.
    pub credentials: Option<StoreCredentials>,
    /// The key template, checked by `recording::KeyTemplate`.
    pub key: String,
    /// Bytes, 5 MiB to 5 GiB: S3's limits of a part.
    pub part_size: u64,
    pub checksum: Checksum,
    pub conditional: Conditional,
    pub zip: ZipMode,
    pub storage_class: Option<String>,
    pub sse: Option<Sse>,
    pub tags: BTreeMap<String, String>,
    pub object_lock: Option<ObjectLock>,
    pub connect_timeout: Duration,
    pub read_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct StoreCredentials {
    pub access_key_id: Secret,
    pub secret_access_key: Secret,
}

/// The store's own checksum, sent besides the signed hash of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    None,
    Md5,
    Crc64Nvme,
}

/// Whether objects are created with `If-None-Match: *`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditional {
    /// Used unless the store says that it cannot.
    Auto,
    Always,
    Never,
}

/// What is stored of a ZIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZipMode {
    /// The ZIP itself. (`unpack` is refused until it is built.)
    Keep,
}

/// Server-side encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sse {
    Aes256,
    /// `aws:kms`, with the key's id or the account's default key.
    Kms {
        key_id: Option<String>,
    },
}

/// Object-lock retention; needs a [`Checksum`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectLock {
    pub days: u32,
    pub mode: LockMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    Governance,
    Compliance,
}

/// `[retry]`: the ladder and its ends.
#[derive(Clone, Debug)]
pub struct Retry {
    /// At least one; the last one repeats.
    pub delays: Vec<Duration>,
    pub max_attempts: u32,
    pub max_age: Duration,
    pub not_ready_window: Duration,
    pub breaker_failures: u32,
    pub breaker_window: Duration,
}

/// `[http]`: probes and metrics.
#[derive(Clone, Debug)]
pub struct Http {
    pub listen: SocketAddr,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    pub format: LogFormat,
    /// An `EnvFilter` directive.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// `[[tenants]]`, with the sections that apply to it already merged.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub id: TenantId,
    /// The CC-FS AK.
    pub access_key: String,
    pub secret_key: Secret,
    pub cc_id: CcId,
    pub time_zone: TimeZone,
    /// 0: no limit of its own.
    pub max_concurrency: usize,
    pub ccfs: Ccfs,
    pub store: Store,
}
