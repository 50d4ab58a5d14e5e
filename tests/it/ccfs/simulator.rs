//! The simulator itself: what other tests rely on.

use std::time::Duration;

use callvault::ccfs::Client;
use callvault::config::Secret;
use tokio::time::Instant;

use super::{AT_ONCE, CALL, PATIENCE, ask, client, drain, fetch, said, same, settings};
use crate::support::ccfs::{Codec, Limit, Recording, Reply, Simulator, Sizes, by_name};
use crate::support::eventually;

#[tokio::test]
async fn the_simulator_keeps_accounts_and_limits() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    ccfs.account("other", "key");
    ccfs.script_for("other", CALL, [Reply::wav(100)]);
    assert_eq!(said(fetch(&client).await).0, "ccfs.0300012/NotReady");
    let other = settings(&[&ccfs.url()]);
    let other = Client::new(&other, "other", &Secret::fixed("key"), AT_ONCE).unwrap();
    same(&fetch(&other).await.unwrap(), &ccfs.expected(CALL));

    ccfs.limit(Simulator::ACCESS_KEY, Limit { concurrent: Some(1), per_second: None });
    ccfs.script("1-1", [Reply::wav(1 << 30)]);
    let first = ask(&client, Some("1-1"), None).await.unwrap();
    assert_eq!(said(ask(&client, Some("1-2"), None).await).0, "ccfs.0300008/Throttled");
    drop(first);
    let limit = || async { ask(&client, Some("1-2"), None).await.ok() };
    drain(eventually("the limit lets another one in", PATIENCE, limit).await).await.unwrap();
}

#[tokio::test]
async fn a_name_can_ask_for_its_answers() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    let get = async |name: &str| match ask(&client, Some(name), None).await {
        Ok(download) => drain(download).await.map(|all| all.len()),
        Err(failure) => Err(failure),
    };
    assert_eq!(said(get("1777093663-nf.th.w1k").await).0, "ccfs.0300012/NotReady");
    assert_eq!(said(get("1777093663-nf.th.w1k").await).0, "ccfs.0300008/Throttled");
    assert_eq!(get("1777093663-nf.th.w1k").await.unwrap(), 1024);
    assert_eq!(get("1777093663-nf.th.w1k").await.unwrap(), 1024);
    assert_eq!(said(get("1777093663-cut").await).0, "ccfs.truncated/Failure");
    assert_eq!(said(get("1777093663-h500").await).0, "ccfs.http_500/Unavailable");
    assert_eq!(get(CALL).await.unwrap(), 64 << 10);
    let asked = Instant::now();
    assert_eq!(get("1777093663-d50w1k").await.unwrap(), 1024);
    assert!(asked.elapsed() >= Duration::from_millis(50));
    assert!(by_name("1777093663-792075").is_none());
}

#[test]
fn the_simulators_recordings_are_what_they_say() {
    let wav = |recording: Recording| recording.content(CALL).to_vec();
    let alaw = wav(Recording::wav(1000));
    assert_eq!(&alaw[..4], b"RIFF");
    assert_eq!(u32::from_le_bytes(alaw[4..8].try_into().unwrap()), 992);
    assert_eq!(alaw[20], 6);
    assert_eq!(wav(Recording::wav(1000).codec(Codec::Pcm16)).len(), 1000);
    assert_eq!(wav(Recording::wav(1000).sizes(Sizes::Max))[4..8], [0xFF; 4]);
    assert_ne!(alaw, Recording::wav(1000).content("another").to_vec());
    let big = Recording::wav(20_000_000).content(CALL);
    let all = big.to_vec();
    assert_eq!(all.len() as u64, big.length());
    assert_eq!(big.piece(8_000_000, 4000)[..], all[8_000_000..8_004_000]);
}
