//! `callvault run`: what the worker is built of, in the order it is built and taken down.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::reload::{self, Read};
use super::{Error, plain};
use crate::board::{self, Kind};
use crate::broker::{self, Broker, Deliveries, Prefetch};
use crate::config::{self, Config, Loaded};
use crate::crash;
use crate::http::{BindError, Health, Server, Shown, State};
use crate::identifiers::Identifiers;
use crate::lifecycle::Lifecycle;
use crate::logging::{self, LoggingError};
use crate::machine;
use crate::metrics::{Metrics, REVISION, VERSION};
use crate::service;
use crate::traces::{self, Exporting};
use crate::worker::{self, Reloading, SetupError, Tenants, Window, Worker};

/// Why the worker did not start, or not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot start: {0}")]
    Machine(#[from] std::io::Error),
    #[error(transparent)]
    Http(#[from] BindError),
}

impl From<SetupError> for Error {
    fn from(error: SetupError) -> Self {
        Self::Setup(error.to_string())
    }
}

impl From<LoggingError> for Error {
    fn from(error: LoggingError) -> Self {
        Self::Setup(error.to_string())
    }
}

/// Archives until told to stop; `environment` chooses whether and where traces go, and `read` reads
/// the configuration again.
///
/// # Errors
/// Only before work begins: once it runs, it mends itself.
pub fn run(
    loaded: Loaded,
    environment: impl Iterator<Item = (String, OsString)>,
    read: impl Read,
) -> Result<ExitCode, Error> {
    crash::arm().map_err(Error::Setup)?;
    // What the effective view holds of a thousand tenants is of no use to a worker.
    let Loaded { config, warnings, effective } = loaded;
    drop(effective);
    logging::init(&config.log)?;
    let (traces, of_traces) = traces::read(environment);
    for warning in warnings.into_iter().chain(plain::warnings(&config)).chain(of_traces) {
        tracing::warn!("{warning}");
    }
    install_crypto();
    let runtime = runtime()?;
    let code = runtime.block_on(on_a_worker(serve(config, traces, read)));
    // Whoever was told twice to leave does not wait for blocking work.
    runtime.shutdown_background();
    code
}

/// Traces are for those who watch: what keeps them from being exported keeps nobody from archiving.
fn export(settings: &traces::Settings) -> Option<Exporting> {
    traces::start(settings).inspect_err(|error| tracing::warn!("{error}")).ok()
}

/// A thread's stack, in bytes. A job's futures are polled one inside the other, down into the SDK's:
/// a debug build has been seen to need more than the usual 2 MiB. What is not used is no memory.
const STACK: usize = 8 << 20;

/// Runs `work` among the runtime's own threads. On this one, which is none of them, every delivery
/// and every job that ends would be two changes of the thread.
async fn on_a_worker<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    // Nobody aborts it: it ends by itself, or by a panic, which is this thread's, too.
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
}

/// What commands run on.
pub(super) fn runtime() -> Result<Runtime, RunError> {
    Ok(Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build()?)
}

