//! Messages whose AMQP properties other clients read and lapin does not (contract 2): each is one
//! message, archived or dead, and nobody else notices.

use lapin::types::{AMQPValue, DecimalValue};

use crate::cli::Desk;
use crate::ends::assert_dead;
use crate::support::broker::client::Seen;
use crate::support::broker::raw::{
    FRAME_MAX, Properties, Raw, SHORT_STRINGS, arrays, field, long, tables, text,
};
use crate::support::broker::{Node, node};
use crate::support::ccfs::Reply;
use crate::support::worker::Worker;
use crate::support::world::{World, call};

/// In Latin-1, as a careless producer has it.
const LATIN: &[u8] = b"M\xfcller";

/// Headers so large that the broker takes the message, and sends more than a frame once it has
/// added its own.
fn filling() -> Vec<u8> {
    // The frame, its content header, the other properties.
    let others = 8 + 14 + 4 + 40;
    let length = FRAME_MAX - others - field("filling", &text("")).len();
    field("filling", &text(vec![b'v'; length]))
}

/// A value of each type that RabbitMQ knows, by its name.
fn every_type() -> Vec<u8> {
    let values: [&[u8]; 18] = [
        b"t\x01",
        b"b\xff",
        b"B\xff",
        b"s\xff\xff",
        b"u\xff\xff",
        b"I\xff\xff\xff\xff",
        b"i\xff\xff\xff\xff",
        b"l\xff\xff\xff\xff\xff\xff\xff\xff",
        b"L\xff\xff\xff\xff\xff\xff\xff\xff",
        b"f\x3f\x80\0\0",
        b"d\x3f\xf0\0\0\0\0\0\0",
        b"T\0\0\0\0\x69\xec\x4b\x1f",
        b"D\x02\0\0\0\x0f",
        b"S\0\0\0\x02\xff\xfe",
        b"x\0\0\0\x02\xff\xfe",
        b"V",
        b"A\0\0\0\x03Vt\x01",
        b"F\0\0\0\x04\x01nt\x01",
    ];
    values.iter().flat_map(|value| field([value[0]], value)).collect()
}

/// Each kind that RabbitMQ takes, by a name for people.
fn odd() -> Vec<(String, Properties)> {
    let with = Properties::default;
    let mut odd: Vec<_> = SHORT_STRINGS
        .into_iter()
        // Those two the broker reads itself, and takes nothing odd for.
        .filter(|(name, _)| !["user_id", "expiration"].contains(name))
        .map(|(name, _)| (format!("{name} in Latin-1"), with().with(name, LATIN)))
        .collect();
    let headers = |fields: Vec<u8>| with().with_headers(fields);
    let inner = [b"F", &long(&field(LATIN, b"V"))[..]].concat();
    odd.extend([
        ("the name of a header".to_owned(), headers(field(LATIN, b"V"))),
        ("a name in a table".to_owned(), headers(field("outer", &inner))),
        ("arrays without end".to_owned(), headers(field("deep", &arrays(10_000)))),
        ("tables without end".to_owned(), headers(field("deep", &tables(8_000)))),
        ("headers that fill a frame".to_owned(), headers(filling())),
        ("each type of value".to_owned(), headers([every_type(), field(LATIN, b"V")].concat())),
    ]);
    odd
}

fn id(number: usize) -> String {
    format!("1777093663-{number:02}")
}

/// All was archived over the connections that were there, and the broker had to send it once.
async fn assert_undisturbed(world: &World, worker: &Worker, messages: usize) {
    world.settled(worker).await;
    worker
        .metric_reaches("callvault_messages_settled_total", &["how=\"acked\""], messages as f64)
        .await;
    for (name, labels) in [
        ("callvault_broker_reconnects_total", &[][..]),
        ("callvault_messages_settled_total", &["how=\"given_back\""]),
    ] {
        assert_eq!(worker.metric(name, labels).await, 0.0, "{name}\n{}", worker.log());
    }
    assert_eq!(world.depth("dead").await + world.depth("suspect").await, 0);
}

