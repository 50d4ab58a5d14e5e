//! The way to one server, with its breaker: shared by all jobs that go there.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use super::breaker::{Admission, Breaker, Change, SHORT_PAUSE, Threshold};
use crate::failure::{Class, Failure, Reason};
use crate::metrics::{BreakerTarget, Metrics};

/// The longest pause between two events that find out whether events are taken again: each of them
/// is a copy more for the subscribers that are well.
const EVENTS_PAUSE: Duration = Duration::from_secs(30);

/// What stands behind a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// The CC-FS of a tenant.
    Ccfs(String),
    /// The endpoint that holds a bucket.
    Store(String),
    /// The exchange of that name, where events go.
    Events(String),
}

/// A server as jobs see it, with its breaker.
pub struct Gate {
    server: Server,
    breaker: Mutex<Breaker>,
    /// Why it is open, where it is.
    open: watch::Sender<Option<Reason>>,
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
            Self::Events(_) => BreakerTarget::Events,
        }
    }

    /// Whether it was this kind of server that failed.
    fn brought(&self, failure: &Failure) -> bool {
        match self {
            Self::Ccfs(_) => failure.reason.ccfs_code().is_some(),
            Self::Store(_) => failure.reason.store_code().is_some(),
            Self::Events(_) => failure.reason == Reason::EVENT_REFUSED,
        }
    }

    /// Whether `failure` is that it gave no usable answer.
    fn was_silent(&self, failure: &Failure) -> bool {
        let class = if matches!(self, Self::Events(_)) { Class::Held } else { Class::Unavailable };
        failure.class == class && self.brought(failure)
    }

    /// For people.
    fn place(&self) -> String {
        match self {
            Self::Events(exchange) => format!("the exchange {exchange}"),
            Self::Ccfs(_) | Self::Store(_) => self.to_string(),
        }
    }

    /// What becomes of who would have asked it.
    fn not_asked(&self, reason: Reason) -> Failure {
        match self {
            Self::Events(_) => {
                let detail = format!("not sent: {} takes no events", self.place());
                Failure::new(Class::Held, reason, detail)
            }
            Self::Ccfs(_) | Self::Store(_) => {
                let detail = format!("not asked: {self} gives no usable answer");
                Failure::new(Class::Unavailable, reason, detail)
            }
        }
    }

    fn longest_pause(&self) -> Duration {
        match self {
            Self::Events(_) => EVENTS_PAUSE,
            Self::Ccfs(_) | Self::Store(_) => SHORT_PAUSE,
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
            breaker: Mutex::new(Breaker::new(threshold, server.longest_pause())),
            server,
            open: watch::Sender::new(None),
            metrics: Arc::clone(metrics),
        })
    }

    /// What is behind it, for people.
    pub fn place(&self) -> String {
        self.server.place()
    }

    /// Why it is open; changes are seen by those who wait.
    pub fn watch(&self) -> watch::Receiver<Option<Reason>> {
        self.open.subscribe()
    }

    /// Whether `failure` is one of an outage that is known: then it is not the message's fault.
    pub fn explains(&self, failure: &Failure) -> bool {
        self.server.was_silent(failure) && self.is_open()
    }

    pub fn is_open(&self) -> bool {
        self.open.borrow().is_some()
    }

    /// # Errors
    /// While it is open and no probe is due: unavailable, for the reason it opened for.
    pub fn enter(self: &Arc<Self>) -> Result<Pass, Failure> {
        let mut breaker = self.breaker();
        let open = self.open.borrow().clone();
        let admission = match &self.server {
            // Its probes are made for it, and are small.
            Server::Store(_) if open.is_some() => Admission::Park,
            _ => breaker.admit(Instant::now()),
        };
        drop(breaker);
        match (&admission, open) {
            (Admission::Park, Some(reason)) => Err(self.server.not_asked(reason)),
            _ => Ok(Pass { gate: Arc::clone(self), admission }),
        }
    }

    /// Leave to find out whether it is back, if it is time.
    pub fn probe(self: &Arc<Self>) -> Option<Pass> {
        let admission = self.breaker().admit(Instant::now());
        let pass = Pass { gate: Arc::clone(self), admission };
        (admission == Admission::Probe).then_some(pass)
    }

    /// A job ran out of time over it, which is no usable answer either.
    pub fn kept_waiting(&self, failure: &Failure) {
        self.unanswered(Admission::Pass, failure);
    }

    fn note<T>(&self, admission: Admission, result: &Result<T, Failure>) {
        match result {
            Err(failure) if self.server.was_silent(failure) => self.unanswered(admission, failure),
            _ => self.answered(Breaker::answered),
        }
    }

    fn unanswered(&self, admission: Admission, failure: &Failure) {
        let Failure { reason, detail, .. } = failure;
        let open = |breaker: &mut Breaker| breaker.unanswered(admission, Instant::now());
        if self.change(open, Some(reason)) == Change::Opened {
            let server = &self.server;
            tracing::error!(%server, %reason, detail, "breaker open: messages are parked");
        }
    }

    fn answered(&self, close: impl FnOnce(&mut Breaker) -> Change) {
        if self.change(close, None) == Change::Closed {
            tracing::info!(server = %self.server, "breaker closed: it answers again");
        }
    }

    /// Changes the breaker, and in the same moment what is seen of it: a gate that shows one thing
    /// and does the other stays shut for ever, or lets everything through in an outage.
    fn change(
        &self,
        change: impl FnOnce(&mut Breaker) -> Change,
        reason: Option<&Reason>,
    ) -> Change {
        let mut breaker = self.breaker();
        let changed = change(&mut breaker);
        if changed != Change::None {
            self.open.send_replace(reason.cloned());
            self.metrics.breaker_open(self.server.target(), reason.is_some());
        }
        changed
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

    /// A lesser request than those that wait was answered, whatever it said: they may try.
    pub fn answered_at_all(self) {
        self.gate.answered(Breaker::closed_on_trial);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_shows_is_what_it_does_whoever_changes_it() {
        let at_once = Threshold { failures: 1, window: Duration::ZERO };
        let metrics = Metrics::new();
        let gate = Gate::new(Server::Store("calls".to_owned()), at_once, &metrics);
        let down = Failure::new(Class::Unavailable, Reason::STORE_TIMEOUT, "silent");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        gate.note(Admission::Pass, &Err::<(), _>(down.clone()));
                        gate.note(Admission::Pass, &Ok(()));
                        let breaker = gate.breaker();
                        assert_eq!(breaker.is_open(), gate.is_open());
                    }
                });
            }
        });
    }
}
