//! The text of a status: is it well, how fast, what is it doing, who has trouble, what failed. Pure.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use super::answer::{Answer, Failure, Job, Seen, Server, Tenant, queues};
use crate::cli::terminal::harmless;

/// Jobs, tenants and failures of one worker at most, each; the page has more.
const ROWS: usize = 8;

/// The screen is cleared as it is written, so that nothing flickers.
pub fn anew(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}

/// All workers, by their URLs, with what each has answered, or why it has not.
pub fn all<E: Display>(workers: &[(&str, &Result<Answer, E>)], colours: bool) -> String {
    let mut screen = Screen { text: String::new(), colours };
    let answered: Vec<&Seen> =
        workers.iter().filter_map(|(_, asked)| Some(&asked.as_ref().ok()?.seen)).collect();
    if workers.len() > 1 {
        screen.sum(workers.len(), &answered);
    }
    screen.queues(&answered);
    for (url, asked) in workers {
        match asked {
            Ok(Answer { seen, .. }) => screen.worker(url, seen),
            Err(why) => screen.line(format_args!("\n{url}: {}", screen.bad(&why.to_string()))),
        }
    }
    screen.text
}

struct Screen {
    text: String,
    colours: bool,
}

impl Screen {
    fn line(&mut self, line: impl Display) {
        let line = line.to_string();
        self.text += line.trim_end();
        self.text += "\n";
    }

    fn bad(&self, word: &str) -> String {
        self.coloured(word, 31)
    }

    fn coloured(&self, word: &str, colour: u8) -> String {
        if self.colours { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() }
    }

    /// Padded before it is coloured.
    fn state(&self, state: &str) -> String {
        let colour = match state {
            "well" | "consuming" => 32,
            "unknown" | "draining" | "connecting" => 33,
            _ => 31,
        };
        self.coloured(&format!("{:8}", harmless(state)), colour)
    }

    fn sum(&mut self, asked: usize, answered: &[&Seen]) {
        let consuming = answered.iter().filter(|seen| seen.status == "consuming").count();
        let rate: f64 = answered.iter().map(|seen| seen.rates.archived_per_second).sum();
        let bytes: f64 = answered.iter().map(|seen| seen.rates.stored_bytes_per_second).sum();
        let jobs: usize = answered.iter().map(|seen| seen.jobs_in_flight).sum();
        self.line(format_args!(
            "{asked} workers, {consuming} consuming: {rate:.1} recordings/s, {}/s, {jobs} jobs in flight",
            size(bytes)
        ));
    }

    /// Workers on one broker see the same queues.
    fn queues(&mut self, answered: &[&Seen]) {
        let waiting: Vec<_> = queues(answered.iter().copied())
            .into_iter()
            .filter(|(_, messages)| *messages > 0)
            .map(|(queue, messages)| format!("{} {messages}", harmless(queue)))
            .collect();
        if !waiting.is_empty() {
            self.line(format_args!("queues   {}", waiting.join(", ")));
        } else if answered.iter().any(|seen| !seen.queues.is_empty()) {
            self.line("queues   all empty");
        }
    }

    fn worker(&mut self, url: &str, seen: &Seen) {
        let now = seen.now.as_deref();
        let since = seen.since.as_deref().map(|at| format!(" since {}", moment(at, now)));
        self.line("");
        self.line(format_args!(
            "{url}: {}{}; callvault {}, up {}",
            self.state(&seen.status).trim_end(),
            since.unwrap_or_default(),
            harmless(&seen.version),
            span(seen.uptime_seconds)
        ));
        for word in [&seen.reason, &seen.warning].into_iter().flatten() {
            self.line(format_args!("  {}", self.bad(&harmless(word))));
        }
        for server in &seen.servers {
            self.server(server, now);
        }
        self.speed(seen);
        self.jobs(seen);
        self.tenants(&seen.tenants);
        self.failures(&seen.failures, now);
    }

    fn server(&mut self, server: &Server, now: Option<&str>) {
        let Server { kind, target, state, since, last_trouble } = server;
        let mut line = format!("  {kind:7} {} {}", self.state(state), harmless(target));
        if let Some(since) = since {
            let _ = write!(line, ", since {}", moment(since, now));
        }
        self.line(line);
        if let Some(trouble) = last_trouble {
            let (reason, detail) = (harmless(&trouble.reason), harmless(&trouble.detail));
            self.line(format_args!(
                "          last trouble {}: {reason}: {detail}",
                moment(&trouble.at, now)
            ));
        }
    }

