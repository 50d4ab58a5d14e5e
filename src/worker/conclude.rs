//! Outcome → event, settlement, metrics, and the one log line of a job.

use std::error::Error as _;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::job::Archived;
use super::outcome::{Policy, Try, Verdict};
use super::{Received, Worker};
use crate::broker::{Disposition, QueueName, Settled};
use crate::clock;
use crate::event::{self, Event};
use crate::failure::{Class, Failure, Reason};
use crate::metrics::JobOutcome;

/// What a line that ended well has done.
pub enum Done {
    Archived(Archived),
    Expanded { count: usize },
}

/// How a job ended.
pub enum Outcome {
    Done(Done),
    Failed(Failure),
    /// A suspect, judged before any work.
    Suspect(Verdict),
    /// It waited for a place until its patience was over.
    NoPlace,
    /// The drain time is over.
    Stopped,
}

/// What becomes of a message: said, settled, counted and logged.
struct Conclusion {
    /// `None` where the message is given back, which is not an end.
    outcome: Option<JobOutcome>,
    event: Option<Event>,
    disposition: Disposition,
    failure: Option<Failure>,
}

impl From<Result<Done, Failure>> for Outcome {
    fn from(result: Result<Done, Failure>) -> Self {
        result.map_or_else(Self::Failed, Self::Done)
    }
}

impl Outcome {
    /// Whether CC-FS answered, as far as this outcome can tell.
    pub fn any_answer(&self) -> Option<bool> {
        match self {
            Self::Done(Done::Archived(_)) => Some(true),
            Self::Failed(failure) => {
                failure.reason.ccfs_code().map(|code| code != "timeout" && code != "unreachable")
            }
            _ => None,
        }
    }
}

impl Worker {
    /// A suspect that comes back from a crash is judged before any work.
    pub(super) fn judge_suspect(&self, received: &Received) -> Option<Outcome> {
        let delivery = &received.delivery;
        if delivery.queue != QueueName::Suspect {
            return None;
        }
        let verdict =
            self.policy.judge_suspect(delivery.state(), delivery.redelivered, clock::now());
        verdict.map(Outcome::Suspect)
    }

    /// Says what happened, settles the delivery, and only then counts and logs it.
    pub(super) async fn conclude(
        &self,
        received: Received,
        outcome: Outcome,
        stop: &CancellationToken,
    ) {
        let mut conclusion = self.decide(&received, &outcome, clock::now());
        if let Some(event) = &conclusion.event {
            let said = tokio::select! {
                said = self.tools.publisher.event(event) => said.is_ok_or_unroutable(),
                () = stop.cancelled() => false,
            };
            if !said {
                conclusion = Conclusion::give_back();
            }
        }
        let Conclusion { outcome: ended, disposition, failure, .. } = conclusion;
        let Received { delivery, ticket, intake, since } = received;
        let line = Line::of(&delivery, &intake, since);
        let settled = delivery.settle(disposition).await;
        ticket.settled(settled.into());
    }

    fn decide(&self, received: &Received, outcome: &Outcome, now: Timestamp) -> Conclusion {
        let state = received.delivery.state();
        match outcome {
            Outcome::Stopped => Conclusion::give_back(),
            Outcome::Done(done) => Conclusion::done(done),
            Outcome::NoPlace => self.apply(received, self.policy.park(state.seen(now)), None, now),
            Outcome::Suspect(verdict) => {
                let crashed = Policy::crashed(state);
                self.apply(received, verdict.clone(), Some(crashed), now)
            }
            Outcome::Failed(failure) => {
                let known_at = received.intake.place.as_ref().map(|place| place.when.known_at);
                let verdict = self.policy.judge(failure, Try { state, known_at, now });
                self.apply(received, verdict, Some(failure.clone()), now)
            }
        }
    }
}
