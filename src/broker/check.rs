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
use super::door::Door;
use super::topology::{Differing, Grade, Plan, Topology};
use crate::config;
use crate::finding::Finding;

const LOGIN: &str = "login";
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
                findings.push(Finding::well(LOGIN, seen));
                first.get_or_insert(link);
            }
            Err(fault) => {
                let advice = fault.advice().unwrap_or("correct [broker]");
                findings.push(Finding::failed(LOGIN, fault.why(), advice));
            }
        }
        if let Some(door) = dialer.door(url).ok().filter(Door::is_plain) {
            findings.push(Finding::in_the_clear(
                &door.place(),
                "password and messages",
                settings.allow_plain,
                "use amqps:// in broker.url",
            ));
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
    let grant = link.door().grant(topology.names());
    let there = look(&topology, &link, &grant, &mut findings).await;
    if there {
        for queue in consumed {
            let seen = may_consume(&link, &queue).await;
            findings.push(permitted(CONSUME, seen, &format!("queue {queue}"), "read", &grant));
        }
        for exchange in written {
            let what = match exchange.as_str() {
                "" => "the default exchange".to_owned(),
                name => format!("exchange {name}"),
            };
            let seen = may_publish(&link, &exchange).await;
            findings.push(permitted(PUBLISH, seen, &what, "write", &grant));
        }
    } else {
        findings.push(Finding::skipped(CONSUME, "without the queues"));
        findings.push(Finding::skipped(PUBLISH, "without the exchanges"));
    }
    link.close().await;
    findings
}

/// Whether everything that is consumed and written to is there.
async fn look(topology: &Topology, link: &Link, grant: &str, findings: &mut Vec<Finding>) -> bool {
    let seen = topology.see(link).await;
    let differing = topology.differing();
    if let Err(fault) = &seen {
        let granting = format!(
            "let the user of broker.url configure and bind what is named (`{grant}`), or have it \
             declared and set broker.declare = false"
        );
        let advice = fault.advice().map_or(granting, str::to_owned);
        let finding = Finding::failed(TOPOLOGY, fault.why(), advice);
        findings.push(finding.running(fault.commands().to_vec()));
    } else if differing.is_empty() {
        findings.push(Finding::well(TOPOLOGY, "exchanges, queues and bindings are there"));
    }
    for Differing { grade, seen, advice, .. } in differing {
        findings.push(match grade {
            Grade::Bends => Finding::note(TOPOLOGY, seen, advice),
            Grade::Loses | Grade::Unusable => Finding::failed(TOPOLOGY, seen, advice),
        });
    }
    seen.is_ok()
}

fn permitted(
    check: &'static str,
    answer: Result<(), Fault>,
    what: &str,
    permission: &str,
    grant: &str,
) -> Finding {
    match answer {
        Ok(()) => Finding::well(check, what),
        Err(fault) => {
            let advice = format!(
                "grant the user of broker.url the {permission} permission for {what}: `{grant}`"
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
