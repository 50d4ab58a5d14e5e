//! The bare loop: download, hash, put, and nothing else. The least that these libraries cost.
//!
//! No queue, no event, no proof that a body is whole, no condition, no budget: every recording is
//! held whole. A process of its own, so that it is measured as the worker is.

use std::fmt::Display;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation,
    StalledStreamProtectionConfig,
};
use bytes::BytesMut;
use callvault::ccfs::PATH;
use callvault::ccfs::signature::{ToSign, authorization};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::case::TENANT;
use crate::support::s3::{ACCESS_KEY, SECRET_KEY};
use crate::support::usage;
use crate::support::world::{access_key, secret_key};

/// The first argument of this program that makes it the loop.
pub const COMMAND: &str = "bare-loop";

/// What it does.
pub struct Loop {
    pub ccfs: String,
    /// A file, or nothing.
    pub ca: String,
    pub s3: String,
    /// Call ids end in this, which says what the simulator answers.
    pub kind: &'static str,
    pub warm_up: usize,
    pub count: usize,
    pub concurrency: usize,
}

/// What it took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    pub wall: Duration,
    pub cpu_seconds: f64,
    pub peak_rss: u64,
}

impl Loop {
    /// Runs it in a child process.
    pub fn run(&self) -> Took {
        let Self { ccfs, ca, s3, kind, warm_up, count, concurrency } = self;
        let numbers = [warm_up, count, concurrency].map(ToString::to_string);
        let program = std::env::current_exe().expect("a process knows its program");
        let mut command = Command::new(program);
        command.args([COMMAND, ccfs, ca, s3, kind]).args(numbers).stderr(Stdio::inherit());
        let output = command.output().expect("this program can be started again");
        assert!(output.status.success(), "the bare loop ended with {}", output.status);
        let took: Value = serde_json::from_slice(&output.stdout).expect("the loop prints JSON");
        Took {
            wall: Duration::from_secs_f64(took["wall"].as_f64().expect("a number")),
            cpu_seconds: took["cpu"].as_f64().expect("a number"),
            peak_rss: took["rss"].as_u64().expect("a number"),
        }
    }
}

/// The child's side of [`Loop::run`].
pub async fn run(arguments: &[String]) -> impl Display {
    let [ccfs, ca, s3, kind, warm_up, count, concurrency] = arguments else {
        panic!("{COMMAND} is for the bench itself");
    };
    let [warm_up, count, concurrency] = [warm_up, count, concurrency].map(|text| number(text));
    let mover = Arc::new(Mover::new(ccfs, ca, s3));
    mover.all(0..warm_up, kind, concurrency).await;
    let (pid, started) = (std::process::id(), Instant::now());
    let before = usage::cpu_seconds(pid);
    mover.all(warm_up..warm_up + count, kind, concurrency).await;
    json!({
        "wall": started.elapsed().as_secs_f64(),
        "cpu": usage::cpu_seconds(pid) - before,
        "rss": usage::peak_rss(pid),
    })
}

fn number<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

struct Mover {
    http: reqwest::Client,
    url: String,
    s3: aws_sdk_s3::Client,
}

impl Mover {
    fn new(ccfs: &str, ca: &str, s3: &str) -> Self {
        let ca = (!ca.is_empty()).then(|| {
            let pem = std::fs::read(ca).expect("the bench's own CA");
            reqwest::Certificate::from_pem(&pem).expect("a certificate")
        });
        let http = reqwest::Client::builder().http1_only().no_proxy().tls_certs_only(ca);
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(s3)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "bench"))
            .build();
        Self {
            http: http.build().expect("a client without TLS roots"),
            url: format!("{ccfs}{PATH}"),
            s3: aws_sdk_s3::Client::from_conf(config),
        }
    }

    /// Moves `range`, so many at once, each in a task of its own.
    async fn all(self: &Arc<Self>, range: std::ops::Range<usize>, kind: &str, at_once: usize) {
        let moves = stream::iter(range).map(|number| {
            let (mover, call) = (Arc::clone(self), format!("floor{number}-{kind}"));
            tokio::spawn(async move { mover.one(&call).await })
        });
        moves
            .buffer_unordered(at_once)
            .for_each(async |ended| ended.expect("it does not panic"))
            .await;
    }

    async fn one(&self, call: &str) {
        let body =
            json!({ "request": { "version": "2.0" }, "msgBody": { "ccId": "1", "callId": call } });
        let body = body.to_string();
        let url: url::Url = self.url.parse().expect("the bench's own address");
        let host =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or_default());
        let (length, kind) = (body.len().to_string(), "application/json;charset=UTF-8");
        let headers = [("content-length", &*length), ("content-type", kind), ("host", &*host)];
        let signed =
            ToSign { method: "POST", path: PATH, headers: &headers, body: body.as_bytes() };
        let (access, secret) = (access_key(TENANT), secret_key(TENANT));
        let signed = authorization(&access, &secret, callvault::clock::now(), &signed);
        let request = self
            .http
            .post(url)
            .header("accept-encoding", "identity")
            .header("content-type", kind)
            .header("authorization", signed);
        let mut answer = request.body(body).send().await.expect("the simulator answers");
        assert_eq!(answer.status(), 200, "{call}");
        let length = answer.content_length().expect("the simulator says the length");
        let mut whole = BytesMut::with_capacity(usize::try_from(length).expect("it fits memory"));
        let mut hash = Sha256::new();
        while let Some(chunk) = answer.chunk().await.expect("the simulator sends all") {
            hash.update(&chunk);
            whole.extend_from_slice(&chunk);
        }
        let put = self.s3.put_object().bucket("bench").key(format!("{call}.wav"));
        let put = put.metadata("sha256", hex::encode(hash.finalize())).body(whole.freeze().into());
        // Else the SDK would hash the body once more.
        put.customize().disable_payload_signing().send().await.expect("the sink takes it");
    }
}
