//! What comes in (contract 2): every bad message is dead at once with its reason and says nothing
//! private, the queue moves on; every good form is understood.

mod bad;
mod good;
mod told;

use std::collections::BTreeSet;

use lapin::BasicProperties;
use lapin::types::ShortString;
use serde_json::{Value, json};

use self::bad::Bad;
use crate::ends::{assert_dead_from, assert_unarchived, headers};
use crate::support::broker::client::{Seen, table};
use crate::support::worker::{self, Options, Worker};
use crate::support::world::{World, call};

/// A caller's number, in every value that must not get out.
const PHONE: &str = "8613800138000";
const SECRET_PATH: &str = "X:/4/0/hush";
/// Says nothing of its day.
const TIMELESS: &str = "A-0815";

/// A message in a CloudEvents envelope.
fn enveloped(data: &Value) -> Value {
    json!({ "specversion": "1.0", "type": "call.completed", "source": "pbx", "id": "7",
            "data": data })
}

#[tokio::test]
async fn every_bad_message_is_dead_at_once_and_the_queue_moves_on() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let bad = bad::all();
    let names: BTreeSet<_> = bad.iter().map(|bad| bad.name).collect();
    assert_eq!(names.len(), bad.len(), "each name once");

    for bad in &bad {
        world.publish_raw("call.completed", &bad.body, bad.properties.clone()).await;
        let event = world.event().await;
        let dead = world.take("dead").await;
        assert_bad(&world, bad, &event, &dead);
    }
    let good = "1777093664-1";
    world.call(good).await;
    assert_eq!(world.event().await.json()["data"]["callId"], good, "the queue moves on");

    world.settled(&worker).await;
    let metrics = worker.get("/metrics").await.1;
    assert_counted(&worker, &bad).await;
    assert_eq!(world.ccfs.requests().len(), 1, "nothing was asked for a bad message");
    assert_eq!(world.rabbit.ready(&world.events).await, 0, "one event each");
    for queue in ["jobs", "bulk", "dead"] {
        assert_eq!(world.depth(queue).await, 0, "nothing is left in {queue}");
    }
    let log = worker.stop().await;
    for private in [PHONE, SECRET_PATH] {
        assert!(!metrics.contains(private), "{metrics}");
        let lines = log.lines().filter(|line| line.contains(private)).collect::<Vec<_>>();
        assert_eq!(lines, [""; 0], "the log tells {private}");
    }
}

fn assert_bad(world: &World, bad: &Bad, event: &Seen, dead: &Seen) {
    let name = bad.name;
    println!("{name}");
    assert_dead_from(world, bad.queue, dead, bad.reason, 1, 0);
    let detail = dead.header("callvault-detail").unwrap_or_default();
    assert!(detail.contains(bad.detail), "{name}: {detail}");
    assert!(dead.body == bad.body, "{name}: the body is as it was");
    assert_same_properties(name, &bad.properties, &dead.properties);

    assert_unarchived(event, "recording.failed", bad.tenant, bad.reason, 1);
    let mut said = event.json();
    assert_eq!(said["data"]["reason"]["message"], detail, "{name}");
    said["data"].as_object_mut().expect("an object").remove("metadata");
    let headers = headers(dead);
    for private in [PHONE, SECRET_PATH] {
        assert!(!said.to_string().contains(private), "{name}: {said:#}");
        assert!(!headers.contains(private), "{name}: {headers}");
    }
}

/// All is as the sender wrote it, but our headers and what the broker counts.
fn assert_same_properties(name: &str, sent: &BasicProperties, dead: &BasicProperties) {
    let own = |properties: &BasicProperties| {
        let headers = properties.headers().clone().unwrap_or_default();
        let mut kept = table([]);
        for (key, value) in headers.inner() {
            let name = key.as_str();
            if !name.starts_with("callvault-") && name != "x-delivery-count" {
                kept.insert(key.clone(), value.clone());
            }
        }
        properties.clone().with_headers(kept).with_delivery_mode(2)
    };
    assert_eq!(own(dead), own(sent), "{name}");
}

/// The metrics tell what was published here, and no message more.
async fn assert_counted(worker: &Worker, bad: &[Bad]) {
    let count = |which: &dyn Fn(&Bad) -> bool| bad.iter().filter(|bad| which(bad)).count() as f64;
    for kind in ["call.completed", "recording.dump-requested", "recording.dump-item", "invalid"] {
        let labels = [&*format!("type=\"{kind}\"")];
        let received = worker.metric("callvault_messages_received_total", &labels).await;
        let good = f64::from(u8::from(kind == "call.completed"));
        let moved = count(&|bad| bad.counted == kind && bad.is_moved());
        assert_eq!(received, count(&|bad| bad.counted == kind) + moved + good, "{kind}");
    }
    for tenant in ["acme", "unknown"] {
        let of = format!("tenant=\"{tenant}\"");
        let reasons = ["message.invalid", "message.no_date", "message.too_large", "tenant.unknown"];
        for reason in reasons {
            let labels = [&*of, &*format!("reason=\"{reason}\"")];
            let dead = worker.metric("callvault_dead_total", &labels).await;
            let expected = count(&|bad| bad.label() == tenant && bad.reason == reason);
            assert_eq!(dead, expected, "{labels:?}");
        }
        let labels = [&*of, "outcome=\"dead\""];
        let dead = worker.metric("callvault_jobs_total", &labels).await;
        assert_eq!(dead, count(&|bad| bad.label() == tenant), "{labels:?}");
    }
    let acked = worker.metric("callvault_messages_settled_total", &["how=\"acked\""]).await;
    assert_eq!(acked, bad.len() as f64 + count(&Bad::is_moved) + 1.0);
    assert_eq!(worker.metric("callvault_retries_total", &[]).await, 0.0);
    assert_eq!(worker.metric("callvault_dead_total", &[]).await, bad.len() as f64);
}

