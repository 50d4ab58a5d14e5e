//! `[store]`, and per tenant `[tenants.store]` over it.

use crate::recording::KeyTemplate;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::effective::quoted;
use super::kinds::{filled, plain_url, sent_name};
use super::mistake::Wrong;
use super::secret::Secret;
use super::section::Section;

/// The most parts that an upload can have (S3's limit); part numbers start at 1.
pub const MAX_PARTS: u32 = 10_000;

/// S3's limits of a part, in bytes; the last part may be smaller.
const SMALLEST_PART: u64 = 5 << 20;
const LARGEST_PART: u64 = 5 << 30;
/// S3's limits of tags: their number, and the characters of a key and a value.
const TAGS: (usize, usize, usize) = (10, 128, 256);
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// `[store]`, and per tenant `[tenants.store]` over it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Store {
    pub bucket: String,
    /// `None`: AWS.
    pub endpoint: Option<Url>,
    /// Without TLS beyond this machine on purpose: nobody is warned of it.
    pub allow_plain: bool,
    pub region: String,
    pub path_style: bool,
    /// `None`: the SDK's own credential chain.
    pub credentials: Option<StoreCredentials>,
    /// CAs besides the platform's.
    pub ca_file: Option<PathBuf>,
    /// May hold a password.
    pub proxy: Option<Url>,
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

impl Store {
    /// Where it is, as breakers and people name it: `{endpoint or region}/{bucket}`.
    pub fn place(&self) -> String {
        let endpoint = self.endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/'));
        format!("{}/{}", endpoint.unwrap_or(&self.region), self.bucket)
    }
}

impl fmt::Debug for Store {
    /// What says which store it is; never the proxy, whose URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint.as_ref().map(Url::as_str))
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreCredentials {
    pub access_key_id: Secret,
    pub secret_access_key: Secret,
    /// Of temporary keys.
    pub session_token: Option<Secret>,
}

/// The store's own checksum of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// CRC64NVME where the store proves to verify it, over TLS; else none.
    Auto,
    None,
    Md5,
    Crc64Nvme,
}

/// Whether objects are created with `If-None-Match: *`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conditional {
    /// Used unless the store says that it cannot.
    Auto,
    Always,
    Never,
}

/// What is stored of a ZIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZipMode {
    /// The ZIP itself.
    Keep,
    /// Each entry as an object of its own.
    Unpack,
}

/// Server-side encryption.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sse {
    Aes256,
    /// `aws:kms`, with the key's id or the account's default key.
    Kms {
        key_id: Option<String>,
    },
}

/// Object-lock retention; needs a [`Checksum`], whichever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectLock {
    pub days: u32,
    pub mode: LockMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockMode {
    Governance,
    Compliance,
}

pub(super) fn read(s: &mut Section<'_, '_>) -> Option<Store> {
    let bucket = s.text("bucket", None, bucket);
    let endpoint = s.http_url("endpoint", plain_url);
    let allow_plain = s.flag("allow_plain", false);
    let region = s.text("region", Some("us-east-1"), sent_name);
    let path_style = s.flag("path_style", false);
    let credentials = credentials(s);
    let ca_file = s.file("ca_file");
    let proxy = s.http_url("proxy", |_| Ok(()));
    let key = s.text("key", Some("{tenant}/{yyyy}/{mm}/{dd}/{name}.{ext}"), |text| {
        check_key_template(text).map(|()| text.to_owned())
    });
    let part_size = s.size("part_size", "8MiB", SMALLEST_PART..=LARGEST_PART);
    let checksums = [
        ("auto", Checksum::Auto),
        ("none", Checksum::None),
        ("md5", Checksum::Md5),
        ("crc64nvme", Checksum::Crc64Nvme),
    ];
    let checksum = s.choice("checksum", "auto", &checksums);
    let conditionals = [
        ("auto", Conditional::Auto),
        ("always", Conditional::Always),
        ("never", Conditional::Never),
    ];
    let conditional = s.choice("conditional", "auto", &conditionals);
    let zips = [("keep", ZipMode::Keep), ("unpack", ZipMode::Unpack)];
    let zip = s.choice("zip", "keep", &zips);
    let storage_class = s.optional("storage_class", storage_class);
    let sse = sse(s);
    let tags = s.table("tags", tag);
    let object_lock = object_lock(s, checksum);
    let connect_timeout = s.duration("connect_timeout", "5s", LONGEST_WAIT);
    let read_timeout = s.duration("read_timeout", "30s", LONGEST_WAIT);

    if let Some(tags) = &tags
        && tags.len() > TAGS.0
    {
        let what = format!("has {} entries, and S3 takes {} tags", tags.len(), TAGS.0);
        s.refuse("tags", Wrong::new(what, "remove some"));
    }

    Some(Store {
        bucket: bucket?,
        endpoint: endpoint?,
        allow_plain: allow_plain?,
        region: region?,
        path_style: path_style?,
        credentials: credentials?,
        ca_file: ca_file?,
        proxy: proxy?,
        key: key?,
        part_size: part_size?,
        checksum: checksum?,
        conditional: conditional?,
        zip: zip?,
        storage_class: storage_class?,
        sse: sse?,
        tags: tags?,
        object_lock: object_lock?,
        connect_timeout: connect_timeout?,
        read_timeout: read_timeout?,
    })
}

