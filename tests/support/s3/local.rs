//! An S3 server in this process: s3s over a folder, behind a layer that checks what comes in,
//! writes it down, and fails as the test's script says.
//!
//! The layer adds what s3s-fs lacks: conditional creation that is atomic, buckets that have to
//! exist, the list of open uploads.

mod carry;
mod wire;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use self::wire::{Answer, error, op_of, read, signed_by, target, xml};
use super::{ACCESS_KEY, OBSERVER, S3, SECRET_KEY};

pub use self::wire::Op;

const UNBROKEN: &str = "no panic holds the lock";

/// For a fault that stays.
pub const ALWAYS: u32 = u32::MAX;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An S3 error; an empty code stands for an answer without a body.
    Answer { status: u16, code: &'static str },
    /// A reset before the body is read.
    ResetBefore,
    /// A reset when this many bytes of the body have come.
    ResetAfterBytes(usize),
    /// It is carried out, then the connection is reset instead of an answer.
    ResetInsteadOfAnswer,
    /// It is read and never answered.
    Stall,
    /// Status 200 with an error in its body, as CompleteMultipartUpload may.
    OkWithError { code: &'static str },
    /// Overwrites whatever `If-None-Match` says, as older stores do.
    IgnoreCondition,
    /// 501, if the request has `If-None-Match`.
    RefuseCondition,
    /// Takes a body whatever its `x-amz-checksum-crc64nvme`,
    IgnoreChecksum,
    /// or does so where the payload is not signed.
    IgnoreChecksumOfUnsigned,
    /// 501, if the request has or announces such a checksum.
    RefuseChecksum,
    /// 403, if the payload is not signed, as the policies of some buckets have it.
    RefuseUnsigned,
    /// An answer written by hand.
    Xml { status: u16, body: &'static str },
    /// It is carried out, and answered without an ETag.
    NoEtag,
    /// It is carried out, and answered without a Content-Length.
    NoLength,
    /// It is carried out, and of the answer's body so many bytes come: then it ends,
    TornBody(usize),
    /// or nothing comes any more.
    StalledBody(usize),
    /// All of an object is sent, whatever range was asked for.
    NoRange,
    /// What is not there is a 403, as to who may not list.
    MissingIsForbidden,
    /// Open uploads are listed to who asks for their whole key alone, as MinIO does.
    ByWholeKey,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub op: Op,
    pub bucket: String,
    /// As it was before percent-encoding.
    pub key: String,
    pub query: BTreeMap<String, String>,
    pub headers: HashMap<String, String>,
    pub body: Bytes,
    /// `x-amz-content-sha256` is the hash of the body.
    pub hash_matches: bool,
    /// `x-amz-checksum-crc64nvme` is that of the body.
    pub crc_matches: bool,
    /// It came over TLS.
    pub tls: bool,
    /// `None`: it was not answered.
    pub status: Option<u16>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// The server; it ends when this is dropped.
pub struct LocalS3 {
    s3: S3,
    inner: Arc<Inner>,
    accepting: JoinHandle<()>,
}

/// The ends of a front's connections to the server behind it.
pub(super) type Fronts = Arc<Mutex<HashSet<SocketAddr>>>;

/// In a request: it came over TLS.
#[derive(Clone)]
struct OverTls;

struct Inner {
    service: S3Service,
    /// Carries out what is not to be verified.
    lenient: S3Service,
    fronts: Fronts,
    root: tempfile::TempDir,
    script: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    writes: Mutex<Vec<Write>>,
    keep_bodies: AtomicBool,
    /// By their ids.
    uploads: Mutex<BTreeMap<String, OpenUpload>>,
    /// One writer a key, so that 'create if absent' is atomic.
    writers: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// What is away for the moment in which it is overwritten.
    overwriting: Mutex<HashSet<PathBuf>>,
}

struct OpenUpload {
    bucket: String,
    key: String,
    since: Timestamp,
}

/// An object that became visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub bucket: String,
    pub key: String,
    pub sha256: String,
    pub size: u64,
}

struct Rule {
    op: Op,
    left: u32,
    fault: Fault,
}

impl LocalS3 {
    pub async fn start() -> Self {
        let root = tempfile::tempdir().expect("a folder can be made");
        let files = FileSystem::new(root.path()).expect("s3s takes an empty folder");
        let same = FileSystem::new(root.path()).expect("s3s takes a folder of its own");
        let lenient = S3ServiceBuilder::new(same).build();
        let mut builder = S3ServiceBuilder::new(files);
        let mut auth = SimpleAuth::new();
        for id in [ACCESS_KEY, OBSERVER] {
            auth.register(id.to_owned(), SECRET_KEY.into());
        }
        builder.set_auth(auth);
        let inner = Arc::new(Inner {
            service: builder.build(),
            lenient,
            fronts: Fronts::default(),
            root,
            script: Mutex::default(),
            seen: Mutex::default(),
            writes: Mutex::default(),
            keep_bodies: AtomicBool::new(true),
            uploads: Mutex::default(),
            writers: Mutex::default(),
            overwriting: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let accepting = tokio::spawn(accept(listener, Arc::clone(&inner)));
        Self { s3: S3::new(format!("http://{address}")), inner, accepting }
    }

    pub fn s3(&self) -> &S3 {
        &self.s3
    }

    /// Where a front notes which connections are its own: only what comes by them may go unsigned.
    pub(super) fn fronts(&self) -> Fronts {
        Arc::clone(&self.inner.fronts)
    }

    /// Has an object as if it had been there before; nobody asked for that, and nothing is written down.
    ///
    /// # Panics
    /// The folder cannot be written.
    pub fn shelve(&self, bucket: &str, key: &str, body: &[u8]) {
        let path = self.inner.root.path().join(bucket).join(key);
        std::fs::create_dir_all(path.parent().expect("a bucket")).expect("the folder is ours");
        std::fs::write(path, body).expect("the folder is ours");
    }

    /// The next `times` requests of `op` fail so; faults of an operation take their turns.
    pub fn fault(&self, op: Op, times: u32, fault: Fault) {
        self.inner.script.lock().expect(UNBROKEN).push(Rule { op, left: times, fault });
    }

    pub fn heal(&self) {
        self.inner.script.lock().expect(UNBROKEN).clear();
    }

    /// All requests so far but the kit's own, in the order in which they were read.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().expect(UNBROKEN).clone()
    }

    pub fn seen_of(&self, op: Op) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.op == op).collect()
    }

    /// The operations so far, in order.
    pub fn ops(&self) -> Vec<Op> {
        self.seen().into_iter().map(|seen| seen.op).collect()
    }

    /// Whether [`Seen`] has the bodies; off for runs that are long or large.
    pub fn keep_bodies(&self, keep: bool) {
        self.inner.keep_bodies.store(keep, Ordering::Relaxed);
    }

    /// All that was written, in order; a key twice if it was overwritten.
    pub fn writes(&self) -> Vec<Write> {
        self.inner.writes.lock().expect(UNBROKEN).clone()
    }

    /// Hash and length of what lies under a key now. Cheap: it is what was last written there, if
    /// it still has that length. (A real store shows the old one until the new one is there.)
    pub fn holds(&self, bucket: &str, key: &str) -> Option<(String, u64)> {
        let overwriting = self.inner.overwriting.lock().expect(UNBROKEN);
        let writes = self.inner.writes.lock().expect(UNBROKEN);
        let last = writes.iter().rev().find(|write| write.bucket == bucket && write.key == key)?;
        let path = self.inner.path(bucket, key);
        let there = std::fs::metadata(&path).is_ok_and(|file| file.len() == last.size);
        (there || overwriting.contains(&path)).then(|| (last.sha256.clone(), last.size))
    }

    /// The same, read anew from the disk.
    pub fn content(&self, bucket: &str, key: &str) -> Option<(String, u64)> {
        hash_of(&self.inner.path(bucket, key)).ok()
    }

    /// Uploads that are neither complete nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.inner.uploads.lock().expect(UNBROKEN).len()
    }
}

