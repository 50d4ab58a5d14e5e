//! Prefetch, delivery limit, pause, drain, close.

use std::sync::atomic::Ordering;

use callvault::broker::{Disposition, PublishError, QueueName, Settled, State};
use callvault::config::{self};

use lapin::BasicProperties;
use lapin::options::BasicGetOptions;

use super::{LIMIT, Rig, dead, event, retry, settings};
use crate::support::broker::client::{table, text};
use crate::support::broker::node;
use crate::support::eventually;

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
async fn looking_further_shows_three_windows_more_for_as_long_as_it_lasts() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    let jobs = rig.queue("jobs");
    for n in 0..20 {
        client.send(&jobs, n.to_string()).await;
    }
    client.until_ready(&jobs, 20 - 4).await;
    rig.broker.look_further(true);
    client.until_ready(&jobs, 20 - 4 * 4).await;
    let mut held = Vec::new();
    for _ in 0..4 * 4 {
        held.push(rig.next().await);
    }
    assert!(rig.nothing_buffered().await, "more than four windows were handed out");
    // Nobody else's place is taken: each of the others is still heard.
    client.send(&rig.queue("bulk"), "bulk").await;
    client.send(&rig.queue("suspect"), "suspect").await;
    held.extend([rig.next().await, rig.next().await]);
    rig.broker.look_further(false);
    for delivery in held {
        assert_eq!(delivery.settle(Disposition::Ack).await, Settled::Acked);
    }
    // Those that were behind, to the last.
    for _ in 0..4 {
        assert_eq!(rig.next().await.settle(Disposition::Ack).await, Settled::Acked);
    }
    client.until_ready(&jobs, 0).await;
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_delivered_too_often_becomes_a_suspect_and_keeps_its_origin() {
    let node = node().await;
    let client = node.client().await;
    // It makes the queues, and leaves what is in them to others.
    let rig = Rig::start(config::Broker { delivery_limit: 2, ..settings(node) }).await;
    let (settings, bulk, suspects) =
        (rig.settings.clone(), rig.queue("bulk"), rig.queue("suspect"));
    rig.broker.close().await;
    client.send(&bulk, "crashes workers").await;
    // From 4.3 on a nack does not count, only a death does.
    for _death in 0..3 {
        let channel = client.new_channel().await;
        let held = async || {
            let got = channel.basic_get(bulk.as_str().into(), BasicGetOptions::default());
            got.await.expect("the queue is there")
        };
        eventually("it is delivered", LIMIT, held).await;
        channel.close(200, "gone".into()).await.expect("a channel can be closed");
    }
    client.until_ready(&suspects, 1).await;
    let mut rig = Rig::start(settings).await;
    let suspect = rig.next().await;
    assert!(suspect.is_new_suspect());
    assert_eq!(suspect.state().origin, Some(bulk));
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_is_on_a_copy_that_nobody_has_had_and_stays_in_its_queue() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    let own = BasicProperties::default().with_message_id("m1".into()).with_headers(table([
        ("own", text("kept")),
        ("callvault-queue", text(&rig.queue("bulk"))),
        ("callvault-reason", text("job.crashed")),
        ("x-acquired-count", text("7")),
    ]));
    client.publish("", &rig.queue("suspect"), b"hello", own).await;
    let first = rig.next().await;
    assert!(first.is_new_suspect());
    assert_eq!(first.settle(Disposition::GiveBack).await, Settled::GivenBack);
    let first = rig.next().await;
    assert!(first.is_new_suspect() && first.redelivered);
    let at = "2026-04-25T05:12:44Z".parse().expect("a time");
    assert_eq!(first.settle(Disposition::Mark { at }).await, Settled::Acked);

    let marked = rig.next().await;
    let suspect = marked.suspect().expect("it has the mark");
    assert!(suspect.starts_with("m1 "), "{suspect}");
    assert!(!marked.redelivered, "nobody has had the copy");
    assert_eq!((marked.queue, marked.body()), (QueueName::Suspect, b"hello".as_slice()));
    assert_eq!(marked.state().origin, Some(rig.queue("bulk")));
    assert_eq!(marked.settle(Disposition::GiveBack).await, Settled::GivenBack);
    let marked = rig.next().await;
    assert_eq!((marked.suspect(), marked.redelivered), (Some(suspect.clone()), true));
    // It waits a retry delay: a first arrival again, which still knows where it began.
    let state = State { crashes: 1, ..marked.state().clone() };
    assert_eq!(marked.settle(retry(state)).await, Settled::Acked);
    let again = rig.next().await;
    assert!(again.is_new_suspect());
    assert_eq!((again.state().crashes, &again.state().origin), (1, &Some(rig.queue("bulk"))));
    let at = "2026-04-25T05:13:14Z".parse().expect("a time");
    assert_eq!(again.settle(Disposition::Mark { at }).await, Settled::Acked);
    let again = rig.next().await;
    assert_eq!((again.redelivered, again.state().crashes), (false, 1));
    assert_ne!(again.suspect().expect("it has the mark"), suspect, "each mark is another");
    assert_eq!(again.settle(dead(State::default())).await, Settled::Acked);
    let buried = client.take(&rig.queue("dead")).await;
    assert_eq!(buried.header("own").as_deref(), Some("kept"));
    assert_eq!(buried.header("callvault-suspect"), None, "it is no suspect any more");
    assert_ne!(buried.header("x-acquired-count").as_deref(), Some("7"));
    rig.broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_it_takes_nothing_and_settles_and_resumes() {
    let node = node().await;
    let client = node.client().await;
    let mut rig = Rig::on(node).await;
    client.send(&rig.queue("jobs"), "before").await;
    let held = rig.next().await;
    rig.broker.pause("enough for now");
    let paused = rig.until(|status| status.reason.as_deref() == Some("paused")).await;
    assert!(!paused.consuming);
    assert_eq!(paused.paused.as_deref(), Some("enough for now"));
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
