//! Times: RFC 3339, and nothing beyond it; none that has yet to come.

use jiff::{SignedDuration, Timestamp};

use super::mistakes::Mistake;

/// A call may be so far ahead of the clock: clocks differ, and so do notions of local time. What is
/// further ahead is no time of a call, and would be stored under a day that nobody looks at.
const MOST_AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// Refuses a time of a call that is more than a day ahead of the clock, which `now` tells: it may be
/// the clock that is wrong. What was accepted once is so later on, since it only gets less ahead.
///
/// # Errors
/// The mistake, which calls the time `what`.
pub fn not_ahead(what: &str, time: Timestamp, now: Timestamp) -> Result<(), Mistake> {
    if time.duration_since(now) <= MOST_AHEAD {
        return Ok(());
    }
    let clock = now.strftime("%Y-%m-%dT%H:%M:%SZ");
    Err(Mistake::new(format!("{what} is more than a day ahead of the clock ({clock})")))
}

/// `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`, from the year 1 on.
///
/// jiff alone accepts more (spaces, seconds left out, offsets without a colon, zone annotations)
/// and less (at most nine digits of a second); digits beyond nanoseconds are dropped here.
pub fn rfc3339(text: &str) -> Option<Timestamp> {
    let (head, rest) = text.split_at_checked(19)?;
    if !matches_shape(head, "dddd-dd-ddTdd:dd:dd") {
        return None;
    }
    let (fraction, offset) = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (digits, offset) = rest.split_at(end);
            (Some(digits).filter(|digits| !digits.is_empty())?, offset)
        }
        None => ("", rest),
    };
    if !matches_shape(offset, "Z") && !is_numeric_offset(offset) {
        return None;
    }
    let nanoseconds = &fraction[..fraction.len().min(9)];
    let dot = if nanoseconds.is_empty() { "" } else { "." };
    let time: Timestamp = format!("{head}{dot}{nanoseconds}{offset}").parse().ok()?;
    // An offset can carry the year 0000 before the years that RFC 3339 can write.
    (jiff::tz::Offset::UTC.to_datetime(time).year() >= 1).then_some(time)
}

fn is_numeric_offset(offset: &str) -> bool {
    let shaped = matches_shape(offset, "+dd:dd") || matches_shape(offset, "-dd:dd");
    shaped && &offset[1..3] <= "23" && &offset[4..6] <= "59"
}

/// `d` stands for a digit, a letter for itself in either case, anything else for itself.
fn matches_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            _ => byte.eq_ignore_ascii_case(&shape),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ahead_is_not_too_much() {
        let now: Timestamp = "2026-11-28T04:30:00.5Z".parse().unwrap();
        for good in ["2026-11-29T04:30:00.5Z", "2026-11-28T04:30:00Z", "0001-01-01T00:00:00Z"] {
            assert_eq!(not_ahead("callEnd", good.parse().unwrap(), now), Ok(()), "{good}");
        }
        for bad in ["2026-11-29T04:30:00.6Z".parse().unwrap(), Timestamp::MAX] {
            let told = "callEnd is more than a day ahead of the clock (2026-11-28T04:30:00Z)";
            assert_eq!(not_ahead("callEnd", bad, now), Err(Mistake::new(told)), "{bad}");
        }
    }

    #[test]
    fn takes_every_form_of_rfc_3339() {
        let cases = [
            ("2026-04-25T05:12:44Z", "2026-04-25T05:12:44Z"),
            ("2026-04-25t05:12:44z", "2026-04-25T05:12:44Z"),
            ("2026-04-25T05:12:44.5Z", "2026-04-25T05:12:44.5Z"),
            ("2026-04-25T05:12:44.1234567899999Z", "2026-04-25T05:12:44.123456789Z"),
            ("2026-04-25T13:12:44+08:00", "2026-04-25T05:12:44Z"),
            ("2026-04-24T23:42:44.25-05:30", "2026-04-25T05:12:44.25Z"),
            ("2026-04-25T05:12:44-00:00", "2026-04-25T05:12:44Z"),
            ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ];
        for (text, wanted) in cases {
            assert_eq!(
                rfc3339(text).map(|time| time.to_string()).as_deref(),
                Some(wanted),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_everything_else() {
        let cases = [
            "",
            "2026-04-25",
            "2026-04-25T05:12Z",
            "2026-04-25T05:12:44",
            "2026-04-25 05:12:44Z",
            "2026-04-25T05:12:44 Z",
            " 2026-04-25T05:12:44Z",
            "2026-04-25T05:12:44Z ",
            "2026-04-25T05:12:44.Z",
            "2026-04-25T05:12:44,5Z",
            "2026-04-25T05:12:44.5",
            "2026-04-25T05:12:44+0800",
            "2026-04-25T05:12:44+08",
            "2026-04-25T05:12:44+24:00",
            "2026-04-25T05:12:44+08:60",
            "2026-04-25T05:12:44+08:00:00",
            "2026-04-25T05:12:44Z[UTC]",
            "2026-04-25T05:12:44[UTC]",
            "2026-02-29T05:12:44Z",
            "2026-13-01T05:12:44Z",
            "2026-04-25T24:00:00Z",
            "2026-04-25T05:60:00Z",
            "20260425T051244Z",
            "+002026-04-25T05:12:44Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "1777093663",
            "2026-04-25T05:12:4\u{664}Z",
        ];
        for text in cases {
            assert_eq!(rfc3339(text), None, "{text:?}");
        }
    }
}
