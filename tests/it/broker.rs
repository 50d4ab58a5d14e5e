//! The broker module against a real RabbitMQ node: topology, settling, recovery.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callvault::broker::{
    Broker, Deliveries, Delivery, Disposition, Prefetch, PublishError, QueueName, Settled, State,
    Status,
};
use callvault::config::{self, Secret};
use callvault::event::Event;
use callvault::failure::Reason;
use lapin::BasicProperties;
use lapin::types::AMQPValue;

use crate::support::broker::{Node, node, table, text};
use crate::support::unique;

const LIMIT: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(200);

/// A broker side of its own, with queues and exchanges of its own.
struct Rig {
    settings: config::Broker,
    broker: Broker,
    deliveries: Deliveries,
    unsettled: Arc<AtomicU32>,
}

fn settings(node: &Node) -> config::Broker {
    let prefix = unique("cv");
    config::Broker {
        urls: vec![Secret::fixed(node.url())],
        ca_file: None,
        client_cert_file: None,
        client_key_file: None,
        calls_exchange: format!("{prefix}.calls"),
        events_exchange: format!("{prefix}.recordings"),
        queue_prefix: prefix,
        declare: true,
        delivery_limit: 20,
        heartbeat: Duration::from_secs(15),
        events_mandatory: false,
    }
}

impl Rig {
    /// Starts without waiting.
    fn launch(settings: config::Broker) -> Self {
        let unsettled = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&unsettled);
        let hook = Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let prefetch = Prefetch { jobs: 4, bulk: 4 };
        let (broker, deliveries) = Broker::start(&settings, &[SOON], prefetch, hook);
        Self { settings, broker, deliveries, unsettled }
    }

    async fn start(settings: config::Broker) -> Self {
        let rig = Self::launch(settings);
        rig.until(|status| status.consuming && status.connected).await;
        rig
    }

    async fn on(node: &Node) -> Self {
        Self::start(settings(node)).await
    }

    fn queue(&self, name: &str) -> String {
        format!("{}.{name}", self.settings.queue_prefix)
    }

    async fn until(&self, fits: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.broker.status();
        let found = tokio::time::timeout(LIMIT, status.wait_for(fits)).await;
        match found {
            Ok(found) => found.expect("the broker side lives").clone(),
            Err(_) => panic!("not within {LIMIT:?}; {:?}", self.broker.status().borrow()),
        }
    }

    async fn next(&mut self) -> Delivery {
        let next = tokio::time::timeout(LIMIT, self.deliveries.next()).await;
        next.expect("a delivery in time").expect("the stream goes on")
    }

    /// The next one, if there is one within a moment: for 'there is none', after a condition that
    /// makes sure of it.
    async fn nothing_buffered(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.deliveries.next()).await.is_err()
    }
}

fn retry(state: State) -> Disposition {
    let detail = "not yet".to_owned();
    Disposition::Retry { delay: SOON, state, reason: Reason::CCFS_TIMEOUT, detail }
}

fn dead(state: State) -> Disposition {
    let at = "2026-04-25T05:12:44Z".parse().expect("a time");
    Disposition::Dead { state, reason: Reason::MESSAGE_INVALID, detail: "broken".into(), at }
}

