//! How the servers are that a worker needs: the broker, each CC-FS, each store, the events' exchange.
//!
//! What requests bring is told here by those who send them. Whether anybody is to be kept from sending
//! more is not decided here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::clock;
use crate::failure::Failure;

/// So many are shown; a thousand tenants may have as many stores.
const SHOWN: usize = 100;

/// So many requests in a row without a usable answer, and a server counts as down before its breaker
/// says so.
const SILENT: u32 = 2;

/// One that has answered others within this time refuses somebody, not everybody.
const ANSWERS_OTHERS: SignedDuration = SignedDuration::from_secs(10);

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Broker,
    Ccfs,
    Store,
    Events,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Well,
    Down,
    /// It refuses who we say we are.
    Refused,
    /// It was not asked yet, or nobody asks it any more.
    Unknown,
}

/// One server, as those who ask it tell of it.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    target: String,
    word: Mutex<Word>,
}

/// What is known of a server. Pure; `now` comes from outside.
#[derive(Debug)]
struct Word {
    state: State,
    since: Option<Timestamp>,
    /// Its breaker is open.
    open: bool,
    /// Requests in a row.
    unanswered: u32,
    answered: Option<Timestamp>,
    trouble: Option<Trouble>,
}

#[derive(Clone, Debug, Serialize)]
struct Trouble {
    #[serde(serialize_with = "clock::to_the_second")]
    at: Timestamp,
    reason: String,
    detail: String,
}

/// Those that there are, for as long as somebody asks them.
#[derive(Debug, Default)]
pub struct Servers(Mutex<Vec<Weak<Server>>>);

/// The servers as they are shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServersSeen {
    /// Those in trouble for certain.
    servers: Vec<ServerSeen>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_none")]
    more_servers: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerSeen {
    kind: Kind,
    target: String,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_to_the_second")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_trouble: Option<Trouble>,
}

impl Servers {
    /// A server that is to be shown until nobody holds it any more; `target` is for people.
    pub fn add(&self, kind: Kind, target: impl Into<String>) -> Arc<Server> {
        let server = Server { kind, target: target.into(), word: Mutex::new(Word::new()) };
        let server = Arc::new(server);
        let mut known = self.known();
        known.retain(|one| one.strong_count() > 0);
        known.push(Arc::downgrade(&server));
        server
    }

