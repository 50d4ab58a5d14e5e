//! What has failed lately, each with what it means and what to do.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::clock;
use crate::failure::Reason;
use crate::runbook;

/// So many are shown.
const SHOWN: usize = 50;

/// Of these so many are ends, where there were so many: in an outage there are hundreds of retries a
/// second, and a dead message must not be lost among them.
const ENDS: usize = 25;

/// A job that has not archived.
#[derive(Clone, Debug)]
pub struct Failed {
    pub at: Timestamp,
    pub tenant: Option<String>,
    /// Its call id, its file, or the request of a dump, as the log may have it.
    pub call: Option<String>,
    /// `dead`, `absent` or `retried`.
    pub outcome: &'static str,
    /// Whether no other try follows.
    pub ended: bool,
    pub reason: Reason,
    /// The sentence of the log.
    pub detail: String,
}

/// The last of them.
#[derive(Debug, Default)]
pub struct Failures(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    ended: VecDeque<Failed>,
    retried: VecDeque<Failed>,
}

/// One as it is shown.
#[derive(Debug, Serialize)]
struct FailureSeen {
    #[serde(serialize_with = "clock::to_the_second")]
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<String>,
    outcome: &'static str,
    reason: String,
    detail: String,
    meaning: &'static str,
    advice: &'static str,
}

/// The newest first.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct FailuresSeen(Vec<FailureSeen>);

impl Failures {
    pub fn add(&self, failed: Failed) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { ended, retried } = &mut *kept;
        let ring = if failed.ended { ended } else { retried };
        if ring.len() == SHOWN {
            ring.pop_front();
        }
        ring.push_back(failed);
    }

    pub fn seen(&self) -> FailuresSeen {
        let Kept { ended, retried } = {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Kept { ended: kept.ended.clone(), retried: kept.retried.clone() }
        };
        let kept_for_ends = ended.len().min(ENDS);
        let mut ended = ended.into_iter().rev();
        let mut shown: Vec<_> = ended.by_ref().take(kept_for_ends).collect();
        let mut others: Vec<_> = ended.chain(retried.into_iter().rev()).collect();
        others.sort_by_key(|failed| Reverse(failed.at));
        shown.extend(others.into_iter().take(SHOWN - kept_for_ends));
        shown.sort_by_key(|failed| Reverse(failed.at));
        FailuresSeen(shown.into_iter().map(FailureSeen::from).collect())
    }
}

impl From<Failed> for FailureSeen {
    fn from(failed: Failed) -> Self {
        let Failed { at, tenant, call, outcome, reason, detail, .. } = failed;
        let runbook::Row { meaning, advice, .. } = runbook::of(&reason);
        let reason = reason.as_str().to_owned();
        Self { at, tenant, call, outcome, reason, detail, meaning, advice }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn failed(second: i64, outcome: &'static str) -> Failed {
        Failed {
            at: Timestamp::from_second(1_777_093_663 + second).unwrap(),
            tenant: Some("acme".to_owned()),
            call: Some(second.to_string()),
            outcome,
            ended: outcome != "retried",
            reason: Reason::ccfs("0300004"),
            detail: "CC-FS answered: a parameter is missing".to_owned(),
        }
    }

    fn seen(ring: &Failures) -> Vec<Value> {
        serde_json::to_value(ring.seen()).unwrap().as_array().unwrap().clone()
    }

    #[test]
    fn a_failure_says_what_it_means_and_what_to_do() {
        let ring = Failures::default();
        ring.add(failed(0, "dead"));
        let row = runbook::of(&Reason::ccfs("0300004"));
        let shown = serde_json::json!([{
            "at": "2026-04-25T05:07:43Z", "tenant": "acme", "call": "0", "outcome": "dead",
            "reason": "ccfs.0300004", "detail": "CC-FS answered: a parameter is missing",
            "meaning": row.meaning, "advice": row.advice,
        }]);
        assert_eq!(seen(&ring), *shown.as_array().unwrap());
    }

    #[test]
    fn the_last_fifty_are_shown_newest_first_and_ends_are_not_lost_among_retries() {
        let ring = Failures::default();
        (0..30).for_each(|second| ring.add(failed(second, "dead")));
        (30..300).for_each(|second| ring.add(failed(second, "retried")));
        let shown = seen(&ring);
        let calls: Vec<i64> =
            shown.iter().map(|one| one["call"].as_str().unwrap().parse().unwrap()).collect();
        let wanted: Vec<i64> = (275..300).rev().chain((5..30).rev()).collect();
        assert_eq!(calls, wanted);
        // And what has just died is the first.
        ring.add(failed(300, "absent"));
        assert_eq!(seen(&ring)[0]["outcome"], "absent");
        assert_eq!(seen(&ring).len(), SHOWN);
    }
}
