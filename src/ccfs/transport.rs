//! The HTTP/1.1 client underneath: reqwest, told what it must not do. Must know nothing of CC-FS.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, Error, Proxy, Response, redirect, retry};
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tower::util::MapFutureLayer;
use url::Url;

use crate::config;
use crate::trust::{self, CaError, CaFile};

use super::connect::ClientError;
use super::download::root_cause;

/// Idle connections are closed before a server or a load balancer does it under our feet: a POST
/// on a connection that has just been closed fails.
const IDLE: Duration = Duration::from_secs(10);

/// So many idle connections are kept of those that there can be: each keeps the buffer that it has
/// grown to, some 400 KiB. Where less than half of them are used at once, the others are not missed.
fn kept(at_once: usize) -> usize {
    (at_once / 2).max(4)
}

/// A peer that is gone without a word is noticed after a minute (three probes unanswered).
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 3;

/// How long what was sent may stay unacknowledged.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// A client that keeps its connections, to whatever server.
pub(super) struct Transport(Client);

/// What makes one client another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Settings {
    ca: Option<CaFile>,
    /// May hold a password.
    proxy: Option<Url>,
    connect_timeout: Duration,
    /// Whether anything goes over TLS: whom to trust costs time and memory.
    tls: bool,
}

impl Settings {
    pub fn of(settings: &config::Ccfs) -> Result<Self, ClientError> {
        let look = |path: &PathBuf| {
            let unreadable = |source| ClientError::CaRead { path: path.clone(), source };
            CaFile::look(path).map_err(unreadable)
        };
        let mut addresses = settings.endpoints.iter().chain(&settings.proxy);
        Ok(Self {
            ca: settings.ca_file.as_ref().map(look).transpose()?,
            proxy: settings.proxy.clone(),
            connect_timeout: settings.connect_timeout,
            tls: addresses.any(|address| address.scheme() == "https"),
        })
    }
}

impl fmt::Debug for Settings {
    /// All but the proxy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("ca", &self.ca)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// Connects nowhere yet. `at_once`: requests under way, at most.
    pub fn new(settings: &Settings, at_once: usize) -> Result<Self, ClientError> {
        let builder = Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            // For all of it: name, TCP, proxy, TLS. The addresses of a name share it, so that one
            // that is silent leaves time for others.
            .connect_timeout(settings.connect_timeout)
            .connector_layer(MapFutureLayer::new(watched))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(kept(at_once))
            .tcp_nodelay(true)
            .tcp_keepalive(KEEPALIVE)
            .tcp_keepalive_interval(KEEPALIVE)
            .tcp_keepalive_retries(KEEPALIVE_PROBES)
            .tls_backend_preconfigured(tls(settings)?);
        #[cfg(target_os = "linux")]
        let builder = builder.tcp_user_timeout(UNACKNOWLEDGED);
        let builder = match &settings.proxy {
            Some(url) => builder.proxy(proxy(url)?),
            None => builder,
        };
        builder.build().map(Self).map_err(|error| ClientError::Tls(root_cause(&error).to_string()))
    }

    /// Sends one POST. It follows no redirection and sends nothing twice, but for a request that
    /// found its kept connection closed before a byte of it was written. The answer's head has to
    /// come within `patience` from when there is a connection, which has its own limit; `connected`
    /// is called then.
    ///
    /// A server that sends interim answers (1xx) without end is given up then, too. Until then it
    /// keeps up to a core busy: reqwest neither shows such answers nor lets them be counted.
    pub async fn post(
        &self,
        to: Url,
        headers: HeaderMap,
        body: Bytes,
        patience: Duration,
        connected: impl Fn(),
    ) -> Result<Result<Response, Error>, Elapsed> {
        let connecting = watch::Sender::new(false);
        let request = self.0.post(to).headers(headers).body(body).send();
        tokio::select! {
            biased; // Asked first, it has begun to connect before the other looks.
            answer = CONNECTING.scope(connecting.clone(), request) => {
                Ok(answer.map_err(Error::without_url))
            }
            elapsed = silence(connecting.subscribe(), patience, connected) => Err(elapsed),
        }
    }
}

tokio::task_local! {
    /// Whether a connection is being made for the request of this task.
    static CONNECTING: watch::Sender<bool>;
}

/// Connecting, as the request sees it. Nobody does where the request has got another connection
/// meanwhile: what was begun goes on without it, for the pool.
fn watched<F: Future>(connect: F) -> impl Future<Output = F::Output> {
    struct Connecting(watch::Sender<bool>);
    impl Drop for Connecting {
        fn drop(&mut self) {
            self.0.send_replace(false);
        }
    }
    let connecting = CONNECTING.try_with(|connecting| {
        connecting.send_replace(true);
        Connecting(connecting.clone())
    });
    async move {
        let _connecting = connecting;
        connect.await
    }
}

/// Ends when nothing has happened for `patience` since there was a connection.
async fn silence(
    mut connecting: watch::Receiver<bool>,
    patience: Duration,
    connected: impl Fn(),
) -> Elapsed {
    loop {
        // The sender is kept for as long as this is waited for.
        let _ = connecting.wait_for(|connecting| !connecting).await;
        connected();
        let again = connecting.wait_for(|connecting| *connecting);
        if let Err(elapsed) = timeout(patience, again).await {
            return elapsed;
        }
    }
}

fn proxy(url: &Url) -> Result<Proxy, ClientError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ClientError::Proxy("the scheme must be http or https".to_owned()));
    }
    Proxy::all(url.clone()).map_err(|_| ClientError::Proxy("no address".to_owned()))
}

/// The platform's roots, and those of `ca_file` besides. A mistake in that is told also where nothing
/// goes over TLS.
fn tls(settings: &Settings) -> Result<ClientConfig, ClientError> {
    let path = settings.ca.as_ref().map(CaFile::path);
    let named = path.map_or(Ok(Vec::new()), |path| {
        trust::read(path).map_err(|error| match error {
            CaError::Read(source) => ClientError::CaRead { path: path.to_owned(), source },
            CaError::Empty => ClientError::CaUse { path: path.to_owned(), why: String::new() },
        })
    })?;
    let config = if settings.tls { trust::tls(named) } else { trust::nobody_but(named) };
    let mut config = config.map_err(|error| {
        let why = root_cause(&error).to_string();
        match path {
            Some(path) => ClientError::CaUse { path: path.to_owned(), why: format!(": {why}") },
            None => ClientError::Tls(why),
        }
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