/// The one provider of cryptography, before anything asks for it.
pub(super) fn install_crypto() {
    // A second installation can only be the same provider: it is the only one that is linked.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

async fn serve(
    config: Config,
    traces: Option<traces::Settings>,
    read: impl Read,
) -> Result<ExitCode, Error> {
    let lifecycle = Lifecycle::listen().map_err(RunError::from)?;
    let server = Server::bind(config.http.listen).await.map_err(RunError::from)?;
    let shown = Shown::new();
    let Shown { metrics, health, board } = shown.clone();
    let tenants = Tenants::connect(&config, &metrics, &board)?;
    metrics.adopt(&tenants.now().configured(&config));
    board.tenants.adopt(tenants.now().members());
    let identifiers = Identifiers::new(config.log.identifiers, &config.tenants)
        .map_err(|error| Error::Setup(error.to_string()))?;
    tracing::info!(
        version = VERSION,
        revision = REVISION,
        tenants = config.tenants.len(),
        http = %server.address(),
        "callvault starts"
    );
    let exporting = traces.as_ref().and_then(export);
    machine::raise_open_files(config.worker.concurrency);
    let prefetch = prefetch(&config.worker);
    let unsettled = Arc::new(|| tracing::error!("a delivery was dropped unsettled; it comes back"));
    let (broker, deliveries) =
        Broker::start(&config.broker, &config.retry.delays, prefetch, unsettled);
    let publisher = broker.publisher();
    let window = Window { deliveries: usize::from(prefetch.jobs), bodies: prefetch.bodies };
    let worker = Worker::new(tenants, publisher, shown.clone(), identifiers, window, &config);
    let seen = board.servers.add(Kind::Broker, broker::place(&config.broker));
    let watching = tokio::spawn(watch(broker.status(), shown.clone(), seen));
    let counting = tokio::spawn(count(broker.depths(), Arc::clone(&metrics)));
    let (reloads, reloading) = worker::reloads();
    let hangups =
        reload::at_each_hangup(lifecycle.clone(), read, config, reloads, Arc::clone(&metrics));
    let hangups = tokio::spawn(hangups);
    // Last, so that the first scrape already sees every limit.
    let (stop_http, http_stopped) = oneshot::channel::<()>();
    let http = tokio::spawn(server.serve(shown, async {
        let _ = http_stopped.await;
    }));
    service::ready();
    let archiving = archive(worker, broker, (deliveries, reloading), &health, &lifecycle);
    let work = async {
        archiving.await;
        if let Some(exporting) = exporting {
            exporting.flush().await;
        }
    };
    let code = tokio::select! {
        () = work => ExitCode::SUCCESS,
        () = lifecycle.leaving() => {
            tracing::warn!("told twice: leaving at once; the broker takes back what is in flight");
            ExitCode::FAILURE
        }
    };
    watching.abort();
    counting.abort();
    hangups.abort();
    let _ = stop_http.send(());
    let _ = http.await;
    tracing::info!("callvault ends");
    Ok(code)
}

/// The worker among its connections, until drained.
async fn archive(
    worker: Worker,
    broker: Broker,
    (deliveries, reloading): (Deliveries, Reloading),
    health: &Health,
    lifecycle: &Lifecycle,
) {
    let work = Arc::new(worker).run(&broker, deliveries, reloading, lifecycle);
    let draining = async {
        lifecycle.draining().await;
        health.set(State::Draining);
        service::stopping();
        service::status(&health.state().to_string());
        std::future::pending::<()>().await;
    };
    tokio::select! { () = work => (), () = draining => () }
    broker.close().await;
}

/// Tells probes, metrics and people how the broker is.
async fn watch(
    mut status: tokio::sync::watch::Receiver<broker::Status>,
    Shown { metrics, health, .. }: Shown,
    seen: Arc<board::Server>,
) {
    let mut reconnects = 0;
    loop {
        let now = status.borrow_and_update().clone();
        metrics.broker_connected(now.connected);
        for _ in reconnects..now.reconnects {
            metrics.broker_reconnected();
        }
        reconnects = now.reconnects;
        match now.trouble() {
            Some((reason, detail)) => seen.lost(reason, &detail),
            None if now.connected => seen.answered(),
            // It is about to be reached.
            None => {}
        }
        health.blocked(now.blocked);
        health.set(match (now.paused, now.reason) {
            (Some(why), _) => State::Paused(why),
            (None, Some(why)) => State::Connecting(why),
            (None, None) => State::Consuming,
        });
        service::status(&health.state().to_string());
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// Tells the metrics what waits in the queues.
async fn count(mut depths: tokio::sync::watch::Receiver<broker::Depths>, metrics: Arc<Metrics>) {
    let mut shown = broker::Depths::new();
    loop {
        let now = depths.borrow_and_update().clone();
        for gone in shown.keys().filter(|queue| !now.contains_key(*queue)) {
            metrics.queue_messages(gone, None);
        }
        for (queue, messages) in &now {
            metrics.queue_messages(queue, Some(*messages));
        }
        shown = now;
        if depths.changed().await.is_err() {
            return;
        }
    }
}

/// Bytes of messages in hand, at least and at most: room for several of the largest.
const BODIES: (u64, u64) = (12 << 20, 32 << 20);

/// A little more than the jobs in flight, so that the next is at hand when one ends; in bytes a
/// quarter of the memory, within bounds.
fn prefetch(worker: &config::Worker) -> Prefetch {
    let little = (worker.concurrency / 4).max(4);
    let deliveries = u16::try_from(worker.concurrency.saturating_add(little)).unwrap_or(u16::MAX);
    let bodies = (worker.memory / 4).clamp(BODIES.0, BODIES.1);
    let bodies = usize::try_from(bodies).expect("its bounds fit");
    Prefetch { jobs: deliveries, bulk: deliveries, bodies }
}
