//! Delivery → request: what a message asks for, of whom, and where it belongs. Pure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;

use super::ended::panicked;
use super::job::Job;
use super::policy;
use crate::board::Progress;
use crate::broker::{Delivery, QueueName};
use crate::failure::{Failure, Reason};
use crate::identifiers::Identifiers;
use crate::recording::{self, Place};
use crate::request::{
    self, CallId, Echo, FileName, Hints, Many, MessageType, RecordingRequest, Request,
};
use crate::worker::fairness::{Lane, Question};
use crate::worker::outages::{Gate, Party, Waits};
use crate::worker::roster::Tenants;
use crate::worker::tenant::Tenant;

/// A message that has been read.
pub struct Intake {
    pub message_type: MessageType,
    /// The slot of its tenant, where that is configured.
    pub tenant: Option<usize>,
    pub lane: Lane,
    /// What of it can be said in an event.
    pub echo: Echo,
    /// Where its recording belongs, where that can be told.
    pub place: Option<Place>,
    /// It asks to store again over what is there.
    pub force: bool,
    pub work: Work,
}

/// What there is to do.
pub enum Work {
    Archive(Box<Job>),
    /// A dump of more than one of this tenant, which is read when it is its turn.
    Expand(Arc<Tenant>),
    /// Such a dump on the live queue: it goes to the bulk queue as it is.
    Forward,
    /// It cannot be read, or can never succeed.
    Reject(Failure),
}

impl Intake {
    /// Reads a delivery. A message that makes the reader panic is a job that panicked: it must not
    /// end the worker, which would read it again.
    pub fn of(delivery: &Delivery, tenants: &Tenants, now: Timestamp) -> Self {
        let lane = match delivery.queue {
            QueueName::Jobs | QueueName::Suspect => Lane::Live,
            QueueName::Bulk => Lane::Bulk,
        };
        Self::guarded(lane, || Self::read(delivery, tenants, lane, now))
    }

