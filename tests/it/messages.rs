//! What comes in (contract 2): every bad message is dead at once with its reason and says nothing
//! private, the queue moves on; every good form is understood.

use lapin::BasicProperties;
use lapin::types::ShortString;
use serde_json::{Value, json};

use crate::ends::{assert_dead, assert_unarchived, headers};
use crate::support::broker::client::{Seen, table, text};
use crate::support::world::{World, call};

/// A caller's number, in every value that must not get out.
const PHONE: &str = "8613800138000";
const SECRET_PATH: &str = "X:/4/0/hush";
/// Says nothing of its day.
const TIMELESS: &str = "A-0815";

/// A message that can never succeed, and what must become of it.
struct Bad {
    name: &'static str,
    body: Vec<u8>,
    properties: BasicProperties,
    reason: &'static str,
    /// What the detail must say.
    detail: &'static str,
    /// The tenant of the event.
    tenant: Option<&'static str>,
    /// The label `type` it counts under.
    counted: &'static str,
}

fn bytes(name: &'static str, body: impl Into<Vec<u8>>, detail: &'static str) -> Bad {
    let own = table([("x-trace", text("4711"))]);
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_message_id(name.into())
        .with_correlation_id("c-1".into())
        .with_reply_to("somewhere".into())
        .with_app_id("pbx".into())
        .with_priority(3)
        .with_headers(own);
    let (body, reason) = (body.into(), "message.invalid");
    Bad { name, body, properties, reason, detail, tenant: Some("acme"), counted: "call.completed" }
}

fn bad(name: &'static str, body: &Value, detail: &'static str) -> Bad {
    bytes(name, body.to_string(), detail)
}

/// A call with one field changed; `null` takes it away.
fn field(name: &'static str, field: &str, value: Value, detail: &'static str) -> Bad {
    let mut message = call("1777093663-1");
    message[field] = value;
    bad(name, &message, detail)
}

/// The same of a dump of two.
fn dump(name: &'static str, field: &str, value: Value, detail: &'static str) -> Bad {
    let recordings = json!([{ "callId": "1777093663-2" }, { "callId": "1777093663-3" }]);
    let mut message = json!({ "type": "recording.dump-requested", "tenant": "acme",
                              "requestId": "audit", "recordings": recordings });
    message[field] = value;
    Bad { counted: "recording.dump-requested", ..bad(name, &message, detail) }
}

/// The same of an envelope with a good call in it.
fn envelope(name: &'static str, field: &str, value: Value, detail: &'static str) -> Bad {
    let mut message = enveloped(&call("1777093663-4"));
    message[field] = value;
    bad(name, &message, detail)
}

fn enveloped(data: &Value) -> Value {
    json!({ "specversion": "1.0", "type": "call.completed", "source": "pbx", "id": "7",
            "data": data })
}

impl Bad {
    fn of(self, tenant: Option<&'static str>) -> Self {
        Self { tenant, ..self }
    }

    fn counted(self, counted: &'static str) -> Self {
        Self { counted, ..self }
    }

    fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    /// With the AMQP property `type`.
    fn typed(mut self, message_type: &str) -> Self {
        self.properties = self.properties.with_type(message_type.into());
        self
    }

    fn content_type(mut self, content_type: &str) -> Self {
        self.properties = self.properties.with_content_type(content_type.into());
        self
    }

    /// The value of `tenant` in the metrics.
    fn label(&self) -> &'static str {
        self.tenant.filter(|tenant| *tenant == "acme").unwrap_or("unknown")
    }
}