    fn speed(&mut self, seen: &Seen) {
        let (rate, bytes) = (seen.rates.archived_per_second, seen.rates.stored_bytes_per_second);
        let mut line = format!("  speed    {rate:.1} recordings/s, {}/s", size(bytes));
        if let Some(lag) = &seen.lag {
            let (p50, p95) = (lag.p50_seconds, lag.p95_seconds);
            let _ = write!(
                line,
                "; from a call's end to its archive {p50:.1} s, at most {p95:.1} s for 95 %"
            );
        }
        self.line(line);
        if let Some(backlog) = seen.backlog.as_ref().filter(|backlog| backlog.messages > 0) {
            let left = backlog.seconds_left.map_or_else(
                || ", and it does not become less".to_owned(),
                |left| format!(", gone in {}", span(left)),
            );
            self.line(format_args!("  backlog  {} messages{left}", backlog.messages));
        }
    }

    fn jobs(&mut self, seen: &Seen) {
        if seen.jobs_in_flight == 0 {
            return;
        }
        self.line(format_args!("  {} in flight, the oldest first", seen.jobs_in_flight));
        self.line(format_args!(
            "    {:12} {:28} {:9} {:>17} {:>8} {:>5}",
            "TENANT", "CALL OR FILE", "STEP", "BYTES", "TIME", "TRIES"
        ));
        for Job { tenant, call, step, bytes, size: whole, seconds, tries } in
            seen.jobs.iter().take(ROWS)
        {
            let bytes = match (bytes, whole) {
                (Some(bytes), Some(whole)) => format!("{} of {}", size(bytes), size(whole)),
                (Some(bytes), None) => size(bytes),
                (None, _) => "-".to_owned(),
            };
            self.line(format_args!(
                "    {:12} {:28} {step:9} {bytes:>17} {:>8} {tries:>5}",
                name(tenant.as_deref()),
                name(call.as_deref()),
                format!("{seconds:.1} s"),
            ));
        }
    }

    fn tenants(&mut self, tenants: &[Tenant]) {
        let mut shown: Vec<&Tenant> = tenants.iter().filter(|tenant| tenant.is_busy()).collect();
        shown.sort_by_key(|tenant| (Reverse(tenant.trouble()), Reverse(tenant.archived)));
        if tenants.is_empty() {
            return;
        }
        let quiet = tenants.len() - shown.len().min(ROWS);
        self.line(format_args!(
            "  TENANT       {:>9} {:>7} {:>7} {:>7} {:>9} {:>6}",
            "ARCHIVED", "ABSENT", "RETRIED", "DEAD", "IN FLIGHT", "LIMIT"
        ));
        for tenant in shown.into_iter().take(ROWS) {
            let mut notes = Vec::new();
            if tenant.breaker.is_some() {
                notes.push(self.bad("breaker open"));
            }
            if tenant.paused {
                notes.push("paused".to_owned());
            }
            let Tenant { id, archived, already_archived, absent, retried, failed, .. } = tenant;
            self.line(format_args!(
                "  {:12} {:>9} {absent:>7} {retried:>7} {failed:>7} {:>9} {:>6}  {}",
                harmless(id),
                archived + already_archived,
                tenant.in_flight,
                tenant.limit,
                notes.join(", ")
            ));
        }
        if quiet > 0 {
            self.line(format_args!("  and {quiet} more, with less to say"));
        }
    }

    fn failures(&mut self, failures: &[Failure], now: Option<&str>) {
        if failures.is_empty() {
            return;
        }
        self.line("  what failed, the last first");
        let mut explained = BTreeSet::new();
        for failure in failures.iter().take(ROWS) {
            let Failure { at, tenant, call, outcome, reason, meaning, advice } = failure;
            self.line(format_args!(
                "    {}  {}  {}  {outcome}  {}",
                moment(at, now),
                name(tenant.as_deref()),
                name(call.as_deref()),
                harmless(reason)
            ));
            if explained.insert(reason) {
                self.line(format_args!("      {}: {}", harmless(meaning), harmless(advice)));
            }
        }
    }
}

fn name(name: Option<&str>) -> String {
    name.map_or_else(|| "-".to_owned(), harmless)
}

/// The time of the day, with the day where it is not today's.
fn moment(at: &str, now: Option<&str>) -> String {
    let day = |at: &str| at.split_once('T').map(|(day, _)| day.to_owned());
    let today = now.and_then(day);
    match at.split_once('T') {
        Some((day, time)) if today.as_deref() == Some(day) => harmless(time),
        _ => harmless(at),
    }
}

/// In its two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Bytes in the largest unit of ten that fits.
fn size(bytes: impl Into<Bytes>) -> String {
    let mut value = bytes.into().0;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    let decimals = usize::from(unit != "B" && value < 10.0);
    format!("{value:.decimals$} {unit}")
}

struct Bytes(f64);

impl From<f64> for Bytes {
    fn from(bytes: f64) -> Self {
        Self(bytes)
    }
}