fn event(id: &str) -> Event {
    Event {
        id: id.to_owned(),
        event_type: "recording.archived",
        routing_key: "recording.archived.acme".to_owned(),
        body: b"{}".to_vec(),
    }
}

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
    let command = format!("rabbitmqadmin declare queue name={} ", rig.queue("jobs"));
    assert!(reason.contains(&command), "{reason}");
    assert!(reason.contains("x-dead-letter-strategy") && !reason.contains("guest:"), "{reason}");
    assert!(!client.exists(&rig.queue("jobs")).await, "nothing is made");

    let declaring = Rig::start(config::Broker { declare: true, ..checking }).await;
    declaring.broker.close().await;
    rig.until(|status| status.consuming).await;
    rig.broker.close().await;
}

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
    client.until_ready(&rig.queue("jobs"), 0).await;
    rig.broker.close().await;
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
    let text = |value: &Option<lapin::types::ShortString>| value.clone().map(|v| v.to_string());
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

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_the_prefetch_is_in_hand() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    for n in 0..6 {
        client.send(&rig.queue("jobs"), n.to_string()).await;
        client.send(&rig.queue("suspect"), n.to_string()).await;
    }
    // Four jobs and one suspect are out, the others are still ready.
    client.until_ready(&rig.queue("jobs"), 2).await;
    client.until_ready(&rig.queue("suspect"), 5).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(rig.next().await);
    }
    assert_eq!(held.iter().filter(|d| d.queue == QueueName::Suspect).count(), 1);
    assert!(rig.nothing_buffered().await, "more than the prefetch was handed out");
    for delivery in held {
        assert_eq!(delivery.settle(Disposition::GiveBack).await, Settled::GivenBack);
    }
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_delivered_too_often_becomes_a_suspect_and_keeps_its_origin() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::start(config::Broker { delivery_limit: 2, ..settings(node) }).await;
    client.send(&rig.queue("bulk"), "crashes workers").await;
    let suspect = loop {
        let delivery = rig.next().await;
        if delivery.queue == QueueName::Suspect {
            break delivery;
        }
        assert_eq!(delivery.settle(Disposition::GiveBack).await, Settled::GivenBack);
    };
    assert_eq!(suspect.state().origin, Some(rig.queue("bulk")));
    // Retried, it comes back to suspect and still knows.
    let state = State { crashes: 1, ..suspect.state().clone() };
    assert_eq!(suspect.settle(retry(state)).await, Settled::Acked);
    let again = rig.next().await;
    assert_eq!((again.queue, again.state().crashes), (QueueName::Suspect, 1));
    assert_eq!(again.state().origin, Some(rig.queue("bulk")));
    assert_eq!(again.settle(Disposition::Ack).await, Settled::Acked);
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_it_takes_nothing_and_settles_and_resumes() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    client.send(&rig.queue("jobs"), "before").await;
    let held = rig.next().await;
    rig.broker.pause();
    let paused = rig.until(|status| status.reason.as_deref() == Some("paused")).await;
    assert!(!paused.consuming);
    client.send(&rig.queue("jobs"), "meanwhile").await;
    assert_eq!(held.settle(Disposition::Ack).await, Settled::Acked);
    client.until_ready(&rig.queue("jobs"), 1).await;
    rig.broker.resume();
    rig.until(|status| status.consuming).await;
    let next = rig.next().await;
    assert_eq!(next.body(), b"meanwhile");
    assert_eq!(next.settle(Disposition::Ack).await, Settled::Acked);
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_it_hands_out_what_it_has_then_ends_and_still_acknowledges() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    for n in 0..3 {
        client.send(&rig.queue("jobs"), n.to_string()).await;
    }
    client.until_ready(&rig.queue("jobs"), 0).await;
    let first = rig.next().await;
    rig.broker.stop_consuming();
    let mut rest = Vec::new();
    while let Some(delivery) = rig.deliveries.next().await {
        rest.push(delivery);
    }
    assert_eq!(rest.len(), 2);
    client.send(&rig.queue("jobs"), "too late").await;
    assert_eq!(first.settle(Disposition::Ack).await, Settled::Acked);
    for delivery in rest {
        let state = delivery.state().clone();
        assert_eq!(delivery.settle(dead(state)).await, Settled::Acked);
    }
    rig.broker.resume();
    assert!(rig.deliveries.next().await.is_none(), "stopping is for good");
    rig.broker.close().await;
    client.until_ready(&format!("{}.jobs", rig.settings.queue_prefix), 1).await;
    client.until_ready(&format!("{}.dead", rig.settings.queue_prefix), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_gives_back_what_is_unsettled() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    client.send(&rig.queue("jobs"), "a").await;
    let held = rig.next().await;
    let publisher = rig.broker.publisher();
    rig.broker.close().await;
    client.until_ready(&format!("{}.jobs", rig.settings.queue_prefix), 1).await;
    assert!(!held.usable());
    assert_eq!(held.settle(Disposition::Ack).await, Settled::GivenBack);
    assert_eq!(publisher.event(&event("late")).await, Err(PublishError::Stopping));
    assert_eq!(rig.unsettled.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_consume_connection_loses_its_deliveries_and_comes_back() {
    let node = Node::start_private().await;
    let client = node.client().await;
    let mut rig = Rig::on(&node).await;
    for n in 0..3 {
        client.send(&rig.queue("jobs"), n.to_string()).await;
    }
    client.until_ready(&rig.queue("jobs"), 0).await;
    let old = rig.next().await;
    assert_eq!(node.cut_connections("callvault consume").await, 1);
    tokio::time::timeout(LIMIT, old.lost()).await.expect("it is told");
    assert!(!old.usable());
    let state = old.state().clone();
    assert_eq!(old.settle(retry(state)).await, Settled::GivenBack);
    let status = rig.until(|status| status.consuming && status.connected).await;
    assert_eq!(status.reconnects, 1);
    // Those that were buffered on the dead channel are not handed out twice.
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let delivery = rig.next().await;
        bodies.push(delivery.body().to_vec());
        assert_eq!(delivery.settle(Disposition::Ack).await, Settled::Acked);
    }
    bodies.sort();
    assert_eq!(bodies, [b"0", b"1", b"2"]);
    assert!(rig.nothing_buffered().await);
    assert_eq!(client.ready(&rig.queue("dead")).await, 0);
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_delivers_again_what_was_in_flight() {
    let node = Node::start_private().await;
    let client = node.client().await;
    let mut rig = Rig::on(&node).await;
    for n in 0..3 {
        client.send(&rig.queue("jobs"), n.to_string()).await;
    }
    let mut old = Vec::new();
    for _ in 0..3 {
        old.push(rig.next().await);
    }
    node.kill().await;
    for delivery in &old {
        tokio::time::timeout(LIMIT, delivery.lost()).await.expect("it is told");
    }
    let down = rig.until(|s| s.reason.as_deref().is_some_and(|r| r.contains("refused"))).await;
    assert!(!down.consuming && !down.connected);
    let reason = down.reason.expect("a reason");
    assert!(reason.contains(&format!("127.0.0.1:{}", node.amqp_port())), "{reason}");
    assert!(!reason.contains("guest"), "{reason}");
    for delivery in old {
        let state = delivery.state().clone();
        assert_eq!(delivery.settle(dead(state)).await, Settled::GivenBack);
    }
    // An event waits for the broker, however long it is away.
    let publisher = rig.broker.publisher();
    let waiting = tokio::spawn(async move { publisher.event(&event("patient")).await });
    node.start().await;
    rig.until(|status| status.consuming && status.connected).await;
    assert_eq!(waiting.await.expect("no panic"), Ok(()));
    for _ in 0..3 {
        let delivery = rig.next().await;
        assert!(delivery.redelivered);
        assert_eq!(delivery.settle(Disposition::Ack).await, Settled::Acked);
    }
    let client = node.client().await;
    client.until_ready(&rig.queue("jobs"), 0).await;
    assert_eq!(client.ready(&rig.queue("dead")).await, 0);
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_memory_alarm_publishers_wait_and_acks_go_on() {
    let node = Node::start_private().await;
    let client = node.client().await;
    let mut rig = Rig::on(&node).await;
    for n in 0..2 {
        client.send(&rig.queue("jobs"), n.to_string()).await;
    }
    let acked = rig.next().await;
    let died = rig.next().await;
    node.memory_alarm(true).await;
    let state = died.state().clone();
    let dying = tokio::spawn(died.settle(dead(state)));
    assert_eq!(acked.settle(Disposition::Ack).await, Settled::Acked);
    client.until_ready(&rig.queue("jobs"), 0).await;
    assert!(!dying.is_finished(), "a blocked broker confirmed a publish");
    node.memory_alarm(false).await;
    assert_eq!(dying.await.expect("no panic"), Settled::Acked);
    client.until_ready(&rig.queue("dead"), 1).await;
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_is_given_up_and_the_next_url_taken() {
    let node = node().await;
    // Takes connections and says nothing, as a load balancer without backends does.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let (ended, has_ended) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut socket, _) = silent.accept().await.expect("a connection");
        let read = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
        let _ = ended.send(read.is_ok());
    });
    let urls = vec![
        Secret::fixed(format!("amqp://u:hunter2@127.0.0.1:{port}")),
        Secret::fixed(node.url()),
    ];
    let rig = Rig::start(config::Broker { urls, ..settings(node) }).await;
    let closed = tokio::time::timeout(LIMIT, has_ended).await.expect("the socket is cut");
    assert!(closed.expect("the listener lives"), "the abandoned connection was left open");
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_needs_the_configured_authority_and_shows_the_client_certificate() {
    let node = Node::start_with_tls().await;
    let tls = node.tls.as_ref().expect("started with TLS");
    let trusting = config::Broker {
        urls: vec![Secret::fixed(tls.url.clone())],
        ca_file: Some(tls.ca_file.clone()),
        client_cert_file: Some(tls.client_cert_file.clone()),
        client_key_file: Some(tls.client_key_file.clone()),
        ..settings(&node)
    };
    let rig = Rig::start(trusting.clone()).await;
    assert_eq!(rig.broker.publisher().event(&event("e-1")).await, Ok(()));
    rig.broker.close().await;

    // The node asks for a client certificate, and callvault for a known authority.
    let anonymous =
        config::Broker { client_cert_file: None, client_key_file: None, ..trusting.clone() };
    let distrusting = config::Broker { ca_file: None, ..trusting };
    for refused in [anonymous, distrusting] {
        let rig = Rig::launch(refused);
        let place = format!("cannot connect to localhost:{}", tls.port);
        rig.until(|s| s.reason.as_deref().is_some_and(|r| r.contains(&place))).await;
        rig.broker.close().await;
    }
}
