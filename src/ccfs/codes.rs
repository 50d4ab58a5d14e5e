//! What the result codes of CC-FS mean for a job: the vendor's table, and the operator's rows
//! over it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::config;
use crate::failure::{Class, Failure, Reason};

/// A row of the table: the code, what the vendor says it means, what that means for a job.
struct Row {
    code: &'static str,
    meaning: Meaning,
    says: &'static str,
}

/// What a result code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The call worked; with no file in the answer, a protocol error.
    Success,
    /// The call failed, and so does the job.
    Failed(Class),
}

const fn row(code: &'static str, class: Class, says: &'static str) -> Row {
    Row { code, meaning: Meaning::Failed(class), says }
}

const fn success(code: &'static str) -> Row {
    Row { code, meaning: Meaning::Success, says: "success" }
}

/// The vendor's pages give these one common explanation.
const PARAMETER: &str = "a parameter is missing, empty, too long, too short or malformed, the \
                         version is wrong, the body is missing, or the file name's date is bad";

const TABLE: &[Row] = &[
    success("0"),
    success("0100000"),
    row("0300001", Class::Permanent, PARAMETER),
    row("0300002", Class::Permanent, PARAMETER),
    row("0300003", Class::Permanent, PARAMETER),
    row("0300004", Class::Permanent, PARAMETER),
    row("0300005", Class::Permanent, PARAMETER),
    row("0300006", Class::Permanent, PARAMETER),
    row("0300007", Class::Permanent, PARAMETER),
    row("0300008", Class::Throttled, "the download flow-control threshold is reached"),
    row("0300009", Class::Throttled, "the query flow-control threshold is reached"),
    row("0300010", Class::Permanent, PARAMETER),
    row("0300011", Class::NotReady, "the file does not exist"),
    row("0300012", Class::NotReady, "no data found"),
    row("0300013", Class::Permanent, "the begin time is after the end time"),
    row("0300028", Class::Permanent, "parameter error"),
];

/// The table as one tenant sees it.
#[derive(Clone, Debug)]
pub struct Codes {
    configured: BTreeMap<String, Class>,
}

impl Codes {
    /// `configured` extends the vendor's table and wins over it.
    pub fn new(configured: &BTreeMap<String, Class>) -> Self {
        Self { configured: configured.clone() }
    }

    /// Whether the code says that the call worked.
    pub fn is_success(&self, code: &str) -> bool {
        let row = TABLE.iter().find(|row| row.code == code);
        !self.configured.contains_key(code)
            && row.is_some_and(|row| row.meaning == Meaning::Success)
    }

    /// The failure that a JSON answer with `code` and without a file is; `None`: its code is none.
    pub fn failure(&self, code: Option<&str>) -> Failure {
        let Some(code) = code else {
            let detail = "CC-FS answered a result code that is none: at most nine digits are one";
            return Failure::new(Class::Failure, Reason::CCFS_OTHER, detail);
        };
        if let Some(&class) = self.configured.get(code) {
            let detail = "CC-FS answered a result code of ccfs.result_codes";
            return Failure::new(class, Reason::ccfs(code), detail);
        }
        match TABLE.iter().find(|row| row.code == code) {
            Some(Row { meaning: Meaning::Failed(class), says, .. }) => {
                Failure::new(*class, Reason::ccfs(code), format!("CC-FS answered: {says}"))
            }
            Some(Row { meaning: Meaning::Success, .. }) => Failure::new(
                Class::Failure,
                Reason::CCFS_PROTOCOL,
                "CC-FS answered success without a file",
            ),
            None => Failure::new(
                Class::Failure,
                Reason::ccfs(code),
                "CC-FS answered a result code that is in no table; ccfs.result_codes can name it",
            ),
        }
    }
}

/// The result codes that a tenant's CC-FS can be counted under: the table's and the configured.
pub fn known_codes(settings: &config::Ccfs) -> Vec<String> {
    let failed = TABLE.iter().filter(|row| row.meaning != Meaning::Success);
    let table = failed.map(|row| row.code.to_owned());
    let all: BTreeSet<String> = table.chain(settings.result_codes.keys().cloned()).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(code: &str) -> (Class, String) {
        let failure = Codes::new(&BTreeMap::new()).failure(Some(code));
        (failure.class, failure.reason.to_string())
    }

    #[test]
    fn the_table_is_the_vendors() {
        let by_class = [
            (Class::Permanent, &["0300001", "0300002", "0300003", "0300004", "0300005"][..]),
            (Class::Permanent, &["0300006", "0300007", "0300010", "0300013", "0300028"]),
            (Class::Throttled, &["0300008", "0300009"]),
            (Class::NotReady, &["0300011", "0300012"]),
            (Class::Failure, &["0300014", "0399999", "7"]),
        ];
        for (class, codes) in by_class {
            for code in codes {
                assert_eq!(judge(code), (class, format!("ccfs.{code}")));
            }
        }
    }

    #[test]
    fn success_without_a_file_is_a_protocol_error() {
        for code in ["0", "0100000"] {
            assert_eq!(judge(code), (Class::Failure, "ccfs.protocol".into()));
        }
    }

    #[test]
    fn a_success_is_one_unless_it_is_configured_to_be_none() {
        let codes = Codes::new(&[("0".to_owned(), Class::Failure)].into());
        let successes = ["0", "0100000", "0300012", "00"].map(|code| codes.is_success(code));
        assert_eq!(successes, [false, true, false, false]);
        assert!(Codes::new(&BTreeMap::new()).is_success("0"));
    }

    #[test]
    fn a_configured_code_extends_the_table_and_wins_over_it() {
        let configured =
            [("0300099".to_owned(), Class::NotReady), ("0300008".to_owned(), Class::Permanent)];
        let codes = Codes::new(&configured.into());
        assert_eq!(codes.failure(Some("0300099")).class, Class::NotReady);
        assert_eq!(codes.failure(Some("0300099")).reason.as_str(), "ccfs.0300099");
        assert_eq!(codes.failure(Some("0300008")).class, Class::Permanent);
        assert_eq!(codes.failure(Some("0300012")).class, Class::NotReady);
    }

    #[test]
    fn a_code_that_is_none_is_another() {
        let failure = Codes::new(&BTreeMap::new()).failure(None);
        assert_eq!((failure.class, failure.reason.as_str()), (Class::Failure, "ccfs.other"));
    }
}
