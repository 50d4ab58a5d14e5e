//! A message: read or refused, and refused without a word of it; a dump says again what it was
//! told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use callvault::failure::{Class, Reason};
use callvault::request::{
    self, DumpRequest, Hints, MessageType, RecordingRequest, Rejected, Request, RequestId,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::quotes_nothing;

const HINTS: [Hints<'_>; 5] = [
    Hints { message_type: None, content_type: None },
    Hints { message_type: Some("call.completed"), content_type: Some("application/json") },
    Hints { message_type: Some("recording.dump-requested"), content_type: None },
    Hints { message_type: Some("recording.dump-item"), content_type: None },
    Hints { message_type: None, content_type: Some("application/cloudevents+json") },
];

/// 2026-11-28T04:30:00Z.
const NOW: Timestamp = Timestamp::constant(1_795_840_200, 0);

pub fn check(body: &[u8]) {
    for hints in HINTS {
        match request::parse(body, hints, NOW) {
            Ok(request) => {
                let later = request::parse(body, hints, Timestamp::MAX);
                assert_eq!(later.expect("a call gets less ahead of the clock"), request);
                comes_back_from_a_dump(&request);
                if !is_envelope(body, hints) {
                    means_the_same_in_an_envelope(body, &request);
                }
            }
            Err(rejected) => is_dead_at_once(&rejected, body),
        }
    }
}

fn is_dead_at_once(rejected: &Rejected, body: &[u8]) {
    let failure = &rejected.failure;
    assert_eq!(failure.class, Class::Permanent);
    assert!([Reason::MESSAGE_INVALID, Reason::MESSAGE_TOO_LARGE].contains(&failure.reason));
    quotes_nothing(failure, body);
}

/// Expanding a dump is saying its recordings one by one: nothing of them is lost on the way.
pub fn comes_back_from_a_dump(request: &Request) {
    let dump = match request.clone() {
        Request::Dump(dump) => dump,
        Request::Recording(RecordingRequest { tenant, wanted, request_id, force, .. }) => {
            let any = || RequestId::new("any").expect("a good id");
            let request_id = request_id.unwrap_or_else(any);
            DumpRequest { tenant, request_id, force, recordings: vec![wanted] }
        }
    };
    assert!((1..=request::MAX_RECORDINGS).contains(&dump.recordings.len()));
    assert_eq!(dump.clone().into_items().count(), dump.recordings.len());
    for (item, wanted) in dump.clone().into_items().zip(&dump.recordings) {
        assert!(wanted.call_id.is_some() || wanted.file_name.is_some());
        // A row's times are held against the clock by whoever makes a request of it.
        let again = request::parse(&item, Hints::default(), Timestamp::MAX);
        let again = again.expect("an item is a good message");
        let wanted = RecordingRequest {
            tenant: dump.tenant.clone(),
            wanted: wanted.clone(),
            request_id: Some(dump.request_id.clone()),
            force: dump.force,
            message_type: MessageType::DumpItem,
        };
        assert_eq!(again, Request::Recording(wanted));
    }
}

fn is_envelope(body: &[u8], hints: Hints<'_>) -> bool {
    let bare = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // A lone surrogate is more than this reader takes; a text in base64 has it all the same.
    let Ok(body) = serde_json::from_slice::<Value>(bare) else { return true };
    hints.content_type.is_some_and(|essence| essence.contains("cloudevents"))
        || body.get("specversion").is_some_and(|version| !version.is_null())
}

fn means_the_same_in_an_envelope(body: &[u8], request: &Request) {
    let message_type = request.message_type().as_str();
    let data = BASE64.encode(body);
    let envelope =
        format!(r#"{{"specversion":"1.0","type":"{message_type}","data_base64":"{data}"}}"#);
    let unwrapped = request::parse(envelope.as_bytes(), Hints::default(), NOW);
    assert_eq!(unwrapped.expect("its data was read"), *request);
}
