//! One tenant's CC-FS: signs a request with its key, asks the endpoints in order, judges the answer.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Error, Response};
use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::time::Instant;
use tracing::debug;
use url::Url;

use crate::clock;
use crate::config::{self, Secret, SecretError};
use crate::crash::{self, Point};
use crate::failure::{Class, Failure, Reason};
use crate::machine::Lack;
use crate::recording::Framing;
use crate::request::{CallId, CcId, FileName};
use crate::trust;

use super::answer::{Head, Verdict, judge, judge_object};
use super::codes::Codes;
use super::connect::{ClientError, Endpoint, NO_TLS};
use super::download::{Body, Download, root_cause, silent};
use super::signature::{ToSign, authorization, canonical};
use super::skew::clock_note;
use super::status::by_status;
use super::ways::{Route, Way, Ways};
use super::{PATH, json, traced};

/// The vendor's own spelling; it is signed letter for letter.
const CONTENT_TYPE: &str = "application/json;charset=UTF-8";

/// The headers that are signed.
const SIGNED: [&str; 3] = ["content-length", "content-type", "host"];

/// One tenant's client of CC-FS; cheap to clone. All that go the same way share its connections.
#[derive(Clone)]
pub struct Client(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) way: Arc<Way>,
    access_key: String,
    secret_key: Secret,
    codes: Codes,
    /// To the first byte on a connection, and between two chunks.
    read_timeout: Duration,
    max_size: u64,
}

/// Which recording: by call, by file, or by both.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub call_id: Option<&'a CallId>,
    pub file_name: Option<&'a FileName>,
    pub cc_id: &'a CcId,
}

/// A request as it goes on the wire, signed for one endpoint and one moment.
#[derive(Clone, Debug)]
pub struct SignedRequest {
    pub url: Url,
    /// With the `Authorization`; its signature is good for minutes and is no secret.
    pub headers: Vec<(&'static str, HeaderValue)>,
    pub body: Bytes,
}

impl SignedRequest {
    /// The text that is signed, for comparing with what the other side computes.
    pub fn canonical(&self) -> String {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let signed: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| SIGNED.contains(name))
            .map(|(name, value)| (*name, text(value)))
            .collect();
        let headers: Vec<_> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
        canonical(&ToSign { method: "POST", path: PATH, headers: &headers, body: &self.body })
    }
}

impl Client {
    /// Sends nothing yet. `at_once`: requests that are under way at once, at most.
    ///
    /// # Errors
    /// [`ClientError`] names the key whose value cannot be used.
    pub fn new(
        settings: &config::Ccfs,
        access_key: &str,
        secret_key: &Secret,
        at_once: usize,
    ) -> Result<Self, ClientError> {
        Self::by(&Ways::new(at_once), settings, access_key, secret_key)
    }

    /// The same, by a way that others may go, too.
    ///
    /// # Errors
    /// [`ClientError`] names the key whose value cannot be used.
    pub fn by(
        ways: &Ways,
        settings: &config::Ccfs,
        access_key: &str,
        secret_key: &Secret,
    ) -> Result<Self, ClientError> {
        HeaderValue::from_str(access_key).map_err(|_| ClientError::AccessKey)?;
        Ok(Self(Arc::new(Inner {
            way: ways.way(settings)?,
            access_key: access_key.to_owned(),
            secret_key: secret_key.clone(),
            codes: Codes::new(&settings.result_codes),
            read_timeout: settings.read_timeout,
            max_size: settings.max_size,
        })))
    }

