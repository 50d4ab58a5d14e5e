//! What the simulator knows, and how it judges a request by it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Simulator;
use super::index::Index;
use super::reply::{Reply, by_name};
use super::verify::{self, Asked, Asks, Denied, Raw};

/// A request that came, and what became of it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    /// Counts the connections; equal for requests that shared one.
    pub connection: u64,
    /// Empty, unless a recording was asked for, and the body could be read.
    pub asked: Asked,
    /// The account whose signature was right, or why it was not.
    pub verified: Result<String, String>,
    /// `recording`, `ordered`, `package`, a result code, `http 403`, …: a word on the answer.
    pub outcome: String,
    pub raw: Raw,
}

/// What an account may ask for at once; beyond it, 0300008.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limit {
    pub concurrent: Option<usize>,
    pub per_second: Option<usize>,
}

#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub connections: AtomicU64,
    pub active: AtomicUsize,
    pub peak: AtomicUsize,
}

pub(super) struct State {
    /// Access key → secret key.
    pub accounts: HashMap<String, String>,
    pub limits: HashMap<String, Limit>,
    pub traffic: HashMap<String, Traffic>,
    /// By callId or fileName.
    pub scripts: HashMap<String, VecDeque<Reply>>,
    /// Name → the one access key that sees it.
    pub owners: HashMap<String, String>,
    pub default: Reply,
    /// By access key.
    pub indexes: HashMap<String, Index>,
    pub host: Option<String>,
    pub clock_offset: SignedDuration,
    pub remember: bool,
    pub seen: Vec<Seen>,
}

/// What an account does at the moment.
#[derive(Default)]
pub(super) struct Traffic {
    active: usize,
    last_second: VecDeque<Instant>,
}

impl Default for State {
    fn default() -> Self {
        let account = (Simulator::ACCESS_KEY.to_owned(), Simulator::SECRET_KEY.to_owned());
        Self {
            accounts: [account].into(),
            limits: HashMap::new(),
            traffic: HashMap::new(),
            scripts: HashMap::new(),
            owners: HashMap::new(),
            default: Reply::wav(64 << 10),
            indexes: HashMap::new(),
            host: None,
            clock_offset: SignedDuration::ZERO,
            remember: true,
            seen: Vec::new(),
        }
    }
}

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub fn now(&self) -> Timestamp {
        callvault::clock::now() + self.state().clock_offset
    }

    /// What `raw` is answered, and the name that makes the bytes of a recording; the guard counts it
    /// as under way.
    pub fn judge(
        self: &Arc<Self>,
        raw: Raw,
        connection: u64,
    ) -> (Reply, String, Option<Downloading>) {
        let now = self.now();
        let mut state = self.state();
        let asks = verify::read(&raw);
        let verified = verify::route(&raw, state.host.as_deref())
            .and_then(|()| verify::authorize(&raw, &state.accounts, now));
        let reply = match (&verified, &asks) {
            (Err(denied), _) | (Ok(_), Err(denied)) => denial(denied),
            (Ok(account), Ok(asks)) => state.reply(account, asks, now),
        };
        let asked = match asks {
            Ok(Asks::Recording(asked)) => asked,
            _ => Asked::default(),
        };
        let key = asked.call_id.clone().or_else(|| asked.file_name.clone()).unwrap_or_default();
        let account = verified.as_ref().ok().cloned();
        let guard = account
            .filter(|_| reply.is_recording())
            .map(|account| Downloading::new(self, &mut state, account));
        if state.remember {
            let verified = verified.map_err(|denied| format!("{denied:?}"));
            let outcome = reply.label.clone();
            let at = Instant::now();
            state.seen.push(Seen { at, connection, asked, verified, outcome, raw });
        }
        (reply, key, guard)
    }
}

fn denial(denied: &Denied) -> Reply {
    match denied {
        Denied::Unauthorized(_) => Reply::status(401),
        Denied::Code(code, _) => Reply::code(code),
        Denied::Status(status, _) => Reply::status(*status),
    }
}

impl State {
    fn reply(&mut self, account: &str, asks: &Asks, now: Timestamp) -> Reply {
        let over = self.over_limit(account);
        let index = self.indexes.entry(account.to_owned()).or_default();
        match asks {
            Asks::Recording(_) if over => Reply::throttled(),
            Asks::Recording(asked) => self.recording(account, asked),
            Asks::Order { .. } | Asks::Package { .. } if over => Reply::code("0300009"),
            Asks::Order { begin, end } => index.order(*begin, *end, now),
            Asks::Package { name } => index.fetch(name),
        }
    }

    fn recording(&mut self, account: &str, asked: &Asked) -> Reply {
        let names: Vec<&str> =
            [&asked.call_id, &asked.file_name].into_iter().flatten().map(String::as_str).collect();
        let foreign = |name: &&str| self.owners.get(*name).is_some_and(|owner| owner != account);
        if names.iter().any(foreign) {
            return Reply::not_found();
        }
        for name in names {
            if !self.scripts.contains_key(name)
                && let Some(own) = by_name(name)
            {
                self.scripts.insert(name.to_owned(), own.into());
            }
            if let Some(script) = self.scripts.get_mut(name) {
                let last = script.len() == 1;
                let next = if last { script.front().cloned() } else { script.pop_front() };
                return next.expect("a script has a reply");
            }
        }
        self.default.clone()
    }

    fn over_limit(&mut self, account: &str) -> bool {
        let Some(limit) = self.limits.get(account) else {
            return false;
        };
        let now = Instant::now();
        let traffic = self.traffic.entry(account.to_owned()).or_default();
        traffic.last_second.retain(|at| now - *at < Duration::from_secs(1));
        let over = limit.concurrent.is_some_and(|most| traffic.active >= most)
            || limit.per_second.is_some_and(|most| traffic.last_second.len() >= most);
        if !over {
            traffic.last_second.push_back(now);
        }
        over
    }
}

/// A recording under way.
pub(super) struct Downloading {
    shared: Arc<Shared>,
    account: String,
}

impl Downloading {
    fn new(shared: &Arc<Shared>, state: &mut State, account: String) -> Self {
        state.traffic.entry(account.clone()).or_default().active += 1;
        let active = shared.active.fetch_add(1, Ordering::SeqCst) + 1;
        shared.peak.fetch_max(active, Ordering::SeqCst);
        Self { shared: Arc::clone(shared), account }
    }
}

impl Drop for Downloading {
    fn drop(&mut self) {
        self.shared.active.fetch_sub(1, Ordering::SeqCst);
        if let Some(traffic) = self.shared.state().traffic.get_mut(&self.account) {
            traffic.active -= 1;
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
