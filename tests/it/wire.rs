//! The kit's AMQP proxy against a real node: its record is what happened.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};

use crate::support::broker::client::{Rabbit, table, text};
use crate::support::broker::node;
use crate::support::wire::{End, Swallow, Wire};
use crate::support::world::SOON;
use crate::support::{eventually, unique};

/// A wire to the shared node, a client that does not go through it, and a queue.
struct Rig {
    wire: Wire,
    outside: Rabbit,
    queue: String,
}

impl Rig {
    async fn new() -> Self {
        let wire = Wire::to(([127, 0, 0, 1], node().await.amqp_port()).into()).await;
        let outside = node().await.client().await;
        let queue = unique("wire");
        outside.declare(&queue, table([])).await;
        Self { wire, outside, queue }
    }

    async fn connect(&self) -> Connection {
        let url = format!("amqp://guest:guest@{}/%2f", self.wire.address());
        Connection::connect(&url, ConnectionProperties::default()).await.unwrap()
    }

    async fn consume(&self, channel: &Channel, prefetch: u16) -> Consumer {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.unwrap();
        let (queue, options) = (self.queue.as_str().into(), BasicConsumeOptions::default());
        channel.basic_consume(queue, "".into(), options, FieldTable::default()).await.unwrap()
    }
}

async fn confirming(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

async fn publish(channel: &Channel, key: &str, body: &[u8], id: &str) -> Confirmation {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let headers = table([("callvault-reason", text("why"))]);
    let properties = BasicProperties::default().with_message_id(id.into()).with_headers(headers);
    let confirm = channel.basic_publish("".into(), key.into(), options, body, properties).await;
    confirm.unwrap().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_confirmed_and_returned_is_on_record() {
    let rig = Rig::new().await;
    let connection = rig.connect().await;
    // Bodies of many frames on several channels at once, so that their frames are mixed.
    let bodies: Vec<Vec<u8>> = (0..4_u8)
        .map(|n| (0..3_000_000_u32).map(|at| (at % 251) as u8 ^ n).collect())
        .chain([Vec::new()])
        .collect();
    let mut tasks = tokio::task::JoinSet::new();
    for (n, body) in bodies.iter().cloned().enumerate() {
        let (channel, queue) = (confirming(&connection).await, rig.queue.clone());
        tasks.spawn(async move {
            let confirmation = publish(&channel, &queue, &body, &format!("m{n}")).await;
            assert_eq!(confirmation, Confirmation::Ack(None));
            let nowhere = publish(&channel, "nowhere", b"lost", &format!("r{n}")).await;
            assert!(matches!(nowhere, Confirmation::Ack(Some(_))), "{nowhere:?}");
        });
    }
    tasks.join_all().await;
    {
        let record = rig.wire.record();
        assert_eq!(record.published.len(), 10);
        for (n, body) in bodies.iter().enumerate() {
            let id = format!("m{n}");
            let found = record.confirmed(|p| p.letter.message_id.as_ref() == Some(&id)).unwrap();
            assert!(found.letter.body == *body, "{id}");
            assert_eq!((found.letter.exchange.as_str(), found.number), ("", Some(1)));
            assert_eq!(found.letter.routing_key, rig.queue);
            assert!(found.letter.headers.contains_key("callvault-reason") && found.mandatory);
        }
        let returned: Vec<_> = record.published.iter().filter(|p| p.returned).collect();
        assert_eq!(returned.len(), 5);
        assert!(returned.iter().all(|p| p.letter.body == "lost" && p.answer == Some(true)));
        assert!(returned.iter().all(|p| p.number == Some(2)));
        assert!(record.confirmed(|p| p.letter.routing_key == "nowhere").is_none());
    }
    // A publish that nobody confirms is none that is confirmed.
    let channel = connection.create_channel().await.unwrap();
    assert_eq!(publish(&channel, &rig.queue, b"x", "bare").await, Confirmation::NotRequested);
    rig.outside.until_ready(&rig.queue, 6).await;
    let record = rig.wire.record();
    let bare = record.published.last().unwrap();
    assert_eq!((bare.number, bare.answer), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_and_how_it_ends_is_on_record() {
    let rig = Rig::new().await;
    let connection = rig.connect().await;
    let channel = connection.create_channel().await.unwrap();
    let mut consumer = rig.consume(&channel, 10).await;
    let large = vec![7; 1_000_000];
    rig.outside.send(&rig.queue, &large).await;
    for n in 1..6 {
        rig.outside.send(&rig.queue, n.to_string()).await;
    }
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(consumer.next().await.unwrap().unwrap());
    }
    assert!(held[0].data == large);
    let ends = |wire: &Wire| -> Vec<Option<End>> {
        wire.record().delivered.iter().map(|delivered| delivered.end).collect()
    };
    // All up to the second; one given back, which comes again; one refused; two lost.
    let multiple = BasicAckOptions { multiple: true };
    assert!(held[1].ack(multiple).await.unwrap());
    let requeue = BasicNackOptions { requeue: true, ..Default::default() };
    assert!(held[2].nack(requeue).await.unwrap());
    assert!(held[3].nack(BasicNackOptions::default()).await.unwrap());
    let again = consumer.next().await.unwrap().unwrap();
    assert_eq!((again.data, again.redelivered), (b"2".to_vec(), true));
    use End::{Acked, GivenBack, Lost, Refused};
    let told = [Some(Acked), Some(Acked), Some(GivenBack), Some(Refused), None, None, None];
    // What was given back may be here again before the refusal is on its way.
    let on_record = async || (ends(&rig.wire) == told).then_some(());
    eventually("how they ended is on record", SOON, on_record).await;
    {
        let record = rig.wire.record();
        assert!(record.delivered[0].letter.body == large);
        assert_eq!(record.delivered[0].letter.routing_key, rig.queue);
        let redelivered: Vec<_> = record.delivered.iter().map(|d| d.redelivered).collect();
        assert_eq!(redelivered, [false, false, false, false, false, false, true]);
        assert_eq!(record.strays, 0);
    }
    // Those in hand are lost with their connection; the broker has heard the rest, since it answers
    // what is said after it.
    channel.basic_qos(10, BasicQosOptions::default()).await.unwrap();
    rig.wire.cut();
    rig.outside.until_ready(&rig.queue, 3).await;
    assert_eq!(ends(&rig.wire)[4..], [Some(Lost); 3]);
    // What went through it may connect again.
    let connection = rig.connect().await;
    let channel = connection.create_channel().await.unwrap();
    let mut consumer = rig.consume(&channel, 1).await;
    assert!(consumer.next().await.unwrap().unwrap().redelivered);
    assert_eq!(rig.wire.record().delivered[7].at.connection, 2);
    channel.close(200, "bye".into()).await.unwrap();
    assert_eq!(ends(&rig.wire)[7], Some(Lost));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_waits_for_the_test_which_sees_what_was_confirmed_before() {
    let rig = Rig::new().await;
    let connection = rig.connect().await;
    let (channel, publishing) =
        (connection.create_channel().await.unwrap(), confirming(&connection).await);
    let mut consumer = rig.consume(&channel, 1).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (go, _) = tokio::sync::watch::channel(false);
    let gate = go.clone();
    let saw = Arc::clone(&seen);
    rig.wire.on_ack(move |acked| {
        let (saw, mut gate) = (Arc::clone(&saw), gate.subscribe());
        async move {
            let body = String::from_utf8_lossy(&acked.delivered.letter.body).into_owned();
            let event = acked.confirmed(|p| p.letter.message_id.as_deref() == Some(body.as_str()));
            saw.lock().unwrap().push((body, event.is_some()));
            let _ = gate.wait_for(|open| *open).await;
        }
    });
    rig.outside.send(&rig.queue, "proper").await;
    rig.outside.send(&rig.queue, "early").await;
    let events = rig.outside.capture("amq.topic", &rig.queue).await;
    let proper = consumer.next().await.unwrap().unwrap();
    publish(&publishing, &events, b"said", "proper").await;
    proper.ack(BasicAckOptions::default()).await.unwrap();
    let first = async || (seen.lock().unwrap().len() == 1).then_some(());
    eventually("the test is asked", SOON, first).await;
    // The broker knows nothing of it: with a prefetch of 1 the next does not come.
    let next = tokio::time::timeout(Duration::from_millis(300), consumer.next()).await;
    assert!(next.is_err(), "the ack has reached the broker");
    go.send_replace(true);
    let early = consumer.next().await.unwrap().unwrap();
    early.ack(BasicAckOptions::default()).await.unwrap();
    rig.outside.until_ready(&rig.queue, 0).await;
    let both = async || (seen.lock().unwrap().len() == 2).then_some(());
    eventually("the test is asked again", SOON, both).await;
    let expected = [("proper".to_owned(), true), ("early".to_owned(), false)];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_channel_hears_no_delivery_and_a_new_one_does() {
    let rig = Rig::new().await;
    let connection = rig.connect().await;
    let deaf = connection.create_channel().await.unwrap();
    let mut consumer = rig.consume(&deaf, 1).await;
    rig.wire.swallow_deliveries(Swallow::OpenChannels);
    for n in 0..2 {
        rig.outside.send(&rig.queue, n.to_string()).await;
    }
    let swallowed = async || (rig.wire.record().delivered.len() == 1).then_some(());
    eventually("the broker delivers", SOON, swallowed).await;
    assert!(rig.wire.record().delivered[0].swallowed);
    rig.outside.until_ready(&rig.queue, 1).await;
    let hearing = connection.create_channel().await.unwrap();
    let mut other = rig.consume(&hearing, 1).await;
    let second = other.next().await.unwrap().unwrap();
    assert_eq!((second.data.as_slice(), second.redelivered), (b"1".as_slice(), false));
    assert!(second.acker.ack(BasicAckOptions::default()).await.unwrap());
    // The channel still works otherwise, and what it did not hear goes to the other with its end.
    deaf.close(200, "bye".into()).await.unwrap();
    assert!(consumer.next().await.is_none());
    let first = other.next().await.unwrap().unwrap();
    assert_eq!((first.data.as_slice(), first.redelivered), (b"0".as_slice(), true));
}
