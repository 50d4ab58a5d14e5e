//! What a worker writes for who reads its log at night, as text.

use std::net::SocketAddr;

use insta::assert_snapshot;

use crate::support::broker::node;
use crate::support::ccfs::Reply;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_says_when_and_where_it_waits() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::status(500));
    let delays = "delays = [\"2s\"]\nmax_attempts = 2";
    let worker = Worker::start(&text(&world.config(&[("retry", delays)]))).ready().await;
    world.call("1777093663-1").await;
    let log = eventually("it is dead", SOON, || async {
        let log = worker.log();
        log.contains("outcome=\"dead\"").then_some(log)
    })
    .await;
    worker.stop().await;
    insta::with_settings!({ filters => vec![
        (world.prefix.as_str(), "callvault"), (r"ms=\d+", "ms=MS"),
    ] }, { assert_snapshot!(lines(&log, "not archived").join("\n"), @r#"
    WARN not archived tenant=acme call=1777093663-1 attempt=1 outcome="retried" reason="ccfs.http_500" detail="CC-FS answered HTTP 500" again_in=2s waits_in=callvault.retry.2s ms=MS
    ERROR not archived tenant=acme call=1777093663-1 attempt=2 outcome="dead" reason="ccfs.http_500" detail="CC-FS answered HTTP 500" ms=MS
    "#); });
}

/// What a person sees first is the cause, with what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_used_is_told_before_the_first_call() {
    let world = World::new().await;
    let config = text(&world.config(&[]));
    let nowhere = world.config_at(&world.amqp, &world.ccfs.url(), "http://127.0.0.1:1", &[]);
    let mut told = Vec::new();
    for config in [config.replace(&world.bucket, "no-such-bucket"), text(&nowhere)] {
        let worker = Worker::start(&config).ready().await;
        let first = eventually("it says so", SOON, || async {
            let log = worker.log();
            let said = [lines(&log, "ERROR"), lines(&log, "WARN")].concat();
            said.into_iter().find(|line| line.contains("tenants=\"acme"))
        })
        .await;
        told.push(first);
        worker.stop().await;
    }
    insta::with_settings!({ filters => vec![(world.bucket.as_str(), "recordings")] }, {
        assert_snapshot!(told.join("\n"), @r#"
        ERROR nothing can be stored: ListMultipartUploads in bucket no-such-bucket: status 404, store.NoSuchBucket; correct store.bucket, or create it tenants="acme and 1 more" reason=store.NoSuchBucket
        WARN ListMultipartUploads in bucket recordings: 127.0.0.1:1: connection refused; uploads that killed workers left open are not aborted before that is mended tenants="acme and 1 more" reason=store.unreachable
        "#);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_over_the_network_in_the_clear_is_warned_of_at_the_start() {
    let world = World::new().await;
    let config = world.config_at(
        "amqp://guest:guest@mq.invalid/%2f",
        "http://ccfs.invalid:28080",
        "http://s3.invalid:9000",
        &[],
    );
    let worker = Worker::start(&text(&config));
    worker.get("/livez").await;
    let log = worker.stop().await;
    assert!(!log.contains("guest:guest"), "{log}");
    assert_snapshot!(lines(&log, "without TLS").join("\n"), @r"
    WARN broker.url: mq.invalid is asked without TLS: password and messages can be read on their way; write amqps://, or allow_plain = true beside it where that is meant
    WARN ccfs.endpoints: ccfs.invalid:28080 is asked without TLS: recordings can be read on their way; write https://, or allow_plain = true beside it where that is meant
    WARN store.endpoint: s3.invalid:9000 is asked without TLS: recordings can be read on their way; write https://, or allow_plain = true beside it where that is meant
    ");
}
