//! Our clock beside that of CC-FS, which refuses every signature of one that is off. Pure.

use jiff::{SignedDuration, Timestamp};

/// What a refused signature owes to the clock: the `Date` of the answer against `now`.
///
/// CC-FS refuses every signature of a clock that is off, so people are told.
pub(super) fn clock_note(date: Option<&str>, now: Timestamp) -> String {
    match Clock::of(date, now) {
        Clock::Unknown => "; its answer has no Date to compare the clock with".to_owned(),
        Clock::Agrees => "; the clocks agree".to_owned(),
        Clock::Off(how) => format!("; {how}"),
    }
}

/// Our clock beside that of CC-FS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// An answer without a `Date`.
    Unknown,
    /// To the minute.
    Agrees,
    /// A sentence that says by how much.
    Off(String),
}

impl Clock {
    /// `date` is the `Date` header of an answer that came `now`.
    pub(super) fn of(date: Option<&str>, now: Timestamp) -> Self {
        let Some(theirs) = date.and_then(http_date) else { return Self::Unknown };
        let ahead = now.duration_since(theirs);
        if ahead.abs() <= SignedDuration::from_secs(60) {
            return Self::Agrees;
        }
        let side = if ahead.is_positive() { "ahead of" } else { "behind" };
        Self::Off(format!("the clock here is {} {side} CC-FS", coarse(ahead.abs())))
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::DateTimeParser::new().parse_zoned(text).ok()?;
    Some(zoned.timestamp())
}

/// The two largest units: `7 min 3 s`, `2 h 5 min`, `3 d 0 h`.
fn coarse(span: SignedDuration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {} s", seconds % 60),
        (0, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_clock_is_off() {
        let now = |text: &str| text.parse::<Timestamp>().unwrap();
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (here, note) in [
            ("1994-11-06T08:42:34Z", "; the clock here is 7 min 3 s behind CC-FS"),
            ("1994-11-06T10:54:40Z", "; the clock here is 2 h 5 min ahead of CC-FS"),
            ("1994-11-09T09:00:00Z", "; the clock here is 3 d 0 h ahead of CC-FS"),
            ("1994-11-06T08:50:37Z", "; the clocks agree"),
            ("1994-11-06T08:50:38Z", "; the clock here is 1 min 1 s ahead of CC-FS"),
        ] {
            assert_eq!(clock_note(date, now(here)), note);
        }
        for unusable in [None, Some("yesterday"), Some("")] {
            assert!(clock_note(unusable, now("1994-11-06T08:42:34Z")).contains("no Date"));
        }
    }
}
