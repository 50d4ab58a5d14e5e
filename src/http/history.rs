//! The last hour in steps of 15 s, for the charts of the page: what was archived, how old it was, what
//! waited in the queues. It takes some tens of kilobytes, and begins anew with the worker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::beat;
use crate::clock;
use crate::metrics::{LagCounts, Metrics, Spread, Totals};

const STEP: Duration = Duration::from_secs(15);
/// An hour.
const POINTS: usize = 240;
/// How far back is looked for when a backlog began to shrink.
const LOOK_BACK: usize = 20;
/// Over fewer steps than these nothing is said of how fast it does.
const SURE: usize = 2;

/// What was, as far as it is remembered.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    last: Option<(Instant, Reading)>,
    until: Option<Timestamp>,
    archived: Column<f64>,
    stored: Column<f64>,
    p50: Column<f64>,
    p95: Column<f64>,
    queues: BTreeMap<String, Column<u32>>,
}

/// One number a step; none where nothing was known.
type Column<T> = VecDeque<Option<T>>;

/// What is read at each step.
#[derive(Clone, Debug, Default)]
struct Reading {
    done: Totals,
    lags: LagCounts,
    queues: BTreeMap<String, u32>,
}

/// How old recordings were when they were archived.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Lag {
    #[serde(rename = "p50Seconds")]
    p50: f64,
    #[serde(rename = "p95Seconds")]
    p95: f64,
}

/// The last hour, the oldest step first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HistorySeen {
    step_seconds: u64,
    /// When the last step ended.
    #[serde(serialize_with = "clock::to_the_second")]
    until: Timestamp,
    archived_per_second: Column<f64>,
    stored_bytes_per_second: Column<f64>,
    #[serde(rename = "lagP50Seconds")]
    lag_p50: Column<f64>,
    #[serde(rename = "lagP95Seconds")]
    lag_p95: Column<f64>,
    queues: BTreeMap<String, Column<u32>>,
}

/// What waits to be archived.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backlog {
    messages: u64,
    /// Until none does, as fast as they become fewer now.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
}

impl From<Spread> for Lag {
    fn from(spread: Spread) -> Self {
        Self { p50: three_digits(spread.p50), p95: three_digits(spread.p95) }
    }
}

impl History {
    fn add(&self, at: Instant, until: Timestamp, reading: Reading) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.add(at, until, reading);
    }

    pub(super) fn seen(&self) -> HistorySeen {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        HistorySeen {
            step_seconds: STEP.as_secs(),
            until: kept.until.unwrap_or_else(clock::now),
            archived_per_second: kept.archived.clone(),
            stored_bytes_per_second: kept.stored.clone(),
            lag_p50: kept.p50.clone(),
            lag_p95: kept.p95.clone(),
            queues: kept.queues.clone(),
        }
    }

    /// What waits in those of `queues` that work comes from, and how long it will; `None` while the
    /// broker does not tell.
    pub(super) fn backlog(&self, queues: &BTreeMap<String, u32>) -> Option<Backlog> {
        let of_work = || queues.iter().filter(|(queue, _)| brings_work(queue));
        of_work().next()?;
        let messages = of_work().map(|(_, messages)| u64::from(*messages)).sum();
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds_left = kept.shrinks_by().and_then(|per_second| left(messages, per_second));
        Some(Backlog { messages, seconds_left })
    }
}

/// Its name ends so, whatever the prefix.
fn brings_work(queue: &str) -> bool {
    queue.ends_with(".jobs") || queue.ends_with(".bulk")
}

impl Kept {
    fn add(&mut self, at: Instant, until: Timestamp, reading: Reading) {
        if let Some((before, last)) = self.last.take() {
            let elapsed = (at - before).as_secs_f64();
            // A process that was stopped, or starved, has no points for that time.
            for _ in 1..steps(elapsed).clamp(1, POINTS) {
                self.push(None);
            }
            self.push(Some((&reading, &last, elapsed)));
            self.until = Some(until);
        }
        self.last = Some((at, reading));
    }

