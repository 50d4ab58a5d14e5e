//! Which days' recordings are meant, as the command line says it.

use std::fmt;
use std::time::Duration;

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::cli::Error;
use crate::clock;
use crate::config::parse_duration;

/// Days in place of a file; and how long CC-FS is waited for.
#[derive(Debug, Args)]
pub struct Asked {
    /// A day of the tenant's time zone, such as 2026-04-25: its index is asked from CC-FS.
    #[arg(long, value_name = "DAY", value_parser = day, conflicts_with_all = ["from", "to"])]
    day: Option<Date>,
    /// The first of several such days.
    #[arg(long, value_name = "DAY", value_parser = day, requires = "to")]
    from: Option<Date>,
    /// The last of them.
    #[arg(long, value_name = "DAY", value_parser = day, requires = "from")]
    to: Option<Date>,
    /// How long CC-FS may take to make an index; of more than three days, each of several.
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    pub wait: Duration,
}

impl Asked {
    /// The days, if any are named.
    ///
    /// # Errors
    /// They are none: the last before the first, or one that has yet to come.
    pub fn days(&self, zone: &TimeZone) -> Result<Option<Days>, Error> {
        let days = match (self.day, self.from, self.to) {
            (Some(day), ..) => Days { first: day, last: day },
            (_, Some(first), Some(last)) => Days { first, last },
            _ => return Ok(None),
        };
        let today = clock::now().to_zoned(zone.clone()).date();
        let wrong = |why: String| Err(Error::Setup(format!("{}: {why}", days.argument())));
        if days.last < days.first {
            return wrong("the last day is before the first".to_owned());
        }
        if days.last > today {
            return wrong(format!("{} has yet to come; today is {today}", days.last));
        }
        Ok(Some(days))
    }
}

/// Whole days, one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    pub first: Date,
    pub last: Date,
}

impl Days {
    /// The arguments that name them.
    pub fn argument(self) -> String {
        match self.first == self.last {
            true => format!("--day {}", self.first),
            false => format!("--from {} --to {}", self.first, self.last),
        }
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{} to {}", self.first, self.last),
        }
    }
}

/// As people and scripts write it, and nothing else that could be one.
///
/// # Errors
/// It is no day, or written in another way.
pub fn day(text: &str) -> Result<Date, String> {
    let parsed = Date::strptime("%Y-%m-%d", text).ok();
    parsed.filter(|day| day.to_string() == text).ok_or_else(|| "write it as 2026-04-25".to_owned())
}

/// How long, as `--wait` says it.
///
/// # Errors
/// It is no duration.
pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write it as 90s, 30m or 2h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_in_one_way() {
        assert_eq!(day("2026-04-25").unwrap().to_string(), "2026-04-25");
        for none in ["20260425", "2026-4-5", "2026-02-30", "25.04.2026", "2026-04-25T00:00", ""] {
            assert!(day(none).is_err(), "{none}");
        }
    }

    #[test]
    fn days_that_are_none_are_refused() {
        let date = |text: &str| Some(day(text).unwrap());
        let asked = |day, from, to| Asked { day, from, to, wait: Duration::ZERO };
        let days = |asked: Asked| asked.days(&TimeZone::UTC).map_err(|error| error.to_string());
        let some = days(asked(None, date("2026-04-25"), date("2026-05-01"))).unwrap().unwrap();
        assert_eq!(some.to_string(), "2026-04-25 to 2026-05-01");
        assert_eq!(days(asked(None, None, None)), Ok(None));
        let wrong = days(asked(None, date("2026-04-26"), date("2026-04-25"))).unwrap_err();
        assert_eq!(wrong, "--from 2026-04-26 --to 2026-04-25: the last day is before the first");
        let wrong = days(asked(date("9999-04-26"), None, None)).unwrap_err();
        assert!(wrong.starts_with("--day 9999-04-26: 9999-04-26 has yet to come; "), "{wrong}");
    }
}
