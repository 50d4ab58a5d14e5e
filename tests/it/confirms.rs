//! No early ack (promise 1): at each `basic.ack` what has to come first is durable, and while the
//! broker refuses that, the message stays its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::broker::node;
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::s3::S3;
use crate::support::wire::{Acked, Published, Wire};
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, call};

/// Where what comes before an ack can be seen.
#[derive(Clone)]
struct Sight {
    events: String,
    dead: String,
    s3: S3,
    bucket: String,
}

impl Sight {
    /// Whether the message may be acknowledged: what it asked for is confirmed, and what is
    /// announced is there.
    async fn durable(&self, acked: &Acked) -> bool {
        let own = &acked.delivered.letter.body;
        let json = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap_or_default();
        let call = &json(own)["callId"];
        let is_event = |sent: &Published| sent.letter.exchange == self.events;
        let copy = acked.confirmed(|sent| !is_event(sent) && sent.letter.body == *own);
        let event = acked
            .confirmed(|sent| is_event(sent) && json(&sent.letter.body)["data"]["callId"] == *call);
        let event = event.map(|event| json(&event.letter.body)).unwrap_or_default();
        let key = event["data"]["objects"][0]["key"].as_str().unwrap_or_default();
        match (event["type"].as_str(), copy) {
            (Some("recording.archived"), None) => self.s3.object(&self.bucket, key).await.is_some(),
            (Some("recording.absent"), None) => true,
            (Some("recording.failed"), Some(copy)) => copy.letter.routing_key == self.dead,
            (None, Some(copy)) => copy.letter.routing_key != self.dead,
            _ => false,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_each_ack_what_comes_first_is_durable() {
    let world = World::new().await;
    let wire = Wire::to(([127, 0, 0, 1], node().await.amqp_port()).into()).await;
    let acks = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&acks);
    let sight = Sight {
        events: world.events_exchange.clone(),
        dead: world.queue("dead"),
        s3: world.store.s3().clone(),
        bucket: world.bucket.clone(),
    };
    wire.on_ack(move |acked| {
        let (seen, sight) = (Arc::clone(&seen), sight.clone());
        async move {
            let durable = sight.durable(&acked).await;
            let body = String::from_utf8_lossy(&acked.delivered.letter.body).into_owned();
            seen.lock().unwrap().push((durable, body));
        }
    });
    // The first to come are the last to end.
    for n in 0..12 {
        let slow = Reply::wav(64 << 10).after(Duration::from_millis(1500 - 100 * n));
        world.ccfs.script(&format!("1777093663-{n}"), [slow]);
    }
    world.ccfs.script("1777093663-retried", [Reply::code("0399999")]);
    world.ccfs.script("1777093663-dead", [Reply::code("0300004")]);
    world.ccfs.script("1777093663-absent", [Reply::code("0300011")]);
    let amqp = format!("amqp://guest:guest@{}/%2f", wire.address());
    let keys = [("retry", "delays = [\"1h\"]"), ("worker", "concurrency = 32")];
    let config = world.config_at(&amqp, &world.ccfs.url(), world.store.s3().endpoint(), &keys);
    let worker = Worker::start(&config).ready().await;
    for n in 0..12 {
        world.call(&format!("1777093663-{n}")).await;
    }
    for other in ["retried", "dead", "absent"] {
        world.call(&format!("1777093663-{other}")).await;
    }

    let all = || async { (acks.lock().unwrap().len() >= 15).then_some(()) };
    eventually("all are acknowledged", SOON, all).await;
    for (durable, message) in acks.lock().unwrap().iter() {
        assert!(durable, "acknowledged early: {message}");
    }
    world.settled(&worker).await;
    assert_eq!(acks.lock().unwrap().len(), 15, "once each");
    worker.stop().await;
}

/// Waits until the broker has refused a publish, or the worker believes that all is well.
async fn refused_or_acked(worker: &Worker) {
    eventually("a publish was refused", SOON, || async {
        let acked = worker.metric("callvault_messages_settled_total", &["how=\"acked\""]).await;
        (acked > 0.0 || worker.log().contains("the queue refuses it")).then_some(())
    })
    .await;
}

/// With `full` filled, `message` is given to a worker that dies, and to another one when there is
/// room again; what that one puts into `full`.
async fn into_a_full_queue(world: &World, full: &str, message: &Value) -> Value {
    let mut first = world.worker(&[]).await;
    world.publish(message).await;
    refused_or_acked(&first).await;
    first.kill();
    world.rabbit.until_ready(&world.queue("jobs"), 1).await;

    world.rabbit.purge(full).await;
    let second = world.worker(&[]).await;
    let taken = world.rabbit.take(full).await.json();
    world.settled(&second).await;
    second.stop().await;
    taken
}

#[tokio::test]
async fn a_message_whose_event_is_refused_is_not_acknowledged() {
    let world = World::new().await;
    let full = world.queue("full");
    world.rabbit.declare_for_one(&full).await;
    world.rabbit.bind(&full, &world.events_exchange, "recording.archived.#").await;
    world.rabbit.send(&full, "{}").await;

    let event = into_a_full_queue(&world, &full, &call("1777093663-1")).await;
    assert_eq!(event["subject"], "acme/1777093663-1");
    assert_eq!(event["data"]["alreadyArchived"], true, "the first one had stored it");
}

#[tokio::test]
async fn a_message_whose_copy_is_refused_is_not_acknowledged() {
    let world = World::new().await;
    // A queue that is there is used as it is.
    let full = world.queue("dead");
    world.rabbit.declare_for_one(&full).await;
    world.rabbit.send(&full, "{}").await;

    let bad = json!({ "type": "call.completed", "tenant": "acme", "metadata": { "n": "1" } });
    assert_eq!(into_a_full_queue(&world, &full, &bad).await, bad, "as it came");
}

#[tokio::test]
async fn a_dead_message_whose_event_is_refused_is_not_acknowledged() {
    let world = World::new().await;
    let full = world.queue("full");
    world.rabbit.declare_for_one(&full).await;
    world.rabbit.bind(&full, &world.events_exchange, "recording.failed.#").await;
    world.rabbit.send(&full, "{}").await;

    let bad = json!({ "type": "call.completed", "tenant": "acme" });
    let event = into_a_full_queue(&world, &full, &bad).await;
    assert_eq!(event["data"]["reason"]["code"], "message.invalid");
    assert_eq!(world.depth("dead").await, 1);
}