    fn push(&mut self, step: Option<(&Reading, &Reading, f64)>) {
        let rates = step.map(|(now, before, seconds)| {
            let rate = |now: u64, before| per_second(now.saturating_sub(before), seconds);
            let (now, before) = (now.done, before.done);
            (rate(now.archived, before.archived), rate(now.stored_bytes, before.stored_bytes))
        });
        let lag = step.and_then(|(now, before, _)| now.lags.since(&before.lags)).map(Lag::from);
        append(&mut self.archived, rates.map(|(archived, _)| hundredths(archived)));
        append(&mut self.stored, rates.map(|(_, stored)| stored.round()));
        append(&mut self.p50, lag.map(|lag| lag.p50));
        append(&mut self.p95, lag.map(|lag| lag.p95));
        let none = BTreeMap::new();
        let queues = step.map_or(&none, |(now, ..)| &now.queues);
        // What came before this step; a new queue has nothing there.
        let before = self.archived.len() - 1;
        for queue in queues.keys() {
            if !self.queues.contains_key(queue) {
                self.queues.insert(queue.clone(), std::iter::repeat_n(None, before).collect());
            }
        }
        for (queue, column) in &mut self.queues {
            append(column, queues.get(queue).copied());
        }
        self.queues.retain(|_, column| column.iter().any(Option::is_some));
    }

    /// How many messages fewer wait each second, since they last were most.
    fn shrinks_by(&self) -> Option<f64> {
        let columns: Vec<_> =
            self.queues.iter().filter(|(queue, _)| brings_work(queue)).map(|(_, c)| c).collect();
        let known = |at: usize| -> Option<u64> {
            columns.iter().map(|column| column[at].map(u64::from)).sum()
        };
        let len = self.archived.len();
        let points: Vec<_> =
            (len.saturating_sub(LOOK_BACK)..len).filter_map(|at| Some((at, known(at)?))).collect();
        let (now, messages) = *points.last()?;
        let (then, most) = *points.iter().max_by_key(|(_, messages)| *messages)?;
        let steps = now - then;
        let fewer = most.saturating_sub(messages);
        (steps >= SURE && fewer > 0).then(|| per_second(fewer, seconds(steps)))
    }
}

fn append<T>(column: &mut Column<T>, value: Option<T>) {
    if column.len() == POINTS {
        column.pop_front();
    }
    column.push_back(value);
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

#[expect(clippy::cast_precision_loss, reason = "there are few steps")]
fn seconds(steps: usize) -> f64 {
    steps as f64 * STEP.as_secs_f64()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest integer that there is"
)]
fn steps(elapsed: f64) -> usize {
    (elapsed / STEP.as_secs_f64()).round() as usize
}

