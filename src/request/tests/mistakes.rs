//! All that is wrong with a message is told at once.

use super::dumps::dump_of;
use super::*;

/// What is told of a bad message, a line a mistake.
fn told(message: &Value) -> String {
    let failure = parse_json(message).expect_err("must be refused").failure;
    assert_eq!(failure.reason, Reason::MESSAGE_INVALID);
    failure.detail.split(SEPARATOR).map(|mistake| format!("{mistake}\n")).collect()
}

#[test]
fn of_a_call_in_the_order_of_its_fields() {
    let message = json!({
        "type": "call.completed", "tenant": "a b", "callId": 1777093663, "fileName": "//",
        "ccId": "", "callBegin": "2062-04-25T05:07:43Z", "callEnd": "5550123", "metadata": [],
        "force": true, "requestId": 7, "expected": "x"
    });
    insta::assert_snapshot!(told(&message), @r"
    tenant must match [A-Za-z0-9][A-Za-z0-9_-]{0,63}
    callId must be a string, is a number
    fileName must name a file
    callBegin is more than a day ahead of the clock (2026-11-28T04:30:00Z)
    callEnd must be an RFC 3339 date and time
    metadata must be an object, is an array
    force does nothing in a call.completed: send a recording.dump-requested, or leave it out
    ");
    let bare = json!({ "type": "call.completed" });
    insta::assert_snapshot!(told(&bare), @r"
    tenant is required
    callId or fileName is required
    ");
}

#[test]
fn of_a_message_without_a_type_by_what_it_looks_like() {
    let call = json!({ "tenant": "acme", "callId": "", "callEnd": 7 });
    insta::assert_snapshot!(told(&call), @r"
    type is required
    callId or fileName is required
    callEnd must be a string, is a number
    ");
    let dump = json!({ "type": "dump", "recordings": [{ "callId": "A", "ccId": 1 }] });
    insta::assert_snapshot!(told(&dump), @r"
    type must be call.completed, recording.dump-requested or recording.dump-item
    tenant is required
    requestId is required
    recordings[0]: ccId must be a string, is a number
    ");
}

#[test]
fn of_a_dump_with_the_places_of_its_recordings() {
    let mut message = dump_of(json!([
        { "callId": "A", "callEnd": "2026-04-25", "ccId": 7 },
        { "callId": "B" },
        { "fileName": "1.V3", "expected": 2, "force": true },
        "5550123",
        { "callId": "C", "expected": 0, "force": false },
    ]));
    message["requestId"] = json!("");
    message["force"] = json!("yes");
    insta::assert_snapshot!(told(&message), @r"
    requestId must have 1 to 128 characters, has 0
    force must be true or false, is a string
    recordings[0]: ccId must be a string, is a number
    recordings[0]: callEnd must be an RFC 3339 date and time
    recordings[2]: force does nothing in a recording: it stands beside requestId, and is for all of them
    recordings[2]: expected says how many files CC-FS has for a callId, and there is none: leave it out
    recordings[3]: must be an object, is a string
    recordings[4]: expected must be a whole number from 1 to 1000
    ");
    let item = json!({ "type": "recording.dump-item", "force": 1, "callId": "A", "expected": "2" });
    insta::assert_snapshot!(told(&item), @r"
    tenant is required
    requestId is required
    force must be true or false, is a number
    expected must be a number, is a string
    ");
}

#[test]
fn of_a_dump_that_is_wrong_throughout_the_first_and_how_many() {
    let message = dump_of(json!(vec![json!({ "callId": 7, "callEnd": "" }); MAX_RECORDINGS]));
    let told = told(&message);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[0], "recordings[0]: callId must be a string, is a number");
    assert_eq!(lines[1], "recordings[0]: callEnd must be an RFC 3339 date and time");
    assert_eq!(lines[2], "recordings[1]: callId must be a string, is a number");
    let more = 2 * MAX_RECORDINGS - (lines.len() - 1);
    assert_eq!(lines.last(), Some(&&*format!("and {more} more")));
    assert!(told.len() < 1000, "it fits the header");
}

#[test]
fn of_an_envelope_and_of_what_is_in_it() {
    let envelope = json!({
        "specversion": "0.3", "type": 7, "force": true,
        "data": { "tenant": "acme", "callId": "A", "callEnd": "soon" }
    });
    insta::assert_snapshot!(told(&envelope), @r"
    specversion must be 1.0
    type must be a string, is a number
    force does nothing in a CloudEvents envelope: it belongs in data
    callEnd must be an RFC 3339 date and time
    ");
    let empty = json!({ "specversion": "1.0" });
    insta::assert_snapshot!(told(&empty), @r"
    type is required
    data is required in a CloudEvents envelope
    ");
    let coded = BASE64.encode(r#"{ "callId": "A", "ccId": 7 }"#);
    let coded = json!({ "specversion": "1.0", "type": "call.completed", "data_base64": coded });
    insta::assert_snapshot!(told(&coded), @r"
    tenant is required
    ccId must be a string, is a number
    ");
}

#[test]
fn force_is_heard_where_it_does_something_and_refused_elsewhere() {
    let instead = "force does nothing in a call.completed: send a recording.dump-requested, or \
                   leave it out";
    for force in [json!(true), json!("true"), json!(1), json!({}), json!("")] {
        let rejected = parse_json(&with(call(), "force", force.clone())).unwrap_err();
        assert_eq!(rejected.failure.detail, instead, "{force}");
        let dump = with(dump_of(json!([{ "callId": "A" }])), "force", force.clone());
        assert_eq!(parse_json(&dump).is_ok(), force == true, "{force}");
        let recording = dump_of(json!([{ "callId": "A", "force": force }]));
        assert!(parse_json(&recording).is_err(), "{force}");
    }
    // It says what holds anyway.
    for force in [json!(false), Value::Null] {
        assert!(parse_json(&with(call(), "force", force.clone())).is_ok());
        assert!(parse_json(&dump_of(json!([{ "callId": "A", "force": force }]))).is_ok());
    }
}

#[test]
fn a_call_that_has_yet_to_come_is_refused_in_every_message() {
    let ahead = "is more than a day ahead of the clock (2026-11-28T04:30:00Z)";
    let call = |time: &str| json!({ "tenant": "acme", "callId": "A", "callEnd": time });
    let messages = |time: &str| {
        let item = with(call(time), "type", json!("recording.dump-item"));
        [
            with(call(time), "type", json!("call.completed")),
            with(item, "requestId", json!("r")),
            dump_of(json!([call(time)])),
            json!({ "specversion": "1.0", "type": "call.completed", "data": call(time) }),
        ]
    };
    for message in messages("2062-04-25T05:12:44Z") {
        let told = told(&message);
        assert!(
            told.trim_start_matches("recordings[0]: ") == format!("callEnd {ahead}\n"),
            "{told}"
        );
        // Waiting makes it right.
        let later = parse(message.to_string().as_bytes(), NO_HINTS, Timestamp::MAX);
        assert!(later.is_ok(), "{message}");
    }
    for message in messages("2026-11-29T04:30:00Z") {
        assert!(parse_json(&message).is_ok(), "{message}");
    }
}
