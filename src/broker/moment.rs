//! AMQP timestamps: seconds since 1970 by the standard, milliseconds from many clients. Pure.

use jiff::Timestamp;

/// 5000-01-01T00:00:00Z. As milliseconds it lies in 1973, before there was anything to record.
const YEAR_5000: i64 = 95_617_584_000;

/// The time that a timestamp means; what would be beyond the year 5000 is taken as milliseconds.
pub(super) fn of(timestamp: u64) -> Option<Timestamp> {
    let number = i64::try_from(timestamp).ok()?;
    if number < YEAR_5000 {
        Timestamp::from_second(number).ok()
    } else {
        Timestamp::from_millisecond(number).ok()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn milliseconds_are_told_by_their_size() {
        let cases = [
            (0, Some("1970-01-01T00:00:00Z")),
            (1_777_093_663, Some("2026-04-25T05:07:43Z")),
            (95_617_583_999, Some("4999-12-31T23:59:59Z")),
            (95_617_584_000, Some("1973-01-11T16:26:24Z")),
            (1_777_093_663_250, Some("2026-04-25T05:07:43.25Z")),
            (u64::MAX, None),
        ];
        for (timestamp, time) in cases {
            let read = super::of(timestamp).map(|time| time.to_string());
            assert_eq!(read.as_deref(), time, "{timestamp}");
        }
    }
}
