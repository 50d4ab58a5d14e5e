//! Credentials that are refused: the ladder without counting, and loud about it.

use jiff::SignedDuration;

use super::{End, LOOK, case, play, readyz_says};
use crate::support::ccfs::Reply;
use crate::support::s3::{ALWAYS, Fault, Op, SECRET_KEY};
use crate::support::world::{World, access_key, call, secret_key};

/// The lines of `log` at level ERROR that have `text`.
fn errors(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains("\"ERROR\"") && line.contains(text)).count()
}

#[tokio::test]
async fn a_refused_key_is_loud_until_it_is_accepted() {
    let world = World::new().await;
    let worker = world.worker(&[LOOK]).await;
    world.ccfs.account(&access_key("acme"), "rotated");
    let refused = case("refused", Reply::wav(4000), End::Waiting, "ccfs.unauthorized");

    let waiting = play(&world, &worker, &[refused.says("the clocks agree")]).await;

    let ready = readyz_says(&worker, "ccfs:acme", 200).await;
    assert!(ready.contains("ccfs.unauthorized") && ready.contains("the clocks agree"), "{ready}");
    assert!(!ready.contains("globex"), "{ready}");
    assert_eq!(errors(&worker.log(), "ccfs.unauthorized"), 1, "{}", worker.log());
    let labels = ["tenant=\"acme\"", "code=\"unauthorized\""];
    assert_eq!(worker.metric("callvault_ccfs_responses_total", &labels).await, 1.0);
    let labels = ["tenant=\"acme\"", "reason=\"ccfs.unauthorized\""];
    assert_eq!(worker.metric("callvault_retries_total", &labels).await, 1.0);

    world.ccfs.account(&access_key("acme"), &secret_key("acme"));
    super::come_back(&world, &waiting["refused"]).await;
    let event = world.event().await.json();
    assert_eq!(
        (event["type"].as_str(), event["data"]["attempts"].as_u64()),
        (Some("recording.archived"), Some(1)),
        "a refusal was no attempt: {event:#}"
    );
    world.settled(&worker).await;
    let ready = worker.get("/readyz").await.1;
    assert!(!ready.contains("ccfs:acme"), "{ready}");
    let log = worker.stop().await;
    for secret in [secret_key("acme"), "rotated".to_owned()] {
        assert!(!log.contains(&secret), "{log}");
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_with_its_offset() {
    let world = World::new().await;
    let worker = world.worker(&[LOOK]).await;
    for (name, minutes, side) in
        [("clock behind", 10, " behind CC-FS"), ("clock ahead", -10, " ahead of CC-FS")]
    {
        world.ccfs.clock_offset(SignedDuration::from_mins(minutes));
        let refused = case(name, Reply::wav(4000), End::Waiting, "ccfs.unauthorized");
        let waiting = play(&world, &worker, &[refused.says(side)]).await;
        let detail = waiting[name].header("callvault-detail").unwrap_or_default();
        // The offset in minutes, give or take the second that the Date is cut to.
        assert!(detail.contains("9 min 5") || detail.contains("10 min "), "{detail}");
        let ready = readyz_says(&worker, side, 200).await;
        assert!(ready.contains("ccfs:acme"), "{ready}");
    }
    assert_eq!(errors(&worker.log(), "the clock here is"), 2, "{}", worker.log());
    worker.stop().await;
}

#[tokio::test]
async fn a_store_that_refuses_is_loud_too() {
    let world = World::new().await;
    let worker = world.worker(&[LOOK]).await;
    let target = format!("store:{}/{}", world.store.s3().endpoint(), world.bucket);
    world.store.fault(Op::Put, ALWAYS, Fault::Answer { status: 403, code: "AccessDenied" });

    let refused = case("no entry", Reply::wav(4000), End::Waiting, "store.AccessDenied");
    play(&world, &worker, &[refused]).await;

    let ready = readyz_says(&worker, &target, 200).await;
    assert!(ready.contains("store.AccessDenied") && !ready.contains("ccfs:"), "{ready}");
    assert_eq!(errors(&worker.log(), "store.AccessDenied"), 1, "{}", worker.log());
    world.store.heal();
    world.publish(&call("let in")).await;
    assert_eq!(world.event().await.json()["type"], "recording.archived");
    world.settled(&worker).await;
    let ready = worker.get("/readyz").await.1;
    assert!(!ready.contains(&target), "{ready}");
    let log = worker.stop().await;
    assert!(!log.contains(SECRET_KEY), "{log}");
}
