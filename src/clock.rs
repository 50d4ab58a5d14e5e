//! The wall clock: the one place that asks the machine for the time of day.
//!
//! Durations are measured with `tokio::time::Instant`, which tests can drive by hand.

use jiff::Timestamp;

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "the one owner of the wall clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
