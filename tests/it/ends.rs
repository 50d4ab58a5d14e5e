//! How a message ends or waits: what the dead queue, the retry queues and the events must say.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use lapin::types::ShortString;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::broker::client::Seen;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World};

/// The headers that a retried and a dead message have in common.
fn assert_past(world: &World, queue: &str, seen: &Seen, reason: &str, attempts: u32, step: u32) {
    let told = format!("{}{}", headers(seen), String::from_utf8_lossy(short(&seen.body)));
    let header = |name: &str| seen.header(name);
    assert_eq!(header("callvault-reason").as_deref(), Some(reason), "{told}");
    assert!(header("callvault-detail").is_some_and(|detail| !detail.is_empty()), "{told}");
    assert_eq!(header("callvault-attempts"), Some(attempts.to_string()), "{told}");
    assert_eq!(header("callvault-step"), Some(step.to_string()), "{told}");
    assert_eq!(header("callvault-crashes").as_deref(), Some("0"), "{told}");
    assert_eq!(header("callvault-queue"), Some(world.queue(queue)), "{told}");
    assert!(time(seen, "callvault-first-seen").is_some_and(|at| at <= now()), "{told}");
    assert_eq!(*seen.properties.delivery_mode(), Some(2), "{told}");
    assert!(seen.properties.message_id().is_some(), "{told}");
}

/// A message as the dead queue must hold it.
pub fn assert_dead(world: &World, seen: &Seen, reason: &str, attempts: u32, step: u32) {
    assert_dead_from(world, "jobs", seen, reason, attempts, step);
}

/// The same, of a message that was read on `queue`.
pub fn assert_dead_from(
    world: &World,
    queue: &str,
    seen: &Seen,
    reason: &str,
    attempts: u32,
    step: u32,
) {
    assert_past(world, queue, seen, reason, attempts, step);
    assert_eq!((seen.exchange.as_str(), &seen.routing_key), ("", &world.queue("dead")));
    let (first, dead) = (time(seen, "callvault-first-seen"), time(seen, "callvault-dead-at"));
    assert!(dead.is_some_and(|at| at <= now()) && dead >= first, "{}", headers(seen));
}

/// A message as the retry queue of `delay` must hold it.
pub fn assert_waiting(
    world: &World,
    seen: &Seen,
    delay: &str,
    reason: &str,
    attempts: u32,
    step: u32,
) {
    assert_past(world, "jobs", seen, reason, attempts, step);
    // The exchange of the delay; the key brings it back to where it came from.
    let exchange = world.queue(&format!("retry.{delay}"));
    assert_eq!((&seen.exchange, &seen.routing_key), (&exchange, &world.queue("jobs")));
    assert_eq!(seen.header("callvault-dead-at"), None);
}

/// `recording.failed` or `recording.absent`, of a tenant that can be told or not.
pub fn assert_unarchived(
    event: &Seen,
    event_type: &str,
    tenant: Option<&str>,
    reason: &str,
    attempts: u32,
) {
    let body = event.json();
    let told = format!("{body:#}");
    assert_eq!(event.routing_key, format!("{event_type}.{}", tenant.unwrap_or("unknown")));
    let properties = &event.properties;
    assert_eq!(properties.kind().as_ref().map(ShortString::as_str), Some(event_type), "{told}");
    let id = properties.message_id().as_ref().map(ShortString::as_str);
    assert_eq!((id, body["type"].as_str()), (body["id"].as_str(), Some(event_type)), "{told}");
    let content_type = properties.content_type().as_ref().map(ShortString::as_str);
    assert_eq!(content_type, Some("application/cloudevents+json"));
    assert_eq!(*properties.delivery_mode(), Some(2));
    let data = &body["data"];
    assert_eq!(data["tenant"].as_str(), tenant, "{told}");
    assert_eq!(data["attempts"], attempts, "{told}");
    assert_eq!(data["reason"]["code"], reason, "{told}");
    assert!(data["reason"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{told}");
    assert_eq!(data.get("objects"), None, "{told}");
}

/// Takes `count` messages out of our `queues` as they come, in whichever of them: a message that
/// went the wrong way shows as what it is, not as a wait in vain. With the queue each was in.
pub async fn collect(
    world: &World,
    worker: &Worker,
    queues: &[&str],
    count: usize,
) -> Vec<(String, Seen)> {
    let mut all = Vec::new();
    let deadline = Instant::now() + SOON;
    while all.len() < count {
        let before = all.len();
        for queue in queues {
            while let Some(seen) = world.rabbit.get(&world.queue(queue)).await {
                all.push(((*queue).to_owned(), seen));
            }
        }
        let calls = || all.iter().map(|(queue, seen)| (queue, call_of(seen))).collect::<Vec<_>>();
        assert!(Instant::now() < deadline, "only {:?}\n{}", calls(), worker.log());
        if all.len() == before {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    all
}

/// All headers as text, for looking for what must not be there.
pub fn headers(seen: &Seen) -> String {
    let headers = seen.properties.headers().clone().unwrap_or_default();
    let names = headers.inner().keys().map(ShortString::as_str);
    names.map(|name| format!("{name}: {}\n", seen.header(name).unwrap_or_default())).collect()
}

/// The callId of a message or an event.
pub fn call_of(seen: &Seen) -> String {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let call = body["callId"].as_str().or(body["data"]["callId"].as_str());
    call.unwrap_or_default().to_owned()
}

/// By callId.
pub fn by_call(seen: Vec<Seen>) -> BTreeMap<String, Seen> {
    seen.into_iter().map(|seen| (call_of(&seen), seen)).collect()
}

pub fn now() -> Timestamp {
    callvault::clock::now()
}

fn time(seen: &Seen, header: &str) -> Option<Timestamp> {
    seen.header(header)?.parse().ok()
}

fn short(body: &[u8]) -> &[u8] {
    &body[..body.len().min(500)]
}
