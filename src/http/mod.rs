//! Probes, metrics and the status, for machines and for people (contract 7): read-only, no secrets.
//!
//! It shows what [`Health`], [`Board`] and [`Metrics`] say and knows nothing of who tells them.

mod connections;
mod health;
mod history;
mod host;
mod page;
mod rates;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use tokio::net::TcpListener;

pub use health::{Health, Refusal, State};

use crate::board::Board;
use crate::metrics::{CONTENT_TYPE, Metrics};
use history::History;
use rates::Rates;

/// How long requests under way may take once the server was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(1);

const ROUTES: &str = "callvault answers GET on:\n\
    /            the status, for people\n\
    /api/status  the status as JSON\n\
    /livez       200 while the process runs\n\
    /readyz      200 while it consumes, else 503 with the reason as JSON\n\
    /metrics     the metrics in the text format of Prometheus\n";

/// The listener of `http.listen`, bound and not yet answering.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// `http.listen` cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("http.listen: cannot listen on {address}: {source}{}", hint(.source))]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

fn hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => "; another process has this port: stop it or set another",
        std::io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        std::io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: set another",
        _ => "",
    }
}

/// What is shown of a worker, which writes it.
#[derive(Clone, Debug)]
pub struct Shown {
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub board: Arc<Board>,
}

impl Shown {
    /// Of a worker that has just started.
    pub fn new() -> Self {
        Self { metrics: Metrics::new(), health: Arc::default(), board: Arc::default() }
    }
}

impl Default for Shown {
    fn default() -> Self {
        Self::new()
    }
}

/// What the handlers read.
struct Sources {
    shown: Shown,
    rates: Rates,
    history: History,
}

impl Server {
    /// # Errors
    /// [`BindError`] says which address and what to do.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bind = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bind.await.map_err(|source| BindError { address, source })
    }

    /// The address that was bound: with a port, where the configuration says 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` resolves, then lets requests under way end within a second.
    ///
    /// The worker stops it last, so that a drain can be watched.
    pub async fn serve(self, shown: Shown, stop: impl Future<Output = ()> + Send + 'static) {
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let (rates, history) = (Rates::default(), History::default());
        let sources = Arc::new(Sources { shown, rates, history });
        let routes = host::guarded(routes(Arc::clone(&sources)), self.address);
        let serving = connections::serve(self.listener, routes, async move {
            stop.await;
            // Fails only if `serve` itself was dropped.
            let _ = stopping.send(());
        });
        let out_of_patience = async {
            let _ = stopped.await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            () = serving => (),
            () = rates::sample(&sources.rates, &sources.shown.metrics) => (),
            () = history::keep(&sources.history, &sources.shown.metrics) => (),
            () = out_of_patience => tracing::debug!("http: requests were cut short by the stop"),
        }
    }
}

fn routes(sources: Arc<Sources>) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/api/status", get(api_status))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(sources)
}

type Headers<const N: usize> = [(HeaderName, &'static str); N];

const NO_STORE: Headers<1> = [(header::CACHE_CONTROL, "no-store")];

async fn metrics(Shared(sources): Shared<Arc<Sources>>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], sources.shown.metrics.render()).into_response()
}

async fn api_status(Shared(sources): Shared<Arc<Sources>>) -> Response {
    (NO_STORE, Json(status::Status::new(&sources))).into_response()
}

async fn readyz(Shared(sources): Shared<Arc<Sources>>) -> Response {
    let ready = status::Ready::new(&sources.shown.health);
    let code = if ready.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, NO_STORE, Json(ready)).into_response()
}

async fn not_found(uri: Uri) -> Response {
    (StatusCode::NOT_FOUND, format!("nothing at {}\n{ROUTES}", uri.path())).into_response()
}

async fn method_not_allowed() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, format!("only GET and HEAD are answered here\n{ROUTES}"))
        .into_response()
}

#[cfg(test)]
mod tests;
