//! How the store is reached and signed for: its CA, a proxy, temporary keys, the SDK's own chain.

use std::path::Path;

use callvault::config::{self, Secret, StoreCredentials};
use callvault::failure::Class;
use callvault::metrics::Metrics;
use callvault::store::{NewObject, Store};

use super::{content, key, new_object, object_key, put, reason, settings, settings_at, store, who};
use crate::support::s3::tls::Front;
use crate::support::s3::{ACCESS_KEY, LocalS3, Op, SECRET_KEY};
use crate::support::tunnel::tunnels;
use crate::support::worker::{Options, Worker, binary};
use crate::support::world::{World, without_store_keys};

#[tokio::test]
async fn a_ca_of_its_own_is_trusted_where_it_is_named() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let front = Front::of(&server).await;
    let stranger = settings_at(&front.endpoint, &bucket);
    let failure = put(&store(&stranger).await, &new_object(), &content(10)).await.unwrap_err();
    let cause = std::error::Error::source(&failure).expect("TLS said why").to_string();
    assert!(cause.contains("UnknownIssuer"), "{cause}");
    assert_eq!(reason::<()>(Err(failure)), (Class::Unavailable, "store.unreachable".to_owned()));
    let known = config::Store { ca_file: Some(front.ca_file()), ..stranger.clone() };
    put(&store(&known).await, &new_object(), &content(10)).await.unwrap();
    // As an editor of Windows saves it.
    let folder = tempfile::tempdir().unwrap();
    let marked = folder.path().join("ca.pem");
    let pem = std::fs::read(front.ca_file()).unwrap();
    std::fs::write(&marked, [&b"\xef\xbb\xbf"[..], &pem].concat()).unwrap();
    let known = config::Store { ca_file: Some(marked), ..stranger };
    put(&store(&known).await, &new_object(), &content(10)).await.unwrap();
}