    fn guarded(lane: Lane, read: impl FnOnce() -> Self) -> Self {
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Self {
            message_type: MessageType::Invalid,
            tenant: None,
            lane,
            echo: Echo::default(),
            place: None,
            force: false,
            work: Work::Reject(panicked()),
        })
    }

    fn read(delivery: &Delivery, tenants: &Tenants, lane: Lane, now: Timestamp) -> Self {
        let (body, hints) = (delivery.body(), hints(delivery));
        // What cannot be told by a look is parsed, which says all that is wrong with it.
        if let Some(many) = request::look(body, hints)
            && tenants.find(&many.tenant).is_ok()
        {
            return Self::dump(many, delivery, tenants, lane);
        }
        let request = match request::parse(body, hints, now) {
            Ok(Request::Recording(request)) => Ok(request),
            Ok(Request::Dump(dump)) => dump.into_single(),
            Err(rejected) => {
                let tenant = rejected.echo.tenant.as_ref().and_then(|id| tenants.slot_of(id));
                return Self {
                    message_type: rejected.message_type,
                    tenant,
                    lane,
                    echo: rejected.echo,
                    place: None,
                    force: false,
                    work: Work::Reject(refused(rejected.failure, delivery)),
                };
            }
        };
        match request {
            Ok(request) => Self::recording(request, delivery, tenants, lane, now),
            Err(dump) => Self::dump(dump.into(), delivery, tenants, lane),
        }
    }

    /// The question that its job puts to its tenant's CC-FS; `None` where nobody is asked.
    pub fn asks(&self) -> Option<(usize, &Question)> {
        match (&self.work, self.tenant) {
            (Work::Archive(job), Some(tenant)) => Some((tenant, &job.question)),
            _ => None,
        }
    }

    /// Whose it is and what, as the log may have it: a call by its id, else its file, a dump by its
    /// request.
    pub fn named(&self, identifiers: &Identifiers) -> (Option<String>, Option<String>) {
        let Echo { tenant, call_id, file_name, request_id, .. } = &self.echo;
        let call = call_id.as_ref().map(CallId::as_str);
        let call = call.or_else(|| file_name.as_ref().map(FileName::as_str));
        let call = call.map(|name| identifiers.shown(tenant.as_ref(), name).into_owned());
        let request = || request_id.as_ref().map(ToString::to_string);
        (tenant.as_ref().map(ToString::to_string), call.or_else(request))
    }

    pub fn is_dump(&self) -> bool {
        matches!(self.work, Work::Expand(_))
    }

    /// Who has kept a job waiting most.
    pub fn kept_waiting_by(&self) -> Option<Party> {
        let Work::Archive(job) = &self.work else { return None };
        Some(job.waits.most())
    }

    /// The gate of the server that has.
    pub fn gate_that_kept_it(&self) -> Option<&Gate> {
        let Work::Archive(job) = &self.work else { return None };
        match job.waits.most() {
            Party::Ccfs => Some(&job.tenant.ccfs_gate),
            Party::Store => Some(&job.tenant.store_gate),
            Party::Ours => None,
        }
    }

    /// Whether `failure` is that of an outage behind an open breaker, or comes of one.
    pub fn behind_open_breaker(&self, failure: &Failure) -> bool {
        let Work::Archive(job) = &self.work else { return false };
        let no_place = failure.reason == Reason::JOB_NO_PLACE;
        if failure.reason == Reason::JOB_DEADLINE {
            return self.gate_that_kept_it().is_some_and(|gate| gate.is_open());
        }
        let gates = [&job.tenant.ccfs_gate, &job.tenant.store_gate];
        gates.into_iter().any(|gate| gate.explains(failure) || no_place && gate.is_open())
    }

    fn recording(
        request: RecordingRequest,
        delivery: &Delivery,
        tenants: &Tenants,
        lane: Lane,
        now: Timestamp,
    ) -> Self {
        let tenant = tenants.slot_of(&request.tenant);
        let (message_type, echo) = (request.message_type, Echo::from(&request));
        let force = request.force;
        let located = tenants.find(&request.tenant).and_then(|tenant| {
            let place = recording::locate(&request.wanted, &tenant.zone, delivery.sent_at(), now)?;
            Ok((tenant, place))
        });
        let (place, work) = match located {
            Ok((tenant, place)) => {
                let seen_before = seen_before(delivery, message_type);
                let attempts = delivery.state().attempts.saturating_add(1);
                let (question, waits) = (Question::default(), Waits::default());
                let progress = Progress::default();
                let accepted = policy::accepted(delivery.state()).cloned();
                let job = Job {
                    tenant,
                    request,
                    place: place.clone(),
                    seen_before,
                    attempts,
                    accepted,
                    question,
                    waits,
                    progress,
                };
                (Some(place), Work::Archive(Box::new(job)))
            }
            // The only one of its dump.
            Err(failure) if message_type == MessageType::DumpRequested => {
                (None, Work::Reject(placed(0, failure)))
            }
            Err(failure) => (None, Work::Reject(failure)),
        };
        Self { message_type, tenant, lane, echo, place, force, work }
    }

    fn dump(many: Many, delivery: &Delivery, tenants: &Tenants, lane: Lane) -> Self {
        let work = match tenants.find(&many.tenant) {
            Ok(_) if delivery.queue == QueueName::Jobs => Work::Forward,
            Ok(tenant) => Work::Expand(tenant),
            Err(failure) => Work::Reject(failure),
        };
        Self {
            message_type: MessageType::DumpRequested,
            tenant: tenants.slot_of(&many.tenant),
            lane,
            echo: many.into(),
            place: None,
            force: false,
            work,
        }
    }
}

/// What the AMQP properties of a delivery tell.
pub fn hints(delivery: &Delivery) -> Hints<'_> {
    Hints { message_type: delivery.message_type(), content_type: delivery.content_type() }
}

/// Why a message cannot be read, with what of its AMQP properties may be the cause.
pub fn refused(mut failure: Failure, delivery: &Delivery) -> Failure {
    if !delivery.flaws().is_empty() {
        failure.detail += &format!("; of its AMQP properties: {}", delivery.flaws());
    }
    failure
}

/// What is wrong with a recording of a dump, with its place in it.
pub fn placed(index: usize, mut failure: Failure) -> Failure {
    if failure.reason == Reason::MESSAGE_INVALID {
        failure.detail = format!("recordings[{index}]: {}", failure.detail);
    }
    failure
}

/// Redelivered, retried and redriven messages and dumps may ask for what is already stored
/// (contract 3): by an earlier try, or by another message of the same call.
fn seen_before(delivery: &Delivery, message_type: MessageType) -> bool {
    let state = delivery.state();
    let again = delivery.redelivered || state.first_seen.is_some() || state.redrive.is_some();
    again || message_type != MessageType::CallCompleted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Class;

    #[test]
    fn a_message_that_makes_the_reader_panic_does_not_end_the_worker() {
        let intake = Intake::guarded(Lane::Bulk, || panic!("a fault of the reader"));
        let Work::Reject(failure) = intake.work else { panic!("there is nothing to do") };
        assert_eq!((failure.class, failure.reason), (Class::Failure, Reason::JOB_PANICKED));
        assert_eq!((intake.lane, intake.tenant), (Lane::Bulk, None));
    }
}
