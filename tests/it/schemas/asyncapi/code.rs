//! What docs/asyncapi.yaml says of exchanges, queues, messages and their properties is what the code
//! does, both ways.

use std::collections::{BTreeMap, BTreeSet};

use callvault::clock;
use callvault::config::Config;
use callvault::event::{self, Event};
use callvault::request::{self, Hints, MessageType};
use callvault::traces::{TRACEPARENT, TRACESTATE};
use lapin::BasicProperties;
use lapin::types::ShortString;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use url::Url;

use super::super::page::fits;
use super::super::{IN, OUT, events};
use super::{Judge, document, follow, located, names, whole};
use crate::cli::{Desk, LEAST};
use crate::support::broker::client::{self, Seen};
use crate::support::world::{World, call};

/// What callvault says to itself, of which no page has a schema.
const OWN: &str = "recording.dump-item";
/// Queues and exchanges that are nobody else's business; the description says so.
const HIDDEN: [&str; 3] = ["callvault.dead", "callvault.suspect", "callvault.retry."];

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// The binding for AMQP of a channel, an operation or a message.
fn amqp<'a>(document: &'a Value, part: &'a Value) -> &'a Value {
    let binding = &follow(document, &part["bindings"])["amqp"];
    assert_eq!(binding["bindingVersion"], "0.3.0", "{part}");
    binding
}

/// A field of a message, which a trait may give it.
fn field<'a>(document: &'a Value, message: &'a Value, name: &str) -> &'a Value {
    let traits = message["traits"].as_array().into_iter().flatten();
    let mut all = [message].into_iter().chain(traits.map(|part| follow(document, part)));
    all.find_map(|part| part.get(name)).unwrap_or(&Value::Null)
}

#[test]
fn its_messages_are_those_of_the_code() {
    let document = document();
    let kinds = MessageType::ALL.into_iter().filter(|kind| *kind != MessageType::Invalid);
    let kinds: BTreeSet<_> = kinds.map(MessageType::as_str).collect();
    assert_eq!(kinds, IN.into_iter().chain([OWN]).collect());
    assert_eq!(BTreeSet::from(event::TYPES), BTreeSet::from(OUT));
    let messages = &document["components"]["messages"];
    assert_eq!(names(messages), set(kinds.into_iter().chain(event::TYPES)));

    for (name, message) in messages.as_object().expect("messages") {
        assert_eq!(message["name"], *name);
        assert_eq!(amqp(&document, message)["messageType"], *name);
        let is_event = event::TYPES.contains(&name.as_str());
        let content_type = if is_event { Event::CONTENT_TYPE } else { "application/json" };
        assert_eq!(field(&document, message, "contentType"), content_type, "{name}");
        if name != OWN {
            assert_eq!(
                message["payload"],
                json!({ "$ref": format!("schemas/{name}.schema.json") })
            );
        }
        // An event has in its headers what its body has of a trace.
        let body = whole(&message["payload"]);
        let traced = !is_event || body["properties"].get(TRACEPARENT).is_some();
        let headers = &follow(&document, &message["headers"])["properties"];
        let told = if headers.is_null() { BTreeSet::new() } else { names(headers) };
        let expected = [TRACEPARENT, TRACESTATE].into_iter().filter(|_| traced);
        assert_eq!(told, set(expected), "{name}");
    }
}

/// Which messages are sent, or received, and at which channels.
fn operations(document: &Value, action: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    let all = document["operations"].as_object().expect("operations").values();
    for operation in all.filter(|operation| operation["action"] == action) {
        let place = operation["channel"]["$ref"].as_str().expect("a channel");
        let channel = place.strip_prefix("#/channels/").expect("one of the channels");
        for message in operation["messages"].as_array().expect("messages") {
            let message = message["$ref"].as_str().expect("a message");
            let message = message.strip_prefix(&format!("{place}/messages/"));
            let message = message.expect("one of its channel").to_owned();
            found.entry(message).or_default().insert(channel.to_owned());
        }
    }
    found
}

