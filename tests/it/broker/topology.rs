//! Exchanges and queues: declared, differing, missing, deleted.

use callvault::broker::{Disposition, QueueName, Settled, Status};
use callvault::config::{self};
use lapin::types::AMQPValue;
use lapin::{BasicProperties, ExchangeKind};

use super::{Rig, dead, settings};
use crate::support::broker::client::table;
use crate::support::broker::node;

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_is_declared_and_declared_again() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    for queue in ["jobs", "bulk", "suspect", "dead", "retry.200ms"] {
        assert!(client.exists(&rig.queue(queue)).await, "{queue}");
    }
    let calls = rig.settings.calls_exchange.clone();
    client.publish(&calls, "call.completed.acme", b"a", BasicProperties::default()).await;
    client.publish(&calls, "recording.dump-requested", b"b", BasicProperties::default()).await;
    for _ in 0..2 {
        let delivery = rig.next().await;
        assert_eq!(delivery.queue, QueueName::Jobs);
        assert_eq!(delivery.settle(Disposition::Ack).await, Settled::Acked);
    }
    let again = Rig::start(rig.settings.clone()).await;
    rig.broker.close().await;
    again.broker.close().await;
    client.until_ready(&format!("{}.jobs", again.settings.queue_prefix), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_used_as_it_is() {
    let node = node().await;
    let client = node.client().await;
    let settings = settings(node);
    let jobs = format!("{}.jobs", settings.queue_prefix);
    client.declare(&jobs, table([("x-max-length", AMQPValue::LongInt(10))])).await;
    let mut rig = Rig::start(settings).await;
    client
        .publish(&rig.settings.calls_exchange, "call.completed", b"a", BasicProperties::default())
        .await;
    let delivery = rig.next().await;
    assert_eq!(delivery.body(), b"a");
    assert_eq!(delivery.settle(Disposition::Ack).await, Settled::Acked);
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_declaring_what_is_missing_is_said_and_waited_for() {
    let node = node().await;
    let client = node.client().await;
    let checking = config::Broker { declare: false, ..settings(node) };
    let rig = Rig::launch(checking.clone());
    let status = rig.until(|s| s.reason.as_deref().is_some_and(|r| r.contains("missing"))).await;
    let reason = status.reason.expect("a reason");
    assert!(!status.consuming);
    let jobs = rig.queue("jobs");
    assert!(reason.starts_with("missing: ") && reason.contains(&jobs), "{reason}");
    assert!(reason.contains("`callvault topology`") && !reason.contains("guest:"), "{reason}");
    assert!(!client.exists(&rig.queue("jobs")).await, "nothing is made");

    let declaring = Rig::start(config::Broker { declare: true, ..checking }).await;
    declaring.broker.close().await;
    rig.until(|status| status.consuming).await;
    rig.broker.close().await;
}

/// Every call would be unroutable, or every event, and nobody would be told.
#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_another_type_is_not_worked_with_until_it_is_made_anew() {
    let node = node().await;
    let client = node.client().await;
    for declare in [true, false] {
        let settings = settings(node);
        if !declare {
            Rig::start(settings.clone()).await.broker.close().await;
            client.delete_exchange(&settings.events_exchange).await;
        }
        client.exchange(&settings.events_exchange, ExchangeKind::Direct).await;
        let rig = Rig::launch(config::Broker { declare, ..settings.clone() });
        let fits = |status: &Status| {
            status.reason.as_deref().is_some_and(|reason| reason.contains("is of type direct"))
        };
        let status = rig.until(fits).await;
        assert!(!status.consuming && status.reason.unwrap().contains(&settings.events_exchange));
        client.delete_exchange(&settings.events_exchange).await;
        client.topic(&settings.events_exchange).await;
        rig.until(|status| status.consuming && status.connected).await;
        rig.broker.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_queue_that_was_deleted_is_made_anew_rather_than_the_message_lost() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    client.send(&rig.queue("jobs"), "a").await;
    let delivery = rig.next().await;
    client.delete(&rig.queue("dead")).await;
    let state = delivery.state().clone();
    assert_eq!(delivery.settle(dead(state)).await, Settled::Acked);
    assert_eq!(client.take(&rig.queue("dead")).await.body, b"a");
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_queue_that_was_deleted_is_made_anew_rather_than_the_item_lost() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    // Whoever consumes it would make it anew too.
    rig.broker.stop_consuming();
    assert!(rig.deliveries.next().await.is_none(), "nobody consumes");
    client.delete(&rig.queue("bulk")).await;
    let published = rig.broker.publisher().bulk_item(b"a".to_vec(), "i-1".into(), None).await;
    assert_eq!(published, Ok(()));
    assert_eq!(client.take(&rig.queue("bulk")).await.body, b"a");
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumed_queue_that_was_deleted_is_made_anew_and_consumed() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    client.send(&rig.queue("bulk"), "kept").await;
    let kept = rig.next().await;
    client.delete(&rig.queue("jobs")).await;
    rig.until(|status| !status.consuming).await;
    rig.until(|status| status.consuming).await;
    client.send(&rig.queue("jobs"), "a").await;
    let delivery = rig.next().await;
    assert_eq!(delivery.queue, QueueName::Jobs);
    assert_eq!(delivery.settle(Disposition::Ack).await, Settled::Acked);
    assert_eq!(kept.settle(Disposition::Ack).await, Settled::Acked, "another queue's channel");
    rig.broker.close().await;
}
