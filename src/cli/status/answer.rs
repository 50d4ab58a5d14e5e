//! What a worker answers on `/api/status`, as far as a terminal shows it.
//!
//! A field that is missing has nothing to say, or belongs to another release of callvault. Times are
//! RFC 3339 to the second, in UTC.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The whole answer, and what is shown of it.
#[derive(Debug)]
pub struct Answer {
    pub whole: Value,
    pub seen: Seen,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    pub version: String,
    pub status: String,
    pub since: Option<String>,
    pub now: Option<String>,
    pub reason: Option<String>,
    pub warning: Option<String>,
    #[serde(default)]
    pub uptime_seconds: u64,
    #[serde(default)]
    pub servers: Vec<Server>,
    #[serde(default)]
    pub rates: Rates,
    pub lag: Option<Lag>,
    #[serde(default)]
    pub queues: Vec<Queue>,
    pub backlog: Option<Backlog>,
    #[serde(default)]
    pub jobs_in_flight: usize,
    #[serde(default)]
    pub jobs: Vec<Job>,
    #[serde(default)]
    pub tenants: Vec<Tenant>,
    #[serde(default)]
    pub failures: Vec<Failure>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    pub kind: String,
    pub target: String,
    pub state: String,
    pub since: Option<String>,
    pub last_trouble: Option<Trouble>,
}

#[derive(Debug, Deserialize)]
pub struct Trouble {
    pub at: String,
    pub reason: String,
    pub detail: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rates {
    pub archived_per_second: f64,
    pub stored_bytes_per_second: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    pub p50_seconds: f64,
    pub p95_seconds: f64,
}

#[derive(Debug, Deserialize)]
pub struct Queue {
    pub queue: String,
    pub messages: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    pub messages: u64,
    pub seconds_left: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub struct Job {
    pub tenant: Option<String>,
    pub call: Option<String>,
    pub step: String,
    pub bytes: Option<u64>,
    pub size: Option<u64>,
    pub seconds: f64,
    pub tries: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tenant {
    pub id: String,
    pub in_flight: u64,
    pub limit: u64,
    pub archived: u64,
    pub already_archived: u64,
    pub absent: u64,
    pub retried: u64,
    /// Dead.
    pub failed: u64,
    pub breaker: Option<String>,
    pub paused: bool,
}

impl Tenant {
    /// The more, the more it needs somebody to look.
    pub fn trouble(&self) -> (bool, u64, u64, u64) {
        (self.breaker.is_some(), self.failed, self.absent, self.retried)
    }

    /// There is something to say of it.
    pub fn is_busy(&self) -> bool {
        let anything = self.archived + self.already_archived + self.in_flight > 0 || self.paused;
        anything || self.trouble() != <(bool, u64, u64, u64)>::default()
    }
}

#[derive(Debug, Deserialize)]
pub struct Failure {
    pub at: String,
    pub tenant: Option<String>,
    pub call: Option<String>,
    pub outcome: String,
    pub reason: String,
    #[serde(default)]
    pub meaning: String,
    #[serde(default)]
    pub advice: String,
}

impl Answer {
    /// Reads an answer over HTTP; `None` if it is none of a callvault.
    pub fn read(answer: &[u8]) -> Option<Self> {
        let (head, body) = std::str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then_some(())?;
        Self::of(serde_json::from_str(body).ok()?)
    }

    pub fn of(whole: Value) -> Option<Self> {
        let seen = Seen::deserialize(&whole).ok()?;
        Some(Self { whole, seen })
    }
}

/// Of several workers on the same queues: what each says of them, once.
pub fn queues<'a>(all: impl Iterator<Item = &'a Seen>) -> BTreeMap<&'a str, u64> {
    let mut queues = BTreeMap::new();
    for Queue { queue, messages } in all.flat_map(|seen| &seen.queues) {
        let most: &mut u64 = queues.entry(queue.as_str()).or_default();
        *most = (*most).max(*messages);
    }
    queues
}
