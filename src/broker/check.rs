//! Whether the broker would let a worker work: login, topology, permissions.
//!
//! Nothing is taken from a queue and nothing is published that could reach one: permissions are
//! shown by requests that the broker refuses for another reason, once it has let them pass.

use std::time::Duration;

use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, ErrorKind};

use super::connection::{Fault, Link, rpc};
use super::dial::Dialer;
use super::topology::{Plan, Topology};
use crate::config;
use crate::finding::Finding;

/// What to change where the broker does not know us.
const WHO: &str = "correct user, password or virtual host of broker.url, or make them: \
                   `rabbitmqctl add_user`, `rabbitmqctl set_permissions`";
/// What to change where there is no broker.
const WHERE: &str = "check host and port of broker.url, that the broker runs, and broker.ca_file \
                     where it is amqps";

const TOPOLOGY: &str = "topology";
const CONSUME: &str = "may consume";
const PUBLISH: &str = "may publish";

/// Tries everything that `callvault run` needs of the broker; with `broker.declare` it declares
/// what is missing, as the worker does.
pub async fn check(settings: &config::Broker, delays: &[Duration]) -> Vec<Finding> {
    let dialer = Dialer::new(settings, "callvault check");
    let mut findings = Vec::new();
    let mut first = None;
    for url in &settings.urls {
        match dialer.dial(url, 0).await {
            Ok(link) => {
                let seen = format!("{} takes our user", link.place());
                findings.push(Finding::well("login", seen));
                first.get_or_insert(link);
            }
            Err(fault) => {
                let advice = if fault.is_refused_login() { WHO } else { WHERE };
                findings.push(Finding::failed("login", fault.to_string(), advice));
            }
        }
    }
    let Some(link) = first else {
        for check in [TOPOLOGY, CONSUME, PUBLISH] {
            findings.push(Finding::skipped(check, "without a login"));
        }
        return findings;
    };
    if link.blocked() {
        let seen = "the broker has an alarm and lets nobody publish";
        let advice = "look at `rabbitmqctl status`: memory or disk is short";
        findings.push(Finding::failed("alarm", seen, advice));
    }
    let plan = Plan::new(settings, delays);
    let consumed = [plan.names.jobs.clone(), plan.names.bulk.clone(), plan.names.suspect.clone()];
    let written = plan.exchanges_written_to();
    let topology = Topology::new(plan, settings.declare);
    let there = look(&topology, &link, &mut findings).await;
    if there {
        for queue in consumed {
            let seen = may_consume(&link, &queue).await;
            findings.push(permitted(CONSUME, seen, &format!("queue {queue}"), "read"));
        }
        for exchange in written {
            let what = match exchange.as_str() {
                "" => "the default exchange".to_owned(),
                name => format!("exchange {name}"),
            };
            let seen = may_publish(&link, &exchange).await;
            findings.push(permitted(PUBLISH, seen, &what, "write"));
        }
    } else {
        findings.push(Finding::skipped(CONSUME, "without the queues"));
        findings.push(Finding::skipped(PUBLISH, "without the exchanges"));
    }
    link.close().await;
    findings
}

/// Whether everything that is consumed and written to is there.
async fn look(topology: &Topology, link: &Link, findings: &mut Vec<Finding>) -> bool {
    let ensured = topology.ensure(link).await;
    if let Err(fault) = ensured {
        let advice = match topology.declares() {
            true => {
                "grant the user the permission to configure and bind what is named, or have \
                     it declared and set broker.declare = false"
            }
            // RabbitMQ 4.3 lets nobody look who may do nothing with it.
            false => {
                "run the commands, or set broker.declare = true; where access is refused, grant \
                     the user of broker.url a permission for what is named"
            }
        };
        findings.push(Finding::failed(TOPOLOGY, fault.to_string(), advice));
        return false;
    }
    let differing = topology.differing();
    if differing.is_empty() {
        findings.push(Finding::well(TOPOLOGY, "exchanges, queues and bindings are there"));
    }
    for seen in differing {
        let advice = "it is used as it is; delete it while it is empty to have it declared anew";
        findings.push(Finding::note(TOPOLOGY, seen, advice));
    }
    true
}

fn permitted(
    check: &'static str,
    answer: Result<(), Fault>,
    what: &str,
    permission: &str,
) -> Finding {
    match answer {
        Ok(()) => Finding::well(check, what),
        Err(fault) => {
            let advice = format!(
                "grant the user of broker.url the {permission} permission for {what} \
                 (`rabbitmqctl set_permissions`)"
            );
            Finding::failed(check, format!("{what}: {fault}"), advice)
        }
    }
}

/// RabbitMQ looks at the permission first, then at the arguments: this priority is no number.
async fn may_consume(link: &Link, queue: &str) -> Result<(), Fault> {
    let channel = link.try_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-priority".into(), AMQPValue::LongString("none".into()));
    let options = BasicConsumeOptions::default();
    let call = channel.basic_consume(queue.into(), "".into(), options, arguments);
    // Should a broker take it: closing the channel gives back what it sends.
    let answer = rpc("basic.consume", async { call.await.map(drop) }).await;
    judged(&channel, answer).await
}

/// The same with an expiration that is no number.
async fn may_publish(link: &Link, exchange: &str) -> Result<(), Fault> {
    let channel = link.try_channel().await?;
    rpc("confirm.select", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    let properties = BasicProperties::default().with_expiration("never".into());
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    // A key of events, for permissions by topic.
    let key = "recording.archived.callvault-check";
    let call = channel.basic_publish(exchange.into(), key.into(), options, b"", properties);
    let answer = rpc("basic.publish", async { call.await?.await.map(drop) }).await;
    judged(&channel, answer).await
}

/// Refused for its arguments: the permission is there.
async fn judged(channel: &Channel, answer: Result<(), Fault>) -> Result<(), Fault> {
    let fault = match answer {
        Ok(()) => {
            let _ = rpc("channel.close", channel.close(200, "done".into())).await;
            return Ok(());
        }
        Err(fault) => fault,
    };
    let refused = |kind: &ErrorKind| match kind {
        ErrorKind::ProtocolError(error) => {
            matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))
        }
        _ => false,
    };
    if fault.cause().is_some_and(|cause| refused(cause.kind())) { Ok(()) } else { Err(fault) }
}