impl Drop for LocalS3 {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    // Dropped with this task, and with them their connections.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        connections.spawn(serve(stream, peer, Arc::clone(&inner)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, inner: Arc<Inner>) {
    // A second handle of the socket, to set what makes its closing a reset.
    let stream = stream.into_std().expect("a socket can leave the runtime");
    let second = stream.try_clone().expect("a socket can be shared");
    let stream = TcpStream::from_std(stream).expect("a socket can enter the runtime");
    let second = TcpStream::from_std(second).expect("a socket can enter the runtime");
    let reset = Arc::new(Notify::new());
    let on_request = {
        let reset = Arc::clone(&reset);
        hyper::service::service_fn(move |mut request: Request<Incoming>| {
            let (inner, reset) = (Arc::clone(&inner), Arc::clone(&reset));
            if inner.fronts.lock().expect(UNBROKEN).contains(&peer) {
                request.extensions_mut().insert(OverTls);
            }
            async move { Ok::<_, Infallible>(inner.answer(request, &reset).await) }
        })
    };
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), on_request);
    tokio::select! {
        _ = connection => {}
        () = reset.notified() => second.set_zero_linger().expect("a socket can be reset"),
    }
}

impl Inner {
    async fn answer(self: &Arc<Self>, request: Request<Incoming>, reset: &Notify) -> Answer {
        let op = op_of(&request);
        if signed_by(&request, OBSERVER) {
            let (parts, body) = request.into_parts();
            let Some(body) = read(body, usize::MAX).await else { return gone(reset).await };
            return self.carry_out(op, parts, body, None).await;
        }
        let fault = self.next_fault(op, &request);
        if fault == Some(Fault::ResetBefore) {
            return gone(reset).await;
        }
        let (parts, body) = request.into_parts();
        let limit = match fault {
            Some(Fault::ResetAfterBytes(bytes)) => bytes,
            _ => usize::MAX,
        };
        let Some(body) = read(body, limit).await else { return gone(reset).await };
        let index = self.note(op, &parts, &body);
        let answer = match fault {
            Some(Fault::Stall) => std::future::pending().await,
            Some(Fault::Answer { status, code }) => error(status, code),
            Some(Fault::OkWithError { code }) => error(200, code),
            Some(Fault::RefuseCondition | Fault::RefuseChecksum) => error(501, "NotImplemented"),
            Some(Fault::RefuseUnsigned) => error(403, "AccessDenied"),
            Some(Fault::Xml { status, body }) => xml(status, body.to_owned()),
            Some(Fault::ResetInsteadOfAnswer) => {
                self.carry_out(op, parts, body, None).await;
                return gone(reset).await;
            }
            fault => self.carry_out(op, parts, body, fault).await,
        };
        self.seen.lock().expect(UNBROKEN)[index].status = Some(answer.status().as_u16());
        answer
    }

