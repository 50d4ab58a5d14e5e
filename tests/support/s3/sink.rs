//! A store that takes objects as S3 does and keeps nothing of them but their size.
//!
//! A real server would be what is measured: it writes to the disk, and takes more of the cores that
//! it shares with the worker than the worker does. To the worker's side of the connection there is
//! no difference: the same requests, signed and sent in the same way, answered in the same form.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, ETAG, IF_NONE_MATCH};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};

/// A running sink.
pub struct Sink {
    endpoint: String,
    taken: Arc<Taken>,
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
    /// Path → bytes.
    objects: Mutex<HashMap<String, u64>>,
    /// Path → bytes of the parts of an upload that is not complete: nobody sees them yet.
    uploads: Mutex<HashMap<String, u64>>,
    verify: bool,
    /// Of every hundred PUTs each refuses one.
    refusals: &'static [Refusal],
    puts: AtomicUsize,
}

impl Sink {
    /// `verify`: whether every body is hashed and held against `x-amz-content-sha256`.
    pub async fn start(verify: bool) -> Self {
        Self::start_with(verify, &[]).await
    }

    /// One that refuses, by each of `refusals`, one PUT in a hundred.
    pub async fn start_refusing(refusals: &'static [Refusal]) -> Self {
        Self::start_with(false, refusals).await
    }

    async fn start_with(verify: bool, refusals: &'static [Refusal]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (objects, uploads, puts) = (Mutex::default(), Mutex::default(), AtomicUsize::default());
        let taken = Arc::new(Taken { objects, uploads, verify, refusals, puts });
        tokio::spawn(accept(listener, Arc::clone(&taken)));
        Self { endpoint: format!("http://{address}"), taken }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How many objects there are, and their bytes; forgets them.
    pub fn take(&self) -> (usize, u64) {
        let objects = std::mem::take(&mut *held(&self.taken.objects));
        (objects.len(), objects.values().sum())
    }
}

async fn accept(listener: TcpListener, taken: Arc<Taken>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, Arc::clone(&taken)));
        }
    }
}

async fn connection(stream: TcpStream, taken: Arc<Taken>) {
    let _ = stream.set_nodelay(true);
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
        let bytes = self.drain(request).await?;
        let refusal = if method == Method::PUT { self.refusal() } else { None };
        match refusal {
            None => {}
            Some(Refusal::Answer { status, code }) => {
                let text = format!("<Error><Code>{code}</Code></Error>");
                return Ok(done(response().status(status), text));
            }
            Some(Refusal::Close) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(Refusal::Hang) => std::future::pending().await,
        }
        Ok(match method {
            Method::PUT if query.contains("partNumber=") => {
                *held(&self.uploads).entry(path).or_default() += bytes;
                done(response().header(ETAG, "\"sink\""), "")
            }
            Method::PUT => self.create(path, bytes, conditional, ""),
            Method::POST if query.contains("uploadId=") => {
                let bytes = held(&self.uploads).remove(&path).unwrap_or_default();
                self.create(
                    path,
                    bytes,
                    conditional,
                    "<CompleteMultipartUploadResult><ETag>\"sink\"</ETag></CompleteMultipartUploadResult>",
                )
            }
            Method::POST => done(
                response(),
                "<InitiateMultipartUploadResult><UploadId>sink</UploadId></InitiateMultipartUploadResult>",
            ),
            Method::HEAD => match held(&self.objects).get(&path) {
                Some(size) => done(response().header(CONTENT_LENGTH, *size), ""),
                None => done(response().status(StatusCode::NOT_FOUND), ""),
            },
            _ => done(response().status(StatusCode::NOT_IMPLEMENTED), ""),
        })
    }

    /// From now on it is there, unless it was and must not have been.
    fn create(
        &self,
        path: String,
        bytes: u64,
        conditional: bool,
        answer: &'static str,
    ) -> Response<Full<Bytes>> {
        let mut objects = held(&self.objects);
        if conditional && objects.contains_key(&path) {
            let refusal = "<Error><Code>PreconditionFailed</Code></Error>";
            return done(response().status(StatusCode::PRECONDITION_FAILED), refusal);
        }
        objects.insert(path, bytes);
        done(response().header(ETAG, "\"sink\""), answer)
    }

    fn refusal(&self) -> Option<Refusal> {
        let put = self.puts.fetch_add(1, Ordering::Relaxed) % 100;
        self.refusals.get(put).copied()
    }

    /// Reads a body to its end.
    async fn drain(&self, request: Request<Incoming>) -> io::Result<u64> {
        let signed = request.headers().get("x-amz-content-sha256").cloned();
        let mut body = request.into_body();
        let mut bytes = 0;
        let mut hash = self.verify.then(Sha256::new);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(io::Error::other)?;
            let data = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
            bytes += data.len() as u64;
            if let Some(hash) = &mut hash {
                hash.update(data);
            }
        }
        if let (Some(hash), Some(signed)) = (hash, signed.filter(|_| bytes > 0)) {
            let hash = hex::encode(hash.finalize());
            // The floor's bodies are unsigned.
            assert!(signed == hash.as_str() || signed == "UNSIGNED-PAYLOAD", "the signed hash");
        }
        Ok(bytes)
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn response() -> hyper::http::response::Builder {
    Response::builder()
}

fn done(builder: hyper::http::response::Builder, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    builder.body(Full::new(body.into())).expect("constants are valid")
}
