//! Messages: the schemas refuse what `request::parse` refuses, and take what it takes.
//!
//! The exceptions are those that docs/MESSAGES.md names, and no others: [`beyond`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use callvault::clock;
use callvault::request::{self, Hints};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{IN, Schema};

/// What no schema can hold: it takes these, and they are `message.invalid`.
fn beyond() -> Vec<(&'static str, Value)> {
    let at = |time: &str| with(call(), "callEnd", json!(time));
    let coded = |text: &str| json!({ "specversion": "1.0", "type": "call.completed", "data_base64": BASE64.encode(text) });
    vec![
        ("a time ahead of the clock", at("9999-01-01T00:00:00Z")),
        ("a time before the year 1 in UTC", at("0001-01-01T00:00:00+01:00")),
        ("a time after 9999 in UTC", at("9999-12-31T23:59:59-01:00")),
        (
            "no base64",
            json!({ "specversion": "1.0", "type": "call.completed", "data_base64": "-" }),
        ),
        ("base64 of no JSON", coded("soon")),
        ("base64 of a bad message", coded(r#"{"tenant":"acme"}"#)),
    ]
}

/// What a schema refuses and is good, since the AMQP property `type` may have what the body lacks.
fn typed_elsewhere() -> Value {
    let mut message = call();
    message.as_object_mut().expect("an object").remove("type");
    message
}

fn call() -> Value {
    json!({ "type": "call.completed", "tenant": "acme", "callId": "1777093663-792075",
            "fileName": "X:/4/0/20260425/512/1629533.V3", "ccId": "1",
            "callBegin": "2026-04-25T05:07:43Z", "callEnd": "2026-04-25T05:12:44Z",
            "metadata": { "agentId": "512" }, "force": false })
}

fn dump() -> Value {
    json!({ "type": "recording.dump-requested", "tenant": "acme", "requestId": "audit-2026-04",
            "force": true, "recordings": [
                { "callId": "1777093663-792075", "callEnd": "2026-04-25T05:12:44Z", "expected": 2,
                  "metadata": { "agentId": "512" }, "force": false },
                { "fileName": "X:/4/0/20260425/512/1629533.V3", "ccId": "1",
                  "callBegin": "2026-04-25T05:07:43Z" }] })
}

fn enveloped(mut message: Value) -> Value {
    let message_type = message["type"].take();
    json!({ "specversion": "1.0", "type": message_type, "source": "pbx-7", "id": "4711",
            "datacontenttype": "application/json", "data": message })
}

fn with(mut message: Value, field: &str, value: Value) -> Value {
    message[field] = value;
    message
}

/// Whether a message is good, and of which type.
fn good(message: &Value) -> Option<&'static str> {
    let read = request::parse(message.to_string().as_bytes(), Hints::default(), clock::now());
    let read = read.map_err(|rejected| {
        assert_eq!(rejected.failure.reason.as_str(), "message.invalid", "{message}");
    });
    read.ok().map(|request| request.message_type().as_str())
}

/// The code and both schemas say the same of a message.
fn agree(schemas: &[(&'static str, Schema)], message: &Value) {
    let good = good(message);
    for (name, schema) in schemas {
        let taken = schema.takes(message);
        assert_eq!(taken, good == Some(name), "{name}: {good:?}, its schema: {taken}\n{message:#}");
    }
}

fn schemas() -> Vec<(&'static str, Schema)> {
    IN.into_iter().map(|message| (message, Schema::of(message))).collect()
}

#[test]
fn what_is_beyond_a_schema_is_refused_all_the_same() {
    let schema = Schema::of("call.completed");
    for (name, message) in beyond() {
        assert!(schema.takes(&message), "{name}");
        assert_eq!(good(&message), None, "{name}");
    }
    let untyped = typed_elsewhere();
    let hints = Hints { message_type: Some("call.completed"), content_type: None };
    assert!(request::parse(untyped.to_string().as_bytes(), hints, clock::now()).is_ok());
    assert!(!schema.takes(&untyped));
    let page = super::text("docs/MESSAGES.md");
    let (_, page) = page.split_once("no schema can hold").expect("the page names them");
    let (page, _) = page.split_once("\n## ").expect("another section");
    for named in
        ["`data_base64`", "127 levels", "length of the key", "ahead of the clock", "the year 1"]
    {
        assert!(page.contains(named), "the page does not name {named}");
    }
}

/// Those of the contract, with what it writes as dots.
#[test]
fn the_contract_s_examples_are_good() {
    let call = json!({
        "type": "call.completed", "tenant": "acme", "callId": "1777093663-792075",
        "fileName": "X:/4/0/20260425/512/1629533.V3", "ccId": "1",
        "callBegin": "2026-04-25T05:07:43Z", "callEnd": "2026-04-25T05:12:44Z",
        "metadata": { "agentId": "512" }
    });
    let dump = json!({
        "type": "recording.dump-requested", "tenant": "acme", "requestId": "audit-2026-04",
        "force": false,
        "recordings": [
            { "callId": "1777093663-792075", "callEnd": "2026-04-25T05:12:44Z" },
            { "fileName": "X:/4/0/20260425/512/1629533.V3" },
        ]
    });
    for (message, name) in [call, dump].into_iter().zip(IN) {
        Schema::of(name).must_take(&message);
        assert_eq!(good(&message), Some(name));
    }
    let event = json!({
        "specversion": "1.0", "type": "recording.archived", "source": "callvault",
        "id": "529c04fe-a5da-8221-823d-591735a642e6", "time": "2026-04-25T05:14:02.318Z",
        "subject": "acme/1777093663-792075", "datacontenttype": "application/json",
        "data": {
            "tenant": "acme", "callId": "1777093663-792075",
            "fileName": "X:/4/0/20260425/512/1629533.V3", "ccId": "1", "requestId": "audit-2026-04",
            "metadata": { "agentId": "512" },
            "objects": [{
                "bucket": "recordings", "key": "acme/2026/04/25/1777093663-792075.wav",
                "size": 2_408_044, "sha256": "ab".repeat(32), "etag": "e", "versionId": "v",
                "contentType": "audio/wav",
                "audio": { "codec": "pcm_alaw", "sampleRate": 8000, "channels": 1, "durationMs": 301_000 }
            }],
            "alreadyArchived": false, "attempts": 1, "callEnd": "2026-04-25T05:12:44Z",
            "archivedAt": "2026-04-25T05:14:02.318Z"
        }
    });
    Schema::of("recording.archived").must_take(&event);
}

/// Values that stand in for those of a field, good in some and bad in others.
fn odd_values() -> Vec<Value> {
    let times = [
        "2026-04-25T05:12:44Z",
        "2026-04-25t05:12:44.123456789012z",
        "2026-04-25T05:12:44+08:00",
        "2026-04-25T05:12:44-00:00",
        "2024-02-29T05:12:44Z",
        "2000-02-29T05:12:44Z",
        "2026-02-29T05:12:44Z",
        "1900-02-29T05:12:44Z",
        "2026-04-31T05:12:44Z",
        "2026-02-30T05:12:44Z",
        "2026-13-01T05:12:44Z",
        "2026-00-01T05:12:44Z",
        "2026-04-00T05:12:44Z",
        "2016-12-31T23:59:60Z",
        "2026-04-25T05:12:61Z",
        "2026-04-25T24:00:00Z",
        "2026-04-25T05:60:00Z",
        "2026-04-25T05:12:44",
        "2026-04-25 05:12:44Z",
        "2026-04-25T05:12:44.Z",
        "2026-04-25T05:12:44+0800",
        "2026-04-25T05:12:44+24:00",
        "2026-04-25T05:12:44+08:60",
        "2026-04-25T05:12:44Z\n",
        "0000-04-25T05:12:44Z",
        "0001-04-25T05:12:44Z",
        "2026-04-25",
    ];
    let names = [
        "",
        " ",
        "acme",
        "acme-2_X",
        "unknown",
        "-acme",
        "ac.me",
        "a\nb",
        "a\u{7f}b",
        "a\u{9f}b",
        "a\u{a0}b",
        "/",
        "//\\",
        "//a",
        "1.0",
        "call.completed",
        "recording.dump-requested",
        "recording.dump-item",
        "true",
    ];
    let long = [25, 26, 64, 65, 128, 129, 225, 226].into_iter();
    let long = long.flat_map(|length| ["x".repeat(length), "\u{20000}".repeat(length)]);
    let texts = times.into_iter().chain(names).map(str::to_owned).chain(long).map(Value::from);
    let others = [
        Value::Null,
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(2.0),
        json!(1.5),
        json!(-1),
        json!(1000),
        json!(1001),
        json!(1e300),
        json!([]),
        json!([[]]),
        json!(["x"]),
        json!([{}]),
        json!([{ "callId": "A" }]),
        json!([{ "callId": "A", "expected": 3 }, { "fileName": "1.V3", "expected": null }]),
        json!([{ "fileName": "1.V3", "expected": 3 }]),
        json!([{ "callId": "A" }, { "callId": "" }]),
        json!([{ "callId": "A", "force": true }]),
        json!({}),
        json!({ "a": "b", "c": null }),
        json!({ "a": 1 }),
        json!({ "a": { "b": "c" } }),
        json!({ "tenant": "acme", "callId": "A" }),
        json!({ "tenant": "acme", "requestId": "r", "recordings": [{ "callId": "A" }] }),
    ];
    texts.chain(others).collect()
}

/// The messages that are changed.
fn good_messages() -> Vec<Value> {
    vec![call(), dump(), enveloped(call()), enveloped(dump())]
}

/// The places of all values in a message, but for those within metadata.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut visit = |name: &str, value: &Value| {
        let place = format!("{at}/{name}");
        found.push(place.clone());
        places(value, &place, found);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| visit(name, value)),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(at, value)| visit(&at.to_string(), value));
        }
        _ => {}
    }
}

