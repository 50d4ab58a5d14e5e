//! How old recordings are when they are archived, of all tenants together and finer than their series
//! show it: the page says how it was in the last minute, and how it went in the last hour.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets to each doubling: what is said is off by 5 % at most.
const FINE: f64 = 8.0;

/// The first bucket ends here, in seconds; below it nobody cares.
const FIRST: f64 = 0.125;

/// Up to eight years, for what is asked for long after its call.
const BUCKETS: usize = 256;

/// What has been archived, by its lag.
#[derive(Debug)]
pub(super) struct Lags(Box<[AtomicU64]>);

/// The same at one instant.
#[derive(Clone, Debug, Default)]
pub struct LagCounts(Vec<u64>);

/// What half of all were within, and nearly all; in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub p50: f64,
    pub p95: f64,
}

impl Lags {
    pub(super) fn new() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn observe(&self, lag: Duration) {
        self.0[bucket(lag.as_secs_f64())].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> LagCounts {
        LagCounts(self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect())
    }
}

impl LagCounts {
    /// Of what came since `before`; `None` if that is nothing.
    pub fn since(&self, before: &Self) -> Option<Spread> {
        let before = before.0.iter().copied().chain(std::iter::repeat(0));
        let came: Vec<u64> =
            self.0.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect();
        let all: u64 = came.iter().sum();
        let within = |percent: u64| {
            let rank = (all * percent).div_ceil(100);
            let mut sum = 0;
            let reached = came.iter().position(|count| {
                sum += count;
                sum >= rank
            });
            middle(reached.unwrap_or_default())
        };
        (all > 0).then(|| Spread { p50: within(50), p95: within(95) })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest integer that there is"
)]
fn bucket(seconds: f64) -> usize {
    let doublings = (seconds.max(FIRST) / FIRST).log2();
    ((doublings * FINE).floor() as usize).min(BUCKETS - 1)
}

/// What stands for all in a bucket.
#[expect(clippy::cast_precision_loss, reason = "there are few buckets")]
fn middle(bucket: usize) -> f64 {
    FIRST * ((bucket as f64 + 0.5) / FINE).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, wanted: f64) -> bool {
        (value / wanted - 1.0).abs() < 0.05
    }

    #[test]
    fn it_is_told_of_what_came_since_within_five_percent() {
        let lags = Lags::new();
        assert_eq!(lags.counts().since(&LagCounts::default()), None);
        for seconds in 1..=100 {
            lags.observe(Duration::from_secs(seconds));
        }
        let first = lags.counts();
        let spread = first.since(&LagCounts::default()).unwrap();
        assert!(near(spread.p50, 50.0) && near(spread.p95, 95.0), "{spread:?}");

        assert_eq!(first.since(&first), None);
        let long = Duration::from_secs(7 * 30 * 86_400);
        lags.observe(long);
        let spread = lags.counts().since(&first).unwrap();
        assert!(near(spread.p50, long.as_secs_f64()), "{spread:?}");
        assert_eq!(spread.p50, spread.p95);
    }

    #[test]
    fn whatever_the_lag_it_has_its_bucket() {
        let lags = Lags::new();
        for lag in [Duration::ZERO, Duration::from_millis(1), Duration::MAX] {
            lags.observe(lag);
        }
        assert_eq!(lags.counts().0.iter().sum::<u64>(), 3);
    }
}
