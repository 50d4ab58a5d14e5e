//! Requests are signed as CC-FS wants them, and a refusal is explained.

use std::collections::{BTreeMap, HashMap};

use callvault::ccfs::signature::{ToSign, authorization};
use callvault::ccfs::{Ask, PATH};
use callvault::request::{CallId, CcId};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{CALL, FILE, ask, client, drain, fetch, said};
use crate::support::ccfs::{Simulator, sign};

#[tokio::test]
async fn every_way_of_asking_is_signed_right() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    for (call_id, file) in [(Some(CALL), None), (None, Some(FILE)), (Some(CALL), Some(FILE))] {
        drain(ask(&client, call_id, file).await.unwrap()).await.unwrap();
        let seen = ccfs.requests().pop().unwrap();
        assert_eq!(seen.verified, Ok(Simulator::ACCESS_KEY.to_owned()));
        assert_eq!(seen.asked.call_id.as_deref(), call_id);
        assert_eq!(seen.asked.file_name.as_deref(), file);
        assert_eq!(seen.asked.cc_id, "1");
        let names: Vec<_> = seen.raw.headers.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "host",
            "accept",
            "accept-encoding",
            "content-type",
            "content-length",
            "authorization",
        ];
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn a_refused_key_is_refused_and_told_from_a_wrong_clock() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    ccfs.account(Simulator::ACCESS_KEY, "rotated");
    let (reason, detail) = said(fetch(&client).await);
    assert_eq!(reason, "ccfs.unauthorized/Refused");
    assert!(detail.ends_with("the clocks agree"), "{detail}");
    ccfs.account(Simulator::ACCESS_KEY, Simulator::SECRET_KEY);
    fetch(&client).await.unwrap();

    for (minutes, side) in [(10, "behind CC-FS"), (-10, "ahead of CC-FS")] {
        ccfs.clock_offset(SignedDuration::from_mins(minutes));
        let (reason, detail) = said(fetch(&client).await);
        assert_eq!(reason, "ccfs.unauthorized/Refused");
        assert!(detail.contains("the clock here is ") && detail.ends_with(side), "{detail}");
    }
}

#[derive(serde::Deserialize)]
struct Vector {
    method: String,
    path: String,
    access_key: String,
    secret_key: String,
    unix_time: i64,
    headers: BTreeMap<String, String>,
    body: String,
    authorization: String,
}

#[test]
fn the_simulators_own_signature_reproduces_every_vector() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../fixtures/auth-v2-vectors.json")).unwrap();
    assert_eq!(vectors.len(), 24);
    for v in vectors {
        let headers: Vec<_> = v.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let at = Timestamp::from_second(v.unix_time).unwrap().to_string();
        let body = v.body.as_bytes();
        let signed = sign(&v.method, &v.path, &v.access_key, &v.secret_key, &at, &headers, body);
        assert_eq!(signed, v.authorization);
    }
}

proptest! {
    #[test]
    fn two_implementations_of_the_signature_agree(
        secret_key in "\\PC{1,100}",
        path in "/[a-zA-Z0-9/._~-]{0,40}",
        host in "[a-z0-9.:\\[\\]-]{1,40}",
        content_type in "[ -~]{0,40}",
        body in proptest::collection::vec(any::<u8>(), 0..300),
        second in 0_i64..4_000_000_000,
    ) {
        let length = body.len().to_string();
        let headers = [
            ("content-length", length.as_str()),
            ("content-type", content_type.as_str()),
            ("host", host.as_str()),
        ];
        let at = Timestamp::from_second(second).unwrap();
        let request = ToSign { method: "POST", path: &path, headers: &headers, body: &body };
        let ours = authorization("ak", &secret_key, at, &request);
        let theirs = sign("POST", &path, "ak", &secret_key, &at.to_string(), &headers, &body);
        prop_assert_eq!(ours, theirs);
    }
}

#[tokio::test]
async fn a_signed_request_can_be_shown_without_being_sent() {
    let ccfs = Simulator::start().await;
    let call_id = CallId::new(CALL).unwrap();
    let cc_id = CcId::new("1").unwrap();
    let ask = Ask { call_id: Some(&call_id), file_name: None, cc_id: &cc_id };
    let at: Timestamp = "2026-04-25T05:12:44Z".parse().unwrap();
    let signed = client(&ccfs).sign(&ask, at).unwrap();
    let headers: HashMap<_, _> =
        signed.headers.iter().map(|(name, value)| (*name, value.to_str().unwrap())).collect();
    let covered = [
        ("content-length", headers["content-length"]),
        ("content-type", headers["content-type"]),
        ("host", headers["host"]),
    ];
    let (access_key, secret_key) = (Simulator::ACCESS_KEY, Simulator::SECRET_KEY);
    let expected =
        sign("POST", PATH, access_key, secret_key, "2026-04-25T05:12:44Z", &covered, &signed.body);
    assert_eq!(headers["authorization"], expected);
    assert_eq!(signed.url.as_str(), format!("{}{PATH}", ccfs.url()));
    assert!(!format!("{signed:?}").contains(secret_key));
    assert!(ccfs.requests().is_empty());
}