#[tokio::test]
async fn metadata_of_a_bad_message_goes_to_its_event_alone() {
    let world = World::new().await;
    let config = world.config(&[]);
    let environment = [("CALLVAULT__LOG__LEVEL", "trace")];
    let binary = worker::binary();
    let options = Options { config: &config, environment: &environment, binary: &binary };
    let worker = Worker::start_with(&options).ready().await;
    let mut message = call("1777093663-1");
    message["metadata"] = json!({ "caller": PHONE });
    message["callEnd"] = json!("soon");

    world.publish(&message).await;

    let event = world.event().await;
    assert_unarchived(&event, "recording.failed", Some("acme"), "message.invalid", 1);
    let event = event.json();
    assert_eq!(event["subject"], "acme/1777093663-1");
    assert_eq!(event["data"]["metadata"], json!({ "caller": PHONE }));
    let dead = world.take("dead").await;
    assert!(!headers(&dead).contains(PHONE));
    assert!(!worker.get("/metrics").await.1.contains(PHONE));
    let log = worker.stop().await;
    // Libraries write bytes as numbers.
    let numbers = PHONE.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    assert!(!log.contains(PHONE) && !log.contains(&numbers), "{log}");
}

#[tokio::test]
async fn every_good_form_is_understood() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let good = good::all();
    // In the order of the events, which is that of the call ids.
    let id = |number: usize| format!("1777093664-{number:02}");

    for (number, good) in good.iter().enumerate() {
        let body = good.body(&id(number));
        world.publish_raw("call.completed", &body, good.properties.clone()).await;
    }
    let events = world.events(good.len()).await;

    for (number, (good, event)) in good.iter().zip(events).enumerate() {
        let told = format!("{}: {event:#}", good.name);
        assert_eq!(event["type"], "recording.archived", "{told}");
        let data = &event["data"];
        assert_eq!(data["objects"][0]["key"], good.key(&id(number)), "{told}");
        assert_eq!(data["callEnd"].as_str(), good.call_end, "{told}");
        assert_eq!((&data["ccId"], &data["attempts"]), (&json!("1"), &json!(1)), "{told}");
        assert_eq!(data.get("metadata"), None, "{told}");
    }
    world.settled(&worker).await;
    let labels = ["type=\"call.completed\""];
    let received = worker.metric("callvault_messages_received_total", &labels).await;
    assert_eq!(received, good.len() as f64);
    worker.stop().await;
}

#[tokio::test]
async fn the_broker_s_timestamp_dates_what_nothing_else_does() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let mut message = call(TIMELESS);
    message["callEnd"] = Value::Null;
    let body = message.to_string();
    // 2026-04-25T05:07:43Z, and a day later as many clients write it, in milliseconds.
    let sent = [(1_777_093_663, "25"), (1_777_180_063_000, "26")];
    for (timestamp, day) in sent {
        let properties = BasicProperties::default().with_timestamp(timestamp);
        world.publish_raw("call.completed", body.as_bytes(), properties).await;
        let event = world.event().await.json();
        let key = format!("acme/2026/04/{day}/A-0815.wav");
        assert_eq!(event["data"]["objects"][0]["key"], key, "{event}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn four_mebibytes_are_not_too_many() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let mut body = call("1777093665-1").to_string().into_bytes();
    body.resize(4 << 20, b' ');

    world.publish_raw("call.completed", &body, BasicProperties::default()).await;

    assert_eq!(world.event().await.json()["type"], "recording.archived");
    worker.stop().await;
}

#[tokio::test]
async fn a_dump_of_one_is_done_in_place() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let message = json!({ "type": "recording.dump-requested", "tenant": "acme",
                          "requestId": "r".repeat(128), "recordings": [
                              { "callId": "1777093666-1", "metadata": { "agentId": "512" } }] });

    world.publish(&message).await;

    let event = world.event().await;
    assert_eq!(event.routing_key, "recording.archived.acme");
    let kind = event.properties.kind().as_ref().map(ShortString::as_str);
    assert_eq!(kind, Some("recording.archived"));
    let data = &event.json()["data"];
    assert_eq!(data["requestId"], "r".repeat(128));
    assert_eq!(data["metadata"]["agentId"], "512");
    assert_eq!(data["objects"][0]["key"], "acme/2026/04/25/1777093666-1.wav");
    worker.stop().await;
}
