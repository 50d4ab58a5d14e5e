//! The connections of those who look: none waits for ever (contract 1), nor do they take what jobs need.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the head of a request may take to come, the next of a connection as well as the first.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// How long a connection is kept: hyper has no limit for who takes an answer too slowly.
const KEPT_FOR: Duration = Duration::from_secs(15 * 60);

/// How long it may take, then, to end with the request that is under way.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Connections at once; whoever comes beyond that waits in the system's queue until another leaves.
pub(super) const AT_ONCE: usize = 128;

/// Before the next try, where the system gives no connection: it lacks descriptors, say.
const AGAIN: Duration = Duration::from_secs(1);

/// Answers until `stop` resolves, and then what is under way.
pub(super) async fn serve(listener: TcpListener, routes: Router, stop: impl Future<Output = ()>) {
    let (open, stopping) = (TaskTracker::new(), CancellationToken::new());
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let accepting = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let Some(stream) = accept(&listener).await else { continue };
            let (routes, stopping) = (routes.clone(), stopping.clone());
            open.spawn(async move {
                answer(stream, routes, stopping).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    drop(listener);
    stopping.cancel();
    open.close();
    open.wait().await;
}

/// The next connection; `None` where that is gone before it is taken.
async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error)
            if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) =>
        {
            None
        }
        Err(error) => {
            tracing::warn!(%error, "http: no connection is taken; trying again");
            sleep(AGAIN).await;
            None
        }
    }
}

/// Answers one connection. How it ends is nobody's business: who asks asks again.
async fn answer(stream: TcpStream, routes: Router, stopping: CancellationToken) {
    let service = TowerToHyperService::new(routes);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        () = sleep(KEPT_FOR) => {}
        () = stopping.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(ENDS_WITHIN, connection).await;
}
