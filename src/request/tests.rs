mod dumps;
mod look;
mod mistakes;
mod properties;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::*;
use crate::failure::Class;

const NO_HINTS: Hints<'static> = Hints { message_type: None, content_type: None };

/// 2026-11-28T04:30:00Z.
const NOW: Timestamp = Timestamp::constant(1_795_840_200, 0);

fn parse_json(value: &Value) -> Result<Request, Box<Rejected>> {
    parse(value.to_string().as_bytes(), NO_HINTS, NOW)
}

fn refusal(value: &Value) -> String {
    parse_json(value).expect_err("must be refused").failure.to_string()
}

fn recording(request: Request) -> RecordingRequest {
    match request {
        Request::Recording(recording) => recording,
        Request::Dump(_) => panic!("a dump"),
    }
}

fn dump(request: Request) -> DumpRequest {
    match request {
        Request::Dump(dump) => dump,
        Request::Recording(_) => panic!("one recording"),
    }
}

fn call() -> Value {
    json!({
        "type": "call.completed", "tenant": "acme", "callId": "1777093663-792075",
        "fileName": "X:/4/0/20260425/512/1629533.V3", "ccId": "1",
        "callBegin": "2026-04-25T05:07:43Z", "callEnd": "2026-04-25T13:12:44+08:00",
        "metadata": { "agentId": "512", "": "käse\u{0}" },
        "somethingElse": [1, { "deep": null }]
    })
}

fn with(mut message: Value, field: &str, value: Value) -> Value {
    message[field] = value;
    message
}

