//! How the worker is, as it says itself; the probes and the page read it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Duration, Instant};

use crate::clock;
use crate::failure::Reason;

/// For so long it is told that this machine lacked something: twice as long as a message waits.
const LACKING: Duration = Duration::from_secs(60);

/// What the worker is doing. Reasons are for people and hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not consuming, because the broker is not there yet or not any more.
    Connecting(String),
    Consuming,
    /// Not consuming by decision, such as while the store that every tenant uses is down.
    Paused(String),
    /// Told to stop; ends what is in flight.
    Draining,
}

impl State {
    /// `connecting`, `consuming`, `paused` or `draining`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connecting(_) => "connecting",
            Self::Consuming => "consuming",
            Self::Paused(_) => "paused",
            Self::Draining => "draining",
        }
    }

    /// Why it is not consuming.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Connecting(reason) | Self::Paused(reason) => Some(reason),
            Self::Consuming => None,
            Self::Draining => Some("told to stop; finishing what is in flight"),
        }
    }
}

/// In a line, for people.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        self.reason().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

/// A server that refuses the credentials it is given (contract 5, refused).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Such as `ccfs:acme` (a tenant's) or `store:eu-west-1/recordings`.
    pub target: String,
    /// The reason code.
    pub reason: String,
    /// What to do about it, for people; holds no secret.
    pub detail: String,
    /// When it was first refused without an acceptance since.
    #[serde(serialize_with = "clock::to_the_second")]
    pub since: Timestamp,
}

/// The worker's word about itself: written by the worker, read by the probes.
#[derive(Debug)]
pub struct Health {
    /// And when it became so, if for another reason.
    state: Mutex<(State, Timestamp)>,
    blocked: AtomicBool,
    /// What this machine lacked last, and when.
    lack: Mutex<Option<(String, Instant)>>,
    refusals: Mutex<BTreeMap<String, Refusal>>,
    started: Instant,
    started_at: Timestamp,
}

impl Health {
    /// A worker that has just started and is connecting.
    pub fn new() -> Self {
        let state = State::Connecting("starting".to_owned());
        let started_at = clock::now();
        Self {
            state: Mutex::new((state, started_at)),
            blocked: AtomicBool::new(false),
            lack: Mutex::default(),
            refusals: Mutex::default(),
            started: Instant::now(),
            started_at,
        }
    }

    /// Takes the next state. A worker that drains stays draining, whatever its broker does.
    pub fn set(&self, next: State) {
        let mut now = self.standing();
        let (state, since) = &mut *now;
        if *state == State::Draining {
            return;
        }
        if state.as_str() != next.as_str() {
            *since = clock::now();
        }
        *state = next;
    }

    pub fn state(&self) -> State {
        self.standing().0.clone()
    }

    /// Since when it is consuming, connecting, paused or draining, whatever for.
    pub fn since(&self) -> Timestamp {
        self.standing().1
    }

    /// Whether the broker takes nothing from publishers. Consuming goes on: what cannot be
    /// announced waits unacknowledged.
    pub fn blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    /// A message had to wait for what this machine has too little of.
    pub fn lacks(&self, what: &str) {
        *self.lack() = Some((what.to_owned(), Instant::now()));
    }

    /// What hinders the work of a worker that is ready all the same.
    pub fn warning(&self) -> Option<String> {
        if self.blocked.load(Ordering::Relaxed) {
            return Some("the broker blocks publishers: it is short of memory or disk".to_owned());
        }
        let lack = self.lack();
        let (what, at) = lack.as_ref()?;
        (at.elapsed() < LACKING).then(|| what.clone())
    }

    /// `target` refused its credentials. True if that is news, worth a line in the log.
    pub fn refused(&self, target: &str, reason: &Reason, detail: &str) -> bool {
        let mut refusals = self.refusals();
        let known = refusals.get(target);
        let since = known.map_or_else(clock::now, |known| known.since);
        let news = known.is_none_or(|known| known.reason != reason.as_str());
        let refusal = Refusal {
            target: target.to_owned(),
            reason: reason.as_str().to_owned(),
            detail: detail.to_owned(),
            since,
        };
        refusals.insert(target.to_owned(), refusal);
        news
    }

    /// `target` accepted its credentials. True if it had refused them before.
    pub fn accepted(&self, target: &str) -> bool {
        self.refusals().remove(target).is_some()
    }

    /// Who refuses now, ordered by target.
    pub fn refusing(&self) -> Vec<Refusal> {
        self.refusals().values().cloned().collect()
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    fn standing(&self) -> MutexGuard<'_, (State, Timestamp)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lack(&self) -> MutexGuard<'_, Option<(String, Instant)>> {
        self.lack.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusals(&self) -> MutexGuard<'_, BTreeMap<String, Refusal>> {
        // Every change of the map is one call, so that a panic leaves it whole.
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_drains_stays_draining() {
        let health = Health::new();
        assert_eq!(health.state().as_str(), "connecting");
        health.set(State::Consuming);
        assert_eq!(health.state().reason(), None);
        health.set(State::Draining);
        health.set(State::Connecting("lost the broker".into()));
        assert_eq!(health.state(), State::Draining);
    }

    #[test]
    fn it_is_so_since_it_began_whatever_for() {
        let health = Health::new();
        let since = health.since();
        health.set(State::Connecting("the broker refuses".into()));
        assert_eq!(health.since(), since);
        health.set(State::Consuming);
        assert!(health.since() > since);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lack_is_told_for_a_minute_after_the_last_who_met_it() {
        let health = Health::new();
        assert_eq!(health.warning(), None);
        health.lacks("no file descriptor left");
        tokio::time::advance(LACKING / 2).await;
        health.lacks("no local port");
        tokio::time::advance(LACKING / 2).await;
        assert_eq!(health.warning().as_deref(), Some("no local port"));
        tokio::time::advance(LACKING / 2).await;
        assert_eq!(health.warning(), None);
    }

    #[test]
    fn a_refusal_is_news_once_and_ends_with_an_acceptance() {
        let health = Health::new();
        assert!(health.refused("ccfs:acme", &Reason::CCFS_UNAUTHORIZED, "the clock is 90 s slow"));
        assert!(!health.refused("ccfs:acme", &Reason::CCFS_UNAUTHORIZED, "the key is wrong"));
        let refusing = health.refusing();
        assert_eq!(refusing.len(), 1);
        assert_eq!(refusing[0].detail, "the key is wrong");
        assert!(health.accepted("ccfs:acme"));
        assert!(!health.accepted("ccfs:acme"));
        assert!(health.refusing().is_empty());
    }
}