/// The fields that a message may have, wherever they are put.
const FIELDS: [&str; 16] = [
    "type",
    "tenant",
    "callId",
    "fileName",
    "ccId",
    "callBegin",
    "callEnd",
    "metadata",
    "force",
    "requestId",
    "recordings",
    "expected",
    "specversion",
    "data",
    "data_base64",
    "another",
];

/// Each field of a good message taken away, and with each of the odd values; and each of the fields
/// that a message may have, put where it was not.
#[test]
fn one_field_that_is_changed() {
    let schemas = schemas();
    let odd = odd_values();
    let mut seen = (0, 0);
    let mut judge = |message: &Value| {
        agree(&schemas, message);
        let count = if good(message).is_some() { &mut seen.0 } else { &mut seen.1 };
        *count += 1;
    };
    for message in good_messages() {
        judge(&message);
        let mut all = Vec::new();
        places(&message, "", &mut all);
        for place in &all {
            for value in &odd {
                let mut changed = message.clone();
                *changed.pointer_mut(place).expect("it is there") = value.clone();
                judge(&changed);
            }
            let (parent, name) = place.rsplit_once('/').expect("a place begins with a slash");
            let mut less = message.clone();
            match less.pointer_mut(parent) {
                Some(Value::Object(fields)) => drop(fields.remove(name)),
                Some(Value::Array(values)) => drop(values.remove(name.parse().expect("a number"))),
                _ => unreachable!("the parent of a value is an object or an array"),
            }
            judge(&less);
        }
        let parents = all.iter().map(String::as_str).chain([""]);
        for parent in parents.filter(|place| message.pointer(place).is_some_and(Value::is_object)) {
            for field in FIELDS {
                for value in [json!("1"), json!(true), json!(7), json!([]), json!({}), Value::Null]
                {
                    let mut more = message.clone();
                    more.pointer_mut(parent).expect("it is there")[field] = value;
                    judge(&more);
                }
            }
        }
    }
    assert!(seen.0 > 300 && seen.1 > 1000, "{seen:?}");
}

