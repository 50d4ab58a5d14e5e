//! A store that lists a bucket of any size without having it: its keys are made as they are listed.
//!
//! It answers `ListObjectsV2` alone, a thousand keys a page as S3 does, and counts what it is asked. A real
//! server would be what is measured, and a million objects take it a quarter of an hour to be put.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;

/// Keys of a page.
const PAGE: u64 = 1000;

/// What is on the shelf, by the numbers of its keys, which are in the order of the keys.
pub trait Keys: Send + Sync + 'static {
    /// The numbers of those that begin with a prefix.
    fn under(&self, prefix: &str) -> Range<u64>;
    /// The key of a number under the prefix that is asked for; `None` is a gap.
    fn key(&self, prefix: &str, number: u64) -> Option<String>;
}

/// A running shelf.
pub struct Shelf {
    endpoint: String,
    asked: Arc<AtomicU64>,
}

impl Shelf {
    /// # Panics
    /// Loopback has no free port.
    pub async fn start(keys: impl Keys) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (asked, keys) = (Arc::new(AtomicU64::new(0)), Arc::new(keys));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (keys, counted) = (Arc::clone(&keys), Arc::clone(&counted));
                let service = service_fn(move |request: Request<Incoming>| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    std::future::ready(Ok::<_, Infallible>(answer(&*keys, &request)))
                });
                let serving = hyper::server::conn::http1::Builder::new();
                // It ends when the client hangs up, in order or not.
                tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { endpoint: format!("http://{address}"), asked }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Requests so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn answer(keys: &impl Keys, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let query = request.uri().query().unwrap_or_default();
    let of = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| *key == name)?;
        percent_decode_str(value).decode_utf8().ok().map(String::from)
    };
    if request.method() != Method::GET || of("list-type").is_none() {
        let answer = Response::builder().status(StatusCode::NOT_IMPLEMENTED);
        return answer.body(Full::default()).expect("constants are valid");
    }
    let prefix = of("prefix").unwrap_or_default();
    let all = keys.under(&prefix);
    let behind = |after: String| {
        let is_behind = |number: &u64| keys.key(&prefix, *number).is_some_and(|key| key > after);
        all.clone().find(is_behind).unwrap_or(all.end)
    };
    let token = of("continuation-token").and_then(|token| token.parse().ok());
    let from: u64 = token.or_else(|| of("start-after").map(behind)).unwrap_or(all.start);
    let until = all.end.min(from + PAGE);
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult>");
    for key in (from..until).filter_map(|number| keys.key(&prefix, number)) {
        let write = write!(text, "<Contents><Key>{key}</Key><Size>640</Size></Contents>");
        write.expect("a string takes whatever is written to it");
    }
    let more = until < all.end;
    text += &format!("<IsTruncated>{more}</IsTruncated>");
    if more {
        text += &format!("<NextContinuationToken>{until}</NextContinuationToken>");
    }
    text += "</ListBucketResult>";
    Response::new(Full::from(text))
}