fn unreadable() -> Vec<Bad> {
    let cut = format!(r#"{{"type":"call.completed","tenant":"acme","callId":"{PHONE}"#);
    let not_utf8 = [br#"{"callId":""#, PHONE.as_bytes(), b"\xff\"}"].concat();
    let mut huge = call("1777093663-5").to_string().into_bytes();
    huge.resize((4 << 20) + 1, b' ');
    [
        bytes("cut", cut.clone(), "ends too early at line 1"),
        bytes("not JSON", format!("call {PHONE} ended"), "is not JSON at line 1"),
        bytes("two documents", "{} {}", "is not JSON"),
        bytes("empty", "", "ends too early"),
        bytes("not UTF-8", not_utf8, "not UTF-8 at byte 24"),
        bytes("an array", format!(r#"["{PHONE}"]"#), "must be a JSON object, is an array"),
        bytes("a string", format!(r#""{PHONE}""#), "must be a JSON object, is a string"),
        bytes("too large", huge, "4194305 bytes").because("message.too_large"),
    ]
    .map(|bad| bad.of(None).counted("invalid"))
    .into_iter()
    // The type is known where the property tells it.
    .chain([bytes("cut, typed", cut, "ends too early").of(None).typed("call.completed")])
    .collect()
}

fn untyped() -> Vec<Bad> {
    vec![
        field("no type", "type", Value::Null, "type is required").counted("invalid"),
        field("unknown type", "type", json!(PHONE), "type must be call.completed")
            .counted("invalid"),
        field("type a number", "type", json!(7), "type must be a string").counted("invalid"),
        field("unknown type by property", "type", Value::Null, "type must be call.completed")
            .typed("call.started")
            .counted("invalid"),
    ]
}

fn of_tenants() -> Vec<Bad> {
    let long = "a".repeat(65);
    vec![
        field("no tenant", "tenant", Value::Null, "tenant is required").of(None),
        field("tenant empty", "tenant", json!(""), "tenant must match").of(None),
        field("tenant a path", "tenant", json!("../acme"), "tenant must match").of(None),
        field("tenant with a dot", "tenant", json!("ac.me"), "tenant must match").of(None),
        field("tenant too long", "tenant", json!(long), "tenant must match").of(None),
        field("tenant reserved", "tenant", json!("unknown"), "is reserved").of(None),
        field("tenant a number", "tenant", json!(7), "tenant must be a string").of(None),
        field("not configured", "tenant", json!("initech"), "")
            .because("tenant.unknown")
            .of(Some("initech")),
        dump("dump of none of ours", "tenant", json!("initech"), "")
            .because("tenant.unknown")
            .of(Some("initech")),
        field("not configured, and bad", "tenant", json!("Initech_2"), "callEnd must be")
            .with("callEnd", json!(PHONE))
            .of(Some("Initech_2")),
    ]
}

impl Bad {
    /// One field more.
    fn with(self, field: &str, value: Value) -> Self {
        let mut message: Value = serde_json::from_slice(&self.body).expect("a JSON body");
        message[field] = value;
        Self { body: message.to_string().into_bytes(), ..self }
    }
}

fn of_names() -> Vec<Bad> {
    let long = PHONE.repeat(2);
    let neither = "callId or fileName is required";
    vec![
        field("neither name", "callId", Value::Null, neither),
        field("empty callId", "callId", json!(""), neither),
        field("both empty", "callId", json!(""), neither).with("fileName", json!("")),
        field("callId of 26", "callId", json!(long), "callId must have 1 to 25 characters, has 26"),
        field("callId a number", "callId", json!(1_777_093_663), "callId must be a string"),
        field("callId an object", "callId", json!({ "id": PHONE }), "is an object"),
        field("callId of two lines", "callId", json!("1777093663\n1"), "control characters"),
        field("fileName too long", "fileName", json!("x".repeat(226)), "has 226"),
        field("fileName of slashes", "fileName", json!("//\\"), "must name a file"),
        field("fileName an array", "fileName", json!([SECRET_PATH]), "is an array"),
        field("ccId too long", "ccId", json!(PHONE.repeat(5)), "ccId must have 1 to 64"),
        field("ccId a number", "ccId", json!(1), "ccId must be a string"),
        field("metadata a string", "metadata", json!(PHONE), "metadata must be an object"),
        field("metadata of numbers", "metadata", json!({ "caller": 8_613_800_138_000_u64 }), ""),
        field("metadata nested", "metadata", json!({ PHONE: { "a": "b" } }), "every value"),
    ]
}

fn of_times() -> Vec<Bad> {
    let rule = "must be an RFC 3339 date and time";
    let times = [
        ("a phone number", json!(PHONE)),
        ("a day", json!("2026-04-25")),
        ("no zone", json!("2026-04-25T05:12:44")),
        ("a blank", json!("2026-04-25 05:12:44Z")),
        ("no such day", json!("2026-02-29T05:12:44Z")),
        ("hour 24", json!("2026-04-25T24:00:00Z")),
        ("offset without colon", json!("2026-04-25T05:12:44+0800")),
        ("offset of a day", json!("2026-04-25T05:12:44+24:00")),
        ("a zone's name", json!("2026-04-25T05:12:44Z[UTC]")),
        ("empty time", json!("")),
    ];
    let mut all: Vec<Bad> =
        times.into_iter().map(|(name, time)| field(name, "callEnd", time, rule)).collect();
    all.push(field("begin", "callBegin", json!("yesterday"), "callBegin must be an RFC 3339"));
    all.push(field("epoch", "callEnd", json!(1_777_093_663), "callEnd must be a string"));
    let no_date = field("no date", "callId", json!(TIMELESS), "").with("callEnd", Value::Null);
    all.push(no_date.because("message.no_date"));
    all
}

fn of_dumps() -> Vec<Bad> {
    let ten_thousand_and_one: Vec<_> =
        (0..10_001).map(|n| json!({ "callId": format!("1777093663-{n}") })).collect();
    let one_bad = json!([{ "callId": "1777093663-6" }, { "callId": "1777093663-7" },
                         { "callId": "1777093663-8", "callEnd": PHONE }]);
    let rule = "recordings must have 1 to 10000 entries, has ";
    vec![
        dump("no requestId", "requestId", Value::Null, "requestId is required"),
        dump("requestId empty", "requestId", json!(""), "1 to 128 characters, has 0"),
        dump("requestId of 129", "requestId", json!(PHONE.repeat(10)[..129]), "has 129"),
        dump("requestId a number", "requestId", json!(7), "requestId must be a string"),
        dump("force a word", "force", json!("yes"), "force must be true or false"),
        dump("no recordings", "recordings", Value::Null, "recordings is required"),
        dump("recordings empty", "recordings", json!([]), rule),
        dump("10,001 recordings", "recordings", json!(ten_thousand_and_one), rule),
        dump("recordings an object", "recordings", json!({}), "recordings must be an array"),
        dump("one bad time", "recordings", one_bad, "recordings[2]: callEnd must be"),
        dump("one a string", "recordings", json!([PHONE]), "recordings[0]: must be an object"),
        dump("one nameless", "recordings", json!([{ "callId": "1777093663-9" }, {}]), "[1]: "),
        dump("item without request", "requestId", Value::Null, "requestId is required")
            .with("type", json!("recording.dump-item"))
            .counted("recording.dump-item"),
    ]
}

fn of_envelopes() -> Vec<Bad> {
    let cloud = "application/cloudevents+json";
    vec![
        envelope("specversion 0.3", "specversion", json!("0.3"), "specversion must be 1.0"),
        envelope("specversion a number", "specversion", json!(1.0), "must be a string"),
        envelope("specversion missing", "specversion", Value::Null, "specversion is required")
            .content_type(cloud),
        envelope("data missing", "data", Value::Null, "data is required").of(None),
        envelope("data a string", "data", json!(PHONE), "data must be an object, is a").of(None),
        envelope("data bad", "data", json!({ "tenant": "acme" }), "callId or fileName"),
        envelope("data twice", "data_base64", json!("e30="), "exclude each other").of(None),
        envelope("no base64", "data_base64", json!(PHONE), "not base64")
            .with("data", Value::Null)
            .of(None),
        envelope("base64 of no JSON", "data_base64", json!("MTM4"), "data_base64: the body")
            .with("data", Value::Null)
            .of(None),
        envelope("envelope untyped", "type", Value::Null, "type is required").counted("invalid"),
    ]
}

fn all_bad() -> Vec<Bad> {
    let groups =
        [unreadable(), untyped(), of_tenants(), of_names(), of_times(), of_dumps(), of_envelopes()];
    groups.into_iter().flatten().collect()
}

#[tokio::test]
async fn every_bad_message_is_dead_at_once_and_the_queue_moves_on() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let bad = all_bad();
    let names: std::collections::BTreeSet<_> = bad.iter().map(|bad| bad.name).collect();
    assert_eq!(names.len(), bad.len(), "each name once");

    for bad in &bad {
        world.publish_raw("call.completed", &bad.body, bad.properties.clone()).await;
        let event = world.event().await;
        let dead = world.take("dead").await;
        assert_bad(&world, bad, &event, &dead);
    }
    let good = "1777093664-1";
    world.call(good).await;
    assert_eq!(world.event().await.json()["data"]["callId"], good, "the queue moves on");

    world.settled(&worker).await;
    let metrics = worker.get("/metrics").await.1;
    assert_counted(&worker, &bad).await;
    assert_eq!(world.ccfs.requests().len(), 1, "nothing was asked for a bad message");
    for queue in ["jobs", "bulk", "dead"] {
        assert_eq!(world.depth(queue).await, 0, "nothing is left in {queue}");
    }
    let log = worker.stop().await;
    for private in [PHONE, SECRET_PATH] {
        assert!(!metrics.contains(private), "{metrics}");
        let lines = log.lines().filter(|line| line.contains(private)).collect::<Vec<_>>();
        assert_eq!(lines, [""; 0], "the log tells {private}");
    }
}

fn assert_bad(world: &World, bad: &Bad, event: &Seen, dead: &Seen) {
    let name = bad.name;
    println!("{name}");
    assert_dead(world, dead, bad.reason, 1, 0);
    let detail = dead.header("callvault-detail").unwrap_or_default();
    assert!(detail.contains(bad.detail), "{name}: {detail}");
    assert!(dead.body == bad.body, "{name}: the body is as it was");
    assert_same_properties(name, &bad.properties, &dead.properties);

    assert_unarchived(event, "recording.failed", bad.tenant, bad.reason, 1);
    let mut said = event.json();
    assert_eq!(said["data"]["reason"]["message"], detail, "{name}");
    said["data"].as_object_mut().expect("an object").remove("metadata");
    let headers = headers(dead);
    for private in [PHONE, SECRET_PATH] {
        assert!(!said.to_string().contains(private), "{name}: {said:#}");
        assert!(!headers.contains(private), "{name}: {headers}");
    }
}

/// All is as the sender wrote it, but our headers and what the broker counts.
fn assert_same_properties(name: &str, sent: &BasicProperties, dead: &BasicProperties) {
    let own = |properties: &BasicProperties| {
        let headers = properties.headers().clone().unwrap_or_default();
        let mut kept = table([]);
        for (key, value) in headers.inner() {
            let name = key.as_str();
            if !name.starts_with("callvault-") && name != "x-delivery-count" {
                kept.insert(key.clone(), value.clone());
            }
        }
        properties.clone().with_headers(kept).with_delivery_mode(2)
    };
    assert_eq!(own(dead), own(sent), "{name}");
}

/// The metrics tell what was published here, and no message more.
async fn assert_counted(worker: &crate::support::worker::Worker, bad: &[Bad]) {
    let count = |which: &dyn Fn(&Bad) -> bool| bad.iter().filter(|bad| which(bad)).count() as f64;
    for kind in ["call.completed", "recording.dump-requested", "recording.dump-item", "invalid"] {
        let labels = [&*format!("type=\"{kind}\"")];
        let received = worker.metric("callvault_messages_received_total", &labels).await;
        let good = f64::from(u8::from(kind == "call.completed"));
        assert_eq!(received, count(&|bad| bad.counted == kind) + good, "{kind}");
    }
    for tenant in ["acme", "unknown"] {
        let of = format!("tenant=\"{tenant}\"");
        let reasons = ["message.invalid", "message.no_date", "message.too_large", "tenant.unknown"];
        for reason in reasons {
            let labels = [&*of, &*format!("reason=\"{reason}\"")];
            let dead = worker.metric("callvault_dead_total", &labels).await;
            let expected = count(&|bad| bad.label() == tenant && bad.reason == reason);
            assert_eq!(dead, expected, "{labels:?}");
        }
        let labels = [&*of, "outcome=\"dead\""];
        let dead = worker.metric("callvault_jobs_total", &labels).await;
        assert_eq!(dead, count(&|bad| bad.label() == tenant), "{labels:?}");
    }
    let acked = worker.metric("callvault_messages_settled_total", &["how=\"acked\""]).await;
    assert_eq!(acked, bad.len() as f64 + 1.0);
    assert_eq!(worker.metric("callvault_retries_total", &[]).await, 0.0);
    assert_eq!(worker.metric("callvault_dead_total", &[]).await, bad.len() as f64);
}

#[tokio::test]
async fn metadata_of_a_bad_message_goes_to_its_event_alone() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let mut message = call("1777093663-1");
    message["metadata"] = json!({ "caller": PHONE });
    message["callEnd"] = json!("soon");

    world.publish(&message).await;

    let event = world.event().await;
    assert_unarchived(&event, "recording.failed", Some("acme"), "message.invalid", 1);
    let event = event.json();
    assert_eq!(event["subject"], "acme/1777093663-1");
    assert_eq!(event["data"]["metadata"], json!({ "caller": PHONE }));
    let dead = world.take("dead").await;
    assert!(!headers(&dead).contains(PHONE));
    assert!(!worker.get("/metrics").await.1.contains(PHONE));
    assert!(!worker.stop().await.contains(PHONE));
}

/// A message in one of its good forms, and the key that it leads to.
struct Good {
    name: &'static str,
    body: Vec<u8>,
    properties: BasicProperties,
    key: String,
    call_end: Option<&'static str>,
}

/// `change` makes the form out of a plain call, whose callId is the number of the case.
fn good_forms() -> Vec<Good> {
    type Change = fn(Value) -> Value;
    let without_type = |mut message: Value| {
        message.as_object_mut().map(|fields| fields.remove("type"));
        message
    };
    let plain = BasicProperties::default;
    let cloud = || plain().with_content_type("application/cloudevents+json; charset=UTF-8".into());
    let day = "2026/04/25";
    let end = Some("2026-04-25T05:12:44Z");
    let forms: Vec<(&'static str, Change, BasicProperties, &str, Option<&'static str>)> = vec![
        ("as in the contract", |m| m, plain(), day, end),
        ("type by property", without_type, plain().with_type("call.completed".into()), day, end),
        (
            "the field wins over the property",
            |m| m,
            plain().with_type("recording.dump-requested".into()),
            day,
            end,
        ),
        ("envelope by content type", |m| enveloped(&m), cloud(), day, end),
        ("envelope by specversion", |m| enveloped(&m), plain(), day, end),
        ("envelope around a call without type", without_type_in, plain(), day, end),
        ("envelope in base64", in_base64, cloud(), day, end),
        ("unknown fields", |m| with(m, "agent", json!({ "a": [1, null] })), plain(), day, end),
        ("null fields", nulls, plain(), day, end),
        ("an empty fileName", |m| with(m, "fileName", json!("")), plain(), day, end),
        (
            "offset ahead",
            |m| with_end(m, "2026-04-25T01:12:44+08:00"),
            plain(),
            "2026/04/24",
            Some("2026-04-24T17:12:44Z"),
        ),
        (
            "offset behind",
            |m| with_end(m, "2026-04-25T23:42:44.25-05:30"),
            plain(),
            "2026/04/26",
            Some("2026-04-26T05:12:44.25Z"),
        ),
        ("small letters", |m| with_end(m, "2026-04-25t05:12:44z"), plain(), day, end),
        ("callBegin alone", begin_alone, plain(), "2026/03/01", None),
        ("the day of the file", day_of_file, plain(), "2026/02/03", None),
        ("the day of the callId", |m| with(m, "callEnd", Value::Null), plain(), day, None),
    ];
    forms.into_iter().enumerate().map(|(number, form)| good(number, form)).collect()
}

#[expect(clippy::type_complexity, reason = "a row of the table above")]
fn good(
    number: usize,
    (name, change, properties, day, call_end): (
        &'static str,
        fn(Value) -> Value,
        BasicProperties,
        &str,
        Option<&'static str>,
    ),
) -> Good {
    let id = format!("1777093664-{number:02}");
    let body = change(call(&id)).to_string().into_bytes();
    let file = if name == "the day of the file" { "_X_20260203_512" } else { "" };
    Good { name, body, properties, key: format!("acme/{day}/{id}{file}.wav"), call_end }
}

fn with(mut message: Value, field: &str, value: Value) -> Value {
    message[field] = value;
    message
}

fn with_end(message: Value, end: &str) -> Value {
    with(message, "callEnd", json!(end))
}

fn without_type_in(message: Value) -> Value {
    enveloped(&with(message, "type", Value::Null))
}

fn in_base64(message: Value) -> Value {
    use base64::Engine as _;
    let coded = base64::engine::general_purpose::STANDARD.encode(message.to_string());
    with(with(enveloped(&message), "data", Value::Null), "data_base64", json!(coded))
}

fn nulls(mut message: Value) -> Value {
    for field in ["fileName", "ccId", "callBegin", "metadata"] {
        message[field] = Value::Null;
    }
    message
}

fn begin_alone(message: Value) -> Value {
    with(with(message, "callEnd", Value::Null), "callBegin", json!("2026-03-01T00:00:00Z"))
}

fn day_of_file(message: Value) -> Value {
    with(with(message, "callEnd", Value::Null), "fileName", json!("X:/20260203/512.V3"))
}

#[tokio::test]
async fn every_good_form_is_understood() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let good = good_forms();

    for good in &good {
        world.publish_raw("call.completed", &good.body, good.properties.clone()).await;
    }
    let events = world.events(good.len()).await;

    for (good, event) in good.iter().zip(events) {
        let told = format!("{}: {event:#}", good.name);
        assert_eq!(event["type"], "recording.archived", "{told}");
        let data = &event["data"];
        assert_eq!(data["objects"][0]["key"], good.key, "{told}");
        assert_eq!(data["callEnd"].as_str(), good.call_end, "{told}");
        assert_eq!((&data["ccId"], &data["attempts"]), (&json!("1"), &json!(1)), "{told}");
        assert_eq!(data.get("metadata"), None, "{told}");
    }
    world.settled(&worker).await;
    let labels = ["type=\"call.completed\""];
    let received = worker.metric("callvault_messages_received_total", &labels).await;
    assert_eq!(received, good.len() as f64);
    worker.stop().await;
}

#[tokio::test]
async fn the_broker_s_timestamp_dates_what_nothing_else_does() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let mut message = call(TIMELESS);
    message["callEnd"] = Value::Null;
    // 2026-04-25T05:07:43Z.
    let properties = BasicProperties::default().with_timestamp(1_777_093_663);

    world.publish_raw("call.completed", message.to_string().as_bytes(), properties).await;

    let event = world.event().await.json();
    assert_eq!(event["data"]["objects"][0]["key"], "acme/2026/04/25/A-0815.wav");
    worker.stop().await;
}

#[tokio::test]
async fn four_mebibytes_are_not_too_many() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let mut body = call("1777093665-1").to_string().into_bytes();
    body.resize(4 << 20, b' ');

    world.publish_raw("call.completed", &body, BasicProperties::default()).await;

    assert_eq!(world.event().await.json()["type"], "recording.archived");
    worker.stop().await;
}

#[tokio::test]
async fn a_dump_of_one_is_done_in_place() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let message = json!({ "type": "recording.dump-requested", "tenant": "acme",
                          "requestId": "r".repeat(128), "recordings": [
                              { "callId": "1777093666-1", "metadata": { "agentId": "512" } }] });

    world.publish(&message).await;

    let event = world.event().await;
    assert_eq!(event.routing_key, "recording.archived.acme");
    let kind = event.properties.kind().as_ref().map(ShortString::as_str);
    assert_eq!(kind, Some("recording.archived"));
    let data = &event.json()["data"];
    assert_eq!(data["requestId"], "r".repeat(128));
    assert_eq!(data["metadata"]["agentId"], "512");
    assert_eq!(data["objects"][0]["key"], "acme/2026/04/25/1777093666-1.wav");
    worker.stop().await;
}