/// The pair of keys, which belong together, and the token of temporary ones: a tenant that sets one
/// sets them all.
fn credentials(s: &mut Section<'_, '_>) -> Option<Option<StoreCredentials>> {
    let id = s.sent_secret("access_key_id");
    let secret = s.secret("secret_access_key");
    let token = s.sent_secret("session_token");
    let (id, secret, token) = (id?, secret?, token?);
    let own = |key| s.is_own(key);
    let (own_id, own_secret) = (own("access_key_id"), own("secret_access_key"));
    let own_token = own("session_token");
    if id.is_some() && secret.is_some() && own_id != own_secret {
        let (own, global) = if own_id {
            ("access_key_id", "secret_access_key")
        } else {
            ("secret_access_key", "access_key_id")
        };
        let what = format!("is the tenant's own, and {global} is the global one");
        s.refuse(own, Wrong::new(what, "set both keys in the same section"));
    } else if token.is_some() && id.is_some() && own_token && !own_id {
        let what = "is the tenant's own, and the keys are the global ones";
        s.refuse("session_token", Wrong::new(what, "set the keys in the same section"));
    }
    match (id, secret) {
        (Some(access_key_id), Some(secret_access_key)) => {
            // The global token is none of the tenant's own keys.
            let session_token = token.filter(|_| own_token == own_id);
            Some(Some(StoreCredentials { access_key_id, secret_access_key, session_token }))
        }
        (None, None) if token.is_some() => {
            let what = "is set without access_key_id and secret_access_key";
            s.refuse("session_token", Wrong::new(what, "set all three, or none"));
            None
        }
        (None, None) => Some(None),
        (id, _) => {
            let (lone, lacking) = match id {
                Some(_) => ("access_key_id", "secret_access_key"),
                None => ("secret_access_key", "access_key_id"),
            };
            s.refuse(lone, Wrong::new(format!("is set without {lacking}"), "set both or neither"));
            None
        }
    }
}

fn sse(s: &mut Section<'_, '_>) -> Option<Option<Sse>> {
    let kms = Sse::Kms { key_id: None };
    let modes = [("", None), ("AES256", Some(&Sse::Aes256)), ("aws:kms", Some(&kms))];
    let mode = s.choice("sse", "", &modes);
    let key_id = s.optional("sse_kms_key_id", sent_name);
    match (mode?.cloned(), key_id?) {
        (Some(Sse::Kms { .. }), key_id) => Some(Some(Sse::Kms { key_id })),
        (mode, None) => Some(mode),
        (_, Some(_)) => {
            let wrong = Wrong::new("is used with sse = \"aws:kms\" only", "set that, or remove it");
            s.refuse("sse_kms_key_id", wrong);
            None
        }
    }
}

fn object_lock(s: &mut Section<'_, '_>, checksum: Option<Checksum>) -> Option<Option<ObjectLock>> {
    let days: Option<u32> = s.integer("object_lock_days", 0, 0..=36_500);
    let modes = [("GOVERNANCE", LockMode::Governance), ("COMPLIANCE", LockMode::Compliance)];
    let mode = s.choice("object_lock_mode", "GOVERNANCE", &modes);
    let (days, mode) = (days?, mode?);
    if days > 0 && checksum == Some(Checksum::None) {
        let what = "needs a checksum, which S3 demands of locked objects";
        let fix = "set checksum to \"auto\", \"md5\" or \"crc64nvme\"";
        s.refuse("object_lock_days", Wrong::new(what, fix));
    }
    Some((days > 0).then_some(ObjectLock { days, mode }))
}

fn bucket(text: &str) -> Result<String, Wrong> {
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if text.len() > 255 || text.chars().any(odd) {
        return Err(Wrong::new(
            format!("{} is no name of a bucket", quoted(text)),
            "write the bare name, without s3:// and path",
        ));
    }
    filled(text)
}

fn check_key_template(text: &str) -> Result<(), Wrong> {
    let fix = "the default is {tenant}/{yyyy}/{mm}/{dd}/{name}.{ext}";
    KeyTemplate::parse(text).map(drop).map_err(|what| Wrong::new(what, fix))
}

fn storage_class(text: &str) -> Result<String, Wrong> {
    if text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
        return Ok(text.to_owned());
    }
    let what = format!("{} is no storage class", quoted(text));
    Err(Wrong::new(what, "write it as the store does, such as \"STANDARD_IA\""))
}

fn tag(key: &str, value: &str) -> Result<String, Wrong> {
    let (_, longest_key, longest_value) = TAGS;
    if !(1..=longest_key).contains(&key.chars().count()) || value.chars().count() > longest_value {
        let what = format!("is longer than S3 allows ({longest_key} and {longest_value})");
        return Err(Wrong::new(what, "shorten it"));
    }
    Ok(value.to_owned())
}