impl From<&u64> for Bytes {
    #[expect(clippy::cast_precision_loss, reason = "three digits for people")]
    fn from(bytes: &u64) -> Self {
        Self(*bytes as f64)
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    fn answered(whole: serde_json::Value) -> Result<Answer, &'static str> {
        Answer::of(whole).ok_or("it is none")
    }

    #[test]
    fn two_workers_one_of_which_is_in_trouble_and_one_that_is_not_there() {
        let one = answered(json!({
            "version": "0.1.0", "now": "2026-11-28T03:04:05Z", "uptimeSeconds": 7380,
            "status": "consuming", "since": "2026-11-28T01:01:05Z",
            "servers": [
                { "kind": "broker", "target": "rabbit:5672/%2f", "state": "well", "since": "2026-11-28T01:01:05Z" },
                { "kind": "ccfs", "target": "ccfs:https://ccfs.example.com:28443", "state": "down",
                  "since": "2026-11-27T23:00:00Z",
                  "lastTrouble": { "at": "2026-11-28T03:04:01Z", "reason": "ccfs.unreachable",
                                   "detail": "refused \u{1b}[31m" } }
            ],
            "rates": { "archivedPerSecond": 12.34, "storedBytesPerSecond": 4_500_000.0 },
            "lag": { "p50Seconds": 1.2, "p95Seconds": 4.0 },
            "queues": [{ "queue": "callvault.jobs", "messages": 1200 }, { "queue": "callvault.dead", "messages": 0 }],
            "backlog": { "messages": 1200, "secondsLeft": 100 },
            "jobsInFlight": 2,
            "jobs": [
                { "tenant": "acme", "call": "1777093663-1", "step": "download", "bytes": 1_500_000,
                  "size": 3_000_000, "seconds": 2.25, "tries": 1 },
                { "tenant": "acme", "call": "1777093663-2", "step": "waiting", "seconds": 0.5, "tries": 3 }
            ],
            "tenants": [
                { "id": "globex", "archived": 500 },
                { "id": "acme", "archived": 10, "failed": 1, "retried": 4, "inFlight": 2, "limit": 48,
                  "breaker": "open" },
                { "id": "quiet", "limit": 6 }
            ],
            "failures": [
                { "at": "2026-11-28T03:00:00Z", "tenant": "acme", "call": "1777093663-9", "outcome": "dead",
                  "reason": "ccfs.0300004", "meaning": "a parameter is wrong", "advice": "correct it" }
            ]
        }));
        let two = answered(json!({
            "version": "0.1.0", "status": "paused", "reason": "the store is down",
            "queues": [{ "queue": "callvault.jobs", "messages": 1180 }]
        }));
        let gone = Err("no answer: refused");
        let workers =
            [("http://w1:9464", &one), ("http://w2:9464", &two), ("http://w3:9464", &gone)];
        let text = all(&workers, false);
        assert_snapshot!(text, @"
        3 workers, 1 consuming: 12.3 recordings/s, 4.5 MB/s, 2 jobs in flight
        queues   callvault.jobs 1200

        http://w1:9464: consuming since 01:01:05Z; callvault 0.1.0, up 2 h 3 min
          broker  well     rabbit:5672/%2f, since 01:01:05Z
          ccfs    down     ccfs:https://ccfs.example.com:28443, since 2026-11-27T23:00:00Z
                  last trouble 03:04:01Z: ccfs.unreachable: refused �[31m
          speed    12.3 recordings/s, 4.5 MB/s; from a call's end to its archive 1.2 s, at most 4.0 s for 95 %
          backlog  1200 messages, gone in 1 min 40 s
          2 in flight, the oldest first
            TENANT       CALL OR FILE                 STEP                  BYTES     TIME TRIES
            acme         1777093663-1                 download   1.5 MB of 3.0 MB    2.2 s     1
            acme         1777093663-2                 waiting                   -    0.5 s     3
          TENANT        ARCHIVED  ABSENT RETRIED    DEAD IN FLIGHT  LIMIT
          acme                10       0       4       1         2     48  breaker open
          globex             500       0       0       0         0      0
          and 1 more, with less to say
          what failed, the last first
            03:00:00Z  acme  1777093663-9  dead  ccfs.0300004
              a parameter is wrong: correct it

        http://w2:9464: paused; callvault 0.1.0, up 0 s
          the store is down
          speed    0.0 recordings/s, 0 B/s

        http://w3:9464: no answer: refused
        ");
        let coloured = all(&workers, true);
        assert_eq!(coloured.matches("\x1b[31m").count(), coloured.matches("\x1b[0m").count() - 2);
        assert!(!text.contains('\u{1b}'), "what a stranger wrote commands no terminal");
    }
}
