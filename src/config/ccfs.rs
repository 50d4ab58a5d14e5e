//! `[ccfs]`, and per tenant `[tenants.ccfs]` over it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::effective::quoted;
use super::kinds::{http_url, plain_url};
use super::mistake::Wrong;
use super::section::Section;
use crate::failure::{Class, Reason};

/// The longest wait for an answer: below it a job's deadline cuts in.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Where CC-FS may say that an index is there: the vendor wants an address, and RFC 6761 has a name
/// that is nobody's.
const NOBODY: &str = "https://callvault.invalid/";

/// `[ccfs]`, and per tenant `[tenants.ccfs]` over it.
#[derive(Clone)]
pub struct Ccfs {
    /// Base URLs (scheme, host, port), tried in order when one cannot be reached.
    pub endpoints: Vec<Url>,
    /// Without TLS beyond this machine on purpose: nobody is warned of it.
    pub allow_plain: bool,
    pub ca_file: Option<PathBuf>,
    /// May hold a password.
    pub proxy: Option<Url>,
    /// The Host sent and signed; empty in the file: the endpoint's own.
    pub host: Option<String>,
    pub connect_timeout: Duration,
    /// To the first byte of the answer, and between two chunks.
    pub read_timeout: Duration,
    /// Bytes.
    pub max_size: u64,
    /// Sent with requests for an index; what CC-FS says there, nobody needs to hear.
    pub index_callback_url: Url,
    /// Extends the vendor's table: result code to class.
    pub result_codes: BTreeMap<String, Class>,
}

impl Ccfs {
    /// Where it is, as breakers and people name it: the first endpoint.
    pub fn place(&self) -> &str {
        self.endpoints.first().map_or("", |url| url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Ccfs {
    /// All but the proxy, whose URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ccfs")
            .field("endpoints", &self.endpoints)
            .field("allow_plain", &self.allow_plain)
            .field("ca_file", &self.ca_file)
            .field("host", &self.host)
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("max_size", &self.max_size)
            .field("index_callback_url", &self.index_callback_url.as_str())
            .field("result_codes", &self.result_codes)
            .finish_non_exhaustive()
    }
}

pub(super) fn read(s: &mut Section<'_, '_>) -> Option<Ccfs> {
    let endpoints =
        s.list("endpoints", None, |text| http_url(text, endpoint).map(|url| (url, quoted(text))));
    let allow_plain = s.flag("allow_plain", false);
    let ca_file = s.file("ca_file");
    let proxy = s.http_url("proxy", |_| Ok(()));
    let host = s.optional("host", host);
    let connect_timeout = s.duration("connect_timeout", "5s", LONGEST_WAIT);
    let read_timeout = s.duration("read_timeout", "30s", LONGEST_WAIT);
    // 5 TiB: S3's limit of an object.
    let max_size = s.size("max_size", "5GiB", 1..=5 << 40);
    let index_callback_url =
        s.text("index_callback_url", Some(NOBODY), |text| http_url(text, callback));
    let result_codes = s.table("result_codes", result_code);

    Some(Ccfs {
        endpoints: endpoints?,
        allow_plain: allow_plain?,
        ca_file: ca_file?,
        proxy: proxy?,
        host: host?,
        connect_timeout: connect_timeout?,
        read_timeout: read_timeout?,
        max_size: max_size?,
        index_callback_url: index_callback_url?,
        result_codes: result_codes?,
    })
}

fn endpoint(url: &Url) -> Result<(), Wrong> {
    plain_url(url)?;
    if url.path() != "/" {
        return Err(Wrong::new("must not hold a path", "write it as https://host:port"));
    }
    Ok(())
}

/// It is shown, and sent to CC-FS.
fn callback(url: &Url) -> Result<(), Wrong> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    Err(Wrong::new("must not hold a user or password", "give the URL without them"))
}

/// A Host header: a name or address, with or without a port.
fn host(text: &str) -> Result<String, Wrong> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    if text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(format!("{} is no host", quoted(text)), "write it as host or host:port"))
}

fn result_code(code: &str, class: &str) -> Result<Class, Wrong> {
    if !Reason::ccfs(code).is_result_code() {
        let fix = "write it as CC-FS sends it, at most nine digits, such as \"0300099\"";
        return Err(Wrong::new("is no result code", fix));
    }
    match class {
        "failure" => Ok(Class::Failure),
        "unavailable" => Ok(Class::Unavailable),
        "throttled" => Ok(Class::Throttled),
        "not_ready" => Ok(Class::NotReady),
        "refused" => Ok(Class::Refused),
        "permanent" => Ok(Class::Permanent),
        other => Err(Wrong::new(
            format!("{} is no class", quoted(other)),
            "write failure, unavailable, throttled, not_ready, refused or permanent",
        )),
    }
}