#[test]
fn reads_every_field_of_a_call() {
    let request = recording(parse_json(&call()).unwrap());
    let metadata = [("agentId", "512"), ("", "käse\0")];
    let wanted = Wanted {
        call_id: Some(CallId::new("1777093663-792075").unwrap()),
        file_name: Some(FileName::new("X:/4/0/20260425/512/1629533.V3").unwrap()),
        cc_id: Some(CcId::new("1").unwrap()),
        call_begin: Some("2026-04-25T05:07:43Z".parse().unwrap()),
        call_end: Some("2026-04-25T05:12:44Z".parse().unwrap()),
        expected: None,
        metadata: metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    assert_eq!(
        request,
        RecordingRequest {
            tenant: TenantId::new("acme").unwrap(),
            wanted,
            request_id: None,
            force: false,
            message_type: MessageType::CallCompleted,
        }
    );
}

#[test]
fn null_is_absent_and_so_are_empty_names() {
    let message = json!({
        "type": "call.completed", "tenant": "acme", "callId": "c", "fileName": "", "ccId": "",
        "callBegin": null, "callEnd": null, "metadata": null, "requestId": 7, "force": false,
        "expected": "none of a call's fields"
    });
    let request = recording(parse_json(&message).unwrap());
    let call_id = Some(CallId::new("c").unwrap());
    assert_eq!(request.wanted, Wanted { call_id, ..Wanted::default() });
    let message = with(message, "callId", json!(""));
    assert_eq!(refusal(&message), "message.invalid: callId or fileName is required");
}

#[test]
fn a_field_of_the_wrong_kind_is_named() {
    let cases = [
        ("tenant", json!(null), "tenant is required"),
        ("tenant", json!(5550123), "tenant must be a string, is a number"),
        ("tenant", json!("a b"), "tenant must match [A-Za-z0-9][A-Za-z0-9_-]{0,63}"),
        ("tenant", json!(""), "tenant must match [A-Za-z0-9][A-Za-z0-9_-]{0,63}"),
        ("tenant", json!("unknown"), "tenant `unknown` is reserved"),
        ("type", json!(["call.completed"]), "type must be a string, is an array"),
        ("callId", json!(1777093663), "callId must be a string, is a number"),
        (
            "callId",
            json!("12345678901234567890123456"),
            "callId must have 1 to 25 characters, has 26",
        ),
        ("fileName", json!(true), "fileName must be a string, is a boolean"),
        ("fileName", json!("//\\"), "fileName must name a file"),
        ("fileName", json!("a\nb"), "fileName must not contain control characters"),
        ("ccId", json!({}), "ccId must be a string, is an object"),
        ("callBegin", json!(1777093663), "callBegin must be a string, is a number"),
        ("callBegin", json!("2026-04-25"), "callBegin must be an RFC 3339 date and time"),
        ("callEnd", json!(""), "callEnd must be an RFC 3339 date and time"),
        ("metadata", json!([]), "metadata must be an object, is an array"),
        (
            "metadata",
            json!({"5550123": 5550123}),
            "metadata: every value must be a string, is a number",
        ),
    ];
    for (field, value, detail) in cases {
        let rejected = parse_json(&with(call(), field, value)).unwrap_err();
        assert_eq!(rejected.failure.detail, detail);
        assert_eq!(rejected.failure.reason, Reason::MESSAGE_INVALID);
        assert_eq!(rejected.failure.class, Class::Permanent);
    }
}

#[test]
fn the_type_comes_from_the_field_then_from_the_property() {
    let dump = "recording.dump-requested";
    let hints = |name| Hints { message_type: Some(name), content_type: None };
    let typed = call().to_string();
    assert!(parse(typed.as_bytes(), hints(dump), NOW).is_ok());
    let untyped = with(call(), "type", Value::Null).to_string();
    let request = parse(untyped.as_bytes(), hints("call.completed"), NOW).unwrap();
    assert_eq!(request.message_type(), MessageType::CallCompleted);

    let missing = parse(untyped.as_bytes(), NO_HINTS, NOW).unwrap_err();
    assert_eq!(missing.failure.detail, "type is required");
    assert_eq!(missing.message_type, MessageType::Invalid);
    for unknown in ["call.ended", "invalid", "", "Call.Completed"] {
        let rejected = parse_json(&with(call(), "type", json!(unknown))).unwrap_err();
        assert_eq!(rejected.message_type, MessageType::Invalid, "{unknown}");
        assert!(rejected.failure.detail.starts_with("type must be call.completed"), "{unknown}");
    }
    let broken = parse(b"{", hints(dump), NOW).unwrap_err();
    assert_eq!(broken.message_type, MessageType::DumpRequested);
}

#[test]
fn what_is_no_json_object_says_where_it_broke() {
    let cases: [(&[u8], &str); 7] = [
        (b"", "the body ends too early at line 1, column 0"),
        (b"{\"a\":\n \"5550123", "the body ends too early at line 2, column 9"),
        (b"{\"a\": 5550123x}", "the body is not JSON at line 1, column 14"),
        (b"{} {}", "the body is not JSON at line 1, column 4"),
        (b"[]", "the body must be a JSON object, is an array"),
        (b"\"5550123\"", "the body must be a JSON object, is a string"),
        (b"{\"a\":\"\xff\"}", "the body is not UTF-8 at byte 6"),
    ];
    for (body, detail) in cases {
        assert_eq!(parse(body, NO_HINTS, NOW).unwrap_err().failure.detail, detail);
    }
    let marked = format!("\u{feff}{}", call());
    assert!(parse(marked.as_bytes(), NO_HINTS, NOW).is_ok(), "a byte order mark is skipped");
}

#[test]
fn a_lone_surrogate_is_a_replacement_character_wherever_it_stands() {
    let cut = |field: &str, value: &str| {
        let message = call().to_string();
        format!("{},\"{field}\":{value}}}", &message[..message.len() - 1])
    };
    let cases = [
        cut("note", r#""cut here \ud83d""#),
        cut("note", r#"[{"\udc00": "\ud83d\ud83d"}]"#),
        cut(r"note\udfff", "1"),
        cut("callEnd", r#""2026-04-25T05:12:44Z", "\ud83d": null"#),
    ];
    for message in cases {
        let request = recording(parse(message.as_bytes(), NO_HINTS, NOW).unwrap());
        assert_eq!(request.wanted.call_id.unwrap().as_str(), "1777093663-792075", "{message}");
    }
    let message = cut("metadata", r#"{ "a\ud83d": "\ude00 b \ud83d\ude00" }"#);
    let envelopes = [
        format!(r#"{{"specversion":"1.0","type":"call.completed","s":"\uD800","data":{message}}}"#),
        format!(
            r#"{{"specversion":"1.0","type":"call.completed","data_base64":"{}"}}"#,
            BASE64.encode(&message)
        ),
    ];
    for body in [&message, &envelopes[0], &envelopes[1]] {
        let request = recording(parse(body.as_bytes(), NO_HINTS, NOW).unwrap());
        let metadata = [("a\u{fffd}".to_owned(), "\u{fffd} b \u{1f600}".to_owned())];
        assert_eq!(request.wanted.metadata, metadata.into(), "{body}");
    }
    let named = cut("callId", r#""1777093663-\ud83d""#);
    let request = recording(parse(named.as_bytes(), NO_HINTS, NOW).unwrap());
    assert_eq!(request.wanted.call_id.unwrap().as_str(), "1777093663-\u{fffd}");
    let broken = parse(br#"{"a":"\ud83d",}"#, NO_HINTS, NOW).unwrap_err();
    assert_eq!(broken.failure.detail, "the body is not JSON at line 1, column 15");
}

/// RFC 8259 sets no bounds to numbers and depth, and leaves names that come twice to the reader.
#[test]
fn what_is_not_used_refuses_nothing() {
    let with_field = |field: &str| {
        let message = call().to_string();
        format!("{},{field}}}", &message[..message.len() - 1])
    };
    let digits = "7".repeat(5000);
    let deep = |levels: usize| format!("\"note\":{}{}", "[".repeat(levels), "]".repeat(levels));
    let fields = [
        "\"note\":1e400".to_owned(),
        "\"note\":[-1E+999999999999,{\"a\":1e400}]".to_owned(),
        format!("\"note\":{digits}"),
        format!("\"note\":-0.{digits}e-{digits}"),
        deep(126),
        "\"callId\":\"1777093663-792075\"".to_owned(),
    ];
    for field in fields {
        let message = with_field(&field);
        let envelopes = [
            format!(
                r#"{{"specversion":"1.0","type":"call.completed","n":1e400,"data_base64":"{}"}}"#,
                BASE64.encode(&message)
            ),
            format!("{message}\0"),
            format!("\u{feff}{message} \r\n\0\0"),
        ];
        for body in [&message, &envelopes[0], &envelopes[1], &envelopes[2]] {
            let request = parse(body.as_bytes(), NO_HINTS, NOW);
            assert_eq!(request.unwrap(), parse_json(&call()).unwrap(), "{body:.200}");
        }
    }
    // The last one counts, as to most readers.
    let twice = recording(parse(with_field("\"callId\":\"B\"").as_bytes(), NO_HINTS, NOW).unwrap());
    assert_eq!(twice.wanted.call_id.unwrap().as_str(), "B");

    let cases = [
        ("\"callId\":1e400".to_owned(), "callId must be a string, is a number"),
        (
            "\"metadata\":{\"a\":1e400}".to_owned(),
            "metadata: every value must be a string, is a number",
        ),
        (deep(127), "the body is nested over 127 levels deep"),
        (deep(1_000_000), "the body is nested over 127 levels deep"),
    ];
    for (field, detail) in cases {
        let message = with_field(&field);
        let refused = parse(message.as_bytes(), NO_HINTS, NOW).unwrap_err().failure.detail;
        assert_eq!(refused.split(" at line").next(), Some(detail), "{message:.200}");
    }
}

#[test]
fn a_body_may_have_four_mebibytes() {
    let mut body = call().to_string().into_bytes();
    body.resize(MAX_BODY, b' ');
    assert!(parse(&body, NO_HINTS, NOW).is_ok());
    body.push(b' ');
    let rejected = parse(&body, NO_HINTS, NOW).unwrap_err();
    assert_eq!(rejected.failure.reason, Reason::MESSAGE_TOO_LARGE);
    assert_eq!(rejected.failure.class, Class::Permanent);
}

#[test]
fn a_cloud_event_is_unwrapped() {
    let mut data = call();
    data["type"] = json!("something.else");
    let envelope = json!({
        "specversion": "1.0", "id": "1", "source": "pbx", "type": "call.completed", "data": data
    });
    assert_eq!(parse_json(&envelope).unwrap(), parse_json(&call()).unwrap());
    let coded = BASE64.encode(call().to_string());
    let coded = with(with(envelope.clone(), "data", Value::Null), "data_base64", json!(coded));
    assert_eq!(parse_json(&coded).unwrap(), parse_json(&call()).unwrap());
}

#[test]
fn a_wrong_envelope_is_refused_and_its_data_echoed() {
    let envelope = json!({ "specversion": "1.0", "type": "call.completed", "data": call() });
    let cases = [
        ("specversion", json!("0.3"), "specversion must be 1.0"),
        ("specversion", json!(1.0), "specversion must be a string, is a number"),
        ("type", Value::Null, "type is required"),
        ("data", json!(call().to_string()), "data must be an object, is a string"),
        ("data", Value::Null, "data is required in a CloudEvents envelope"),
        ("data_base64", json!("e30="), "data and data_base64 exclude each other"),
    ];
    for (field, value, detail) in cases {
        let rejected = parse_json(&with(envelope.clone(), field, value)).unwrap_err();
        assert_eq!(rejected.failure.detail, detail);
        let echoed = rejected.echo.tenant.is_some();
        assert_eq!(echoed, !field.starts_with("data"), "{detail}");
    }
    let hints = Hints {
        message_type: None,
        content_type: Some("Application/CloudEvents+JSON; charset=utf-8"),
    };
    let bare = parse(call().to_string().as_bytes(), hints, NOW).unwrap_err();
    let told = "specversion is required in a CloudEvents envelope; data is required in a \
                CloudEvents envelope";
    assert_eq!(bare.failure.detail, told);
    for (coded, detail) in [
        ("5550123", "data_base64 is not base64"),
        ("NTU1MDEyMw==", "data_base64: the body must be a JSON object, is a number"),
    ] {
        let body = json!({ "specversion": "1.0", "type": "call.completed", "data_base64": coded });
        assert_eq!(parse_json(&body).unwrap_err().failure.detail, detail);
    }
}

#[test]
fn a_rejected_message_echoes_what_is_well_formed() {
    let message = json!({
        "type": "call.completed", "tenant": "acme", "callId": "C1", "fileName": 5,
        "callEnd": "yesterday", "metadata": { "a": "b" }, "requestId": "not a field of calls"
    });
    let echo = parse_json(&message).unwrap_err().echo;
    let wanted = Echo {
        tenant: Some(TenantId::new("acme").unwrap()),
        call_id: Some(CallId::new("C1").unwrap()),
        metadata: [("a".to_owned(), "b".to_owned())].into(),
        ..Echo::default()
    };
    assert_eq!(echo, wanted);

    let message = json!({
        "type": "recording.dump-requested", "tenant": "acme", "requestId": "r", "recordings": 1
    });
    let rejected = parse_json(&message).unwrap_err();
    assert_eq!(rejected.message_type, MessageType::DumpRequested);
    let request_id = Some(RequestId::new("r").unwrap());
    let of_all = Echo { tenant: wanted.tenant, request_id, ..Echo::default() };
    assert_eq!(rejected.echo, of_all);

    // A dump of one is that recording's message; of more than one none is named.
    let dump = |recordings: Value| {
        let body = json!({ "type": "recording.dump-requested", "tenant": "acme", "requestId": "r",
                           "recordings": recordings });
        Echo::read(body.to_string().as_bytes(), NO_HINTS)
    };
    let one = json!({ "callId": "C1", "metadata": { "a": "b" }, "fileName": 5 });
    let named = Echo { call_id: wanted.call_id, metadata: wanted.metadata, ..of_all.clone() };
    assert_eq!(dump(json!([one])), named);
    assert_eq!(dump(json!([one, one])), of_all);
    assert_eq!(dump(json!(["C1"])), of_all);
}
