//! The far side of `auth-v2`, written again from the vendor's facts: it shares no line with
//! callvault's signer, so that one mistake cannot be made twice.

use std::collections::HashMap;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{DOWNLOAD_BILL_FILE, PATH, QUERY_BILL_DATA};

/// A request as it came off the wire; header names in lower case.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    pub method: String,
    /// As in the request line; absolute when a proxy is asked.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Raw {
    /// The one value of a header; `None` when it is missing or repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        values.next().filter(|_| values.next().is_none())
    }

    /// The path of the target, without the scheme and authority that a proxy gets.
    pub fn path(&self) -> &str {
        match self.target.strip_prefix("http://") {
            Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
            None => &self.target,
        }
    }
}

/// Which recording a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub call_id: Option<String>,
    pub file_name: Option<String>,
    pub cc_id: String,
}

/// What a request asks for, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asks {
    Recording(Asked),
    /// To have an index made.
    Order {
        begin: DateTime,
        end: DateTime,
    },
    /// An index that was made.
    Package {
        name: String,
    },
}

/// Why a request is not answered with what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// HTTP 401.
    Unauthorized(String),
    /// A JSON result code.
    Code(&'static str, String),
    /// A bare status.
    Status(u16, String),
}

/// The headers that callvault promises to sign.
const SIGNED: &str = "content-length;content-type;host";

/// The access key of a request whose signature is right in every respect.
pub fn authorize(
    raw: &Raw,
    accounts: &HashMap<String, String>,
    now: Timestamp,
) -> Result<String, Denied> {
    let no = |why: &str| Denied::Unauthorized(why.to_owned());
    let authorization = raw.header("authorization").ok_or_else(|| no("one Authorization"))?;
    let parts: Vec<&str> = authorization.split('/').collect();
    let [scheme, access_key, timestamp, names, signature] = parts[..] else {
        return Err(no("Authorization has five parts"));
    };
    if scheme != "auth-v2" {
        return Err(no("the scheme is auth-v2"));
    }
    if names != SIGNED {
        return Err(no("content-length;content-type;host are signed"));
    }
    let at = DateTime::strptime("%Y-%m-%dT%H:%M:%SZ", timestamp)
        .ok()
        .and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok())
        .filter(|_| timestamp.len() == 20)
        .ok_or_else(|| no("the timestamp is YYYY-MM-DDThh:mm:ssZ"))?;
    if now.duration_since(at.timestamp()).abs() > SignedDuration::from_mins(5) {
        return Err(no("the timestamp is within 5 minutes"));
    }
    let secret_key = accounts.get(access_key).ok_or_else(|| no("the access key is known"))?;
    let mut headers = Vec::new();
    for name in names.split(';') {
        headers.push((name, raw.header(name).ok_or_else(|| no("a signed header is sent, once"))?));
    }
    let expected =
        sign(&raw.method, raw.path(), access_key, secret_key, timestamp, &headers, &raw.body);
    if expected != authorization {
        return Err(no("the signature is that of the request"));
    }
    debug_assert_eq!(signature.len(), 64);
    Ok(access_key.to_owned())
}

/// The Authorization of a request; `headers` sorted by name, in lower case.
pub fn sign(
    method: &str,
    path: &str,
    access_key: &str,
    secret_key: &str,
    timestamp: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let prefix = format!("auth-v2/{access_key}/{timestamp}/{names}");
    let mut message = format!("{method}\n{path}\n{names}\n");
    for (name, value) in headers {
        escape(name.as_bytes(), &mut message);
        message.push(':');
        escape(value.as_bytes(), &mut message);
        message.push('\n');
    }
    escape(body, &mut message);
    let key = hmac(secret_key.as_bytes(), prefix.as_bytes());
    format!("{prefix}/{}", hmac(key.as_bytes(), message.as_bytes()))
}

fn escape(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte));
            }
            other => {
                for digit in [other >> 4, other & 15] {
                    out.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                }
                let at = out.len() - 2;
                out.insert(at, '%');
            }
        }
    }
}

/// HMAC-SHA256 by RFC 2104, in lower-case hex.
fn hmac(key: &[u8], message: &[u8]) -> String {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let keyed = |pad: u8, message: &[u8]| {
        let mut sha = Sha256::new();
        sha.update(block.map(|byte| byte ^ pad));
        sha.update(message);
        sha.finalize()
    };
    hex::encode(keyed(0x5C, &keyed(0x36, message)))
}

