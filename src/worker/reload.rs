//! The configuration is read again while the worker works (contract 6): its tenants come, change and
//! go between two deliveries. It must not know who reads it, nor from where.

use tokio::sync::{mpsc, oneshot};

use super::Worker;
use super::fairness::Waiting;
use super::line::Received;
use super::roster::SetupError;
use crate::config::{Config, SecretError};

/// Brings the worker another configuration.
pub struct Reloads(mpsc::Sender<Reload>);

/// Where the worker takes them from.
pub struct Reloading(mpsc::Receiver<Reload>);

/// Another configuration, and where is said what came of it.
pub struct Reload {
    config: Config,
    done: oneshot::Sender<Result<(), ReloadError>>,
}

/// Why a configuration did not come into force; the one before it is.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("{0}")]
    Secret(#[from] SecretError),
    #[error("the worker is about to stop")]
    Stopping,
}

/// The way to a worker that is to be built.
pub fn reloads() -> (Reloads, Reloading) {
    let (to, from) = mpsc::channel(1);
    (Reloads(to), Reloading(from))
}

impl Reloads {
    /// Has the worker work with the tenants of `config` from now on. What else it took from its own
    /// configuration stays.
    ///
    /// # Errors
    /// Nothing of it is in force then.
    pub async fn reload(&self, config: Config) -> Result<(), ReloadError> {
        let (done, said) = oneshot::channel();
        let sent = self.0.send(Reload { config, done }).await;
        sent.map_err(|_| ReloadError::Stopping)?;
        said.await.unwrap_or(Err(ReloadError::Stopping))
    }
}

impl Reloading {
    /// The next one; waits for ever once nobody brings any.
    pub async fn next(&mut self) -> Reload {
        match self.0.recv().await {
            Some(reload) => reload,
            None => std::future::pending().await,
        }
    }
}

impl Worker {
    /// Takes over the tenants of another configuration, and says what came of it.
    pub(super) fn take_over(&self, reload: Reload, waiting: &mut Waiting<Received>) {
        let Reload { config, done } = reload;
        // Who brought it may have been told to stop meanwhile.
        let _ = done.send(self.adopt(&config, waiting));
    }

    /// All of it or nothing: what can fail comes first.
    fn adopt(&self, config: &Config, waiting: &mut Waiting<Received>) -> Result<(), ReloadError> {
        let roster = self.tenants.prepare(config)?;
        self.tools.identifiers.adopt(&config.tenants)?;
        self.tenants.change(roster);
        let now = self.tenants.now();
        self.tools.metrics.adopt(&now.configured(config));
        self.tools.board.tenants.adopt(now.members());
        waiting.configure(&now.ceilings());
        Ok(())
    }
}
