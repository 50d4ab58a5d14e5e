//! The wall clock: the one place that asks the machine for the time of day.
//!
//! Durations are measured with `tokio::time::Instant`, which tests can drive by hand.

use jiff::Timestamp;
use serde::Serializer;

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "the one owner of the wall clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// As people are shown it: RFC 3339 without fractions.
///
/// # Errors
/// Those of `to`.
pub fn to_the_second<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{at:.0}"))
}
