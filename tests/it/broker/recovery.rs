//! Cut connections, killed and silent nodes, alarms, TLS.

use std::path::Path;

use futures_util::future::join_all;

use callvault::broker::{Disposition, Settled};
use callvault::config::{self, Secret};

use super::{LIMIT, Rig, dead, event, retry, settings};
use crate::support::broker::{Node, node};

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
    // A restart in order, too.
    node.stop().await;
    rig.until(|status| !status.consuming && !status.connected).await;
    node.start().await;
    rig.until(|status| status.consuming && status.connected).await;
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
    assert!(!dying.is_finished(), "a blocked broker confirmed a publish");
    // What was not acknowledged comes again, and only that.
    assert_eq!(node.cut_connections("callvault consume").await, 1);
    assert_eq!(dying.await.expect("no panic"), Settled::GivenBack);
    let again = rig.next().await;
    assert_eq!((again.body(), again.redelivered), (b"1".as_slice(), true));
    assert!(rig.nothing_buffered().await);
    let state = again.state().clone();
    let dying = tokio::spawn(again.settle(dead(state)));
    node.memory_alarm(false).await;
    assert_eq!(dying.await.expect("no panic"), Settled::Acked);
    // What went out as the alarm came may have been taken too: it is the same message.
    let buried = client.take(&rig.queue("dead")).await;
    while let Some(copy) = client.get(&rig.queue("dead")).await {
        assert_eq!(copy.properties.message_id(), buried.properties.message_id());
    }
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
async fn channels_that_the_broker_closes_use_up_no_connection() {
    let node = Node::start_with("channel_max = 24\n").await;
    let client = node.client().await;
    let settings = settings(&node);
    Rig::start(settings.clone()).await.broker.close().await;
    let exchange = settings.events_exchange.as_str();
    let deletion = client.channel().exchange_delete(exchange.into(), Default::default()).await;
    deletion.expect("it was declared");
    // Each publish closes a channel, and lapin gives none of their numbers again.
    let rig = Rig::launch(config::Broker { declare: false, ..settings.clone() });
    rig.until(|status| status.reason.as_deref().is_some_and(|why| why.contains(exchange))).await;
    client.topic(exchange).await;
    rig.until(|status| status.consuming && status.connected).await;
    let deletion = client.channel().exchange_delete(exchange.into(), Default::default()).await;
    deletion.expect("it is there again");
    let publisher = rig.broker.publisher();
    let events: Vec<_> = (0..30).map(|n| event(&n.to_string())).collect();
    let saying = join_all(events.iter().map(|event| publisher.event(event)));
    let said = tokio::time::timeout(LIMIT, saying).await.expect("each has its two tries");
    assert!(said.iter().all(Result::is_err), "nobody takes it");
    client.topic(exchange).await;
    let saying = tokio::time::timeout(LIMIT, publisher.event(&event("at last"))).await;
    assert_eq!(saying.expect("a channel is to be had"), Ok(()));
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_quorum_gives_way_to_the_next_url() {
    let lonely = Node::start_private().await;
    let lost = Node::start_beside(&lonely).await;
    let settings = settings(&lonely);
    Rig::start(settings.clone()).await.broker.close().await;
    lost.kill().await;
    // It takes connections as before, and none of our queues works.
    let well = node().await;
    let urls = vec![Secret::fixed(lonely.url()), Secret::fixed(well.url())];
    let mut rig = Rig::launch(config::Broker { urls, ..settings });
    let publisher = rig.broker.publisher();
    let item = publisher.bulk_item(b"found".to_vec(), "item".to_owned(), None);
    assert_eq!(tokio::time::timeout(2 * LIMIT, item).await.expect("it is confirmed"), Ok(()));
    rig.until(|status| status.consuming && status.connected).await;
    let delivery = rig.next().await;
    assert_eq!(delivery.body(), b"found");
    assert_eq!(delivery.settle(Disposition::Ack).await, Settled::Acked);
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

    // The same files as an editor of Windows saves them.
    let folder = tempfile::tempdir().expect("a folder");
    let marked = |file: &Path| {
        let marked = folder.path().join(file.file_name().expect("a file"));
        let pem = std::fs::read(file).expect("it is there");
        std::fs::write(&marked, [&b"\xef\xbb\xbf"[..], &pem].concat()).expect("room for it");
        Some(marked)
    };
    let marked = config::Broker {
        ca_file: marked(&tls.ca_file),
        client_cert_file: marked(&tls.client_cert_file),
        client_key_file: marked(&tls.client_key_file),
        ..trusting.clone()
    };
    let rig = Rig::start(marked).await;
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