    /// Where s3s keeps an object.
    fn path(&self, bucket: &str, key: &str) -> PathBuf {
        self.root.path().join(bucket).join(key)
    }

    fn next_fault(&self, op: Op, request: &Request<Incoming>) -> Option<Fault> {
        let has = |name| request.headers().contains_key(name);
        let unsigned = is_unsigned(request.headers());
        let mut script = self.script.lock().expect(UNBROKEN);
        let concerns = |fault: &Fault| match fault {
            Fault::RefuseCondition => has("if-none-match"),
            Fault::RefuseChecksum => has(CRC64NVME) || has("x-amz-checksum-algorithm"),
            Fault::RefuseUnsigned | Fault::IgnoreChecksumOfUnsigned => unsigned,
            _ => true,
        };
        let fits = |rule: &&mut Rule| rule.op == op && rule.left > 0 && concerns(&rule.fault);
        let rule = script.iter_mut().find(fits)?;
        if rule.left != ALWAYS {
            rule.left -= 1;
        }
        Some(rule.fault.clone())
    }

    fn note(&self, op: Op, parts: &hyper::http::request::Parts, body: &Bytes) -> usize {
        let (bucket, key) = target(parts.uri.path());
        let query = parts.uri.query().unwrap_or_default();
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let header = |(name, value): (&hyper::http::HeaderName, &hyper::http::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers: HashMap<_, _> = parts.headers.iter().map(header).collect();
        let hash = hex::encode(Sha256::digest(body));
        let hash_matches = headers.get("x-amz-content-sha256") == Some(&hash);
        let crc_matches = headers.get(CRC64NVME) == Some(&crc64nvme(body));
        let tls = parts.extensions.get::<OverTls>().is_some();
        let kept = self.keep_bodies.load(Ordering::Relaxed);
        let body = if kept { body.clone() } else { Bytes::new() };
        let status = None;
        let seen =
            Seen { op, bucket, key, query, headers, body, hash_matches, crc_matches, tls, status };
        let mut all = self.seen.lock().expect(UNBROKEN);
        all.push(seen);
        all.len() - 1
    }
}

const CRC64NVME: &str = "x-amz-checksum-crc64nvme";

fn is_unsigned(headers: &hyper::HeaderMap) -> bool {
    headers.get("x-amz-content-sha256").is_some_and(|value| value == "UNSIGNED-PAYLOAD")
}

/// As S3 writes it.
pub fn crc64nvme(body: &[u8]) -> String {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, body);
    base64::engine::general_purpose::STANDARD.encode(sum.to_be_bytes())
}

/// SHA-256 in hex and length of a file.
fn hash_of(path: &Path) -> io::Result<(String, u64)> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex::encode(hash.finalize()), size));
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
}

/// The connection is reset; its service never answers.
async fn gone(reset: &Notify) -> Answer {
    reset.notify_one();
    std::future::pending().await
}
