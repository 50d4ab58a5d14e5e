//! What becomes of messages, and what is published.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use callvault::broker::{Disposition, PublishError, QueueName, Settled, State};
use callvault::config::{self, Secret};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};

use super::{LIMIT, Rig, dead, event, retry, settings};
use crate::support::broker::client::{table, text};
use crate::support::broker::node;
use crate::support::eventually;
use crate::support::link::{Link, Weather};

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_message_comes_back_to_its_queue_with_its_state_and_without_harm() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    let stray = client.capture("amq.topic", "nowhere").await;
    let headers =
        table([("trace", text("t-1")), ("CC", AMQPValue::FieldArray(vec![text(&stray)].into()))]);
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_user_id("guest".into())
        .with_expiration("60000".into())
        .with_type("call.completed".into())
        .with_content_type("application/json".into())
        .with_correlation_id("c-1".into())
        .with_timestamp(1_777_093_663);
    client.publish("", &rig.queue("bulk"), b"body", properties).await;
    client.take(&stray).await;

    let first = rig.next().await;
    assert_eq!((first.queue, first.redelivered), (QueueName::Bulk, false));
    assert_eq!(first.sent_at().map(|at| at.as_second()), Some(1_777_093_663));
    let seen = "2026-04-24T00:00:00Z".parse().expect("a time");
    let state = State { attempts: 1, step: 2, first_seen: Some(seen), ..first.state().clone() };
    assert_eq!(first.settle(retry(state.clone())).await, Settled::Acked);

    let second = rig.next().await;
    assert_eq!((second.queue, second.body()), (QueueName::Bulk, &b"body"[..]));
    assert_eq!(second.message_type(), Some("call.completed"));
    assert_eq!(second.content_type(), Some("application/json"));
    assert_eq!(second.state(), &state);
    assert_eq!(second.settle(dead(state)).await, Settled::Acked);

    let corpse = client.take(&rig.queue("dead")).await;
    assert_eq!(corpse.body, b"body");
    assert_eq!(corpse.header("trace").as_deref(), Some("t-1"));
    assert_eq!(corpse.header("callvault-attempts").as_deref(), Some("1"));
    assert_eq!(corpse.header("callvault-reason").as_deref(), Some("message.invalid"));
    assert_eq!(corpse.header("callvault-detail").as_deref(), Some("broken"));
    assert_eq!(corpse.header("callvault-queue"), Some(rig.queue("bulk")));
    assert_eq!(corpse.header("callvault-dead-at").as_deref(), Some("2026-04-25T05:12:44Z"));
    for gone in ["CC", "x-death", "x-first-death-queue", "x-first-death-reason"] {
        assert_eq!(corpse.header(gone), None, "{gone}");
    }
    let properties = &corpse.properties;
    assert_eq!((properties.user_id(), properties.expiration()), (&None, &None));
    assert_eq!(properties.delivery_mode(), &Some(2));
    assert_eq!(properties.timestamp(), &Some(1_777_093_663));
    assert!(properties.correlation_id().as_ref().is_some_and(|id| id.as_str() == "c-1"));
    assert!(properties.message_id().is_some(), "two copies could not be told to be one");
    assert!(client.get(&stray).await.is_none(), "a copy went along its CC");
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_one_message_have_one_id() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    for _ in 0..2 {
        client.send(&rig.queue("jobs"), "the same").await;
    }
    client.send(&rig.queue("jobs"), "another").await;
    for _ in 0..3 {
        let delivery = rig.next().await;
        let state = delivery.state().clone();
        assert_eq!(delivery.settle(dead(state)).await, Settled::Acked);
    }
    let corpses = client.take_many(&rig.queue("dead"), 3).await;
    let id = |at: usize| corpses[at].properties.message_id().clone();
    assert_eq!(id(0), id(1));
    assert_ne!(id(0), id(2));
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_or_dropped_is_delivered_again() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    client.send(&rig.queue("jobs"), "a").await;
    let first = rig.next().await;
    assert_eq!(first.settle(Disposition::GiveBack).await, Settled::GivenBack);
    let second = rig.next().await;
    assert!(second.redelivered);
    assert_eq!(rig.unsettled.load(Ordering::Relaxed), 0);
    drop(second);
    assert_eq!(rig.unsettled.load(Ordering::Relaxed), 1);
    assert_eq!(rig.next().await.settle(Disposition::Ack).await, Settled::Acked);
    let jobs = rig.queue("jobs");
    rig.broker.close().await;
    assert_eq!(client.ready(&jobs).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_confirmed_and_unroutable_only_where_it_must_be_routed() {
    let node = node().await;
    let client = node.client().await;
    let loose = Rig::on(node).await;
    loose.broker.publisher().event(&event("e-0")).await.expect("nobody need listen");
    let capture = client.capture(&loose.settings.events_exchange, "recording.#").await;
    loose.broker.publisher().event(&event("e-1")).await.expect("published");
    let seen = client.take(&capture).await;
    assert_eq!(seen.routing_key, "recording.archived.acme");
    let properties = &seen.properties;
    let text = |value: &Option<ShortString>| value.clone().map(|v| v.to_string());
    assert_eq!(text(properties.message_id()).as_deref(), Some("e-1"));
    assert_eq!(text(properties.kind()).as_deref(), Some("recording.archived"));
    assert_eq!(text(properties.content_type()).as_deref(), Some("application/cloudevents+json"));
    assert_eq!(properties.delivery_mode(), &Some(2));
    loose.broker.close().await;

    let strict = Rig::start(config::Broker { events_mandatory: true, ..settings(node) }).await;
    let refused = strict.broker.publisher().event(&event("e-2")).await;
    assert_eq!(refused, Err(PublishError::Unroutable));
    let exchange = strict.settings.events_exchange.clone();
    let _capture = client.capture(&exchange, "recording.#").await;
    assert_eq!(strict.broker.publisher().event(&event("e-3")).await, Ok(()));
    strict.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_items_arrive_in_the_bulk_queue_with_the_time_of_their_dump() {
    let node = node().await;
    let mut rig = Rig::on(node).await;
    let sent_at = "2026-04-25T05:12:44Z".parse().expect("a time");
    let publisher = rig.broker.publisher();
    publisher.bulk_item(b"{}".to_vec(), "i-1".into(), Some(sent_at)).await.expect("published");
    let item = rig.next().await;
    assert_eq!(item.queue, QueueName::Bulk);
    assert_eq!(item.message_type(), Some("recording.dump-item"));
    assert_eq!(item.sent_at(), Some(sent_at));
    assert_eq!(item.settle(Disposition::Ack).await, Settled::Acked);
    rig.broker.close().await;
}

/// As many as are moved at once fill several batches; those who publish the first of them give up
/// midway, and the queue is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_moved_at_once_is_there_whatever_becomes_of_those_it_goes_with() {
    const ITEMS: usize = 300;
    let node = node().await;
    let client = node.client().await;
    let mut link = Link::to(([127, 0, 0, 1], node.amqp_port()).into()).await;
    let through = format!("amqp://guest:guest@{}/%2f", link.address());
    let mut rig =
        Rig::start(config::Broker { urls: vec![Secret::fixed(through)], ..settings(node) }).await;
    rig.broker.stop_consuming();
    assert!(rig.deliveries.next().await.is_none(), "nobody consumes");
    let publisher = rig.broker.publisher();
    let channel_is_open = publisher.bulk_item(b"first".to_vec(), "first".into(), None).await;
    assert_eq!(channel_is_open, Ok(()));
    client.delete(&rig.queue("bulk")).await;

    link.set(Weather::BlackHole);
    let begun = Arc::new(AtomicUsize::new(0));
    let publishing = |n: usize| {
        let (publisher, begun) = (publisher.clone(), Arc::clone(&begun));
        tokio::spawn(async move {
            begun.fetch_add(1, Ordering::Relaxed);
            let item = format!("i-{n}");
            publisher.bulk_item(item.clone().into_bytes(), item, None).await
        })
    };
    let tasks: Vec<_> = (0..ITEMS).map(publishing).collect();
    eventually("all publish", LIMIT, || async {
        (begun.load(Ordering::Relaxed) == ITEMS).then_some(())
    })
    .await;
    let gives_up = |n: usize| n < 8 || n.is_multiple_of(3);
    tasks.iter().enumerate().filter(|(n, _)| gives_up(*n)).for_each(|(_, task)| task.abort());
    link.restore().await;
    let mut missing = HashSet::new();
    for (n, task) in tasks.into_iter().enumerate() {
        match task.await {
            Ok(published) => {
                assert_eq!(published, Ok(()));
                missing.insert(format!("i-{n}"));
            }
            Err(_aborted) => assert!(gives_up(n)),
        }
    }
    while !missing.is_empty() {
        missing.remove(&*String::from_utf8_lossy(&client.take(&rig.queue("bulk")).await.body));
    }
    rig.broker.close().await;
}
