//! The HTTP/1.1 client underneath: connections, TLS, the proxy. Must know nothing of CC-FS.
//!
//! It is hyper's own, because it can bound what a connection reads ahead: nothing else counts those
//! bytes, and left alone each connection grows its buffer to 408 KiB on a fast link.

use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Method, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{
    Connected, Connection, HttpConnector, capture_connection,
};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tower_service::Service;
use url::Url;

use crate::config;

use super::connect::ClientError;
use super::download::root_cause;

/// Idle connections are closed before a server or a load balancer does it under our feet: a POST
/// on a connection that has just been closed fails.
const IDLE: Duration = Duration::from_secs(10);

/// What a connection reads at once, in bytes. A job holds up to three such pieces: the one that
/// was handed out, the one that waits to be, and the one that is read into.
const READ_AHEAD: usize = 32 * 1024;

/// A peer that is gone without a word is noticed after a minute (three probes unanswered).
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 3;

/// How long what was sent may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Encrypted<T> = MaybeHttpsStream<T>;

/// A client that keeps its connections; cheap to clone.
#[derive(Clone)]
pub(super) struct Transport {
    client: Client<Connector, Full<Bytes>>,
    /// What a proxy wants to see of a request that it forwards as it is.
    proxy_authorization: Option<HeaderValue>,
}

impl Transport {
    /// Connects nowhere yet.
    pub fn new(settings: &config::Ccfs) -> Result<Self, ClientError> {
        let proxy = settings.proxy.as_ref().map(proxy).transpose()?;
        let proxy_authorization = proxy.as_ref().and_then(Intercept::basic_auth).cloned();
        let connector = Connector::new(settings, proxy)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(READ_AHEAD)
            .build(connector);
        Ok(Self { client, proxy_authorization })
    }

    /// Sends one POST. It follows no redirection and sends nothing twice, but for a request that
    /// found its kept connection closed before a byte of it was written. The answer's head has to
    /// come within `patience` from when there is a connection, which has its own limit.
    pub async fn post(
        &self,
        to: Uri,
        headers: HeaderMap,
        body: Bytes,
        patience: Duration,
    ) -> Result<Result<Response<Incoming>, Error>, Elapsed> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;
        if let (Some(value), Some("http")) = (&self.proxy_authorization, to.scheme_str()) {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        *request.uri_mut() = to;
        let mut connection = capture_connection(&mut request);
        let mut answer = pin!(self.client.request(request));
        tokio::select! {
            answer = &mut answer => return Ok(answer),
            _ = connection.wait_for_connection_metadata() => {}
        }
        timeout(patience, answer).await
    }
}

/// The proxy's address and authorization.
fn proxy(url: &Url) -> Result<Intercept, ClientError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ClientError::Proxy("the scheme must be http or https".to_owned()));
    }
    let anywhere = Uri::from_static("http://ccfs.invalid");
    let matcher = Matcher::builder().all(url.as_str()).build();
    matcher.intercept(&anywhere).ok_or_else(|| ClientError::Proxy("no address".to_owned()))
}

/// Makes connections: straight, through a proxy that forwards (`http`), or through a tunnel of the
/// proxy's (`https`).
#[derive(Clone)]
struct Connector {
    straight: HttpsConnector<HttpConnector>,
    tls: Arc<ClientConfig>,
    proxy: Option<Intercept>,
    /// For all of it: name, TCP, proxy, TLS.
    limit: Duration,
}

impl Connector {
    fn new(settings: &config::Ccfs, proxy: Option<Intercept>) -> Result<Self, ClientError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared among the addresses of a name, so that one that is silent leaves time for others.
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let tls = Arc::new(tls(settings)?);
        let straight = HttpsConnector::from((tcp, Arc::clone(&tls)));
        Ok(Self { straight, tls, proxy, limit: settings.connect_timeout })
    }

    async fn connect(mut self, to: Uri) -> Result<Stream, BoxError> {
        let Some(proxy) = self.proxy else {
            let io = MaybeHttpsStream::Http(self.straight.call(to).await?);
            return Ok(Stream { io, forwarded: false });
        };
        if to.scheme_str() == Some("http") {
            let io = MaybeHttpsStream::Http(self.straight.call(proxy.uri().clone()).await?);
            return Ok(Stream { io, forwarded: true });
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.straight);
        if let Some(value) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(value.clone());
        }
        let io = HttpsConnector::from((tunnel, self.tls)).call(to).await?;
        Ok(Stream { io, forwarded: false })
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = timeout(self.limit, self.clone().connect(to));
        Box::pin(async move {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
            connecting.await.map_err(late)?
        })
    }
}

/// A connection: TLS to the server, or not, within TLS to the proxy, or not.
struct Stream {
    io: Encrypted<Encrypted<TokioIo<TcpStream>>>,
    /// Whether a proxy reads the requests, which then name the server in full.
    forwarded: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.forwarded)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

/// The platform's roots, and those of `ca_file` besides.
fn tls(settings: &config::Ccfs) -> Result<ClientConfig, ClientError> {
    let failed = |error: rustls::Error| match &settings.ca_file {
        Some(path) => {
            let why = format!(": {}", root_cause(&error));
            ClientError::CaUse { path: path.clone(), why }
        }
        None => ClientError::Tls(root_cause(&error).to_string()),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
    let addresses = settings.endpoints.iter().chain(&settings.proxy);
    let wanted = addresses.into_iter().any(|address| address.scheme() == "https");
    let verifier = match &settings.ca_file {
        Some(path) => Some(Verifier::new_with_extra_roots(read_ca(path)?, provider)),
        None if wanted => Some(Verifier::new(provider)),
        // Loading the platform's roots costs time and fails where there are none.
        None => None,
    };
    let mut config = match verifier {
        Some(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier.map_err(failed)?))
            .with_no_client_auth(),
        None => builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read_ca(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let pem = config::read_pem(path)
        .map_err(|source| ClientError::CaRead { path: path.to_owned(), source })?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ClientError::CaUse { path: path.to_owned(), why: String::new() }),
    }
}
