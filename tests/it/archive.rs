//! The main path: a call ends, and its recording is in the bucket.

use serde_json::json;

use crate::support::ccfs::{Framing, Reply};
use crate::support::world::{World, call};

#[tokio::test]
async fn a_call_that_ended_is_archived_announced_and_acknowledged() {
    let world = World::new().await;
    let id = "1777093663-792075";
    world.ccfs.script_for("ak-acme", id, [Reply::wav(64 * 1024)]);
    let worker = world.worker(&[]).await;

    let mut message = call(id);
    message["metadata"] = json!({ "agentId": "512" });
    world.publish(&message).await;
    let event = world.event().await;

    let content = world.ccfs.expected(id);
    let key = "acme/2026/04/25/1777093663-792075.wav";
    assert_eq!(event.routing_key, "recording.archived.acme");
    let body = event.json();
    assert_eq!(body["data"]["objects"][0]["key"], key);
    assert_eq!(body["data"]["objects"][0]["sha256"], content.sha256());
    assert_eq!(body["data"]["metadata"]["agentId"], "512");
    let object = world.store.s3().object(&world.bucket, key).await.expect("it is stored");
    assert_eq!(object.body, content.to_vec());
    assert_eq!(object.metadata["sha256"], content.sha256());
    assert_eq!(object.metadata["call-id"], id);
    assert_eq!(object.metadata["tenant"], "acme");
    world.settled(&worker).await;
    assert_eq!(worker.metric("callvault_messages_settled_total", &["how=\"acked\""]).await, 1.0);
    let log = worker.stop().await;
    assert!(log.contains("\"outcome\":\"archived\""), "{log}");
}

#[tokio::test]
async fn twenty_mebibytes_go_up_in_parts() {
    let world = World::new().await;
    let id = "1777093664-1";
    world.ccfs.script_for("ak-acme", id, [Reply::wav(20 << 20).framing(Framing::Chunked)]);
    let worker = world.worker(&[("worker", "memory = \"16MiB\"")]).await;

    world.call(id).await;
    let event = world.event().await.json();

    let content = world.ccfs.expected(id);
    assert_eq!(event["type"], "recording.archived");
    let object = &event["data"]["objects"][0];
    assert_eq!(object["size"], content.length());
    assert_eq!(object["sha256"], content.sha256());
    let key = object["key"].as_str().unwrap();
    let stored = world.store.s3().object(&world.bucket, key).await.expect("it is stored");
    assert!(stored.body == content.to_vec(), "the bytes that CC-FS sent");
    worker.stop().await;
}

#[tokio::test]
async fn the_cc_id_in_a_key_is_the_one_asked_with() {
    let world = World::new().await;
    let worker = world.worker(&[("store", "key = \"{tenant}/{cc_id}/{yyyy}/{name}.{ext}\"")]).await;

    let mut message = call("1777093663-3");
    message["ccId"] = json!("7/a");
    world.publish(&message).await;
    let event = world.event().await.json();

    let key = "acme/7%2Fa/2026/1777093663-3.wav";
    assert_eq!(event["data"]["ccId"], "7/a");
    assert_eq!(event["data"]["objects"][0]["key"], key);

    // The same call of another call centre is another recording, and so is its event.
    message["ccId"] = json!("8");
    world.publish(&message).await;
    let other = world.event().await.json();
    assert_eq!(other["data"]["alreadyArchived"], false);
    assert_ne!(other["id"], event["id"]);
    worker.stop().await;
}

#[tokio::test]
async fn what_another_message_has_archived_meanwhile_is_never_absent() {
    let world = World::new().await;
    let none = || Reply::code("0300012");
    // Both find nothing, one of them finds it, and after that CC-FS has it no more.
    world.ccfs.script("1777093663-1", [none(), none(), Reply::wav(640), none()]);
    let retry = "delays = [\"100ms\", \"200ms\"]\nnot_ready_window = \"1m\"";
    let worker = world.worker(&[("retry", retry)]).await;
    let mut message = call("1777093663-1");
    message["callEnd"] = callvault::clock::now().to_string().into();
    world.publish(&message).await;
    world.publish(&message).await;
    let events = [world.event().await.json(), world.event().await.json()];
    for event in &events {
        assert_eq!(event["type"], "recording.archived", "{event}");
    }
    assert_eq!(events.map(|event| event["data"]["alreadyArchived"] == true), [false, true]);
    worker.stop().await;
}