#[tokio::test]
async fn a_message_with_odd_properties_is_archived_and_its_neighbours_do_not_notice() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let mut raw = Raw::connect(node().await.amqp_port()).await;
    let mut sent = 0;
    let mut send = async |key: &[u8], properties: &Properties, name: &str| {
        let body = call(&id(sent)).to_string();
        let properties = properties.clone().persistent();
        let taken = raw.publish(&world.calls, key, &properties, body.as_bytes());
        taken.await.unwrap_or_else(|why| panic!("{name}: RabbitMQ takes it: {why}"));
        world.call(&id(sent + 1)).await;
        sent += 2;
    };
    for (name, properties) in odd() {
        send(b"call.completed", &properties, &name).await;
    }
    send(b"call.completed.M\xfcller", &Properties::default(), "a routing key").await;

    for (number, event) in world.events(sent).await.iter().enumerate() {
        assert_eq!(event["type"], "recording.archived", "{event:#}");
        assert_eq!(event["data"]["callId"], id(number));
        assert_eq!(event["data"]["attempts"], 1);
    }
    assert_undisturbed(&world, &worker, sent).await;
    let log = worker.stop().await;
    for told in
        ["app_id (not UTF-8)", "headers (nested deeper than 32 levels)", "routing_key (not UTF-8)"]
    {
        assert!(log.contains(told), "{told}\n{log}");
    }
    assert!(!log.contains("ller"), "no value is told");
}

#[tokio::test]
async fn an_odd_property_that_is_needed_makes_its_message_dead_and_is_named() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let mut raw = Raw::connect(node().await.amqp_port()).await;
    let mut body = call(&id(1));
    body.as_object_mut().unwrap().remove("type");
    let properties = Properties::default()
        .with("type", b"caf\xe9")
        .with("correlation_id", "kept")
        .with_headers([field("own", &text("kept")), field(LATIN, b"t\x01")].concat());

    let body = body.to_string();
    raw.publish(&world.calls, "call.completed", &properties, body.as_bytes()).await.unwrap();

    let event = world.event().await;
    assert_eq!(event.routing_key, "recording.failed.acme");
    let dead = world.take("dead").await;
    assert_dead(&world, &dead, "message.invalid", 1, 0);
    let detail = dead.header("callvault-detail").unwrap();
    assert!(detail.contains("headers (not UTF-8), type (not UTF-8)"), "{detail}");
    assert!(!detail.contains("caf"), "no value is told: {detail}");
    assert_eq!(dead.body, body.as_bytes(), "as it came");
    assert_eq!(dead.header("own").as_deref(), Some("kept"));
    assert_eq!(dead.header("M?ller").as_deref(), Some("Boolean(true)"));
    assert_eq!(dead.properties.correlation_id().as_ref().unwrap().as_str(), "kept");
    assert_eq!(dead.properties.kind().as_ref().unwrap().as_str(), "caf?");
    worker.stop().await;
}

#[tokio::test]
async fn an_odd_message_is_retried_with_what_can_be_kept_of_it() {
    let world = World::new().await;
    let worker = world.worker(&[("retry", "delays = [\"30s\"]")]).await;
    let mut raw = Raw::connect(node().await.amqp_port()).await;
    for (number, (name, properties)) in odd().into_iter().enumerate() {
        // An answer that counts, and that no breaker opens for, however long all of it takes.
        world.ccfs.script(&id(number), [Reply::status(404)]);
        let properties = properties.with("reply_to", "kept");
        let body = call(&id(number)).to_string();
        let taken = raw.publish(&world.calls, "call.completed", &properties, body.as_bytes()).await;
        taken.unwrap_or_else(|why| panic!("{name}: {why}"));

        let copy: Seen = world.take("retry.30s").await;
        assert_eq!(copy.json(), call(&id(number)), "{name}");
        assert_eq!(copy.properties.reply_to().as_ref().unwrap().as_str(), "kept", "{name}");
        assert_eq!(copy.header("callvault-attempts").as_deref(), Some("1"), "{name}");
        let headers = copy.properties.headers().clone().unwrap();
        if name.contains("without end") {
            assert!(headers.inner().contains_key("deep"), "{name}");
        }
        if name.contains("each type") {
            // A name that is not of ASCII, and 18 that are.
            let own = headers.inner().keys().filter(|name| !name.as_str().contains('-'));
            assert_eq!(own.count(), 19, "{headers:?}");
            assert_eq!(
                headers.inner()["D"],
                AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 15 },)
            );
        }
    }
    assert_eq!(worker.metric("callvault_broker_reconnects_total", &[]).await, 0.0);
    worker.stop().await;
}

