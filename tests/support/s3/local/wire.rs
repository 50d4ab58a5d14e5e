//! Requests as the script tells them apart, and answers written by hand.

use std::convert::Infallible;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body as _, Incoming};
use hyper::{Request, Response};

/// An operation, as far as the script tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Put,
    Get,
    Head,
    CreateMultipart,
    UploadPart,
    CompleteMultipart,
    AbortMultipart,
    ListMultipart,
    List,
    Other,
}

pub(super) type Answer = Response<BoxBody<Bytes, Infallible>>;

pub(super) fn whole(bytes: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(bytes.into()).boxed()
}

/// A body of which nobody says how long it is.
pub(super) fn of_unknown_length() -> BoxBody<Bytes, Infallible> {
    let none = futures_util::stream::empty::<Result<hyper::body::Frame<Bytes>, Infallible>>();
    StreamBody::new(none).boxed()
}

/// The first bytes of a body; then it ends, too early, or stays open.
pub(super) fn begun(bytes: Bytes, stays: bool) -> BoxBody<Bytes, Infallible> {
    let mut first = Some(hyper::body::Frame::data(bytes));
    let mut waited = false;
    let body = futures_util::stream::poll_fn(move |context| match first.take() {
        Some(frame) => Poll::Ready(Some(Ok(frame))),
        None if stays => Poll::Pending,
        // What there is goes out first.
        None if !std::mem::replace(&mut waited, true) => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        None => Poll::Ready(None),
    });
    StreamBody::new(body).boxed()
}

/// The body, or `None` once more than `limit` bytes have come or the client has gone.
pub(super) async fn read(mut body: Incoming, limit: usize) -> Option<Bytes> {
    let mut read = Vec::with_capacity(body.size_hint().lower().min(1 << 24) as usize);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            read.extend_from_slice(&data);
        }
        if read.len() > limit {
            return None;
        }
    }
    Some(read.into())
}

pub(super) fn op_of(request: &Request<Incoming>) -> Op {
    let query = request.uri().query().unwrap_or_default();
    let has = |name| url::form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == name);
    let key = !target(request.uri().path()).1.is_empty();
    match (request.method().as_str(), key) {
        ("PUT", true) if has("partNumber") => Op::UploadPart,
        ("PUT", true) => Op::Put,
        ("GET", true) => Op::Get,
        ("HEAD", true) => Op::Head,
        ("POST", true) if has("uploads") => Op::CreateMultipart,
        ("POST", true) if has("uploadId") => Op::CompleteMultipart,
        ("DELETE", true) if has("uploadId") => Op::AbortMultipart,
        ("GET", false) if has("uploads") => Op::ListMultipart,
        ("GET", false) if has("list-type") => Op::List,
        _ => Op::Other,
    }
}

pub(super) fn signed_by(request: &Request<Incoming>, id: &str) -> bool {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    header.is_some_and(|value| value.contains(&format!("Credential={id}/")))
}

pub(super) fn upload_id(query: &str) -> String {
    let mut query = url::form_urlencoded::parse(query.as_bytes());
    query.find(|(name, _)| name == "uploadId").map(|(_, id)| id.into_owned()).unwrap_or_default()
}

/// Bucket and key of a path-style request.
pub(super) fn target(path: &str) -> (String, String) {
    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (bucket.to_owned(), key.to_owned())
}

pub(super) fn error(status: u16, code: &str) -> Answer {
    if code.is_empty() {
        return xml(status, String::new());
    }
    xml(status, format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>"))
}

pub(super) fn xml(status: u16, body: String) -> Answer {
    let answer = Response::builder().status(status).header("content-type", "application/xml");
    answer.body(whole(body)).expect("a status and a body make an answer")
}
