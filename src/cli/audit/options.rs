//! What `callvault audit` is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::ToSpan;
use jiff::civil::Date;

use crate::cli::indexes::{day, duration};
use crate::index::By;
use crate::request::TenantId;

/// The most days that are looked at.
const MOST_DAYS: u16 = 366;

#[derive(Debug, Args)]
pub struct Audit {
    /// Whose recordings; tenants of the configuration [default: all of them].
    #[arg(long = "tenant", value_name = "ID", num_args = 1..)]
    #[arg(value_parser = |text: &str| TenantId::new(text))]
    pub tenants: Vec<TenantId>,
    /// This day, such as 2026-04-25, on the clocks of each tenant; it may be today.
    #[arg(long, value_name = "DAY", value_parser = day, conflicts_with = "since")]
    pub day: Option<Date>,
    /// The last so many days that are over, such as 3d.
    #[arg(long, value_name = "DAYS", default_value = "1d", value_parser = days)]
    pub since: u16,
    /// How long CC-FS may take to make an index.
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    pub wait: Duration,
    /// Ask for what is missing or partial, as callvault dump does.
    #[arg(long)]
    pub enqueue: bool,
    /// The name that missing recordings are asked for by.
    #[arg(long, value_enum, default_value_t, requires = "enqueue")]
    pub by: By,
    /// Show each recording that is not there, and what the dead queue and the retry queues say of it.
    #[arg(long)]
    pub explain: bool,
    /// Report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Write the numbers here, too, for the textfile collector of Prometheus' node exporter.
    #[arg(long, value_name = "FILE")]
    pub textfile: Option<PathBuf>,
}

impl Audit {
    /// The days that are meant, the first first; none where it has yet to come.
    pub fn days(&self, today: &Date) -> Vec<Date> {
        match self.day {
            Some(day) if day > *today => Vec::new(),
            Some(day) => vec![day],
            // Nobody's calendar begins within the last year.
            None => {
                let ago = |days: u16| today.checked_sub(i64::from(days).days()).ok();
                (1..=self.since).rev().filter_map(ago).collect()
            }
        }
    }
}

fn days(text: &str) -> Result<u16, String> {
    let number = text.strip_suffix('d').and_then(|number| number.parse().ok());
    number
        .filter(|days| (1..=MOST_DAYS).contains(days))
        .ok_or_else(|| format!("write it as 1d, 3d or 30d, at most {MOST_DAYS}d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_few() {
        assert_eq!((days("1d"), days("366d")), (Ok(1), Ok(366)));
        for none in ["", "d", "0d", "367d", "3", "-1d", "1.5d", "24h", "3 d", "1d1h"] {
            assert!(days(none).is_err(), "{none}");
        }
    }

    #[test]
    fn the_last_days_are_those_that_are_over() {
        let today = jiff::civil::date(2026, 3, 2);
        let since = |since, day| {
            let (tenants, wait) = (Vec::new(), Duration::ZERO);
            let (enqueue, explain, json) = (false, false, false);
            let by = By::CallId;
            let textfile = None;
            let audit = Audit { tenants, day, since, wait, enqueue, by, explain, json, textfile };
            let days = audit.days(&today);
            days.iter().map(Date::to_string).collect::<Vec<_>>()
        };
        assert_eq!(since(1, None), ["2026-03-01"]);
        assert_eq!(since(3, None), ["2026-02-27", "2026-02-28", "2026-03-01"]);
        assert_eq!(since(1, Some(today)), ["2026-03-02"]);
        assert_eq!(since(1, today.tomorrow().ok()), [""; 0]);
    }
}