/// What of a request can be refused before its signature is looked at.
pub fn route(raw: &Raw, host: Option<&str>) -> Result<(), Denied> {
    let no = |status, why: &str| Err(Denied::Status(status, why.to_owned()));
    if ![PATH, QUERY_BILL_DATA, DOWNLOAD_BILL_FILE].contains(&raw.path()) {
        return no(404, "the path is that of an interface");
    }
    if raw.method != "POST" {
        return no(405, "the method is POST");
    }
    if raw.header("content-type") != Some("application/json;charset=UTF-8") {
        return no(415, "the Content-Type is the vendor's");
    }
    if raw.header("accept-encoding") != Some("identity") || raw.header("accept") != Some("*/*") {
        return no(406, "Accept is */*, Accept-Encoding identity");
    }
    if host.is_some_and(|host| raw.header("host") != Some(host)) {
        return no(421, "the Host is the expected one");
    }
    let length = raw.header("content-length").and_then(|length| length.parse().ok());
    if length != Some(raw.body.len()) {
        return no(411, "the Content-Length is that of the body");
    }
    Ok(())
}

/// The body, field by field.
pub fn read(raw: &Raw) -> Result<Asks, Denied> {
    let fields = fields(&raw.body)?;
    match raw.path() {
        QUERY_BILL_DATA => order(&fields),
        DOWNLOAD_BILL_FILE => package(&fields),
        _ => recording(&fields),
    }
}

/// What is in the envelope of all interfaces.
fn fields(body: &[u8]) -> Result<Value, Denied> {
    if body.is_empty() {
        return Err(no("0300007", "there is a body"));
    }
    let mut json: Value =
        serde_json::from_slice(body).map_err(|_| no("0300028", "the body is JSON"))?;
    if !only(&json, &["request", "msgBody"]) || !only(&json["request"], &["version"]) {
        return Err(no("0300028", "the body has request and msgBody"));
    }
    if json["request"]["version"] != "2.0" {
        return Err(no("0300006", "the version is 2.0"));
    }
    Ok(json["msgBody"].take())
}

fn recording(fields: &Value) -> Result<Asks, Denied> {
    if !only(fields, &["fileName", "callId", "ccId"]) {
        return Err(no("0300028", "msgBody has fileName, callId and ccId"));
    }
    let asked = Asked {
        file_name: field(fields, "fileName", 225)?,
        call_id: field(fields, "callId", 25)?,
        cc_id: required(fields, "ccId", 64)?,
    };
    if asked.call_id.is_none() && asked.file_name.is_none() {
        return Err(no("0300001", "there is a callId or a fileName"));
    }
    Ok(Asks::Recording(asked))
}

/// callvault asks for all of an account: it has no use for the fields that narrow it down.
fn order(fields: &Value) -> Result<Asks, Denied> {
    if !only(fields, &["beginTime", "endTime", "dataType", "callBackURL"]) {
        return Err(no("0300028", "msgBody has beginTime, endTime, dataType and callBackURL"));
    }
    let time = |name: &str| {
        let text = required(fields, name, 19)?;
        let time = DateTime::strptime("%Y-%m-%d %H:%M:%S", &text).ok();
        time.filter(|_| text.len() == 19).ok_or_else(|| no("0300004", "times are of the one form"))
    };
    let (begin, end) = (time("beginTime")?, time("endTime")?);
    if required(fields, "dataType", 11)? != "record" {
        return Err(no("0300028", "the dataType is that of the recording index"));
    }
    let callback = required(fields, "callBackURL", 500)?;
    if !callback.starts_with("http://") && !callback.starts_with("https://") {
        return Err(no("0300028", "the callBackURL is one"));
    }
    if begin > end {
        return Err(no("0300013", "the begin is not after the end"));
    }
    if end.duration_since(begin) > SignedDuration::from_hours(72) {
        return Err(no("0300004", "the span is at most three days"));
    }
    Ok(Asks::Order { begin, end })
}

fn package(fields: &Value) -> Result<Asks, Denied> {
    if !only(fields, &["billFileName"]) {
        return Err(no("0300028", "msgBody has billFileName"));
    }
    Ok(Asks::Package { name: required(fields, "billFileName", 49)? })
}

fn required(fields: &Value, name: &str, most: usize) -> Result<String, Denied> {
    field(fields, name, most)?.ok_or_else(|| no("0300001", "no field is missing"))
}

fn field(fields: &Value, name: &str, most: usize) -> Result<Option<String>, Denied> {
    match &fields[name] {
        Value::Null if fields.get(name).is_none() => Ok(None),
        Value::String(text) if text.is_empty() => Err(no("0300002", "no field is empty")),
        Value::String(text) if text.chars().count() > most => {
            Err(no("0300003", "no field is too long"))
        }
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(no("0300005", "every field is a string")),
    }
}

fn no(code: &'static str, why: &str) -> Denied {
    Denied::Code(code, why.to_owned())
}

fn only(json: &Value, names: &[&str]) -> bool {
    json.as_object().is_some_and(|map| map.keys().all(|key| names.contains(&key.as_str())))
}