    /// Whether both share their connections and what is known of their endpoints.
    pub fn goes_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.way, &other.0.way)
    }

    /// Which servers it asks.
    pub fn route(&self) -> &Route {
        &self.0.way.route
    }

    /// Asks for a recording and judges the answer by its status, headers and first bytes.
    /// `connected` is called when there is a connection and the answer is waited for: more than
    /// once, where a kept connection turns out to be closed.
    ///
    /// # Errors
    /// Every answer that is no recording is a [`Failure`] with the class of contract 5.
    pub async fn download(&self, ask: &Ask<'_>, connected: impl Fn()) -> Result<Download, Failure> {
        let response = self.ask(ask, connected).await?;
        self.judge(response).await
    }

    /// What an answer is.
    pub(super) async fn judge(&self, response: Response) -> Result<Download, Failure> {
        let head = head_of(&response);
        if head.status == 401 {
            return Err(self.refused(&response));
        }
        let mut body = Body::new(response, head.framing, self.0.read_timeout);
        let (bytes, verdict) = match read(&head, &mut body).await {
            Ok(read) => read,
            // An error's body that breaks off says no less than its status does.
            Err(_) if head.status != 200 => return Err(by_status(head.status)),
            Err(failure) => return Err(failure),
        };
        match verdict {
            Verdict::Recording(format) => Download::new(body, bytes, format, self.0.max_size),
            Verdict::Code(code) => Err(self.0.codes.failure(code.as_deref())),
            Verdict::Failed(failure) => Err(failure),
        }
    }

    /// Whether a try that ended with `reason` found that CC-FS has nothing to download.
    pub fn has_nothing(&self, reason: &str) -> bool {
        self.0.codes.has_nothing(reason)
    }

    /// The request for `ask` to the first endpoint as it would be sent at `now`.
    ///
    /// # Errors
    /// [`SecretError`] when the secret key cannot be read.
    pub fn sign(&self, ask: &Ask<'_>, now: Timestamp) -> Result<SignedRequest, SecretError> {
        self.signed(&self.0.way.endpoints[0], body_of(ask), now)
    }

    pub(super) fn signed(
        &self,
        endpoint: &Endpoint,
        body: Bytes,
        now: Timestamp,
    ) -> Result<SignedRequest, SecretError> {
        let host = endpoint.host.to_str().unwrap_or_default();
        let length = body.len().to_string();
        let values = [length.as_str(), CONTENT_TYPE, host];
        let headers: [_; 3] = std::array::from_fn(|at| (SIGNED[at], values[at]));
        let request = ToSign { method: "POST", path: PATH, headers: &headers, body: &body };
        let secret_key = self.0.secret_key.read()?;
        let signed = authorization(&self.0.access_key, secret_key.expose_secret(), now, &request);
        let mut signed = HeaderValue::from_maybe_shared(Bytes::from(signed))
            .expect("the access key was checked, the rest is hex, digits and names");
        signed.set_sensitive(true);
        let headers = vec![
            ("host", endpoint.host.clone()),
            ("accept", HeaderValue::from_static("*/*")),
            ("accept-encoding", HeaderValue::from_static("identity")),
            ("content-type", HeaderValue::from_static(CONTENT_TYPE)),
            ("content-length", HeaderValue::from(body.len())),
            ("authorization", signed),
        ];
        Ok(SignedRequest { url: endpoint.url.clone(), headers, body })
    }

    /// The answer of the first endpoint that can be reached.
    async fn ask(&self, ask: &Ask<'_>, connected: impl Fn()) -> Result<Response, Failure> {
        let body = body_of(ask);
        let mut unreached = None;
        let mut tried = Vec::new();
        let way = &*self.0.way;
        let places = way.order().at(Instant::now(), way.endpoints.len());
        for place in places {
            let endpoint = &way.endpoints[place];
            let request = self.signed(endpoint, body.clone(), clock::now());
            let request = request.map_err(|error| no_secret(&error))?;
            crash::point(Point::Signed);
            let reached = || way.order().reached(place, &tried, Instant::now());
            let span = traced::asking(endpoint);
            let sent = self.send(request, &connected).await;
            traced::answered(&span, &sent);
            match sent.inspect_err(|_| reached())? {
                Ok(response) => {
                    reached();
                    return Ok(response);
                }
                Err(error) => {
                    if let Some(lack) = Lack::behind(&error) {
                        return Err(lack.failure().because(error));
                    }
                    tried.push(place);
                    debug!(endpoint = endpoint.name, error = %root_cause(&error), "not reached");
                    unreached = Some((endpoint, error));
                }
            }
        }
        let (endpoint, error) = unreached.expect("there is an endpoint, and none answered");
        Err(unreachable(endpoint, way.endpoints.len(), error))
    }

    /// Sends once. The inner error is a connection that could not be made: nothing was asked yet,
    /// so another endpoint may be. Whatever came later is this request's one result.
    pub(super) async fn send(
        &self,
        signed: SignedRequest,
        connected: impl Fn(),
    ) -> Result<Result<Response, Error>, Failure> {
        let named = |(name, value)| (HeaderName::from_static(name), value);
        let headers: HeaderMap = signed.headers.into_iter().map(named).collect();
        let patience = self.0.read_timeout;
        let plain = signed.url.scheme() == "http";
        match self.0.way.http.post(signed.url, headers, signed.body, patience, connected).await {
            Ok(Ok(response)) => Ok(Ok(response)),
            Ok(Err(error)) if error.is_connect() => Ok(Err(error)),
            Ok(Err(error)) => Err(no_answer(error, plain)),
            Err(_) => Err(silent(patience)),
        }
    }

    /// A 401: a key that was rotated meanwhile is read again, a clock that is off is told.
    fn refused(&self, response: &Response) -> Failure {
        self.0.secret_key.refresh_after_refusal();
        let mut failure = by_status(401);
        let date = text_of(response.headers(), &header::DATE);
        failure.detail.push_str(&clock_note(date, clock::now()));
        failure
    }
}

/// Reads as much of the body as the verdict takes.
async fn read(head: &Head, body: &mut Body) -> Result<(Bytes, Verdict), Failure> {
    let (bytes, sniffed) = body.head().await?;
    if let Some(verdict) = judge(head, sniffed) {
        return Ok((bytes, verdict));
    }
    let (bytes, whole) = body.gather(bytes, json::MOST).await?;
    // However much has come by chance beyond that.
    let known = &bytes[..bytes.len().min(json::MOST)];
    let verdict = judge_object(head, known, whole);
    Ok((bytes, verdict))
}

