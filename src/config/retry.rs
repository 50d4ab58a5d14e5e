//! `[retry]`: the ladder and its ends.

use std::time::Duration;

use super::effective::quoted;
use super::kinds::duration;
use super::section::Section;
use super::units::show_duration;

/// RabbitMQ keeps a queue's message TTL in 32 bits of milliseconds.
const LONGEST_DELAY: Duration = Duration::from_hours(49 * 24);
const LONGEST_AGE: Duration = Duration::from_hours(10 * 365 * 24);

/// `[retry]`: the ladder and its ends.
#[derive(Clone, Debug)]
pub struct Retry {
    /// At least one; the last one repeats.
    pub delays: Vec<Duration>,
    pub max_attempts: u32,
    pub max_age: Duration,
    pub not_ready_window: Duration,
    pub breaker_failures: u32,
    pub breaker_window: Duration,
}

pub(super) fn read(s: &mut Section<'_, '_>) -> Option<Retry> {
    let ladder = ["5s", "30s", "2m", "10m", "30m", "2h"];
    let delays = s.list("delays", Some(&ladder), |text| {
        let delay = duration(text, LONGEST_DELAY)?;
        Ok((delay, quoted(&show_duration(delay))))
    });
    let max_attempts = s.integer("max_attempts", 12, 1..=1_000_000);
    let max_age = s.duration("max_age", "7d", LONGEST_AGE);
    let not_ready_window = s.duration("not_ready_window", "24h", LONGEST_AGE);
    let breaker_failures = s.integer("breaker_failures", 5, 1..=1_000_000);
    let breaker_window = s.duration("breaker_window", "10s", Duration::from_hours(24));

    if let (Some(window), Some(age)) = (not_ready_window, max_age)
        && window > age
    {
        s.warn(
            "retry.not_ready_window is longer than retry.max_age: recordings that CC-FS does not \
             have end as dead, not as absent",
        );
    }
    if delays.as_ref().is_some_and(|delays| !delays.is_sorted()) {
        s.warn("retry.delays does not rise: a later attempt waits less than an earlier one");
    }

    Some(Retry {
        delays: delays?,
        max_attempts: max_attempts?,
        max_age: max_age?,
        not_ready_window: not_ready_window?,
        breaker_failures: breaker_failures?,
        breaker_window: breaker_window?,
    })
}
