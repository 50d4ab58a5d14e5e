//! The CC-FS client against the simulator, over sockets.

mod answers;
mod index;
mod network;
mod settings;
mod signature;
mod simulator;
mod tls;

use std::collections::BTreeMap;
use std::sync::Once;
use std::time::Duration;

use callvault::ccfs::{Ask, Client, Download};
use callvault::config::{self, Secret};
use callvault::failure::Failure;
use callvault::request::{CallId, CcId, FileName};

use crate::support::ccfs::{Content, Reply, Simulator};

const CALL: &str = "1777093663-792075";
const FILE: &str = r"X:\4\0\20260425\512\录音 (1)+%~.V3";

/// What is sent with orders of an index.
const CALLBACK: &str = "https://callvault.invalid/";

/// Long enough for a loaded machine; tests that wait for a timeout set their own.
const PATIENCE: Duration = Duration::from_secs(30);
const IMPATIENCE: Duration = Duration::from_millis(200);

/// Requests that are under way at once, at most.
const AT_ONCE: usize = 16;

fn crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

fn settings(endpoints: &[&str]) -> config::Ccfs {
    config::Ccfs {
        endpoints: endpoints.iter().map(|url| url.parse().expect("a URL")).collect(),
        allow_plain: false,
        ca_file: None,
        proxy: None,
        host: None,
        connect_timeout: PATIENCE,
        read_timeout: PATIENCE,
        max_size: 1 << 30,
        index_callback_url: CALLBACK.parse().expect("a URL"),
        result_codes: BTreeMap::new(),
    }
}

fn client_with(settings: &config::Ccfs) -> Client {
    crypto();
    let secret = Secret::fixed(Simulator::SECRET_KEY);
    Client::new(settings, Simulator::ACCESS_KEY, &secret, AT_ONCE).expect("usable settings")
}

fn client(ccfs: &Simulator) -> Client {
    client_with(&settings(&[&ccfs.url()]))
}

async fn ask(
    client: &Client,
    call_id: Option<&str>,
    file: Option<&str>,
) -> Result<Download, Failure> {
    let call_id = call_id.map(|id| CallId::new(id).expect("a call id"));
    let file_name = file.map(|name| FileName::new(name).expect("a file name"));
    let cc_id = CcId::new("1").expect("a ccId");
    let ask = Ask { call_id: call_id.as_ref(), file_name: file_name.as_ref(), cc_id: &cc_id };
    client.download(&ask, || {}).await
}

async fn drain(mut download: Download) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Asks for the call and reads the whole recording.
async fn fetch(client: &Client) -> Result<Vec<u8>, Failure> {
    drain(ask(client, Some(CALL), None).await?).await
}

/// `reason/class` of the failure that `reply` leads to, and its detail.
async fn failure_of(reply: Reply) -> (String, String) {
    let ccfs = Simulator::start().await;
    ccfs.script(CALL, [reply]);
    said(fetch(&client(&ccfs)).await)
}

fn said<T>(result: Result<T, Failure>) -> (String, String) {
    let Err(failure) = result else { panic!("a recording where none should be") };
    (format!("{}/{:?}", failure.reason, failure.class), failure.detail)
}

async fn assert_failure(reply: Reply, expected: &str) {
    let shown = format!("{reply:?}");
    assert_eq!(failure_of(reply).await.0, expected, "{shown}");
}

fn same(got: &[u8], expected: &Content) {
    assert_eq!(got.len() as u64, expected.length());
    assert!(got == expected.to_vec(), "other bytes");
}