#[tokio::test]
async fn a_ca_file_that_holds_none_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for text in ["", "no PEM", broken] {
        std::fs::write(&file, text).unwrap();
        let ca_file = Some(file.clone());
        let settings = config::Store { ca_file, ..settings_at("https://s3.invalid", "b") };
        let error = Store::new(&settings, Metrics::new()).err().unwrap().to_string();
        assert!(
            error.starts_with("store.ca_file: ") && error.contains("no certificates"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_proxy_is_gone_through_where_it_is_named() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let front = Front::of(&server).await;
    let (address, heads) = tunnels().await;
    let proxy = Some(format!("http://me:p%40ss@{address}").parse().unwrap());
    let own =
        config::Store { ca_file: Some(front.ca_file()), ..settings_at(&front.endpoint, &bucket) };
    let through = config::Store { proxy, ..own };
    assert!(!format!("{through:?}").contains("p%40ss"));
    put(&store(&through).await, &new_object(), &content(10)).await.unwrap();
    let head = heads.lock().unwrap().pop().unwrap().to_ascii_lowercase();
    let behind = front.endpoint.replace("https://", "");
    assert!(head.starts_with(&format!("connect {behind} http/1.1\r\n")), "{head}");
    // me:p@ss
    assert!(head.contains("proxy-authorization: basic bwu6cebzcw==\r\n"), "{head}");

    // Over plain HTTP the proxy is asked itself, for the whole address: here it is the store's.
    let proxy = Some(server.s3().endpoint().parse().unwrap());
    let through = config::Store { proxy, ..settings_at("http://s3.invalid:9000", &bucket) };
    let before = server.seen().len();
    let _ = put(&store(&through).await, &new_object(), &content(10)).await;
    assert_eq!(server.seen()[before].header("host"), Some("s3.invalid:9000"));
}

#[tokio::test]
async fn temporary_keys_are_sent_with_their_token_which_rotates() {
    let server = LocalS3::start().await;
    let bucket = server.s3().bucket().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "token-1\n").unwrap();
    let credentials = Some(StoreCredentials {
        access_key_id: Secret::fixed(ACCESS_KEY),
        secret_access_key: Secret::fixed(SECRET_KEY),
        session_token: Some(Secret::file(&file)),
    });
    let store = store(&config::Store { credentials, ..settings(server.s3(), &bucket) }).await;
    let sent = || server.seen().last().unwrap().header("x-amz-security-token").map(str::to_owned);
    store.find(&key(), &who()).await.unwrap();
    assert_eq!(sent().as_deref(), Some("token-1"));
    std::fs::write(&file, "token-2\n").unwrap();
    super::failures::a_file_may_be_read_again().await;
    let other = NewObject { key: object_key("acme/2.wav"), ..new_object() };
    put(&store, &other, &content(10)).await.unwrap();
    assert_eq!(sent().as_deref(), Some("token-2"));
}

fn shared_file(path: &Path, id: &str) {
    let text = format!(
        "[default]\naws_access_key_id = {id}\naws_secret_access_key = {SECRET_KEY}\n\
         aws_session_token = token-of-{id}\n"
    );
    // As those who rotate it do: in one step.
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// It takes half a minute: a worker reads it again at most so often.
#[tokio::test]
async fn a_shared_credentials_file_that_is_rotated_needs_no_restart() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    shared_file(&file, "stale");
    let config = world.config(&[("retry", "delays = [\"1s\"]\nmax_attempts = 2")]);
    let config = without_store_keys(&config);
    let environment =
        [("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()), ("AWS_CONFIG_FILE", "/dev/null")];
    let options = Options { config: &config, environment: &environment, binary: &binary() };
    let worker = Worker::start_with(&options).ready().await;
    world.call("1777093663-1").await;
    worker.metric_reaches("callvault_retries_total", &["InvalidAccessKeyId"], 1.0).await;
    shared_file(&file, ACCESS_KEY);
    worker.metric_reaches("callvault_jobs_total", &["outcome=\"archived\""], 1.0).await;
    let event = world.event().await.json();
    assert_eq!(event["type"], "recording.archived", "{event}");
    assert_eq!(event["data"]["attempts"], 1, "what is refused counts nothing");
    let put = world.store.seen_of(Op::Put).pop().unwrap();
    let token = format!("token-of-{ACCESS_KEY}");
    assert_eq!(put.header("x-amz-security-token"), Some(token.as_str()));
    worker.stop().await;
}

/// The SDK panics at such an id, the sweep's request at the start included.
#[tokio::test]
async fn a_key_id_that_no_header_takes_ends_no_worker() {
    let world = World::new().await;
    let config = world.config(&[("retry", "delays = [\"1s\"]\nmax_attempts = 2")]);
    let config = without_store_keys(&config);
    let environment = [("AWS_ACCESS_KEY_ID", "AK\r"), ("AWS_SECRET_ACCESS_KEY", "SK")];
    let options = Options { config: &config, environment: &environment, binary: &binary() };
    let worker = Worker::start_with(&options).ready().await;
    world.call("1777093663-1").await;
    worker.metric_reaches("callvault_retries_total", &["store.NoCredentials"], 2.0).await;
    assert_eq!(worker.metric("callvault_jobs_total", &["outcome=\"dead\""]).await, 0.0);
    let log = worker.stop().await;
    assert!(log.contains("is not ASCII") && !log.contains("panicked"), "{log}");
}

/// A worker whose store's credentials come from this command.
async fn worker_with_process(world: &World, folder: &Path, command: &str) -> Worker {
    let file = folder.join("config");
    std::fs::write(&file, format!("[default]\ncredential_process = {command}\n")).unwrap();
    let config = world.config(&[
        ("retry", "delays = [\"1s\"]\nmax_attempts = 2"),
        ("store", "connect_timeout = \"2s\"\nread_timeout = \"2s\""),
        ("log", "level = \"trace\""),
    ]);
    let config = without_store_keys(&config);
    let environment =
        [("AWS_CONFIG_FILE", file.to_str().unwrap()), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")];
    let options = Options { config: &config, environment: &environment, binary: &binary() };
    Worker::start_with(&options).ready().await
}

/// Whoever waits for credentials that do not come is not told that the store is slow.
#[tokio::test]
async fn a_credential_process_that_hangs_is_no_outage_of_the_store() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let worker = worker_with_process(&world, folder.path(), "sleep 20").await;
    for call in 1..=8 {
        world.call(&format!("1777093663-{call}")).await;
    }
    worker.metric_reaches("callvault_retries_total", &["store.NoCredentials"], 16.0).await;
    let taken_for = worker.metric("callvault_retries_total", &["store.timeout"]).await;
    assert_eq!(taken_for, 0.0);
    assert_eq!(worker.metric("callvault_dead_total", &[]).await, 0.0);
    worker.stop().await;
}

#[tokio::test]
async fn what_a_credential_process_prints_is_in_no_line_of_the_log() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    std::fs::write(&program, "echo hunter2 >&2; exit 1\n").unwrap();
    let command = format!("sh {}", program.display());
    let worker = worker_with_process(&world, folder.path(), &command).await;
    world.call("1777093663-1").await;
    worker.metric_reaches("callvault_retries_total", &["store.NoCredentials"], 2.0).await;
    assert!(!worker.get("/readyz").await.1.contains("hunter2"));
    let log = worker.stop().await;
    assert!(log.contains("store.NoCredentials"), "{log}");
    assert!(!log.contains("hunter2"), "{}", line_with(&log, "hunter2"));
}

fn line_with<'a>(log: &'a str, word: &str) -> &'a str {
    log.lines().find(|line| line.contains(word)).unwrap_or_default()
}
