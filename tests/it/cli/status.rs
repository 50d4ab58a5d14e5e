//! `callvault status`: what a worker's page shows, in a terminal.

use serde_json::{Value, json};

use super::{Desk, LEAST};
use crate::support::ccfs::{Reply, Simulator};
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_what_workers_do_and_what_failed() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    world.call("1777093663-1").await;
    world.event().await;
    world.ccfs.default_reply(Reply::code("0300004"));
    world.call("1777093663-2").await;
    assert_eq!(world.event().await.routing_key, "recording.failed.acme");
    world.settled(&worker).await;
    worker.metric_reaches("callvault_dead_total", &["tenant=\"acme\""], 1.0).await;

    let desk = Desk::new(LEAST);
    let own = format!("127.0.0.1:{}", worker.port());
    let asked = [("CALLVAULT__HTTP__LISTEN", own.as_str())];
    let shown = desk.printed("status --config callvault.toml", &asked);
    let line = |start: &str| {
        let found = shown.lines().find(|line| line.trim_start().starts_with(start));
        found.unwrap_or_else(|| panic!("no line {start:?} in {shown}"))
    };
    let words = |start| line(start).split_whitespace().collect::<Vec<_>>();
    let version = concat!("; callvault ", env!("CARGO_PKG_VERSION"));
    assert!(line(&format!("http://{own}: consuming since ")).contains(version), "{shown}");
    for server in ["broker", "ccfs", "store", "events"] {
        assert_eq!(words(server)[1], "well", "{shown}");
    }
    assert_eq!(words("acme")[..5], ["acme", "1", "0", "0", "1"], "{shown}");
    let (_, failed) = shown.split_once("what failed, the last first\n").expect("one has");
    assert!(failed.contains("acme  1777093663-2  dead  ccfs.0300004\n      "), "{shown}");

    // One of several that does not answer is told of, beside the others.
    let simulator = Simulator::start().await;
    let stranger = simulator.url();
    let port = worker.port();
    worker.stop().await;
    let gone = format!("http://localhost:{port}");
    let ended = desk.run(&format!("status --url {gone} --url {stranger}"));
    assert_eq!((ended.code, ended.stderr.as_str()), (1, ""));
    assert!(ended.stdout.starts_with("2 workers, 0 consuming: "), "{}", ended.stdout);
    assert!(ended.stdout.contains(&format!("{gone}: no answer: ")), "{}", ended.stdout);
    assert!(ended.stdout.contains(&format!("{stranger}: what listens there is no callvault")));
    let told = desk.told("status --url https://w1:9464", &[], 2);
    assert!(told.contains("over plain HTTP; write http://host:9464"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_for_scripts_is_what_the_worker_says() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let url = format!("http://127.0.0.1:{}", worker.port());
    let desk = Desk::new(LEAST);
    let nobody = "http://127.0.0.1:1";
    let ended = desk.run(&format!("status --json --url {url} --url {nobody}"));
    assert_eq!(ended.code, 1, "one does not answer: {}", ended.stderr);
    let all: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!((&all[0]["url"], &all[0]["status"]["status"]), (&json!(url), &json!("consuming")));
    assert_eq!(all[0]["status"]["tenants"][0]["id"], "acme");
    assert!(
        all[1]["error"].as_str().is_some_and(|error| error.starts_with("no answer: ")),
        "{all}"
    );
    worker.stop().await;
}
