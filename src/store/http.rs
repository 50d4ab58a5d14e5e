//! The HTTP client under the SDK: TLS with the configured CA, the proxy, and how much of an answer
//! is read. Must know nothing of S3 but how long its answers can be.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_sdk_s3::config::{RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use hyper::body::{Body, Frame};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use crate::config;
use crate::trust::CaFile;

/// S3 closes idle connections after 20 s; ours must be gone before.
const POOL_IDLE: Duration = Duration::from_secs(12);

/// All that is read of an answer, in bytes: the SDK collects it before anybody judges it, and a
/// server may send without end. S3's errors and confirmations have some hundred.
const MOST_OF_AN_ANSWER: usize = 64 * 1024;
/// The same of a listing: a thousand keys of a KiB each, three times as long when they are encoded.
const MOST_OF_A_LISTING: usize = 16 * 1024 * 1024;

/// Why there is no client for `[store]`.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("store.ca_file: cannot read {}: {source}", path.display())]
    CaRead { path: PathBuf, source: std::io::Error },
    #[error(
        "store.ca_file: {} holds no certificates; write them in PEM, with BEGIN CERTIFICATE",
        path.display()
    )]
    CaUse { path: PathBuf },
    #[error("store.proxy: it cannot be used; write it as http://host:port")]
    Proxy,
}

/// What makes one client another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Settings {
    ca: Option<CaFile>,
    /// May hold a password.
    proxy: Option<Url>,
    /// Whether anything goes over TLS: whom to trust costs time and memory.
    tls: bool,
}

impl Settings {
    /// Of the client that asks the store itself.
    pub fn of(settings: &config::Store) -> Result<Self, HttpError> {
        let look = |path: &PathBuf| {
            let unreadable = |source| HttpError::CaRead { path: path.clone(), source };
            CaFile::look(path).map_err(unreadable)
        };
        let ca = settings.ca_file.as_ref().map(look).transpose()?;
        let plain = |url: &Url| url.scheme() == "http";
        let tls = !settings.endpoint.as_ref().is_some_and(plain)
            || !settings.proxy.as_ref().is_none_or(plain);
        Ok(Self { ca, proxy: settings.proxy.clone(), tls })
    }

    /// The same, of one that gets credentials, wherever they are.
    pub fn of_any_server(self) -> Self {
        Self { tls: true, ..self }
    }
}

/// The connections of all clients of equal settings; there is none yet. What the environment says of
/// proxies is not heeded.
pub(super) fn connections(settings: &Settings) -> Result<SharedHttpClient, HttpError> {
    let proxy = match &settings.proxy {
        // The error may quote the URL, which may hold a password.
        Some(url) => ProxyConfig::all(url.as_str()).map_err(|_| HttpError::Proxy)?,
        None => ProxyConfig::disabled(),
    };
    let mut trusted = if settings.tls { TrustStore::default() } else { TrustStore::empty() };
    if let Some(ca) = &settings.ca {
        trusted.add_pem_certificate(read_ca(ca.path())?);
    }
    let tls = TlsContext::builder().with_trust_store(trusted).build();
    let tls = tls.expect("a context of a trust store alone can be built");
    let client = Builder::new().build_with_connector_fn(move |settings, _| {
        Connector::builder()
            .connector_settings(settings.cloned().unwrap_or_default())
            .pool_idle_timeout(POOL_IDLE)
            .proxy_config(proxy.clone())
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(tls.clone())
            .build()
    });
    Ok(SharedHttpClient::new(client))
}

/// A client by them.
pub(super) fn client(connections: Arc<SharedHttpClient>) -> SharedHttpClient {
    SharedHttpClient::new(Bounded(connections))
}

/// What the file holds, once each certificate in it is known to be one: the SDK panics at others.
fn read_ca(path: &Path) -> Result<Vec<u8>, HttpError> {
    let pem = config::read_pem(path)
        .map_err(|source| HttpError::CaRead { path: path.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    let usable = CertificateDer::pem_slice_iter(&pem)
        .all(|certificate| certificate.is_ok_and(|certificate| roots.add(certificate).is_ok()));
    if usable && !roots.is_empty() {
        return Ok(pem);
    }
    Err(HttpError::CaUse { path: path.to_owned() })
}

/// A client, or one of its connectors, whose answers end where they are long enough.
#[derive(Debug)]
struct Bounded<T>(T);

impl HttpClient for Bounded<Arc<SharedHttpClient>> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Bounded(self.0.http_connector(settings, components)))
    }
}

impl HttpConnector for Bounded<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asked = Asked::of(&request);
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            let most = asked.most(answer.status().is_success());
            Ok(answer.map(|body| match most {
                Some(left) => SdkBody::from_body_1_x(Cut { body, left }),
                None => body,
            }))
        })
    }
}

/// What an answer to it may hold.
#[derive(Clone, Copy)]
enum Asked {
    Confirmation,
    Listing,
    /// Whoever reads it knows how much of it is wanted.
    Object,
}

impl Asked {
    fn of(request: &HttpRequest) -> Self {
        match request.method() {
            "GET" if request.uri().contains("x-id=GetObject") => Self::Object,
            "GET" => Self::Listing,
            _ => Self::Confirmation,
        }
    }

    fn most(self, success: bool) -> Option<usize> {
        match self {
            Self::Object if success => None,
            Self::Listing if success => Some(MOST_OF_A_LISTING),
            _ => Some(MOST_OF_AN_ANSWER),
        }
    }
}

/// A body that ends after so many bytes, whatever comes; its connection is closed then.
struct Cut {
    body: SdkBody,
    left: usize,
}

impl Body for Cut {
    type Data = Bytes;
    type Error = <SdkBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let frame = frame.map(|frame| {
            frame.map(|frame| {
                let left = &mut self.left;
                frame.map_data(|data| {
                    let kept = data.slice(..data.len().min(*left));
                    *left -= kept.len();
                    kept
                })
            })
        });
        Poll::Ready(frame)
    }
}