/// Seconds until so many are gone; `None` if there are none, or it takes for ever.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a time for people"
)]
fn left(messages: u64, per_second: f64) -> Option<u64> {
    (messages > 0).then(|| (messages as f64 / per_second).ceil() as u64)
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// More would be made up.
fn three_digits(value: f64) -> f64 {
    let unit = 10_f64.powf((value.log10().floor() - 2.0).max(-2.0));
    hundredths((value / unit).round() * unit)
}

/// Reads for ever.
pub(super) async fn keep(history: &History, metrics: &Metrics) {
    loop {
        let at = Instant::now();
        let reading =
            Reading { done: metrics.totals(), lags: metrics.lags(), queues: metrics.queues() };
        history.add(at, clock::now(), reading);
        beat::rest(STEP).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A history, and the time by which it is written.
    struct Told {
        history: History,
        at: Instant,
        seconds: u64,
    }

    impl Told {
        fn new() -> Self {
            Self { history: History::default(), at: Instant::now(), seconds: 0 }
        }

        /// `seconds` later so many are archived in all, and so many wait.
        fn later(&mut self, seconds: u64, archived: u64, queues: &[(&str, u32)]) {
            self.seconds += seconds;
            let until = Timestamp::from_second(1_777_093_663).unwrap();
            let until = until + jiff::SignedDuration::from_secs(self.seconds.cast_signed());
            let queues = queues.iter().map(|(queue, n)| ((*queue).to_owned(), *n)).collect();
            let done = Totals { archived, stored_bytes: archived * 1000 };
            let reading = Reading { done, queues, ..Reading::default() };
            self.history.add(self.at + Duration::from_secs(self.seconds), until, reading);
        }

        fn seen(&self) -> Value {
            serde_json::to_value(self.history.seen()).unwrap()
        }

        fn backlog(&self, queues: &[(&str, u32)]) -> Value {
            let queues = queues.iter().map(|(queue, n)| ((*queue).to_owned(), *n)).collect();
            serde_json::to_value(self.history.backlog(&queues)).unwrap()
        }
    }

    #[test]
    fn each_step_has_its_rate_and_what_waited_then() {
        let mut told = Told::new();
        told.later(0, 0, &[]);
        assert_eq!(told.seen()["archivedPerSecond"], json!([]), "one reading is no rate");
        told.later(15, 30, &[]);
        told.later(15, 31, &[("cv.jobs", 7)]);
        let seen = told.seen();
        assert_eq!(seen["stepSeconds"], 15);
        assert_eq!(seen["until"], "2026-04-25T05:08:13Z");
        assert_eq!(seen["archivedPerSecond"], json!([2.0, 0.07]));
        assert_eq!(seen["storedBytesPerSecond"], json!([2000.0, 67.0]));
        assert_eq!(seen["lagP50Seconds"], json!([null, null]));
        assert_eq!(seen["queues"], json!({ "cv.jobs": [null, 7] }));
    }

    #[test]
    fn of_a_time_without_readings_nothing_is_made_up() {
        let mut told = Told::new();
        told.later(0, 0, &[("cv.jobs", 1)]);
        told.later(15, 15, &[("cv.jobs", 1)]);
        told.later(45, 60, &[("cv.jobs", 1)]);
        let seen = told.seen();
        assert_eq!(seen["archivedPerSecond"], json!([1.0, null, null, 1.0]));
        assert_eq!(seen["queues"]["cv.jobs"], json!([1, null, null, 1]));
    }

    #[test]
    fn an_hour_is_kept_and_a_queue_that_is_gone_for_so_long_is_forgotten() {
        let mut told = Told::new();
        told.later(0, 0, &[]);
        told.later(15, 0, &[("cv.dead", 1)]);
        for step in 1..=POINTS as u64 {
            told.later(15, step * 15, &[("cv.jobs", 1)]);
        }
        let seen = told.seen();
        for column in ["archivedPerSecond", "lagP95Seconds"] {
            assert_eq!(seen[column].as_array().unwrap().len(), POINTS, "{column}");
        }
        assert_eq!(seen["archivedPerSecond"][0], 1.0);
        let queues = seen["queues"].as_object().unwrap();
        assert_eq!(queues.keys().collect::<Vec<_>>(), ["cv.jobs"]);
        assert_eq!(queues["cv.jobs"].as_array().unwrap().len(), POINTS);
    }

    #[test]
    fn a_backlog_that_shrinks_has_an_end() {
        let mut told = Told::new();
        let waits = |jobs, bulk| [("cv.jobs", jobs), ("cv.bulk", bulk), ("cv.dead", 1000)];
        assert_eq!(told.backlog(&[("cv.dead", 1)]), Value::Null, "the broker does not tell");
        assert_eq!(told.backlog(&waits(1, 2)), json!({ "messages": 3 }));
        // It grows, and shrinks from then on: by 75 in 30 s.
        for (jobs, bulk) in [(0, 0), (0, 0), (100, 500), (50, 500), (25, 500)] {
            told.later(15, 0, &waits(jobs, bulk));
        }
        let left = json!({ "messages": 525, "secondsLeft": 210 });
        assert_eq!(told.backlog(&waits(25, 500)), left);
        assert_eq!(told.backlog(&waits(0, 0)), json!({ "messages": 0 }), "it is gone");
        told.later(15, 0, &waits(700, 500));
        assert_eq!(told.backlog(&waits(700, 500)), json!({ "messages": 1200 }), "it grows");
    }

    #[test]
    fn a_lag_has_three_digits() {
        for (value, shown) in [(0.133_4, 0.13), (1.274_9, 1.27), (12.749, 12.7), (1_274.9, 1_270.0)]
        {
            assert!((three_digits(value) - shown).abs() < 1e-9, "{}", three_digits(value));
        }
        assert!((three_digits(18_657_432.0) - 18_700_000.0).abs() < 1e-3);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_kept_every_fifteen_seconds() {
        let (history, metrics) = (History::default(), Metrics::new());
        let a_minute = tokio::time::sleep(Duration::from_secs(61));
        tokio::select! { () = keep(&history, &metrics) => {}, () = a_minute => {} }
        assert_eq!(history.seen().archived_per_second.len(), 4);
    }
}