#[test]
fn every_message_is_sent_and_received_where_the_code_does_it() {
    let document = document();
    let (jobs, bulk) = ("callvault.jobs", "callvault.bulk");
    let [call, dump] = IN;
    let at = |message: &str, channels: &[&str]| (message.to_owned(), set(channels.iter().copied()));
    let received = [at(call, &[call, jobs]), at(dump, &[dump, jobs, bulk]), at(OWN, &[bulk])];
    assert_eq!(operations(&document, "receive"), received.into());
    let events = event::TYPES.map(|event| at(event, &[event]));
    let sent = events.into_iter().chain([at(dump, &[dump, bulk]), at(OWN, &[bulk])]);
    assert_eq!(operations(&document, "send"), sent.collect());

    let mut judge = Judge::of(&document);
    for event in events::one_of_each() {
        let kind = event.event_type;
        let body: Value = serde_json::from_slice(&event.body).expect("JSON");
        judge.must_take(&format!("/components/messages/{kind}/payload"), &body);
        let channel = &document["channels"][kind];
        let address = channel["address"].as_str().expect("an address");
        assert_eq!(address.replace("{tenant}", "acme"), event.routing_key);
        let tenant = &follow(&document, &channel["parameters"]["tenant"])["location"];
        assert_eq!(located(tenant, &body), Some(&json!("acme")), "{kind}");
        assert_eq!(names(&channel["parameters"]), set(["tenant"]));
        assert_eq!(amqp(&document, channel)["exchange"]["name"], "recordings");
    }
}

#[test]
fn what_a_dump_becomes_is_what_the_document_says() {
    let document = document();
    let dump = json!({ "type": "recording.dump-requested", "tenant": "acme", "requestId": "r",
        "force": true, "recordings": [{ "callId": "A", "fileName": "1.V3", "ccId": "1",
        "callBegin": "2026-04-25T05:07:43Z", "callEnd": "2026-04-25T05:12:44Z", "expected": 2,
        "metadata": { "agentId": "512" } }, { "callId": "B" }] });
    let read = request::parse(dump.to_string().as_bytes(), Hints::default(), clock::now());
    let request::Request::Dump(dump) = read.expect("it is good") else { panic!("it is a dump") };
    let items: Vec<Value> =
        dump.into_items().map(|item| serde_json::from_slice(&item).expect("JSON")).collect();
    let payload = &document["components"]["messages"][OWN]["payload"];
    assert_eq!(names(&payload["properties"]), names(&items[0]));
    let mut judge = Judge::of(&document);
    for item in &items {
        judge.must_take(&format!("/components/messages/{OWN}/payload"), item);
    }
}

#[test]
fn exchanges_and_queues_are_those_that_are_declared() {
    let document = document();
    let topology = Desk::new(LEAST).printed("topology --definitions --config callvault.toml", &[]);
    let topology: Value = serde_json::from_str(&topology).expect("JSON");
    let all = |kind: &str| topology[kind].as_array().expect("a list").iter();
    let others = |item: &&Value| {
        let name = item["name"].as_str().expect("a name");
        !HIDDEN.iter().any(|hidden| name.starts_with(hidden))
    };
    let (mut exchanges, mut queues) = (BTreeMap::new(), BTreeMap::new());
    for channel in document["channels"].as_object().expect("channels").values() {
        let binding = amqp(&document, channel);
        if binding["is"] == "routingKey" {
            let exchange = &binding["exchange"];
            exchanges.insert(exchange["name"].to_string(), exchange.clone());
            continue;
        }
        let (queue, more) = (&binding["queue"], &binding["x-amqp"]);
        assert_eq!((&binding["is"], &queue["name"]), (&json!("queue"), &channel["address"]));
        let bound = all("bindings").filter(|bound| bound["destination"] == queue["name"]);
        let bound: Vec<_> = bound
            .map(|b| json!({ "exchange": b["source"], "routingKey": b["routing_key"] }))
            .collect();
        assert_eq!(more["bindings"], Value::from(bound), "{queue}");
        queues.insert(queue["name"].to_string(), (queue.clone(), more["arguments"].clone()));
    }
    let declared = all("exchanges").filter(others).map(|made| {
        let exchange = json!({ "name": made["name"], "type": made["type"], "vhost": made["vhost"],
            "durable": made["durable"], "autoDelete": made["auto_delete"] });
        (made["name"].to_string(), exchange)
    });
    assert_eq!(exchanges, declared.collect());
    let declared = all("queues").filter(others).map(|made| {
        let queue = json!({ "name": made["name"], "vhost": made["vhost"], "durable": made["durable"],
            "autoDelete": made["auto_delete"], "exclusive": false });
        (made["name"].to_string(), (queue, made["arguments"].clone()))
    });
    assert_eq!(queues, declared.collect());
    let description = document["info"]["description"].as_str().expect("a description");
    for hidden in HIDDEN {
        assert!(description.contains(&format!("`{hidden}")), "{hidden}");
    }

    // What is published to `calls` with the address of a message, and with words after it, gets there.
    for name in IN {
        let channel = &document["channels"][name];
        let exchange = &amqp(&document, channel)["exchange"]["name"];
        let address = channel["address"].as_str().expect("an address");
        for key in [address.to_owned(), format!("{address}.acme")] {
            let key: Vec<_> = key.split('.').collect();
            let reaches = |bound: &Value| {
                let words: Vec<_> =
                    bound["routing_key"].as_str().expect("a key").split('.').collect();
                bound["source"] == *exchange && fits(&words, &key)
            };
            assert_eq!(all("bindings").filter(|bound| reaches(bound)).count(), 1, "{key:?}");
        }
    }
}

