//! The way to one server, with its breaker: shared by all jobs that go there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::breaker::{Admission, Breaker, Change, Threshold};
use super::lamp::Lamp;
use super::server::Server;
use crate::board::Board;
use crate::failure::{Failure, Reason};
use crate::metrics::Metrics;

/// A server as jobs see it, with its breaker.
pub struct Gate {
    server: Server,
    breaker: Mutex<Breaker>,
    /// Why it is open, where it is.
    open: watch::Sender<Option<Reason>>,
    lamp: Arc<Lamp>,
    /// Leave to probe, where a probe is as much as a job.
    probes: Option<Arc<Semaphore>>,
}

/// Leave to ask; what came of it is to be noted.
pub struct Pass {
    gate: Arc<Gate>,
    admission: Admission,
    /// What lets it probe.
    leave: Option<OwnedSemaphorePermit>,
}

impl Gate {
    /// The only gate of its server.
    pub fn new(
        server: Server,
        threshold: Threshold,
        metrics: &Arc<Metrics>,
        board: &Board,
    ) -> Arc<Self> {
        let lamp = Lamp::new(server.clone(), Arc::clone(metrics), board);
        Arc::new(Self::of(server, threshold, Arc::new(lamp), None))
    }

    /// One that shares its lamp, and leave to probe, with others.
    pub(super) fn of(
        server: Server,
        threshold: Threshold,
        lamp: Arc<Lamp>,
        probes: Option<Arc<Semaphore>>,
    ) -> Self {
        let breaker = Mutex::new(Breaker::new(threshold, server.longest_pause()));
        Self { server, breaker, open: watch::Sender::new(None), lamp, probes }
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
        let mut admission = match &self.server {
            // Its probes are made for it, and are small.
            Server::Store(_) if open.is_some() => Admission::Park,
            _ => breaker.admit(Instant::now()),
        };
        let mut leave = None;
        if let (Admission::Probe, Some(probes)) = (admission, &self.probes) {
            leave = Arc::clone(probes).try_acquire_owned().ok();
            if leave.is_none() {
                breaker.abandoned(admission);
                admission = Admission::Park;
            }
        }
        drop(breaker);
        match (&admission, open) {
            (Admission::Park, Some(reason)) => Err(self.server.not_asked(reason)),
            _ => Ok(Pass { gate: Arc::clone(self), admission, leave }),
        }
    }

    /// Leave to find out whether it is back, if it is time.
    pub fn probe(self: &Arc<Self>) -> Option<Pass> {
        let admission = self.breaker().admit(Instant::now());
        let pass = Pass { gate: Arc::clone(self), admission, leave: None };
        (admission == Admission::Probe).then_some(pass)
    }

    /// A job ran out of time over it, which is no usable answer either.
    pub fn kept_waiting(&self, failure: &Failure) {
        self.unanswered(Admission::Pass, failure);
    }

    fn note<T>(&self, admission: Admission, result: &Result<T, Failure>) {
        match result {
            Err(failure) if self.server.was_silent(failure) => self.unanswered(admission, failure),
            // Somebody is there, for all that is known of what it does for the others.
            Err(failure) if self.server.refused_one(failure) => {
                if admission == Admission::Probe {
                    self.answered(Breaker::closed_on_trial);
                }
                self.lamp.heard(result);
            }
            _ => {
                self.answered(Breaker::answered);
                self.lamp.heard(result);
            }
        }
    }

    fn unanswered(&self, admission: Admission, failure: &Failure) {
        let Failure { reason, detail, .. } = failure;
        self.lamp.unanswered(failure);
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
            self.lamp.turn(changed == Change::Opened);
        }
        changed
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if self.is_open() {
            self.lamp.turn(false);
        }
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
        self.gate.lamp.answered();
    }

    /// Takes note of what the server said. No usable answer is what is unavailable; what another
    /// server brought says nothing.
    pub fn note<T>(&mut self, result: &Result<T, Failure>) {
        if result.as_ref().err().is_some_and(|failure| !self.gate.server.brought(failure)) {
            return;
        }
        self.gate.note(self.admission, result);
        // A probe has found out what it was sent for.
        self.admission = Admission::Pass;
        self.leave = None;
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
    use tokio::time::Duration;

    use super::*;
    use crate::failure::Class;

    #[test]
    fn what_it_shows_is_what_it_does_whoever_changes_it() {
        let at_once = Threshold { failures: 1, window: Duration::ZERO };
        let metrics = Metrics::new();
        let gate =
            Gate::new(Server::Store("calls".to_owned()), at_once, &metrics, &Board::default());
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

    fn ccfs() -> Arc<Gate> {
        let at_once = Threshold { failures: 3, window: Duration::ZERO };
        let server = Server::Ccfs("https://ccfs.example.com".to_owned());
        Gate::new(server, at_once, &Metrics::new(), &Board::default())
    }

    fn silent() -> Result<(), Failure> {
        Err(Failure::new(Class::Unavailable, Reason::CCFS_TIMEOUT, "silent"))
    }

    fn refused() -> Result<(), Failure> {
        Err(Failure::new(Class::Refused, Reason::CCFS_UNAUTHORIZED, "a wrong key"))
    }

    /// CC-FS may refuse a key at its door, and bring none of the others anything.
    #[tokio::test(start_paused = true)]
    async fn what_is_said_of_one_key_says_nothing_of_the_server() {
        let gate = ccfs();
        for _ in 0..10 {
            gate.enter().unwrap().note(&refused());
        }
        assert!(!gate.is_open());
        for _ in 0..2 {
            gate.enter().unwrap().note(&silent());
            gate.enter().unwrap().note(&refused());
        }
        gate.enter().unwrap().note(&silent());
        assert!(gate.is_open(), "the others get nothing");

        tokio::time::advance(Duration::from_secs(1)).await;
        gate.enter().unwrap().note(&refused());
        assert!(!gate.is_open(), "somebody is there: the others may try");
        gate.enter().unwrap().note(&silent());
        assert!(gate.is_open(), "and are not left to it");
    }
}
