//! `[broker]`: RabbitMQ.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::forms::SecretKey;
use super::kinds::{filled, hides_its_password, masked};
use super::mistake::Wrong;
use super::secret::Secret;
use super::section::Section;

/// `[broker]`: RabbitMQ.
#[derive(Clone, Debug)]
pub struct Broker {
    /// amqp:// or amqps:// URLs, tried in order; secret, since they carry passwords.
    pub urls: Vec<Secret>,
    /// Without TLS beyond this machine on purpose: nobody is warned of it.
    pub allow_plain: bool,
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

const URL: SecretKey<'_> = SecretKey {
    name: "url",
    list: Some("urls"),
    default: Some("amqp://guest:guest@127.0.0.1:5672/%2f"),
    check: amqp_url,
    show: |text| Url::parse(text).map(|url| masked(&url)).unwrap_or_default(),
};

pub(super) fn read(s: &mut Section<'_, '_>) -> Option<Broker> {
    let urls = s.secrets(&URL);
    let allow_plain = s.flag("allow_plain", false);
    let ca_file = s.file("ca_file");
    let client_cert_file = s.file("client_cert_file");
    let client_key_file = s.file("client_key_file");
    let queue_prefix = s.text("queue_prefix", Some("callvault"), queue_prefix);
    let calls_exchange = s.text("calls_exchange", Some("calls"), exchange);
    let events_exchange = s.text("events_exchange", Some("recordings"), exchange);
    let declare = s.flag("declare", true);
    let delivery_limit = s.integer("delivery_limit", 20, 1..=1_000_000);
    // AMQP counts heartbeats in seconds, in 16 bits; 0 would switch them off.
    let heartbeat = s.duration("heartbeat", "15s", Duration::from_secs(u16::MAX.into()));
    let events_mandatory = s.flag("events_mandatory", false);

    if let Some(heartbeat) = heartbeat
        && heartbeat.subsec_nanos() != 0
    {
        s.refuse("heartbeat", Wrong::new("must be whole seconds", "round it, to \"15s\", say"));
    }
    let pair = [("client_cert_file", &client_cert_file), ("client_key_file", &client_key_file)];
    if let [(cert, Some(one)), (key, Some(other))] = pair
        && one.is_some() != other.is_some()
    {
        let (lone, lacking) = if one.is_some() { (cert, key) } else { (key, cert) };
        s.refuse(lone, Wrong::new(format!("is set without {lacking}"), "set both or neither"));
    }

    Some(Broker {
        urls: urls?,
        allow_plain: allow_plain?,
        ca_file: ca_file?,
        client_cert_file: client_cert_file?,
        client_key_file: client_key_file?,
        queue_prefix: queue_prefix?,
        calls_exchange: calls_exchange?,
        events_exchange: events_exchange?,
        declare: declare?,
        delivery_limit: delivery_limit?,
        heartbeat: heartbeat?,
        events_mandatory: events_mandatory?,
    })
}

fn amqp_url(text: &str) -> Result<(), Wrong> {
    let fix = "write it as amqp://user:password@host:5672/%2f, or amqps:// for TLS";
    let url = Url::parse(text).map_err(|error| Wrong::new(format!("is no URL: {error}"), fix))?;
    hides_its_password(&url)?;
    if !matches!(url.scheme(), "amqp" | "amqps") {
        return Err(Wrong::new("must begin with amqp:// or amqps://", fix));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Wrong::new("names no host", fix));
    }
    Ok(())
}

/// What every queue's name begins with. AMQP allows names of 255 bytes, of which the suffixes
/// (`.retry.` and a delay) need some; `amq.` belongs to the broker.
fn queue_prefix(text: &str) -> Result<String, Wrong> {
    let fix = "use letters, digits, `.`, `_` and `-`";
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !(1..=200).contains(&text.len()) || !text.bytes().all(plain) {
        return Err(Wrong::new("is no beginning of a queue's name (1 to 200 bytes)", fix));
    }
    if text.starts_with("amq.") {
        return Err(Wrong::new("must not begin with amq., which RabbitMQ reserves", fix));
    }
    Ok(text.to_owned())
}

fn exchange(text: &str) -> Result<String, Wrong> {
    if text.len() > 255 || text.chars().any(char::is_control) {
        let what = "is no name of an exchange (at most 255 bytes, no control characters)";
        return Err(Wrong::new(what, "choose a plain name"));
    }
    filled(text)
}
