//! Outcome → event, settlement, metrics, and the one log line of a job.

use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::time::{self, Duration};
use tokio_util::sync::CancellationToken;

use super::ended::{Done, Outcome};
use super::policy::{Policy, Try, Verdict};
use super::received::Received;
use super::report::{self, Again, Report};
use super::tools::Tools;
use super::traced;
use crate::broker::{Delivery, Disposition, QueueName, Settled};
use crate::clock;
use crate::event::{self, Event};
use crate::failure::{Class, Failure, Reason};
use crate::metrics::JobOutcome;
use crate::traces;
use crate::worker::outages::Suspects;

/// What is to be said of a job that has ended waits so long for a broker that takes it; then its
/// message comes to its end again. Longer than two events that nobody confirms, from which the
/// breaker learns.
const SAYING: Duration = Duration::from_secs(75);

/// What becomes of a message.
struct Conclusion {
    /// `None` where that is no end: the message is given back, or marked and comes again.
    pub outcome: Option<JobOutcome>,
    /// What has to be said before the message may be settled.
    pub event: Option<Event>,
    pub disposition: Disposition,
    /// Why it was not archived.
    pub failure: Option<Failure>,
}

/// Ends jobs.
pub struct Concluder {
    tools: Arc<Tools>,
    policy: Policy,
    suspects: Suspects,
}

impl Concluder {
    pub fn new(tools: Arc<Tools>, policy: Policy) -> Self {
        Self { tools, policy, suspects: Suspects::default() }
    }

    /// Notes a delivery's arrival; true for a suspect that comes back from a crash.
    pub fn arrives(&self, delivery: &Delivery) -> bool {
        self.suspects.arrives(delivery)
    }

    /// A suspect that comes back from a crash is judged before any work.
    pub fn judge_suspect(&self, received: &Received) -> Option<Outcome> {
        let delivery = &received.delivery;
        if delivery.queue != QueueName::Suspect {
            return None;
        }
        let (past, crashed) = (received.past(clock::now()), received.crashed);
        let verdict = self.policy.judge_suspect(past, crashed, clock::now());
        verdict.map(Outcome::Suspect)
    }

