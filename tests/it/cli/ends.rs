//! How commands end that cannot start, and what `callvault healthcheck` says.

use std::net::TcpListener;
use std::time::Duration;

use insta::assert_snapshot;

use super::{Desk, LEAST};
use crate::support::ccfs::Simulator;
use crate::support::worker::{Options, Worker, binary};
use crate::support::world::World;

#[test]
fn all_mistakes_are_told_at_once_and_end_every_command_with_2() {
    let desk = Desk::new(
        r#"[worker]
concurency = 8
[ccfs]
endpoints = ["https://ccfs.example.com:28443"]
read_timeout = "fast"
[store]
buckets = "recordings"
[[tenants]]
id = "acme"
access_key = "AK"
secret_key_file = "missing"
"#,
    );
    let environment = [("CALLVAULT__BROKER__DECLRAE", "false")];
    let told = desk.told("config --config callvault.toml", &environment, 2);
    assert_snapshot!(told.clone(), @r#"
        callvault: the configuration has 6 mistakes:
          callvault.toml:2: worker.concurency: is not known; did you mean worker.concurrency?
          callvault.toml:5: ccfs.read_timeout: "fast" is no duration; write it as "30s", "2m" or "1h30m" (ms, s, m, h, d)
          callvault.toml:7: store.buckets: is not known; did you mean store.bucket?
          callvault.toml:11: tenants[acme].secret_key_file: the file it names cannot be read: no such file; name a file that holds the secret
          CALLVAULT__BROKER__DECLRAE: is not known; did you mean CALLVAULT__BROKER__DECLARE?
          store.bucket: is required, and missing for tenants[acme]; set it in [store] or in the tenant's [tenants.store]
        "#);
    for command in ["run", "healthcheck"] {
        assert_eq!(desk.told(&format!("{command} --config callvault.toml"), &environment, 2), told);
    }
    assert_snapshot!(desk.told("run --config nowhere.toml", &[], 2), @r"
    callvault: the configuration has a mistake:
      cannot read nowhere.toml: No such file or directory (os error 2); name a readable file with --config or CALLVAULT_CONFIG
    ");
}

#[test]
fn a_crash_point_that_there_is_none_ends_run_with_2() {
    let desk = Desk::new(LEAST);
    let told = desk.told("run --config callvault.toml", &[("CALLVAULT_CRASH", "put_dne")], 2);
    assert_snapshot!(told, @r#"callvault: CALLVAULT_CRASH is "put_dne"; write POINT[:PASS][@TEXT] with one of received, signed, first_byte, proven, put_sent, put_done, completed, event_sent, event_confirmed, before_ack, after_ack"#);
}

#[test]
fn a_ca_file_that_holds_none_ends_run_with_2() {
    let desk = Desk::new(LEAST);
    let with_ca = [("CALLVAULT__CCFS__CA_FILE", "ca.pem")];
    let told = desk.told("run --config callvault.toml", &with_ca, 2);
    assert!(told.contains("CALLVAULT__CCFS__CA_FILE: ccfs.ca_file: cannot read"), "{told}");
    let listen = ("CALLVAULT__HTTP__LISTEN", "127.0.0.1:0");
    for text in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        desk.file("ca.pem", text);
        let told = desk.told("run --config callvault.toml", &[with_ca[0], listen], 2);
        let last = told.lines().last().unwrap_or_default();
        let what = "callvault: tenant acme: ccfs.ca_file: ca.pem holds no usable certificate";
        assert!(last.starts_with(what) && last.contains("; name a file with "), "{told}");
    }
}

#[test]
fn a_port_that_is_taken_ends_run_with_1() {
    let desk = Desk::new(LEAST);
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = taken.local_addr().expect("a bound listener has an address").to_string();
    let listen = [("CALLVAULT__HTTP__LISTEN", address.as_str())];
    let told = desk.told("run --config callvault.toml", &listen, 1);
    let expected = format!("callvault: http.listen: cannot listen on {address}: ");
    assert!(told.starts_with(&expected), "{told}");
    assert!(told.contains("another process has this port: stop it or set another"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_says_how_a_worker_is() {
    let world = World::new().await;
    let text = [("CALLVAULT__LOG__FORMAT", "text")];
    let config = world.config(&[]);
    let options = Options { config: &config, environment: &text, binary: &binary() };
    let worker = Worker::start_with(&options).ready().await;
    let desk = Desk::new(LEAST);
    let check = |port: u16| {
        let listen = format!("127.0.0.1:{port}");
        let asked = [("CALLVAULT__HTTP__LISTEN", listen.as_str())];
        desk.run_with("healthcheck --config callvault.toml", &asked)
    };
    let ended = check(worker.port());
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "ready: consuming\n"), "{}", ended.stderr);

    let stranger = Simulator::start().await;
    let port = stranger.url().rsplit(':').next().and_then(|port| port.parse().ok());
    let port = port.expect("the simulator's URL has a port");
    let ended = check(port);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(ended.stderr.contains("is no callvault"), "{}", ended.stderr);
    assert!(ended.stderr.contains("ask with the worker's own http.listen"), "{}", ended.stderr);

    let port = worker.port();
    let log = worker.stop().await;
    assert!(log.contains("callvault starts") && !log.contains('\u{1b}'), "{log}");
    let ended = check(port);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    let expected = format!("callvault: no answer from 127.0.0.1:{port}: ");
    assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);
    assert_eq!(desk.run("healthcheck").code, 2, "without a configuration");
}

#[tokio::test]
async fn a_worker_without_a_broker_is_not_healthy() {
    let mut worker = Worker::start(LEAST);
    worker.get("/livez").await;
    let listen = format!("127.0.0.1:{}", worker.port());
    let asked = [("CALLVAULT__HTTP__LISTEN", listen.as_str())];
    let told = Desk::new(LEAST).told("healthcheck --config callvault.toml", &asked, 1);
    assert!(told.starts_with("callvault: not ready: connecting: "), "{told}");
    worker.signal("TERM");
    let status = worker.ended(Duration::from_secs(60)).await;
    assert!(status.success(), "it stops although it never connected: {status}");
}
