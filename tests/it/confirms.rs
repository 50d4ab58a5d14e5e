//! No early ack (promise 1): while the broker refuses what has to come first, the message stays its
//! own, and goes to the next worker with the one that dies.

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, call};

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
