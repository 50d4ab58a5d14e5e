//! What a package of CC-FS is called. Pure.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

/// What CC-FS calls what it was asked to make; without the dashes, as in the names of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResponseId(String);

/// The name of a package that CC-FS makes: the day on which it was asked for, and what CC-FS called
/// that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexName(String);

/// The most letters and digits of an id: with them a name has the 49 characters that CC-FS takes.
const LONGEST: usize = 36;

/// The hours by which the clocks that are first in a new day are ahead of UTC, and the last behind.
const FIRST: i8 = 14;
const LAST: i8 = -12;

impl ResponseId {
    /// `None` for a text that cannot stand in the name of a file of CC-FS.
    pub fn new(text: &str) -> Option<Self> {
        let id: String = text.trim().chars().filter(|c| *c != '-').collect();
        let good =
            (1..=LONGEST).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
        good.then_some(Self(id))
    }

    /// Of the package that was asked for on `day`.
    pub fn name(&self, day: Date) -> IndexName {
        IndexName(format!("{}_{}.zip", day.strftime("%Y%m%d"), self.0))
    }

    /// Every name that the package may have that was asked for at `asked`, the likeliest first: whose
    /// day is in it is not said. `zone` is the tenant's.
    pub fn names(&self, asked: Timestamp, zone: &TimeZone) -> Vec<IndexName> {
        let others = [0, FIRST, LAST].map(|hours| Offset::constant(hours).to_time_zone());
        let zones = [zone].into_iter().chain(&others);
        let mut days = Vec::new();
        for day in zones.map(|zone| asked.to_zoned(zone.clone()).date()) {
            if !days.contains(&day) {
                days.push(day);
            }
        }
        days.into_iter().map(|day| self.name(day)).collect()
    }
}

impl fmt::Display for ResponseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ResponseId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("is no id of CC-FS: 1 to 36 letters and digits")
    }
}

impl From<ResponseId> for String {
    fn from(id: ResponseId) -> Self {
        id.0
    }
}

impl IndexName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IndexName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// The vendor's example.
    const ID: &str = "9239cb50-a838-4bb0-ab50-3441bf089446";

    #[test]
    fn the_vendors_example_has_the_vendors_name() {
        let id = ResponseId::new(ID).unwrap();
        let name = id.name(date(2018, 7, 2));
        assert_eq!(name.as_str(), "20180702_9239cb50a8384bb0ab503441bf089446.zip");
        let longest = ResponseId::new(&"9".repeat(36)).unwrap().name(date(2018, 7, 2));
        assert_eq!(longest.as_str().len(), 49);
    }

    #[test]
    fn what_cannot_stand_in_a_name_is_no_id() {
        for bad in ["", "-", "a/b", "../x", "a b", "ä", "9239cb50_a838", &"9".repeat(37)] {
            assert_eq!(ResponseId::new(bad), None, "{bad}");
            let json = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<ResponseId>(&json).is_err(), "{bad}");
        }
        let id = ResponseId::new(&format!(" {ID}\n")).unwrap();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"9239cb50a8384bb0ab503441bf089446\"");
        assert_eq!(serde_json::from_str::<ResponseId>(&json).unwrap(), id);
    }

    #[test]
    fn every_day_that_a_clock_shows_is_tried_the_likeliest_first() {
        let id = ResponseId::new("7").unwrap();
        let days = |asked: &str, zone: &str| -> Vec<String> {
            let zone = TimeZone::get(zone).unwrap();
            let names = id.names(asked.parse().unwrap(), &zone);
            names.iter().map(|name| name.as_str()[4..8].to_owned()).collect()
        };
        // Just after midnight there, which is the evening before in Europe.
        assert_eq!(days("2026-04-24T16:30:00Z", "Asia/Shanghai"), ["0425", "0424"]);
        assert_eq!(days("2026-04-24T15:30:00Z", "Asia/Shanghai"), ["0424", "0425"]);
        assert_eq!(days("2026-04-24T06:00:00Z", "UTC"), ["0424", "0423"]);
        assert_eq!(days("2026-04-24T11:00:00Z", "UTC"), ["0424", "0425", "0423"]);
        assert_eq!(days("2026-04-24T03:00:00Z", "America/New_York"), ["0423", "0424"]);
    }
}