    pub fn seen(&self) -> ServersSeen {
        let known: Vec<_> = self.known().iter().filter_map(Weak::upgrade).collect();
        let mut servers: Vec<_> = known.iter().map(|server| server.seen()).collect();
        servers.sort_by(|one, other| (one.kind, &one.target).cmp(&(other.kind, &other.target)));
        let more_servers = servers.len().saturating_sub(SHOWN);
        if more_servers > 0 {
            servers.sort_by_key(|server| matches!(server.state, State::Well | State::Unknown));
            servers.truncate(SHOWN);
            servers.sort_by_key(|server| server.kind);
        }
        ServersSeen { servers, more_servers }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Weak<Server>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// It gave a usable answer, to whatever request.
    pub fn answered(&self) {
        self.word().answered(clock::now());
    }

    /// A request brought no usable answer.
    pub fn silent(&self, failure: &Failure) {
        self.word().silent(Trouble::of(failure));
    }

    /// It refused who we say we are.
    pub fn refused(&self, failure: &Failure) {
        self.word().refused(Trouble::of(failure));
    }

    /// It answers, and wants less.
    pub fn slowed(&self, failure: &Failure) {
        self.word().slowed(Trouble::of(failure));
    }

    /// Nobody asks it for now: its breaker is open.
    pub fn opened(&self) {
        self.word().opened(clock::now());
    }

    /// It may be asked again.
    pub fn closed(&self) {
        self.word().closed();
    }

    /// It is not there, for a reason that is no code of a message.
    pub fn lost(&self, reason: &str, detail: &str) {
        let trouble =
            Trouble { at: clock::now(), reason: reason.to_owned(), detail: detail.to_owned() };
        self.word().lost(trouble);
    }

    fn seen(&self) -> ServerSeen {
        let Word { state, since, ref trouble, .. } = *self.word();
        let (kind, target, last_trouble) = (self.kind, self.target.clone(), trouble.clone());
        ServerSeen { kind, target, state, since, last_trouble }
    }

    fn word(&self) -> MutexGuard<'_, Word> {
        // A panic leaves at worst a state that the next answer mends.
        self.word.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Word {
    fn new() -> Self {
        Self {
            state: State::Unknown,
            since: None,
            open: false,
            unanswered: 0,
            answered: None,
            trouble: None,
        }
    }

    fn answered(&mut self, now: Timestamp) {
        self.unanswered = 0;
        self.answered = Some(now);
        if !self.open {
            self.becomes(State::Well, now);
        }
    }

    fn silent(&mut self, trouble: Trouble) {
        let now = trouble.at;
        self.trouble = Some(trouble);
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered >= SILENT {
            self.becomes(State::Down, now);
        }
    }

    fn refused(&mut self, trouble: Trouble) {
        let now = trouble.at;
        self.trouble = Some(trouble);
        // Somebody is there.
        self.unanswered = 0;
        let answered = self.answered.is_some_and(|at| now.duration_since(at) < ANSWERS_OTHERS);
        let answers_others = self.state == State::Well && answered;
        if !self.open && !answers_others {
            self.becomes(State::Refused, now);
        }
    }

    fn slowed(&mut self, trouble: Trouble) {
        let now = trouble.at;
        self.trouble = Some(trouble);
        self.answered(now);
    }

    fn lost(&mut self, trouble: Trouble) {
        self.becomes(State::Down, trouble.at);
        self.trouble = Some(trouble);
    }

    fn opened(&mut self, now: Timestamp) {
        self.open = true;
        self.becomes(State::Down, now);
    }

    fn closed(&mut self) {
        self.open = false;
        self.unanswered = 0;
        (self.state, self.since) = (State::Unknown, None);
    }

    fn becomes(&mut self, state: State, now: Timestamp) {
        if self.state != state {
            (self.state, self.since) = (state, Some(now));
        }
    }
}

impl Trouble {
    fn of(failure: &Failure) -> Self {
        let reason = failure.reason.as_str().to_owned();
        Self { at: clock::now(), reason, detail: failure.detail.clone() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

#[expect(clippy::ref_option, reason = "serde wants it so")]
fn some_to_the_second<S: serde::Serializer>(
    at: &Option<Timestamp>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => clock::to_the_second(at, to),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_777_093_663 + second).unwrap()
    }

    fn trouble(second: i64) -> Trouble {
        Trouble { at: at(second), reason: "store.timeout".into(), detail: "silent".into() }
    }

    fn stands(word: &Word) -> (State, Option<Timestamp>) {
        (word.state, word.since)
    }

    #[test]
    fn two_silences_in_a_row_are_an_outage_until_the_first_answer() {
        let mut word = Word::new();
        assert_eq!(stands(&word), (State::Unknown, None));
        word.answered(at(0));
        word.answered(at(5));
        assert_eq!(stands(&word), (State::Well, Some(at(0))), "since the first");
        word.silent(trouble(6));
        assert_eq!(word.state, State::Well, "one says little");
        word.answered(at(7));
        word.silent(trouble(8));
        word.silent(trouble(9));
        word.silent(trouble(10));
        assert_eq!(stands(&word), (State::Down, Some(at(9))));
        // A breaker opens late, and a straggler's answer does not close it.
        word.opened(at(18));
        word.answered(at(19));
        assert_eq!(stands(&word), (State::Down, Some(at(9))));
        word.closed();
        word.answered(at(20));
        assert_eq!(stands(&word), (State::Well, Some(at(20))));
        assert_eq!(word.trouble.unwrap().at, at(10), "the last trouble is remembered");
    }

    #[test]
    fn what_is_refused_to_one_of_many_is_no_refusal_of_all() {
        let mut word = Word::new();
        word.refused(trouble(0));
        assert_eq!(stands(&word), (State::Refused, Some(at(0))), "nobody was answered yet");
        word.answered(at(1));
        word.refused(trouble(2));
        word.answered(at(8));
        word.refused(trouble(9));
        assert_eq!(stands(&word), (State::Well, Some(at(1))));
        word.refused(trouble(18));
        assert_eq!(stands(&word), (State::Refused, Some(at(18))), "no answer for ten seconds");
        // A silence in between is not yet an outage.
        word.silent(trouble(19));
        assert_eq!(word.state, State::Refused);
    }

    #[test]
    fn who_is_slowed_is_answered() {
        let mut word = Word::new();
        word.slowed(trouble(0));
        assert_eq!(stands(&word), (State::Well, Some(at(0))));
        assert!(word.trouble.is_some());
    }

    #[test]
    fn a_breaker_that_closes_for_want_of_users_leaves_nothing_known() {
        let mut word = Word::new();
        word.opened(at(0));
        word.closed();
        assert_eq!(stands(&word), (State::Unknown, None));
    }

    #[test]
    fn of_many_those_in_trouble_are_shown_and_one_that_nobody_asks_is_not() {
        let servers = Servers::default();
        let stores: Vec<_> =
            (0..150).map(|n| servers.add(Kind::Store, format!("store:s3/{n:03}"))).collect();
        let broker = servers.add(Kind::Broker, "rabbit:5672/%2F");
        stores[149].lost("store.timeout", "silent");
        let shown = serde_json::to_value(servers.seen()).unwrap();
        assert_eq!(shown["moreServers"], 51);
        let targets: Vec<_> =
            shown["servers"].as_array().unwrap().iter().map(|one| &one["target"]).collect();
        assert_eq!((targets.len(), targets[0]), (100, &serde_json::json!("rabbit:5672/%2F")));
        assert_eq!(targets[1], "store:s3/149");
        drop((stores, broker));
        let none = serde_json::json!({ "servers": [] });
        assert_eq!(serde_json::to_value(servers.seen()).unwrap(), none);
    }
}
