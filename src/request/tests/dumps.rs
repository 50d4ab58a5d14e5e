//! Dumps: read, expanded, written, refused whole.

use super::*;

pub(super) fn dump_of(recordings: Value) -> Value {
    json!({
        "type": "recording.dump-requested", "tenant": "acme", "requestId": "audit",
        "force": true, "recordings": recordings
    })
}

#[test]
fn a_dump_is_expanded_into_items_that_say_the_same() {
    let message = dump_of(json!([
        {
            "callId": "A", "callEnd": "2026-04-25T05:12:44.25+02:00", "expected": 3,
            "metadata": { "k": "v" }
        },
        { "fileName": "X:\\17\\0\\20180903\\1\\2.V3", "ccId": "7", "callBegin": "2018-09-03T00:00:00Z" },
    ]));
    let dump = dump(parse_json(&message).unwrap()).into_single().unwrap_err();
    let items: Vec<RecordingRequest> = dump
        .clone()
        .into_items()
        .map(|body| recording(parse(&body, NO_HINTS, NOW).expect("an item is a good message")))
        .collect();
    assert_eq!(items.len(), 2);
    for (item, wanted) in items.into_iter().zip(&dump.recordings) {
        assert_eq!(item.message_type, MessageType::DumpItem);
        assert_eq!(item.tenant, dump.tenant);
        assert_eq!(item.request_id.as_ref(), Some(&dump.request_id));
        assert!(item.force);
        assert_eq!(&item.wanted, wanted);
    }
    let first =
        dump.clone().into_items().next().map(|body| String::from_utf8(body).unwrap()).unwrap();
    insta::assert_snapshot!(first, @r#"{"type":"recording.dump-item","tenant":"acme","requestId":"audit","force":true,"callId":"A","callEnd":"2026-04-25T03:12:44.25Z","expected":3,"metadata":{"k":"v"}}"#);
}

#[test]
fn a_dump_is_written_as_it_is_read_and_a_thousand_of_the_longest_names_fit() {
    let longest = |c: char, most: usize| c.to_string().repeat(most);
    let wanted = Wanted {
        call_id: CallId::new(longest('𠀀', 25)).ok(),
        file_name: FileName::new(longest('𠀀', 225)).ok(),
        cc_id: CcId::new(longest('"', 64)).ok(),
        call_begin: Some("2026-04-25T05:07:43Z".parse().unwrap()),
        call_end: Some("2026-04-25T05:12:44.123456789Z".parse().unwrap()),
        expected: Some(MAX_EXPECTED),
        metadata: BTreeMap::new(),
    };
    let dump = DumpRequest {
        tenant: TenantId::new("acme").unwrap(),
        request_id: RequestId::new(longest('𠀀', 128)).unwrap(),
        force: true,
        recordings: vec![wanted; 1000],
    };
    let body = dump.body();
    assert!(body.len() < MAX_BODY / 2, "{} bytes", body.len());
    assert_eq!(parse(&body, NO_HINTS, NOW).unwrap(), Request::Dump(dump));
}

#[test]
fn a_dump_of_one_recording_is_done_in_place() {
    // A number is whole however it is written.
    let dump = dump(parse_json(&dump_of(json!([{ "callId": "A", "expected": 2.0 }]))).unwrap());
    let single = dump.into_single().unwrap();
    assert_eq!(single.wanted.expected, Some(2));
    assert_eq!(single.message_type, MessageType::DumpRequested);
    assert_eq!(single.request_id.unwrap().as_str(), "audit");
    assert!(single.force);
}

#[test]
fn a_bad_dump_is_refused_whole() {
    let good = json!({ "callId": "A" });
    let recordings = |bad: Value| dump_of(json!([good, good, good, bad, good]));
    let cases = [
        (with(dump_of(json!([good])), "requestId", Value::Null), "requestId is required"),
        (
            with(dump_of(json!([good])), "requestId", json!("")),
            "requestId must have 1 to 128 characters, has 0",
        ),
        (
            with(dump_of(json!([good])), "requestId", json!("x".repeat(129))),
            "requestId must have 1 to 128 characters, has 129",
        ),
        (
            with(dump_of(json!([good])), "force", json!("true")),
            "force must be true or false, is a string",
        ),
        (dump_of(Value::Null), "recordings is required"),
        (dump_of(json!({})), "recordings must be an array, is an object"),
        (dump_of(json!([])), "recordings must have 1 to 10000 entries, has 0"),
        (
            dump_of(json!(vec![json!({"callId": "A"}); 10_001])),
            "recordings must have 1 to 10000 entries, has 10001",
        ),
        (recordings(json!({})), "recordings[3]: callId or fileName is required"),
        (recordings(json!("5550123")), "recordings[3]: must be an object, is a string"),
        (
            recordings(json!({"callId": "A", "callEnd": "5550123"})),
            "recordings[3]: callEnd must be an RFC 3339 date and time",
        ),
    ];
    for (message, detail) in cases {
        assert_eq!(parse_json(&message).unwrap_err().failure.detail, detail);
    }
    for bad in [
        json!(0),
        json!(1001),
        json!(-1),
        json!(1.5),
        json!(65_537),
        json!(1e300),
        json!(0.0),
        json!(1001.0),
    ] {
        let message = recordings(json!({ "callId": "A", "expected": bad }));
        let detail = "recordings[3]: expected must be a whole number from 1 to 1000";
        assert_eq!(parse_json(&message).unwrap_err().failure.detail, detail, "{bad}");
    }
    let message = recordings(json!({ "callId": "A", "expected": "2" }));
    let detail = "recordings[3]: expected must be a number, is a string";
    assert_eq!(parse_json(&message).unwrap_err().failure.detail, detail);
    let message = recordings(json!({ "fileName": "a.V3", "expected": 2 }));
    let detail = "recordings[3]: expected says how many files CC-FS has for a callId, and there is \
                  none: leave it out";
    assert_eq!(parse_json(&message).unwrap_err().failure.detail, detail);
    let most = dump(parse_json(&dump_of(json!(vec![good; MAX_RECORDINGS]))).unwrap());
    assert_eq!(most.into_items().count(), MAX_RECORDINGS);
}
