//! The day of a recording, from the message alone: a retry tomorrow has the same key.

use jiff::Timestamp;
use jiff::civil::{self, Date};
use jiff::tz::TimeZone;

use crate::request::{CallId, FileName, Mistake, Wanted, not_ahead};

/// When a recording was made, in its tenant's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    pub date: Date,
    /// 0 to 23; 0 where only the day is known.
    pub hour: i8,
    /// The instant that gave the date; for a day alone its end in the tenant's zone.
    pub known_at: Timestamp,
}

impl When {
    /// The first of contract 3's sources that is there; `None` without any.
    ///
    /// # Errors
    /// It is more than a day ahead of the clock; for a day alone its begin is.
    pub(super) fn find(
        wanted: &Wanted,
        zone: &TimeZone,
        sent_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Self>, Mistake> {
        let at = |what, instant| {
            not_ahead(what, instant, now)?;
            Ok(Some(Self::at(instant, zone)))
        };
        if let Some(end) = wanted.call_end {
            return at("callEnd", end);
        }
        if let Some(begin) = wanted.call_begin {
            return at("callBegin", begin);
        }
        if let Some(day) = wanted.file_name.as_ref().and_then(day_in) {
            not_ahead("the day in fileName", begin_of(day, zone), now)?;
            return Ok(Some(Self::on(day, zone)));
        }
        if let Some(instant) = wanted.call_id.as_ref().and_then(instant_in) {
            return at("the time that callId begins with", instant);
        }
        sent_at.map_or(Ok(None), |sent_at| at("the AMQP timestamp", sent_at))
    }

    fn at(instant: Timestamp, zone: &TimeZone) -> Self {
        let local = zone.to_datetime(instant);
        Self { date: local.date(), hour: local.hour(), known_at: instant }
    }

    fn on(date: Date, zone: &TimeZone) -> Self {
        // Nothing comes after the last day that can be counted.
        let known_at = date.tomorrow().map_or(Timestamp::MAX, |next| begin_of(next, zone));
        Self { date, hour: 0, known_at }
    }
}

fn begin_of(date: Date, zone: &TimeZone) -> Timestamp {
    // What no clock can tell is as far ahead as can be.
    date.to_zoned(zone.clone()).map_or(Timestamp::MAX, |begin| begin.timestamp())
}

/// The path's first part of eight digits that is a real date from 2000 on. Parts are taken whole:
/// the last one, `12345678.V3`, counts the milliseconds of the day.
fn day_in(file_name: &FileName) -> Option<Date> {
    file_name.parts().find_map(|part| {
        let digits = part.len() == 8 && part.bytes().all(|b| b.is_ascii_digit());
        let number: u32 = digits.then(|| part.parse().ok()).flatten()?;
        let year = i16::try_from(number / 10_000).ok().filter(|year| *year >= 2000)?;
        let month = i8::try_from(number / 100 % 100).ok()?;
        let day = i8::try_from(number % 100).ok()?;
        civil::Date::new(year, month, day).ok()
    })
}

/// The epoch seconds at the head of a call's id: 9 to 11 digits up to a dash or the end.
fn instant_in(call_id: &CallId) -> Option<Timestamp> {
    let head = call_id.as_str().split('-').next()?;
    let digits = (9..=11).contains(&head.len()) && head.bytes().all(|b| b.is_ascii_digit());
    let seconds = digits.then(|| head.parse().ok()).flatten()?;
    Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    const NOW: &str = "2026-11-28T04:30:00Z";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn find(
        wanted: &Wanted,
        zone_name: &str,
        sent_at: Option<&str>,
    ) -> Option<(String, i8, String)> {
        let when = When::find(wanted, &zone(zone_name), sent_at.map(time), time(NOW)).unwrap()?;
        Some((when.date.to_string(), when.hour, when.known_at.to_string()))
    }

    fn found(date: &str, hour: i8, known_at: &str) -> Option<(String, i8, String)> {
        Some((date.into(), hour, known_at.into()))
    }

    #[test]
    fn sources_come_in_order() {
        let mut wanted = Wanted {
            call_id: Some(CallId::new("1777093663-792075").unwrap()),
            file_name: Some(FileName::new("X:/4/0/20180416/512/1629533.V3").unwrap()),
            call_begin: Some(time("2026-03-01T01:00:00Z")),
            call_end: Some(time("2026-03-02T02:30:00Z")),
            ..Wanted::default()
        };
        let sent_at = Some("2025-01-01T12:00:00Z");
        let utc = |wanted: &Wanted| find(wanted, "UTC", sent_at);
        assert_eq!(utc(&wanted), found("2026-03-02", 2, "2026-03-02T02:30:00Z"));
        wanted.call_end = None;
        assert_eq!(utc(&wanted), found("2026-03-01", 1, "2026-03-01T01:00:00Z"));
        wanted.call_begin = None;
        assert_eq!(utc(&wanted), found("2018-04-16", 0, "2018-04-17T00:00:00Z"));
        wanted.file_name = Some(FileName::new("X:/4/0/nowhere").unwrap());
        assert_eq!(utc(&wanted), found("2026-04-25", 5, "2026-04-25T05:07:43Z"));
        wanted.call_id = Some(CallId::new("C-1").unwrap());
        assert_eq!(utc(&wanted), found("2025-01-01", 12, "2025-01-01T12:00:00Z"));
        assert_eq!(find(&wanted, "UTC", None), None);
    }

    /// The source that gives the date, and no other.
    #[test]
    fn no_call_is_more_than_a_day_ahead() {
        let found = |call_id: &str, file_name: &str, sent_at: Option<&str>, zone_name: &str| {
            let wanted = Wanted {
                call_id: CallId::new(call_id).ok(),
                file_name: FileName::new(file_name).ok(),
                ..Wanted::default()
            };
            let (zone, sent_at) = (zone(zone_name), sent_at.map(time));
            match When::find(&wanted, &zone, sent_at, time(NOW)) {
                Ok(when) => when.expect("a date").date.to_string(),
                Err(mistake) => Failure::from(mistake).detail,
            }
        };
        let ahead = |what: &str| {
            format!("{what} is more than a day ahead of the clock (2026-11-28T04:30:00Z)")
        };
        let day = |day: &str, zone_name| found("", &format!("X:/{day}/1.V3"), None, zone_name);
        assert_eq!(day("20261129", "UTC"), "2026-11-29");
        assert_eq!(day("20261130", "UTC"), ahead("the day in fileName"));
        // There it is the 28th already, or the 27th still.
        assert_eq!(day("20261130", "Pacific/Kiritimati"), ahead("the day in fileName"));
        assert_eq!(day("20261129", "America/Los_Angeles"), ahead("the day in fileName"));
        assert_eq!(day("20261128", "America/Los_Angeles"), "2026-11-28");
        assert_eq!(day("99991231", "UTC"), ahead("the day in fileName"));

        // 2026-11-29T04:30:00Z, and a second later.
        assert_eq!(found("1795926600-1", "", None, "UTC"), "2026-11-29");
        assert_eq!(
            found("1795926601-1", "", None, "UTC"),
            ahead("the time that callId begins with")
        );
        assert_eq!(found("1795926601-1", "X:/20260425/1.V3", None, "UTC"), "2026-04-25");
        assert_eq!(found("C-1", "", Some("2026-11-29T04:30:00Z"), "UTC"), "2026-11-29");
        assert_eq!(
            found("C-1", "", Some("2062-11-29T04:30:00Z"), "UTC"),
            ahead("the AMQP timestamp")
        );
        assert_eq!(found("1777093663", "", Some("2062-11-29T04:30:00Z"), "UTC"), "2026-04-25");
    }

    #[test]
    fn the_day_is_that_of_the_tenant() {
        let mut wanted =
            Wanted { call_end: Some(time("2026-04-25T20:12:44Z")), ..Wanted::default() };
        let at = "2026-04-25T20:12:44Z";
        assert_eq!(find(&wanted, "Asia/Shanghai", None), found("2026-04-26", 4, at));
        assert_eq!(find(&wanted, "America/New_York", None), found("2026-04-25", 16, at));
        wanted.call_end = None;
        // A day of 23 hours ends when it ends.
        wanted.file_name = Some(FileName::new("X:\\17\\0\\20260329\\1\\2.V3").unwrap());
        assert_eq!(
            find(&wanted, "Europe/Berlin", None),
            found("2026-03-29", 0, "2026-03-29T22:00:00Z")
        );
    }

    #[test]
    fn days_in_file_names() {
        let cases = [
            ("X:/4/0/20180416/512/1629533.V3", Some("2018-04-16")),
            ("X:\\17\\0\\20180903\\15470\\2043295.V3", Some("2018-09-03")),
            ("X:/4\\20180903/1.V3", Some("2018-09-03")),
            ("12345678/20180903/20190101/1.V3", Some("2018-09-03")),
            ("19991231/20000101/1.V3", Some("2000-01-01")),
            ("20240229", Some("2024-02-29")),
            ("20230229/1.V3", None),
            ("20180416.V3", None),
            ("201804160/1.V3", None),
            ("2018041/1.V3", None),
            ("+2018041/1.V3", None),
            ("２018041/1.V3", None),
            ("99991231/1.V3", Some("9999-12-31")),
        ];
        for (name, wanted) in cases {
            let day = day_in(&FileName::new(name).unwrap()).map(|day| day.to_string());
            assert_eq!(day.as_deref(), wanted, "{name}");
        }
        let last = When::on(civil::date(9999, 12, 31), &zone("UTC"));
        assert_eq!(last.known_at, Timestamp::MAX);
    }

    #[test]
    fn instants_in_call_ids() {
        let cases = [
            ("1777093663-792075", Some("2026-04-25T05:07:43Z")),
            ("1777093663", Some("2026-04-25T05:07:43Z")),
            ("999999999-1", Some("2001-09-09T01:46:39Z")),
            ("17770936630-1", Some("2533-02-20T03:17:10Z")),
            ("99999999-1", None),
            ("177709366300-1", None),
            ("1777093663_792075", None),
            ("-1777093663", None),
            ("x1777093663-1", None),
        ];
        for (call_id, wanted) in cases {
            let instant = instant_in(&CallId::new(call_id).unwrap());
            let instant = instant.map(|instant| instant.to_string());
            assert_eq!(instant.as_deref(), wanted, "{call_id}");
        }
    }
}
