//! Durations and sizes as people write them, parsed and shown in one place.

use std::time::Duration;

/// Units of a duration, longest first, in milliseconds.
const TIME: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of a size, largest first, in bytes. Shown are the binary ones.
const BYTES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// The longest duration that is accepted: deadlines are added to instants, which would overflow.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// Reads `"500ms"`, `"30s"`, `"1h30m"`, `"7d"`: whole numbers with units, longest unit first.
///
/// `None` for anything else, and for more than ten years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = TIME.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (name, next) = after.split_at(letters);
        // The iterator goes on from the last unit: a unit cannot come twice nor out of order.
        let (_, unit) = units.find(|(known, _)| *known == name)?;
        total = total.checked_add(number.checked_mul(*unit)?)?;
        rest = next;
    }
    let duration = Duration::from_millis(total);
    (!text.is_empty() && duration <= LONGEST).then_some(duration)
}

/// The shortest form: `"30s"`, `"2m"`, `"1h30m"`, `"500ms"`. Below a millisecond is cut off.
///
/// Names the retry queues (`callvault.retry.30s`), so it must not change between versions.
pub fn show_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut shown = String::new();
    for (name, unit) in TIME {
        if rest >= unit {
            shown += &format!("{}{name}", rest / unit);
            rest %= unit;
        }
    }
    if shown.is_empty() { "0s".into() } else { shown }
}

/// Reads `"8MiB"`, `"5GB"`, `"512B"`: a whole number with a unit, in bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, name) = leading_number(text)?;
    let (_, unit) = BYTES.iter().find(|(known, _)| *known == name.trim_start())?;
    number.checked_mul(*unit)
}

/// The largest binary unit that needs no fraction: `"8MiB"`, `"1536KiB"`, `"1000B"`.
pub fn show_size(bytes: u64) -> String {
    let fits = |&&(name, unit): &&(&str, u64)| {
        (name.ends_with("iB") || name == "B") && bytes != 0 && bytes.is_multiple_of(unit)
    };
    let (name, unit) = BYTES.iter().find(fits).unwrap_or(&("B", 1));
    format!("{}{name}", bytes / unit)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shows_the_shortest_form() {
        let shown = |ms| show_duration(Duration::from_millis(ms));
        assert_eq!(shown(30_000), "30s");
        assert_eq!(shown(120_000), "2m");
        assert_eq!(shown(3_600_000), "1h");
        assert_eq!(shown(5_400_000), "1h30m");
        assert_eq!(shown(500), "500ms");
        assert_eq!(shown(1_500), "1s500ms");
        assert_eq!(shown(604_800_000), "7d");
        assert_eq!(shown(0), "0s");
        assert_eq!(show_size(8 << 20), "8MiB");
        assert_eq!(show_size(5 << 30), "5GiB");
        assert_eq!(show_size(1_000), "1000B");
        assert_eq!(show_size(0), "0B");
    }

    #[test]
    fn refuses_what_is_no_duration_or_size() {
        for text in ["", "30", "s", "30 s", "-1s", "1.5s", "30m1h", "1s1s", "1w", "4000d", "1h "] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
        for text in ["", "8", "MiB", "8Mib", "-1B", "8MiB ", "99999999TiB"] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
        assert_eq!(parse_size("8 MiB"), Some(8 << 20));
        assert_eq!(parse_size("5GB"), Some(5_000_000_000));
        assert_eq!(parse_duration("24h"), Some(Duration::from_hours(24)));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(ms in 0..LONGEST.as_millis() as u64, bytes: u64) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
    }
}
