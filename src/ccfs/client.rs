//! One tenant's CC-FS: signs a request with its key, asks the endpoints in order, judges the answer.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Error, Response};
use secrecy::ExposeSecret;
use tokio::time::Instant;
use tracing::debug;
use url::Url;

use crate::clock;
use crate::config::{self, Secret, SecretError};
use crate::crash::{self, Point};
use crate::failure::{Class, Failure, Reason};
use crate::machine::Lack;
use crate::recording::Framing;
use crate::trust;

use super::answer::{Head, Verdict, judge, judge_json};
use super::codes::Codes;
use super::connect::{ClientError, Endpoint, NO_TLS};
use super::download::{Body, Download, root_cause, silent};
use super::question::{Ask, Question};
use super::signature::{ToSign, authorization, canonical};
use super::skew::clock_note;
use super::status::{by_status, neither};
use super::ways::{Route, Way, Ways};
use super::{json, traced};

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
    pub(super) index_callback: Url,
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
        let path = self.url.path();
        canonical(&ToSign { method: "POST", path, headers: &headers, body: &self.body })
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
            index_callback: settings.index_callback_url.clone(),
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
        let response = self.ask(&Question::recording(ask), connected).await?;
        self.judge(response).await
    }

    /// What an answer is that should be a file.
    pub(super) async fn judge(&self, response: Response) -> Result<Download, Failure> {
        let Answer { body, bytes, verdict, .. } = self.read(response).await?;
        match verdict {
            Verdict::Recording(format) => Download::new(body, bytes, format, self.0.max_size),
            Verdict::Code(code) => Err(self.0.codes.failure(code.as_deref())),
            Verdict::Failed(failure) => Err(failure),
        }
    }

    /// What an answer is that should be a success, and no file: its JSON.
    pub(super) async fn judge_success(&self, response: Response) -> Result<Bytes, Failure> {
        let Answer { status, bytes, verdict, .. } = self.read(response).await?;
        match verdict {
            Verdict::Code(Some(code)) if self.0.codes.is_success(&code) => match status {
                200 => Ok(bytes),
                status => Err(by_status(status)),
            },
            Verdict::Code(code) => Err(self.0.codes.failure(code.as_deref())),
            Verdict::Recording(_) => Err(neither()),
            Verdict::Failed(failure) => Err(failure),
        }
    }

    /// Reads as much of an answer as shows what it is.
    async fn read(&self, response: Response) -> Result<Answer, Failure> {
        let head = head_of(&response);
        if head.status == 401 {
            return Err(self.refused(&response));
        }
        let status = head.status;
        let mut body = Body::new(response, head.framing, self.0.read_timeout);
        match read(&head, &mut body).await {
            Ok((bytes, verdict)) => Ok(Answer { status, body, bytes, verdict }),
            // An error's body that breaks off says no less than its status does.
            Err(_) if status != 200 => Err(by_status(status)),
            Err(failure) => Err(failure),
        }
    }

    /// The request for `ask` to the first endpoint as it would be sent at `now`.
    ///
    /// # Errors
    /// [`SecretError`] when the secret key cannot be read.
    pub fn sign(&self, ask: &Ask<'_>, now: Timestamp) -> Result<SignedRequest, SecretError> {
        self.signed(&self.0.way.endpoints[0], &Question::recording(ask), now)
    }

    pub(super) fn signed(
        &self,
        endpoint: &Endpoint,
        question: &Question,
        now: Timestamp,
    ) -> Result<SignedRequest, SecretError> {
        let Question { path, body } = question;
        let host = endpoint.host.to_str().unwrap_or_default();
        let length = body.len().to_string();
        let values = [length.as_str(), CONTENT_TYPE, host];
        let headers: [_; 3] = std::array::from_fn(|at| (SIGNED[at], values[at]));
        let request = ToSign { method: "POST", path, headers: &headers, body };
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
        Ok(SignedRequest { url: endpoint.at(path), headers, body: body.clone() })
    }

    /// The answer of the first endpoint that can be reached.
    pub(super) async fn ask(
        &self,
        question: &Question,
        connected: impl Fn(),
    ) -> Result<Response, Failure> {
        let mut unreached = None;
        let mut tried = Vec::new();
        let way = &*self.0.way;
        let places = way.order().at(Instant::now(), way.endpoints.len());
        for place in places {
            let endpoint = &way.endpoints[place];
            let request = self.signed(endpoint, question, clock::now());
            let request = request.map_err(|error| no_secret(&error))?;
            crash::point(Point::Signed);
            let reached = || way.order().reached(place, &tried, Instant::now());
            let span = traced::asking(&request.url);
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

/// An answer of which as much was read as its verdict takes.
struct Answer {
    status: u16,
    body: Body,
    bytes: Bytes,
    verdict: Verdict,
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
    let verdict = judge_json(head, known, whole);
    Ok((bytes, verdict))
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

pub(super) fn unreachable(endpoint: &Endpoint, tried: usize, error: Error) -> Failure {
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