/// The body, serialised once: what is signed is what is sent.
pub(super) fn body_of(ask: &Ask<'_>) -> Bytes {
    #[derive(Serialize)]
    struct Message<'a> {
        request: Version,
        #[serde(rename = "msgBody")]
        recording: Recording<'a>,
    }
    #[derive(Serialize)]
    struct Version {
        version: &'static str,
    }
    /// A field that is not used is left out: CC-FS refuses an empty one (0300002).
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Recording<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        file_name: Option<&'a FileName>,
        #[serde(skip_serializing_if = "Option::is_none")]
        call_id: Option<&'a CallId>,
        cc_id: &'a CcId,
    }
    let recording = Recording { file_name: ask.file_name, call_id: ask.call_id, cc_id: ask.cc_id };
    let message = Message { request: Version { version: "2.0" }, recording };
    serde_json::to_vec(&message).expect("strings alone always serialise").into()
}

fn head_of(response: &Response) -> Head {
    let headers = response.headers();
    // Only `chunked` as the last coding shows where the body ends (RFC 9112, 6.3).
    let mut codings = tokens(headers, &header::TRANSFER_ENCODING);
    let chunked = codings.pop_if(|last| last.eq_ignore_ascii_case(b"chunked")).is_some();
    let framing = match response.content_length() {
        _ if chunked => Framing::Chunked,
        Some(length) if !headers.contains_key(header::TRANSFER_ENCODING) => Framing::Length(length),
        _ => Framing::Close,
    };
    let plain = |coding: &&[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
    codings.extend(tokens(headers, &header::CONTENT_ENCODING));
    Head {
        status: response.status().as_u16(),
        content_type: text_of(headers, &header::CONTENT_TYPE).map(str::to_owned),
        plain: codings.iter().all(plain),
        framing,
    }
}

/// The members of a header that is a list, in their order, over all its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a [u8]> {
    let lines = headers.get_all(name).iter();
    let split = |line: &'a HeaderValue| line.as_bytes().split(|byte| *byte == b',');
    lines.flat_map(split).map(<[u8]>::trim_ascii).collect()
}

pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(super) fn no_secret(error: &SecretError) -> Failure {
    let detail = format!("the tenant's secret key cannot be read: {error}");
    Failure::new(Class::Refused, Reason::CCFS_UNAUTHORIZED, detail)
}

fn unreachable(endpoint: &Endpoint, tried: usize, error: Error) -> Failure {
    let mut cause = root_cause(&error).to_string();
    if trust::is_no_tls(&cause) {
        NO_TLS.clone_into(&mut cause);
    }
    let detail = match tried {
        1 => format!("cannot connect to {}: {cause}", endpoint.name),
        _ => format!("cannot connect to any of {tried} endpoints; {}: {cause}", endpoint.name),
    };
    Failure::new(Class::Unavailable, Reason::CCFS_UNREACHABLE, detail).because(error)
}

/// The request went out, and no usable head of an answer came back. It is not sent again here:
/// CC-FS may have seen it.
fn no_answer(error: Error, plain: bool) -> Failure {
    let failure = if let Some(lack) = Lack::behind(&error) {
        lack.failure()
    } else if is_malformed(&error) {
        let detail = match plain {
            true => {
                "CC-FS answered something that is not HTTP: TLS, perhaps (http:// in ccfs.endpoints)"
            }
            false => "CC-FS answered something that is not HTTP",
        };
        Failure::new(Class::Failure, Reason::CCFS_PROTOCOL, detail)
    } else {
        let detail = "the connection broke before an answer came";
        Failure::new(Class::Unavailable, Reason::CCFS_UNREACHABLE, detail)
    };
    failure.because(error)
}

fn is_malformed(error: &Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(call_id: Option<&str>, file_name: Option<&str>) -> String {
        let call_id = call_id.map(|text| CallId::new(text).unwrap());
        let file_name = file_name.map(|text| FileName::new(text).unwrap());
        let cc_id = CcId::new("1").unwrap();
        let ask = Ask { call_id: call_id.as_ref(), file_name: file_name.as_ref(), cc_id: &cc_id };
        String::from_utf8(body_of(&ask).into()).unwrap()
    }

    #[test]
    fn the_body_is_the_vendors_and_leaves_out_what_is_not_used() {
        assert_eq!(
            body(Some("1777093663-792075"), Some("X:/4/0/20180416/512/1629533.V3")),
            r#"{"request":{"version":"2.0"},"msgBody":{"fileName":"X:/4/0/20180416/512/1629533.V3","callId":"1777093663-792075","ccId":"1"}}"#
        );
        assert_eq!(
            body(Some("1777093663-792075"), None),
            r#"{"request":{"version":"2.0"},"msgBody":{"callId":"1777093663-792075","ccId":"1"}}"#
        );
        assert_eq!(
            body(None, Some(r"X:\17\0\2043295.V3")),
            r#"{"request":{"version":"2.0"},"msgBody":{"fileName":"X:\\17\\0\\2043295.V3","ccId":"1"}}"#
        );
    }
}
