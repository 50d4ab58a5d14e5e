//! The way to one server, with its breaker: shared by all jobs that go there.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::breaker::{Admission, Breaker, Change, Threshold};
use crate::failure::{Class, Failure, Reason};
use crate::metrics::{BreakerTarget, Metrics};

/// What stands behind a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// The CC-FS of a tenant.
    Ccfs(String),
    /// The endpoint that holds a bucket.
    Store(String),
}

/// A server as jobs see it, with its breaker.
pub struct Gate {
    server: Server,
    breaker: Mutex<Breaker>,
    /// Why it is open, where it is.
    open: watch::Sender<Option<Reason>>,
    /// Probes that found it still down.
    probes_in_vain: watch::Sender<u64>,
    metrics: Arc<Metrics>,
}

/// Leave to ask; what came of it is to be noted.
pub struct Pass {
    gate: Arc<Gate>,
    admission: Admission,
}

impl Server {
    fn target(&self) -> BreakerTarget<'_> {
        match self {
            Self::Ccfs(tenant) => BreakerTarget::Ccfs(tenant),
            Self::Store(bucket) => BreakerTarget::Store(bucket),
        }
    }

    /// Whether it was this kind of server that failed.
    fn brought(&self, failure: &Failure) -> bool {
        match self {
            Self::Ccfs(_) => failure.reason.ccfs_code().is_some(),
            Self::Store(_) => failure.reason.store_code().is_some(),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target().fmt(f)
    }
}

impl Gate {
    pub fn new(server: Server, threshold: Threshold, metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            server,
            breaker: Mutex::new(Breaker::new(threshold)),
            open: watch::Sender::new(None),
            probes_in_vain: watch::Sender::new(0),
            metrics: Arc::clone(metrics),
        })
    }

    /// Why it is open; changes are seen by those who wait.
    pub fn watch(&self) -> watch::Receiver<Option<Reason>> {
        self.open.subscribe()
    }

    /// Changes whenever a probe has found it still down.
    pub fn probes_in_vain(&self) -> watch::Receiver<u64> {
        self.probes_in_vain.subscribe()
    }

    /// Whether `failure` is one of an outage that is known: then it is not the message's fault.
    pub fn explains(&self, failure: &Failure) -> bool {
        failure.class == Class::Unavailable && self.server.brought(failure) && self.is_open()
    }

    pub fn is_open(&self) -> bool {
        self.open.borrow().is_some()
    }

    /// # Errors
    /// While it is open and no probe is due: unavailable, for the reason it opened for.
    pub fn enter(self: &Arc<Self>) -> Result<Pass, Failure> {
        let admission = self.breaker().admit(Instant::now());
        match (&admission, &*self.open.borrow()) {
            (Admission::Park, Some(reason)) => {
                let detail = format!("not asked: {} gives no usable answer", self.server);
                Err(Failure::new(Class::Unavailable, reason.clone(), detail))
            }
            _ => Ok(Pass { gate: Arc::clone(self), admission }),
        }
    }

    fn note<T>(&self, admission: Admission, result: &Result<T, Failure>) {
        match result {
            Err(failure) if failure.class == Class::Unavailable => {
                let change = self.breaker().unanswered(admission, Instant::now());
                if change == Change::Opened {
                    self.opened(failure);
                } else if admission == Admission::Probe {
                    self.probes_in_vain.send_modify(|probes| *probes += 1);
                }
            }
            _ => {
                let change = self.breaker().answered();
                if change == Change::Closed {
                    self.closed();
                }
            }
        }
    }

    fn opened(&self, failure: &Failure) {
        let Failure { reason, detail, .. } = failure;
        tracing::error!(server = %self.server, %reason, detail, "breaker open: messages are parked");
        self.open.send_replace(Some(reason.clone()));
        self.metrics.breaker_open(self.server.target(), true);
    }

    fn closed(&self) {
        tracing::info!(server = %self.server, "breaker closed: it answers again");
        self.open.send_replace(None);
        self.metrics.breaker_open(self.server.target(), false);
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Whether this is the one request that finds out whether the server is back.
    pub fn probes(&self) -> bool {
        self.admission == Admission::Probe
    }

    /// Takes note of what the server said. No usable answer is what is unavailable; what another
    /// server brought says nothing.
    pub fn note<T>(&mut self, result: &Result<T, Failure>) {
        if result.as_ref().err().is_some_and(|failure| !self.gate.server.brought(failure)) {
            return;
        }
        self.gate.note(self.admission, result);
        self.admission = Admission::Pass; // A probe has found out what it was sent for.
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // A probe that did not get to ask makes room for another.
        self.gate.breaker().abandoned(self.admission);
    }
}
