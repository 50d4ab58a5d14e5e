//! What a job that has ended leaves behind for people: its metrics and its one log line.

use std::borrow::Cow;
use std::error::Error as _;
use std::time::Duration;

use jiff::Timestamp;

use super::ended::{Archived, Done, Outcome};
use super::intake::{Intake, Work};
use super::tools::Tools;
use crate::board::Failed;
use crate::clock;
use crate::config::show_duration;
use crate::failure::{Class, Failure, Reason};
use crate::identifiers::Identifiers;
use crate::metrics::{BreakerTarget, JobOutcome, TenantLabel};
use crate::request::Echo;

/// One line a job: who it was for, how it ended, then what else there is to say. A macro, since
/// tracing wants level and names as constants.
macro_rules! line {
    ($level:ident, $message:literal, $report:ident, $ended:ident, $($more:tt)+) => {{
        let echo = &$report.intake.echo;
        tracing::$level!(
            tenant = echo.tenant.as_ref().map(display),
            call = echo.call_id.as_ref().map(|id| display($report.shown(id.as_str()))),
            file = echo.file_name.as_ref().map(|name| display($report.shown(name.as_str()))),
            request = echo.request_id.as_ref().map(display),
            attempt = $report.attempt,
            outcome = $ended.as_str(),
            $($more)+,
            ms = milliseconds($report.duration),
            $message
        )
    }};
}

/// One job that has ended.
pub struct Report<'a> {
    pub intake: &'a Intake,
    /// For whom it was received.
    pub tenant: TenantLabel,
    pub identifiers: &'a Identifiers,
    /// Tries that counted, this one included.
    pub attempt: u32,
    /// From delivery to settlement.
    pub duration: Duration,
    pub again: Option<Again>,
}

/// When and where a message that is retried comes again.
pub struct Again {
    pub after: Duration,
    /// Where it waits.
    pub queue: String,
}

impl Report<'_> {
    pub fn write(
        &self,
        tools: &Tools,
        outcome: &Outcome,
        ended: JobOutcome,
        failure: Option<&Failure>,
    ) {
        let tenant = self.tenant;
        tools.metrics.job_finished(tenant, ended, self.duration);
        self.note_credentials(tools, outcome, failure);
        if let Some(lack) = failure.filter(|failure| failure.reason == Reason::JOB_NO_RESOURCES) {
            tools.health.lacks(&lack.detail);
        }
        match (outcome, failure) {
            (Outcome::Done(Done::Archived(archived)), _) => {
                self.archived(tools, tenant, archived, ended);
            }
            (Outcome::Done(Done::Expanded(count)), _) => self.expanded(*count, ended),
            (_, Some(failure)) => self.failed(tools, tenant, failure, ended),
            (_, None) => {}
        }
    }

    /// Remembers for `/readyz` who refuses our credentials, until they are accepted again.
    fn note_credentials(&self, tools: &Tools, outcome: &Outcome, failure: Option<&Failure>) {
        let Work::Archive(job) = &self.intake.work else { return };
        // A key is its tenant's alone, other than a breaker.
        let ccfs = format!("ccfs:{}", job.tenant.id);
        let store = BreakerTarget::Store(&job.tenant.store.place()).to_string();
        if let Some(failure) = failure.filter(|failure| failure.class == Class::Refused) {
            let who = if failure.reason.ccfs_code().is_some() { &ccfs } else { &store };
            tools.health.refused(who, &failure.reason, &failure.detail);
        } else if let Outcome::Done(Done::Archived(archived)) = outcome {
            tools.health.accepted(&store);
            if archived.downloaded {
                tools.health.accepted(&ccfs);
            }
        } else if failure.is_some_and(|failure| failure.reason.is_result_code()) {
            tools.health.accepted(&ccfs);
        }
    }

    fn archived(&self, tools: &Tools, tenant: TenantLabel, archived: &Archived, ended: JobOutcome) {
        let objects = &archived.objects;
        let bytes = objects.iter().map(|object| object.size).sum();
        let new = objects.iter().filter(|object| !object.already_there);
        tools.metrics.stored(tenant, new.map(|object| object.size).sum());
        if !archived.already_there() {
            tools.metrics.recording_size(bytes);
        }
        if let Some(lag) = self.intake.echo.call_end.and_then(since) {
            tools.metrics.archive_lag(tenant, lag);
        }
        let (key, count) = (self.shown(archived.key()), objects.len());
        let key = &*key;
        let new = objects.iter().filter(|object| !object.already_there);
        let unproven: Vec<_> = new.filter_map(|object| object.unproven.as_ref()).collect();
        unproven.iter().for_each(|reason| tools.metrics.unproven(tenant, reason));
        match unproven.first() {
            None => line!(info, "archived", self, ended, key, objects = count, bytes),
            Some(reason) => {
                let unproven = reason.as_str();
                line!(warn, "archived", self, ended, key, objects = count, bytes, unproven);
            }
        }
    }

    fn expanded(&self, count: usize, ended: JobOutcome) {
        line!(info, "dump expanded", self, ended, count);
    }

    fn failed(&self, tools: &Tools, tenant: TenantLabel, failure: &Failure, ended: JobOutcome) {
        match ended {
            JobOutcome::Retried => tools.metrics.retried(tenant, &failure.reason),
            JobOutcome::Dead => tools.metrics.dead(tenant, &failure.reason),
            _ => {}
        }
        // Nothing was tried, and of a long backlog there are many a second.
        let waits = ended == JobOutcome::Retried && failure.reason == Reason::JOB_NO_PLACE;
        if !waits {
            tools.board.failures.add(self.shown_failure(failure, ended));
        }
        let again = self.again.as_ref();
        macro_rules! failed {
            ($level:ident) => {
                line!(
                    $level,
                    "not archived",
                    self,
                    ended,
                    reason = failure.reason.as_str(),
                    detail = failure.detail.as_str(),
                    again_in = again.map(|again| display(show_duration(again.after))),
                    waits_in = again.map(|again| display(&again.queue)),
                    cause = failure.source().map(display)
                )
            };
        }
        match (ended, failure.class) {
            _ if waits => failed!(debug),
            (JobOutcome::Dead, _) | (_, Class::Refused) => failed!(error),
            _ if failure.reason == Reason::JOB_NO_RESOURCES => failed!(error),
            (JobOutcome::Absent, _) | (_, Class::Failure | Class::Unavailable | Class::Held) => {
                failed!(warn);
            }
            _ => failed!(info),
        }
    }

    fn shown_failure(&self, failure: &Failure, ended: JobOutcome) -> Failed {
        let (tenant, call) = self.intake.named(self.identifiers);
        Failed {
            at: clock::now(),
            tenant,
            call,
            outcome: ended.as_str(),
            ended: ended != JobOutcome::Retried,
            reason: failure.reason.clone(),
            detail: failure.detail.clone(),
        }
    }

    /// A name of the call's as the log may have it.
    pub fn shown<'b>(&self, identifier: &'b str) -> Cow<'b, str> {
        self.identifiers.shown(self.intake.echo.tenant.as_ref(), identifier)
    }
}

/// A dump went to the bulk queue as it is: nothing has ended, so nothing is counted.
pub fn forwarded(echo: &Echo, took: Duration) {
    tracing::info!(
        tenant = echo.tenant.as_ref().map(display),
        request = echo.request_id.as_ref().map(display),
        ms = milliseconds(took),
        "dump request moved to the bulk queue"
    );
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The time since `instant`; `None` where a clock says that it has not come yet.
fn since(instant: Timestamp) -> Option<Duration> {
    clock::now().duration_since(instant).try_into().ok()
}
