//! For which days an index is asked. Pure.

use std::fmt;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time};

/// A span of time on the clocks of a tenant, as CC-FS is asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    begin: DateTime,
    end: DateTime,
}

impl Span {
    /// The most days that CC-FS makes one index of.
    pub const MOST_DAYS: i32 = 3;

    /// A minute that no call centre has recorded anything in: what is asked for costs CC-FS nothing.
    pub(super) const LONG_AGO: Self = Self {
        begin: DateTime::constant(2000, 1, 1, 0, 0, 0, 0),
        end: DateTime::constant(2000, 1, 1, 0, 1, 0, 0),
    };

    /// Whole days, `last` with them; `None` where they are in the wrong order, are too many for one
    /// index, or are the last that there are.
    ///
    /// It ends with the first second of the day after, so that none is lost, whether CC-FS takes the
    /// end in or not.
    pub fn days(first: Date, last: Date) -> Option<Self> {
        let end = last.tomorrow().ok()?;
        let days = (end - first).get_days();
        let at_midnight = |date: Date| date.to_datetime(Time::midnight());
        let span = Self { begin: at_midnight(first), end: at_midnight(end) };
        (1..=Self::MOST_DAYS).contains(&days).then_some(span)
    }

    /// The days from `first` to `last`, in as few spans as CC-FS takes.
    pub fn split(first: Date, last: Date) -> impl Iterator<Item = Self> {
        let mut next = Some(first);
        std::iter::from_fn(move || {
            let begin = next.filter(|begin| *begin <= last)?;
            let most = begin.saturating_add((Self::MOST_DAYS - 1).days()).min(last);
            next = most.tomorrow().ok();
            Self::days(begin, most)
        })
    }

    pub fn begin(&self) -> DateTime {
        self.begin
    }

    /// The first moment that is asked for in vain.
    pub fn end(&self) -> DateTime {
        self.end
    }

    pub fn first(&self) -> Date {
        self.begin.date()
    }

    /// The day that its last second is in.
    pub fn last(&self) -> Date {
        self.end.saturating_sub(1.second()).date()
    }
}

impl fmt::Display for Span {
    /// Its days, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first(), self.last()) {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first} to {last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_span_has_all_seconds_of_its_days() {
        let span = Span::days(date(2026, 2, 27), date(2026, 3, 1)).unwrap();
        let ends = [span.begin(), span.end()].map(|at| at.to_string());
        assert_eq!(ends, ["2026-02-27T00:00:00", "2026-03-02T00:00:00"]);
        assert_eq!((span.first(), span.last()), (date(2026, 2, 27), date(2026, 3, 1)));
        assert_eq!(span.to_string(), "2026-02-27 to 2026-03-01");
        let one = Span::days(date(2026, 4, 25), date(2026, 4, 25)).unwrap();
        assert_eq!(
            (one.to_string(), one.end().to_string()),
            ("2026-04-25".into(), "2026-04-26T00:00:00".into())
        );
    }

    #[test]
    fn what_ccfs_makes_no_index_of_is_no_span() {
        let day = |day| date(2026, 4, day);
        assert!(Span::days(day(1), day(3)).is_some());
        for (first, last) in [(day(1), day(4)), (day(2), day(1)), (Date::MAX, Date::MAX)] {
            assert_eq!(Span::days(first, last), None, "{first} to {last}");
        }
    }

    #[test]
    fn many_days_are_split_and_none_is_left_out_or_asked_for_twice() {
        let day = |day| date(2026, 4, day);
        let shown = |first, last| -> Vec<_> {
            Span::split(first, last).map(|span| span.to_string()).collect()
        };
        assert_eq!(
            shown(day(1), day(7)),
            ["2026-04-01 to 2026-04-03", "2026-04-04 to 2026-04-06", "2026-04-07"]
        );
        assert_eq!(shown(day(1), day(3)), ["2026-04-01 to 2026-04-03"]);
        assert_eq!(shown(day(9), day(9)), ["2026-04-09"]);
        assert_eq!(shown(day(9), day(8)), [""; 0]);
        assert_eq!(shown(Date::MAX, Date::MAX), [""; 0], "there is no day after");
    }
}
