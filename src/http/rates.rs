//! How fast the worker archives, and how old what it archives is: the last minute of its counters,
//! sampled every few seconds.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::history::Lag;
use crate::beat;
use crate::metrics::{LagCounts, Metrics, Totals};

const PERIOD: Duration = Duration::from_secs(5);
/// A minute of samples and the one it is measured against.
const SAMPLES: usize = 13;

#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<VecDeque<Sample>>);

#[derive(Clone, Debug)]
struct Sample {
    at: Instant,
    done: Totals,
    lags: LagCounts,
}

/// Averages over at most the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rate {
    /// What the averages are taken over; 0 before the second sample.
    window_seconds: f64,
    archived_per_second: f64,
    stored_bytes_per_second: f64,
}

impl Rates {
    fn add(&self, sample: Sample) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    pub(super) fn now(&self) -> Rate {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (samples.front(), samples.back()) {
            (Some(first), Some(last)) if first.at < last.at => rate(first, last),
            _ => Rate::default(),
        }
    }

    /// The lag of what was archived in the same time.
    pub(super) fn lag(&self) -> Option<Lag> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spread = samples.back()?.lags.since(&samples.front()?.lags);
        spread.map(Lag::from)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(first: &Sample, last: &Sample) -> Rate {
    let seconds = (last.at - first.at).as_secs_f64();
    let per_second = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
    Rate {
        window_seconds: seconds,
        archived_per_second: per_second(first.done.archived, last.done.archived),
        stored_bytes_per_second: per_second(first.done.stored_bytes, last.done.stored_bytes),
    }
}

/// Samples for ever.
pub(super) async fn sample(rates: &Rates, metrics: &Metrics) {
    loop {
        let at = Instant::now();
        rates.add(Sample { at, done: metrics.totals(), lags: metrics.lags() });
        beat::rest(PERIOD).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_taken_over_the_last_minute() {
        let rates = Rates::default();
        assert_eq!(rates.now(), Rate::default());
        let start = Instant::now();
        for n in 0..100_u64 {
            let at = start + PERIOD * u32::try_from(n).unwrap();
            let done = Totals { archived: n * n, stored_bytes: n * 1000 };
            rates.add(Sample { at, done, lags: LagCounts::default() });
        }
        let rate = rates.now();
        assert!((rate.window_seconds - 60.0).abs() < 1e-6);
        assert!((rate.archived_per_second - f64::from(99 * 99 - 87 * 87) / 60.0).abs() < 1e-6);
        assert!((rate.stored_bytes_per_second - 200.0).abs() < 1e-6);
    }
}
