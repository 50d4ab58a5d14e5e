//! What a trace tells of a job: its own span, and those of its wait, its event and its settlement.
//!
//! Names are those of OpenTelemetry's conventions for messaging, where it has any; ours begin with
//! `callvault.`. Nothing is told that the log may not tell: of a message's AMQP properties, which
//! are its sender's, nothing is.

use super::ended::{Archived, Done, Outcome};
use super::received::Received;
use super::report::Report;
use crate::broker::{Delivery, Disposition, Settled};
use crate::event::Event;
use crate::failure::{Class, Failure};
use crate::identifiers::Identifiers;
use crate::metrics::JobOutcome;
use crate::traces::{self, Kind, Span};

const SYSTEM: (&str, &str) = ("messaging.system", "rabbitmq");
const OPERATION: &str = "messaging.operation.name";
const OPERATION_TYPE: &str = "messaging.operation.type";
const DESTINATION: &str = "messaging.destination.name";
const BODY_SIZE: &str = "messaging.message.body.size";

/// One try of a message, from its arrival to its settlement.
pub fn attempt(received: &Received, identifiers: &Identifiers) -> Span {
    let Received { delivery, intake, .. } = received;
    let queue = delivery.queue_name();
    let span = Span::of_message(delivery.trace(), received.since, || format!("process {queue}"));
    span.tell(|record| {
        record.set(SYSTEM.0, SYSTEM.1).set(OPERATION, "process").set(OPERATION_TYPE, "process");
        record.set(DESTINATION, queue.to_owned()).set(BODY_SIZE, delivery.body().len());
        record.set("callvault.message.type", intake.message_type.as_str());
        let echo = &intake.echo;
        let shown = |name: &str| identifiers.shown(echo.tenant.as_ref(), name).into_owned();
        if let Some(tenant) = &echo.tenant {
            record.set("callvault.tenant", tenant.to_string());
        }
        if let Some(call) = &echo.call_id {
            record.set("callvault.call", shown(call.as_str()));
        }
        if let Some(file) = &echo.file_name {
            record.set("callvault.file", shown(file.as_str()));
        }
        if let Some(request) = &echo.request_id {
            record.set("callvault.request", request.to_string());
        }
        record.set("callvault.attempt", delivery.state().attempts.saturating_add(1));
        record.set("callvault.redelivered", delivery.redelivered);
    });
    span
}

/// A message that is sent away before any work: its trace is handed on.
pub fn no_attempt(received: &Received) -> Span {
    Span::handed_on(received.delivery.trace())
}

/// It has waited for its place until now.
pub fn waited(received: &Received) {
    Span::child_since(received.since, Kind::Internal, || "wait".into()).close();
}

/// An event on its way to `exchange`.
pub fn publishing(event: &Event, exchange: &str) -> Span {
    let name = || format!("publish {exchange}").into();
    let span = Span::announced(event.trace.as_ref(), Kind::Producer, name);
    span.tell(|record| {
        record.set(SYSTEM.0, SYSTEM.1).set(OPERATION, "publish").set(OPERATION_TYPE, "send");
        record.set(DESTINATION, format!("{exchange}:{}", event.routing_key));
        record.set("messaging.rabbitmq.destination.routing_key", event.routing_key.clone());
        record.set("messaging.message.id", event.id.clone());
        record.set(BODY_SIZE, event.body.len());
    });
    span
}

/// Settles a delivery, with the copy of it that is published before.
pub async fn settle(delivery: Delivery, disposition: Disposition) -> Settled {
    let span = Span::child(Kind::Client, || format!("settle {}", delivery.queue_name()).into());
    span.tell(|record| {
        let (operation, goes) = match &disposition {
            Disposition::Ack => ("ack", None),
            Disposition::GiveBack => ("nack", None),
            Disposition::Retry { .. } => ("ack", Some("retry")),
            Disposition::Dead { .. } => ("ack", Some("dead")),
            Disposition::Forward { .. } => ("ack", Some("bulk")),
            Disposition::Mark { .. } => ("ack", Some("suspect")),
        };
        record.set(SYSTEM.0, SYSTEM.1).set(OPERATION, operation).set(OPERATION_TYPE, "settle");
        record.set(DESTINATION, delivery.queue_name().to_owned());
        if let Some(goes) = goes {
            record.set("callvault.moved_to", goes);
        }
    });
    let settled = span.during(delivery.settle(disposition)).await;
    span.close();
    settled
}

/// How the try ended that this is a part of.
pub fn ended(report: &Report<'_>, outcome: &Outcome, ended: JobOutcome, failure: Option<&Failure>) {
    traces::tell(|record| {
        record.set("callvault.outcome", ended.as_str());
        if let Outcome::Done(Done::Archived(archived)) = outcome {
            let Archived { objects, .. } = archived;
            record.set("callvault.key", report.shown(archived.key()).into_owned());
            record.set("callvault.objects", objects.len());
            record.set("callvault.bytes", objects.iter().map(|object| object.size).sum::<u64>());
        }
        let Some(failure) = failure else { return };
        let reason = failure.reason.as_str().to_owned();
        // What only waits for its time, or for others, has not failed.
        let waits = matches!(failure.class, Class::NotReady | Class::Held);
        if waits && ended == JobOutcome::Retried {
            record.set("callvault.reason", reason);
        } else {
            record.set("callvault.reason", reason.clone());
            record.fail(reason, failure.detail.as_str());
        }
    });
}