proptest! {
    /// Several fields at once.
    #[test]
    fn several_that_are_changed(
        message in prop::sample::select(good_messages()),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::option::weighted(0.8, prop::sample::select(odd_values()))),
            1..5,
        ),
    ) {
        thread_local!(static SCHEMAS: Vec<(&'static str, Schema)> = schemas());
        let mut message = message;
        for (at, value) in changes {
            let mut all = Vec::new();
            places(&message, "", &mut all);
            let Some(place) = all.get(at.index(all.len().max(1))) else { continue };
            let (parent, name) = place.rsplit_once('/').expect("a place begins with a slash");
            match (message.pointer_mut(parent), value) {
                (Some(Value::Object(fields)), None) => drop(fields.remove(name)),
                (Some(Value::Object(fields)), Some(value)) => drop(fields.insert(name.to_owned(), value)),
                (Some(Value::Array(values)), value) => {
                    values[name.parse::<usize>().expect("a number")] = value.unwrap_or_default();
                }
                _ => unreachable!("the parent of a value is an object or an array"),
            }
        }
        SCHEMAS.with(|schemas| agree(schemas, &message));
    }
}

/// Thousands of recordings are too slow for the tables above.
#[test]
fn a_dump_has_one_to_ten_thousand_recordings() {
    let schemas = schemas();
    for (count, is_good) in [(0, false), (1, true), (10_000, true), (10_001, false)] {
        let message = with(dump(), "recordings", json!(vec![json!({ "callId": "A" }); count]));
        agree(&schemas, &message);
        assert_eq!(good(&message).is_some(), is_good, "{count}");
    }
}
