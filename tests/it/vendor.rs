//! What the vendor's page says of the request, held against what goes on the wire
//! (docs/CCFS.md lists every statement).

use serde_json::{Value, json};

use callvault::request::{CallId, CcId, FileName};

use crate::support::ccfs::Reply;
use crate::support::world::World;

/// The values of the example on the vendor's page.
const EXAMPLE: &str = r#"{
    "request": { "version": "2.0" },
    "msgBody": { "fileName": "Y:/autoTest.V3", "callId": "autoTest-1", "ccId": "1" }
}"#;

#[tokio::test]
async fn the_vendors_example_is_what_goes_on_the_wire() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let call = json!({
        "type": "call.completed", "tenant": "acme", "fileName": "Y:/autoTest.V3",
        "callId": "autoTest-1", "callEnd": "2018-07-02T02:44:42Z"
    });
    world.publish(&call).await;
    assert_eq!(world.event().await.json()["type"], "recording.archived");
    worker.stop().await;

    let seen = world.ccfs.requests().pop().expect("it asked");
    assert_eq!(seen.verified, Ok("ak-acme".to_owned()));
    let raw = &seen.raw;
    assert_eq!((raw.method.as_str(), raw.target.as_str()), ("POST", PATH));
    let example: Value = serde_json::from_str(EXAMPLE).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&raw.body).unwrap(), example);
    assert_eq!(raw.header("content-type"), Some("application/json;charset=UTF-8"));
    assert_eq!(raw.header("accept"), Some("*/*"));
    assert_eq!(raw.header("content-length"), Some(raw.body.len().to_string().as_str()));
    let host = world.ccfs.url().replace("http://", "");
    assert_eq!(raw.header("host"), Some(host.as_str()));
    let authorization = raw.header("authorization").unwrap();
    let parts: Vec<_> = authorization.split('/').collect();
    assert_eq!((parts[0], parts[1]), ("auth-v2", "ak-acme"));
    assert_eq!(parts[3], "content-length;content-type;host");
    assert!(parts[4].len() == 64 && parts[4].bytes().all(|b| b.is_ascii_hexdigit()), "{parts:?}");
}

/// The vendor's page, table 1: the URI of the interface.
const PATH: &str = "/CCFS/resource/ccfs/downloadRecord";

#[test]
fn names_are_as_long_as_the_page_allows() {
    let lengths = |fits: fn(String) -> bool, most: usize| {
        // The page counts characters, not bytes.
        for letter in ["x", "ю"] {
            assert!(fits(letter.repeat(most)), "{most} characters");
            assert!(!fits(letter.repeat(most + 1)), "{} characters", most + 1);
        }
        assert!(!fits(String::new()), "none");
    };
    lengths(|name| FileName::new(name).is_ok(), 225);
    lengths(|id| CallId::new(id).is_ok(), 25);
    lengths(|id| CcId::new(id).is_ok(), 64);
}

#[tokio::test]
async fn the_same_call_of_another_call_centre_is_no_repeat() {
    let world = World::new().await;
    world.ccfs.script("1777093663-1", [Reply::wav(640), Reply::wav(1280)]);
    let worker = world.worker(&[("acme", "cc_id = \"7\"")]).await;
    let call = json!({ "callId": "1777093663-1", "callEnd": "2026-04-25T05:12:44Z", "ccId": "8" });
    let mut own = json!({ "type": "call.completed", "tenant": "acme", "ccId": "7" });
    for key in ["callId", "callEnd"] {
        own[key] = call[key].clone();
    }
    world.publish(&own).await;
    assert_eq!(world.event().await.json()["type"], "recording.archived");
    let dump = json!({ "type": "recording.dump-requested", "tenant": "acme", "requestId": "other",
                       "recordings": [call] });
    world.publish(&dump).await;
    let event = world.event().await.json();
    assert_eq!(event["data"]["reason"]["code"], "store.conflict", "{event}");
    assert_eq!(world.ccfs.requests().pop().unwrap().asked.cc_id, "8");
    worker.stop().await;
}

#[tokio::test]
async fn a_foreign_call_looks_absent_and_the_call_centre_can_be_set() {
    let world = World::new().await;
    let own = [("acme", "cc_id = \"7\"")];
    let worker = world.worker(&own).await;
    let call = |id: &str, cc_id: Option<&str>| {
        let mut call = json!({ "type": "call.completed", "tenant": "acme", "callId": id,
                               "callEnd": "2026-04-25T05:12:44Z" });
        if let Some(cc_id) = cc_id {
            call["ccId"] = json!(cc_id);
        }
        call
    };
    for (id, cc_id, asked) in [("1777093663-1", None, "7"), ("1777093663-2", Some("8"), "8")] {
        world.publish(&call(id, cc_id)).await;
        let event = world.event().await.json();
        assert_eq!(event["data"]["ccId"], asked);
        assert_eq!(world.ccfs.requests().pop().unwrap().asked.cc_id, asked);
    }
    // Of another account: 'developers can only download files under their own accounts'.
    world.ccfs.script_for("ak-globex", "1777093663-3", [Reply::wav(640)]);
    world.publish(&call("1777093663-3", None)).await;
    let event = world.event().await.json();
    assert_eq!(event["type"], "recording.absent", "{event}");
    assert_eq!(event["data"]["reason"]["code"], "ccfs.0300012");
    worker.stop().await;
}