/// Where messages come from besides: bulk, suspect, and through a retry queue.
#[tokio::test]
async fn an_odd_message_is_read_from_every_queue() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let mut raw = Raw::connect(node().await.amqp_port()).await;
    let retry = world.queue("retry.100ms");
    let mut sent = 0;
    for (name, properties) in odd() {
        let properties = properties.persistent();
        for (exchange, queue) in [("", "bulk"), ("", "suspect"), (&*retry, "jobs")] {
            let body = call(&id(sent)).to_string();
            let queue = world.queue(queue);
            let taken = raw.publish(exchange, &queue, &properties, body.as_bytes()).await;
            taken.unwrap_or_else(|why| panic!("{name} to {queue}: {why}"));
            sent += 1;
        }
    }
    for (number, event) in world.events(sent).await.iter().enumerate() {
        assert_eq!(event["type"], "recording.archived", "{event:#}");
        assert_eq!(event["data"]["callId"], id(number));
    }
    assert_undisturbed(&world, &worker, sent).await;
    // The broker had added where they had been.
    assert!(worker.stop().await.contains("headers (larger than a frame)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_messages_among_the_dead_are_looked_at_and_put_back() {
    let world = World::new().await;
    world.worker(&[]).await.stop().await;
    let desk = Desk::new(&world.config(&[]));
    let mut raw = Raw::connect(node().await.amqp_port()).await;
    let odd = odd();
    for (number, (_, properties)) in odd.iter().enumerate() {
        let properties = properties.clone().with("message_id", id(number)).persistent();
        let body = call(&id(number)).to_string();
        raw.publish("", world.queue("dead"), &properties, body.as_bytes()).await.unwrap();
    }
    let told = |line: &str| {
        let ended = desk.run(&format!("dead {line} --config callvault.toml"));
        assert_eq!(ended.code, 0, "{line}: {}{}", ended.stdout, ended.stderr);
        ended.stdout
    };

    assert_eq!(told("list").lines().count(), 1 + odd.len());
    // The broker is slow to send again what is nested deep.
    for number in [0, odd.len() - 1] {
        assert!(told(&format!("show {}", id(number))).contains(&id(number)));
    }
    told("redrive");

    assert_eq!(world.depth("dead").await, 0);
    let worker = world.worker(&[]).await;
    for event in world.events(odd.len()).await {
        assert_eq!(event["type"], "recording.archived", "{event:#}");
    }
    assert_undisturbed(&world, &worker, odd.len()).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_message_is_read_over_tls() {
    let node = Node::start_with_tls().await;
    let world = World::on(&node).await;
    let tls = node.tls.as_ref().expect("started with TLS");
    let key = |name: &str, file: &std::path::Path| format!("{name} = \"{}\"", file.display());
    let keys = [
        key("ca_file", &tls.ca_file),
        key("client_cert_file", &tls.client_cert_file),
        key("client_key_file", &tls.client_key_file),
    ]
    .join("\n");
    let config = world.config_at(
        &tls.url,
        &world.ccfs.url(),
        world.store.s3().endpoint(),
        &[("broker", &keys)],
    );
    let worker = Worker::start(&config).ready().await;
    let mut raw = Raw::connect(node.amqp_port()).await;
    let odd = odd();
    for (number, (name, properties)) in odd.iter().enumerate() {
        let body = call(&id(number)).to_string();
        let taken = raw.publish(&world.calls, "call.completed", properties, body.as_bytes()).await;
        taken.unwrap_or_else(|why| panic!("{name}: {why}"));
    }
    for event in world.events(odd.len()).await {
        assert_eq!(event["type"], "recording.archived", "{event:#}");
    }
    assert_undisturbed(&world, &worker, odd.len()).await;
    worker.stop().await;
}