    /// Says what happened, settles the delivery, and only then counts and logs it.
    pub async fn conclude(&self, received: Received, outcome: &Outcome, stop: &CancellationToken) {
        let mut conclusion = self.decide(&received, outcome, clock::now());
        if let Some(event) = &conclusion.event {
            let said = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                // It comes again and may end otherwise: nothing is said of this end.
                () = received.delivery.lost() => None,
                said = self.say(event) => Some(said),
            };
            match said {
                Some(Ok(())) => {}
                Some(Err(failure)) => conclusion = self.unsaid(&received, conclusion, failure),
                None => conclusion = self.stopped(&received, clock::now()),
            }
        }
        let Conclusion { outcome: ended, disposition, failure, .. } = conclusion;
        let Received { delivery, ticket, intake, since, room, .. } = received;
        let attempt = delivery.state().attempts.saturating_add(1);
        let again = match &disposition {
            Disposition::Retry { delay, .. } => {
                Some(Again { after: *delay, queue: self.tools.publisher.retry_queue(*delay) })
            }
            _ => None,
        };
        let suspect = delivery.suspect();
        let settled = traced::settle(delivery, disposition).await;
        drop(room);
        if let Some(suspect) = suspect.filter(|_| settled == Settled::Acked) {
            self.suspects.settled(&suspect);
        }
        let done = matches!(outcome, Outcome::Done(_));
        let tenant = ticket.tenant();
        ticket.settled(settled.into());
        if matches!(outcome, Outcome::Forwarded) && settled == Settled::Acked {
            report::forwarded(&intake.echo, since.elapsed());
        }
        // What was archived is archived, even if its message comes once more; a retry or a death
        // whose delivery was lost meanwhile has not happened.
        if let Some(ended) = ended.filter(|_| done || settled == Settled::Acked) {
            let report = Report {
                intake: &intake,
                tenant,
                identifiers: &self.tools.identifiers,
                attempt,
                duration: since.elapsed(),
                again,
            };
            traced::ended(&report, outcome, ended, failure.as_ref());
            report.write(&self.tools, outcome, ended, failure.as_ref());
        }
        traces::close();
    }

    /// Says what came of a job, if that can be said soon.
    async fn say(&self, event: &Event) -> Result<(), Failure> {
        time::timeout(SAYING, self.tools.say(event)).await.unwrap_or_else(|_| {
            let detail = "the broker takes nothing that is published";
            Err(Failure::new(Class::Held, Reason::EVENT_REFUSED, detail))
        })
    }

    fn decide(&self, received: &Received, outcome: &Outcome, now: Timestamp) -> Conclusion {
        match outcome {
            Outcome::Stopped => self.stopped(received, now),
            Outcome::Done(done) => Conclusion::done(done),
            Outcome::NoPlace => {
                let failure = no_place(match received.intake.is_dump() {
                    true => "other dumps are expanded before it",
                    false => "its tenant has all in flight that it may have",
                });
                self.judge(received, failure, now)
            }
            Outcome::Paused => {
                let verdict = self.policy.sit_out(received.past(now), received.arrived(now));
                self.apply(received, verdict, no_place("its tenant is paused"), now)
            }
            Outcome::CutShort => {
                let failure = no_place("CC-FS did not answer while others wanted its place");
                self.judge(received, failure, now)
            }
            Outcome::Suspect(verdict) => {
                self.apply(received, verdict.clone(), Policy::crashed(verdict), now)
            }
            Outcome::NewSuspect => Conclusion::quiet(Disposition::Mark { at: now }),
            Outcome::Forwarded => Conclusion::quiet(Disposition::Forward { at: now }),
            Outcome::Failed(failure) => {
                let mut conclusion = self.judge(received, failure.clone(), now);
                // The items of a dump are out where its own event was refused: only that is left to do.
                // Where `recording.failed` was (`unsaid`), none is.
                if let Disposition::Retry { state, .. } = &mut conclusion.disposition
                    && received.intake.is_dump()
                    && is_of_events(&failure.reason)
                {
                    state.expanded = true;
                }
                conclusion
            }
        }
    }

    fn judge(&self, received: &Received, failure: Failure, now: Timestamp) -> Conclusion {
        let state = received.delivery.state();
        let known_at = received.intake.place.as_ref().map(|place| place.when.known_at);
        // A job that waits for a broker that takes nothing has done all that it could.
        let muted = failure.reason == Reason::JOB_DEADLINE && !self.tools.publisher.is_open();
        let events = &self.tools.events;
        let no_place = failure.reason == Reason::JOB_NO_PLACE && events.is_open();
        let unsaid = no_place || events.explains(&failure);
        let outage = muted || unsaid || received.intake.behind_open_breaker(&failure);
        let verdict = self
            .policy
            .judge(&failure, Try { state, known_at, outage, arrived: received.arrived(now), now });
        self.apply(received, verdict, failure, now)
    }

    /// What has not come to an end is given back. A suspect is parked: given back it would come
    /// again as from a crash.
    fn stopped(&self, received: &Received, now: Timestamp) -> Conclusion {
        if received.delivery.queue != QueueName::Suspect {
            return Conclusion::quiet(Disposition::GiveBack);
        }
        let failure = no_place("its worker was told to stop");
        let verdict = self.policy.park(received.past(now), now);
        self.apply(received, verdict, failure, now)
    }

    /// What a verdict means for the message.
    fn apply(
        &self,
        received: &Received,
        verdict: Verdict,
        failure: Failure,
        now: Timestamp,
    ) -> Conclusion {
        let (reason, detail) = (failure.reason.clone(), failure.detail.clone());
        let said = |attempts, event: fn(&event::Unarchived<'_>) -> Event| {
            Some(event(&event::Unarchived {
                echo: &received.intake.echo,
                place: received.intake.place.as_ref(),
                force: received.intake.force,
                body_sha256: &Sha256::digest(received.delivery.body()).into(),
                redrive: received.delivery.state().redrive.as_deref(),
                attempts,
                reason: &reason,
                detail: &detail,
                now,
                trace: traces::next().as_ref(),
            }))
        };
        let (outcome, event, disposition) = match verdict {
            Verdict::Again { delay, state } => {
                (JobOutcome::Retried, None, Disposition::Retry { delay, state, reason, detail })
            }
            Verdict::Absent { attempts } => {
                (JobOutcome::Absent, said(attempts, event::absent), Disposition::Ack)
            }
            Verdict::Dead { state } => {
                let event = said(state.attempts, event::failed);
                (JobOutcome::Dead, event, Disposition::Dead { state, reason, detail, at: now })
            }
        };
        Conclusion { outcome: Some(outcome), event, disposition, failure: Some(failure) }
    }

    /// The event could not be said. Where nobody listens, the dead queue keeps a dead message all
    /// the same; anything else comes to its end again, and does not grow old over it.
    fn unsaid(&self, received: &Received, conclusion: Conclusion, failure: Failure) -> Conclusion {
        let now = clock::now();
        match (&conclusion.disposition, failure.reason == Reason::EVENT_UNROUTABLE) {
            (Disposition::Dead { .. }, true) => {
                tracing::error!("no queue takes recording.failed; the dead queue has the message");
                conclusion
            }
            (_, true) => {
                let conclusion = self.judge(received, failure, now);
                Conclusion { event: None, ..conclusion }
            }
            (_, false) => {
                let verdict = self.policy.sit_out(received.past(now), received.arrived(now));
                self.apply(received, verdict, failure, now)
            }
        }
    }
}

fn is_of_events(reason: &Reason) -> bool {
    [Reason::EVENT_REFUSED, Reason::EVENT_UNROUTABLE].contains(reason)
}

fn no_place(detail: &str) -> Failure {
    Failure::new(Class::Held, Reason::JOB_NO_PLACE, detail)
}

impl Conclusion {
    /// Nothing has come to an end.
    fn quiet(disposition: Disposition) -> Self {
        Self { outcome: None, event: None, disposition, failure: None }
    }

    fn done(done: &Done) -> Self {
        let outcome = match done {
            Done::Archived(archived) if archived.already_there() => JobOutcome::AlreadyArchived,
            Done::Archived(_) => JobOutcome::Archived,
            Done::Expanded(_) => JobOutcome::Expanded,
        };
        Self { outcome: Some(outcome), event: None, disposition: Disposition::Ack, failure: None }
    }
}

impl From<Settled> for crate::metrics::Settled {
    fn from(settled: Settled) -> Self {
        match settled {
            Settled::Acked => Self::Acked,
            Settled::GivenBack => Self::GivenBack,
        }
    }
}
