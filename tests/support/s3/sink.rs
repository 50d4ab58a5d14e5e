//! A store that takes objects as S3 does and keeps nothing of them but their size.
//!
//! A real server would be what is measured: it writes to the disk, and takes more of the cores that
//! it shares with the worker than the worker does. To the worker's side of the connection there is
//! no difference: the same requests, signed and sent in the same way, answered in the same form, and
//! what they say of their bodies is held against these ([`body`]).

mod body;
mod stock;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, ETAG, IF_NONE_MATCH};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::ccfs::tls::{Certificate, Tls, tls};
use body::Body;
use stock::{Part, Stock};

/// A running sink.
pub struct Sink {
    endpoint: String,
    taken: Arc<Taken>,
    tls: Option<Tls>,
}

/// How a PUT goes wrong; nothing is stored then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Answer {
        status: u16,
        code: &'static str,
    },
    /// The connection is closed instead of an answer.
    Close,
    /// No byte of an answer, until the client goes.
    Hang,
}

struct Taken {
    stock: Stock,
    verify: bool,
    /// Of every hundred PUTs each refuses one.
    refusals: &'static [Refusal],
    puts: AtomicUsize,
}

impl Sink {
    /// `verify`: whether every body is hashed and held against `x-amz-content-sha256`.
    pub async fn start(verify: bool) -> Self {
        Self::start_with(verify, &[], None).await
    }

    /// The same over TLS, under a CA of its own ([`Self::ca_file`]).
    pub async fn start_tls(verify: bool) -> Self {
        Self::start_with(verify, &[], Some(tls(Certificate::UnderCa))).await
    }

    /// One that refuses, by each of `refusals`, one PUT in a hundred.
    pub async fn start_refusing(refusals: &'static [Refusal]) -> Self {
        Self::start_with(false, refusals, None).await
    }

    async fn start_with(verify: bool, refusals: &'static [Refusal], tls: Option<Tls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (stock, puts) = (Stock::default(), AtomicUsize::default());
        let taken = Arc::new(Taken { stock, verify, refusals, puts });
        let acceptor = tls.as_ref().map(|tls| tls.acceptor.clone());
        tokio::spawn(accept(listener, acceptor, Arc::clone(&taken)));
        let scheme = if tls.is_some() { "https" } else { "http" };
        Self { endpoint: format!("{scheme}://{address}"), taken, tls }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The CA in PEM form, while the sink lives; with TLS only.
    pub fn ca_file(&self) -> PathBuf {
        self.tls.as_ref().expect("the sink has TLS").folder.path().join("ca.pem")
    }

    /// How many objects there are, and their bytes; forgets them.
    pub fn take(&self) -> (usize, u64) {
        self.taken.stock.take()
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, taken: Arc<Taken>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, acceptor.clone(), Arc::clone(&taken)));
        }
    }
}

async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, taken: Arc<Taken>) {
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => serve(stream, taken).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, taken).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, taken: Arc<Taken>) {
    let service = service_fn(|request| {
        let taken = Arc::clone(&taken);
        async move { taken.answer(request).await }
    });
    let serving = hyper::server::conn::http1::Builder::new();
    // It ends when the client hangs up, in order or not.
    let _ = serving.serve_connection(TokioIo::new(stream), service).await;
}

impl Taken {
    /// An error closes the connection.
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let method = request.method().clone();
        let conditional = request.headers().contains_key(IF_NONE_MATCH);
        let whole = body::claimed(request.headers());
        let Body { length, crc, wrong } = Body::read(request, self.verify).await?;
        let refusal = if method == Method::PUT { self.refusal() } else { None };
        match refusal {
            None => {}
            Some(Refusal::Answer { status, code }) => return Ok(refused(status, code)),
            Some(Refusal::Close) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(Refusal::Hang) => std::future::pending().await,
        }
        if let Some(code) = wrong {
            return Ok(refused(400, code));
        }
        Ok(match method {
            Method::PUT => match part_number(&query) {
                Some(number) => {
                    self.stock.add(path, number, Part { length, crc });
                    done(response().header(ETAG, "\"sink\""), "")
                }
                None => self.create(path, length, conditional, ""),
            },
            Method::POST if query.contains("uploadId=") => {
                let Part { length, crc } = self.stock.complete(&path);
                if let (Some(claimed), Some(crc)) = (whole, crc)
                    && claimed != body::written(crc)
                {
                    return Ok(refused(400, body::BAD_DIGEST));
                }
                self.create(
                    path,
                    length,
                    conditional,
                    "<CompleteMultipartUploadResult><ETag>\"sink\"</ETag></CompleteMultipartUploadResult>",
                )
            }
            Method::POST => {
                self.stock.begin(path);
                done(
                    response(),
                    "<InitiateMultipartUploadResult><UploadId>sink</UploadId></InitiateMultipartUploadResult>",
                )
            }
            Method::HEAD => match self.stock.size(&path) {
                Some(size) => done(response().header(CONTENT_LENGTH, size), ""),
                None => done(response().status(StatusCode::NOT_FOUND), ""),
            },
            _ => done(response().status(StatusCode::NOT_IMPLEMENTED), ""),
        })
    }

    /// From now on it is there, unless it was and must not have been.
    fn create(
        &self,
        path: String,
        length: u64,
        conditional: bool,
        answer: &'static str,
    ) -> Response<Full<Bytes>> {
        if self.stock.create(path, length, conditional) {
            done(response().header(ETAG, "\"sink\""), answer)
        } else {
            refused(412, "PreconditionFailed")
        }
    }

    fn refusal(&self) -> Option<Refusal> {
        let put = self.puts.fetch_add(1, Ordering::Relaxed) % 100;
        self.refusals.get(put).copied()
    }
}

/// Of a part; an object has none.
fn part_number(query: &str) -> Option<u32> {
    query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")?.parse().ok())
}

fn response() -> hyper::http::response::Builder {
    Response::builder()
}

fn refused(status: u16, code: &str) -> Response<Full<Bytes>> {
    done(response().status(status), format!("<Error><Code>{code}</Code></Error>"))
}

fn done(builder: hyper::http::response::Builder, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    builder.body(Full::new(body.into())).expect("constants are valid")
}