#[test]
fn the_local_server_is_the_default_of_the_configuration() {
    let document = document();
    let (_, without_broker) = LEAST.split_once("[ccfs]").expect("a section");
    let desk = Desk::new(&format!("[ccfs]{without_broker}"));
    let file = desk.folder().join("callvault.toml");
    let loaded = Config::load(Some(&file), std::iter::empty());
    let broker = loaded.unwrap_or_else(|mistakes| panic!("{mistakes}")).config.broker;
    let url = broker.urls[0].read().expect("a default");
    let url = Url::parse(url.expose_secret()).expect("a URL");
    let local = &document["servers"]["local"];
    let host = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
    assert_eq!(
        (&local["protocol"], &local["host"], &local["pathname"]),
        (&json!(url.scheme()), &json!(host), &json!(url.path()))
    );
    let said = &document["components"]["operationBindings"]["said"]["amqp"];
    assert_eq!(said["mandatory"], broker.events_mandatory);
}

/// All properties that a message has, but for its headers.
fn properties(seen: &Seen) -> Map<String, Value> {
    let of = &seen.properties;
    let text = |value: &Option<ShortString>| json!(value.as_ref().map(ShortString::as_str));
    let all = json!({
        "content_type": text(of.content_type()), "content_encoding": text(of.content_encoding()),
        "delivery_mode": of.delivery_mode(), "priority": of.priority(),
        "correlation_id": text(of.correlation_id()), "reply_to": text(of.reply_to()),
        "expiration": text(of.expiration()), "message_id": text(of.message_id()),
        "timestamp": of.timestamp(), "type": text(of.kind()), "user_id": text(of.user_id()),
        "app_id": text(of.app_id()), "cluster_id": text(of.cluster_id()),
    });
    let Value::Object(all) = all else { unreachable!("it was written as one") };
    all.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_has_the_properties_that_the_document_says() {
    let document = document();
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let place = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [(TRACEPARENT, client::text(place)), (TRACESTATE, client::text("rojo=1"))];
    let traced = BasicProperties::default().with_headers(client::table(headers));
    world.publish_raw("call.completed", call("1777093663-1").to_string().as_bytes(), traced).await;
    let event = world.event().await;
    let body = event.json();
    let message = &document["components"]["messages"]["recording.archived"];
    let told = field(&document, message, "x-amqp")["properties"].as_object().expect("properties");
    let expected = told.iter().map(|(name, value)| {
        let is_place = value.as_str().is_some_and(|value| value.starts_with("$message"));
        let value = if is_place { located(value, &body).expect("it is there") } else { value };
        (name.clone(), value.clone())
    });
    assert_eq!(properties(&event), expected.collect());
    let said = amqp(&document, &document["operations"]["sayArchived"]);
    assert_eq!(told["delivery_mode"], said["deliveryMode"]);
    let sent = event.sent_properties();
    let sent = sent.headers().as_ref().expect("headers").inner();
    let known = names(&follow(&document, &message["headers"])["properties"]);
    assert_eq!(sent.keys().map(|name| name.to_string()).collect::<BTreeSet<_>>(), known);
    for name in known {
        assert_eq!(event.header(&name).as_deref(), body[&name].as_str(), "{name}");
    }
    worker.stop().await;

    let asked = world.rabbit.capture(&world.calls, "#").await;
    let desk = Desk::new(&world.config(&[]));
    let line = "dump --tenant acme --call-id 1777093663-1 --config callvault.toml";
    assert_eq!(desk.run(line).code, 0);
    let asked = world.rabbit.take(&asked).await;
    let dump = &document["components"]["messages"]["recording.dump-requested"];
    let operation = &document["operations"]["askForDump"];
    let mut expected = json!({ "content_type": dump["contentType"],
        "type": amqp(&document, dump)["messageType"],
        "delivery_mode": amqp(&document, operation)["deliveryMode"] });
    expected["message_id"] = properties(&asked)["message_id"].clone();
    assert_eq!(Value::Object(properties(&asked)), expected);
    let key =
        operation["description"].as_str().expect("it tells the key").replace("{tenant}", "acme");
    assert!(key.contains(&format!("`{}`", asked.routing_key)), "{key}");
}
