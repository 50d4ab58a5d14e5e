//! What a look tells, against what a reader finds.

use proptest::prelude::*;

use super::dumps::dump_of;
use super::*;

fn many() -> Option<Many> {
    let tenant = TenantId::new("acme").unwrap();
    Some(Many { tenant, request_id: RequestId::new("audit").unwrap() })
}

fn look_at(value: &Value) -> Option<Many> {
    look(value.to_string().as_bytes(), NO_HINTS)
}

fn envelope(field: &str, data: Value) -> Value {
    json!({ "specversion": "1.0", "type": "recording.dump-requested", field: data })
}

#[test]
fn a_dump_of_more_than_one_is_told_and_whose_it_is() {
    let two = dump_of(json!([{ "callId": "A" }, { "anything": [1e300, "\\ud83d"] }]));
    assert_eq!(look_at(&two), many());
    assert_eq!(look_at(&envelope("data", two.clone())), many());
    assert_eq!(look_at(&envelope("data_base64", BASE64.encode(two.to_string()).into())), many());
    let untyped = with(two.clone(), "type", Value::Null).to_string();
    let hints = Hints { message_type: Some("recording.dump-requested"), content_type: None };
    assert_eq!(look(untyped.as_bytes(), hints), many());
    // What a reader takes, in any order: a byte order mark, a NUL, numbers and texts of any kind.
    let odd = "\u{feff}{\"recordings\":[1e400,\"\\ud83d\"],\"x\":1e400,\"requestId\":\"audit\",\
               \"tenant\":\"acme\",\"type\":\"recording.dump-requested\"}\0";
    assert_eq!(look(odd.as_bytes(), NO_HINTS), many());
    let most = dump_of(json!(vec![json!({ "callId": "A" }); MAX_RECORDINGS]));
    assert_eq!(look_at(&most), many());
}

#[test]
fn all_else_is_for_the_reader() {
    let two = dump_of(json!([{ "callId": "A" }, { "callId": "B" }]));
    let announced =
        Hints { message_type: None, content_type: Some("application/cloudevents+json; a=b") };
    assert_eq!(look(two.to_string().as_bytes(), announced), None, "it is no envelope");
    let whole = two.to_string();
    assert_eq!(look(&whole.as_bytes()[..whole.len() - 1], NO_HINTS), None);
    assert_eq!(look(format!("{whole}{}", " ".repeat(MAX_BODY)).as_bytes(), NO_HINTS), None);
    for other in [
        call(),
        dump_of(json!([{ "callId": "A" }])),
        dump_of(json!([])),
        dump_of(json!({ "callId": "A" })),
        dump_of(Value::Null),
        with(two.clone(), "type", json!("call.completed")),
        with(two.clone(), "type", json!(5)),
        with(two.clone(), "tenant", json!("not a tenant")),
        with(two.clone(), "requestId", Value::Null),
        with(two.clone(), "specversion", json!("1.0")),
        with(envelope("data", two.clone()), "specversion", json!("0.3")),
        with(envelope("data", two), "data_base64", json!("")),
        envelope("data_base64", json!("not base64")),
        json!([]),
    ] {
        assert_eq!(look_at(&other), None, "{other}");
    }
}

/// What a reader makes of a message that a look has told.
pub(super) fn agrees(body: &[u8], hints: Hints<'_>) -> Result<(), TestCaseError> {
    let Some(Many { tenant, request_id }) = look(body, hints) else { return Ok(()) };
    match parse(body, hints, NOW) {
        Ok(Request::Dump(dump)) => {
            prop_assert!(dump.recordings.len() > 1);
            prop_assert_eq!((dump.tenant, dump.request_id), (tenant, request_id));
        }
        Ok(Request::Recording(_)) => prop_assert!(false, "it asks for one"),
        Err(rejected) => {
            let (tenant, request_id) = (Some(tenant), Some(request_id));
            prop_assert_eq!(rejected.message_type, MessageType::DumpRequested);
            prop_assert_eq!(&rejected.echo, &Echo { tenant, request_id, ..Echo::default() });
        }
    }
    Ok(())
}
