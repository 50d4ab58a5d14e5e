//! What a worker writes for who reads its log at night, as text.

use std::net::SocketAddr;

use insta::assert_snapshot;

use crate::support::broker::node;
use crate::support::eventually;
use crate::support::link::Link;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World};

/// Without JSON, and no more than people ask for.
fn text(config: &str) -> String {
    config
        .replace("format = \"json\"", "format = \"text\"")
        .replace("level = \"debug\"", "level = \"info\"")
}

/// The lines that contain this, without their times.
fn lines(log: &str, part: &str) -> Vec<String> {
    let timeless = |line: &str| line.split_once(' ').map(|(_, rest)| rest.trim().to_owned());
    log.lines().filter(|line| line.contains(part)).filter_map(timeless).collect()
}

/// A warning is not its last word.
#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_it_consumes_whenever_it_has_connected() {
    let world = World::new().await;
    let node = node().await;
    let mut link = Link::to(SocketAddr::from(([127, 0, 0, 1], node.amqp_port()))).await;
    let port = |port: u16| format!(":{port}/");
    let amqp = world.amqp.replace(&port(node.amqp_port()), &port(link.address().port()));
    let config = world.config_at(&amqp, &world.ccfs.url(), world.store.s3().endpoint(), &[]);
    let worker = Worker::start(&text(&config)).ready().await;
    let said = |times: usize| {
        let worker = &worker;
        async move {
            eventually("it says what it consumes", SOON, || async {
                let log = worker.log();
                (lines(&log, " consuming ").len() == times).then_some(log)
            })
            .await
        }
    };
    said(1).await;
    link.close().await;
    eventually("it says that it is lost", SOON, || async {
        let log = worker.log();
        let both = ["connection to consume", "connection to publish"];
        both.iter().all(|side| log.contains(side)).then_some(())
    })
    .await;
    link.restore().await;
    let log = said(2).await;
    let last = lines(&log, "").pop().expect("a line");
    worker.stop().await;
    insta::with_settings!({ filters => vec![
        (world.prefix.as_str(), "callvault"), (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    ] }, { assert_snapshot!(last, @"INFO consuming callvault.jobs, callvault.bulk, callvault.suspect on 127.0.0.1:PORT/%2F"); });
}
