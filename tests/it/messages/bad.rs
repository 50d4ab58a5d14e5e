//! Every way in which a message can be wrong, and what must become of it.

use lapin::BasicProperties;
use serde_json::{Value, json};

use super::{PHONE, SECRET_PATH, TIMELESS, enveloped};
use crate::support::broker::client::{table, text};
use crate::support::world::call;

/// A message that can never succeed, and what must become of it.
pub struct Bad {
    pub name: &'static str,
    pub body: Vec<u8>,
    pub properties: BasicProperties,
    pub reason: &'static str,
    /// What the detail must say.
    pub detail: &'static str,
    /// The tenant of the event.
    pub tenant: Option<&'static str>,
    /// The label `type` it counts under.
    pub counted: &'static str,
    /// The queue that it dies from: a dump of several is read on the bulk queue.
    pub queue: &'static str,
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
    let (tenant, counted, queue) = (Some("acme"), "call.completed", "jobs");
    Bad { name, body, properties, reason, detail, tenant, counted, queue }
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

impl Bad {
    fn of(self, tenant: Option<&'static str>) -> Self {
        Self { tenant, ..self }
    }

    fn counted(self, counted: &'static str) -> Self {
        Self { counted, ..self }
    }

    /// Moved to the bulk queue before it is read.
    fn moved(self) -> Self {
        Self { queue: "bulk", ..self }
    }

    pub fn is_moved(&self) -> bool {
        self.queue == "bulk"
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

    /// One field more.
    fn with(self, field: &str, value: Value) -> Self {
        let mut message: Value = serde_json::from_slice(&self.body).expect("a JSON body");
        message[field] = value;
        Self { body: message.to_string().into_bytes(), ..self }
    }

    /// The value of `tenant` in the metrics.
    pub fn label(&self) -> &'static str {
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
        dump("force a word", "force", json!("yes"), "force must be true or false").moved(),
        dump("no recordings", "recordings", Value::Null, "recordings is required"),
        dump("recordings empty", "recordings", json!([]), rule),
        dump("10,001 recordings", "recordings", json!(ten_thousand_and_one), rule).moved(),
        dump("recordings an object", "recordings", json!({}), "recordings must be an array"),
        dump("one bad time", "recordings", one_bad, "recordings[2]: callEnd must be").moved(),
        dump("one a string", "recordings", json!([PHONE]), "recordings[0]: must be an object"),
        dump("one nameless", "recordings", json!([{ "callId": "1777093663-9" }, {}]), "[1]: ")
            .moved(),
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

/// Where it does nothing.
fn of_force() -> Vec<Bad> {
    let of_one = json!([{ "callId": "1777093663-2" }, { "callId": "1777093663-3", "force": true }]);
    let in_call = "force does nothing in a call.completed";
    vec![
        field("force in a call", "force", json!(true), in_call),
        field("force a word in a call", "force", json!(PHONE), in_call),
        envelope("force in a call in an envelope", "force", Value::Null, in_call)
            .with("data", json!({ "tenant": "acme", "callId": "1777093663-1", "force": true })),
        envelope("force beside data", "force", json!(true), "force does nothing in a CloudEvents"),
        dump("force of one", "recordings", of_one, "recordings[1]: force does nothing").moved(),
    ]
}

/// A call that has yet to come, by whatever tells its time.
fn of_the_clock() -> Vec<Bad> {
    let far = "2062-04-25T05:12:44Z";
    // The day after, in seconds.
    let (call, file) = ("2913253963-1", "X:/4/0/20620425/512/1.V3");
    let recordings = |last: Value| json!([{ "callId": "1777093663-2" }, last]);
    let undated = |name, what| field(name, "callEnd", Value::Null, what);
    let sent =
        undated("sent in 2062", "the AMQP timestamp is more than a day ahead of the clock (2");
    let sent = sent.with("callId", json!(TIMELESS));
    let properties = sent.properties.clone().with_timestamp(2_913_253_963);
    vec![
        Bad { properties, ..sent },
        field("callEnd in 2062", "callEnd", json!(far), "callEnd is more than a day ahead"),
        field("callBegin in 2062", "callBegin", json!(far), "callBegin is more than a day ahead"),
        undated("callId of 2062", "the time that callId begins with is more than a day ahead")
            .with("callId", json!(call)),
        undated("fileName of 2062", "the day in fileName is more than a day ahead")
            .with("fileName", json!(file)),
        envelope("2062 in an envelope", "data", call_at(far), "callEnd is more than a day ahead"),
        dump(
            "one of 2062",
            "recordings",
            recordings(json!({ "callId": "1777093663-3", "callEnd": far })),
            "recordings[1]: callEnd is more than a day ahead",
        )
        .moved(),
        dump(
            "one callId of 2062",
            "recordings",
            recordings(json!({ "callId": call })),
            "recordings[1]: the time that callId begins with is more than",
        )
        .moved(),
        dump(
            "a dump of one callId of 2062",
            "recordings",
            json!([{ "callId": call }]),
            "recordings[0]: the time that callId begins with is more than",
        ),
        dump(
            "one fileName of 2062",
            "recordings",
            recordings(json!({ "fileName": file })),
            "recordings[1]: the day in fileName is more than",
        )
        .moved(),
        field("item of 2062", "callEnd", json!(far), "callEnd is more than a day ahead")
            .with("type", json!("recording.dump-item"))
            .with("requestId", json!("audit"))
            .counted("recording.dump-item"),
    ]
}

fn call_at(end: &str) -> Value {
    let mut call = call("1777093663-4");
    call["callEnd"] = json!(end);
    call
}

/// All that is wrong, in one detail.
fn of_several() -> Vec<Bad> {
    let both = json!([{ "callId": 1 }, { "callId": "1777093663-3" }, { "ccId": PHONE.repeat(5) }]);
    vec![
        field(
            "four mistakes",
            "callId",
            json!(PHONE.repeat(2)),
            "tenant is required; callId must have 1 to 25 characters, has 26; callEnd must be an \
             RFC 3339 date and time; metadata must be an object, is a string",
        )
        .with("tenant", Value::Null)
        .with("callEnd", json!(PHONE))
        .with("metadata", json!(PHONE))
        .of(None),
        dump(
            "mistakes in two recordings",
            "recordings",
            both,
            "requestId is required; recordings[0]: callId must be a string, is a number; \
             recordings[2]: callId or fileName is required; recordings[2]: ccId must have 1 to 64 \
             characters, has 65",
        )
        .with("requestId", Value::Null),
        envelope(
            "mistakes in and around an envelope",
            "specversion",
            json!("2.0"),
            "specversion must be 1.0; callId or fileName is required",
        )
        .with("data", json!({ "tenant": "acme" })),
    ]
}

pub fn all() -> Vec<Bad> {
    let groups = [
        unreadable(),
        untyped(),
        of_tenants(),
        of_names(),
        of_times(),
        of_dumps(),
        of_envelopes(),
        of_force(),
        of_the_clock(),
        of_several(),
    ];
    groups.into_iter().flatten().collect()
}
