//! The bare loop: download, hash, put, and nothing else. The least that these libraries cost.
//!
//! No queue, no event, no proof that a body is whole, no condition, no budget: every recording is
//! held whole. Its bytes are hashed once, and sent unsigned: over TLS nobody can change them.

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use bytes::BytesMut;
use callvault::ccfs::PATH;
use callvault::ccfs::signature::{ToSign, authorization};
use futures_util::{StreamExt, stream};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use url::Url;

use crate::case::{Case, TENANT};
use crate::floor::{Ran, Work};
use crate::support::s3::{ACCESS_KEY, SECRET_KEY};
use crate::support::usage;
use crate::support::world::{access_key, secret_key};

/// What the process does whose other side is [`crate::floor::run`].
pub async fn run(work: &str) {
    let work: Work = serde_json::from_str(work).expect("it is for the bench itself");
    let mover = Arc::new(Mover::new(&work));
    mover.all(0..work.warm_up, work.at_once).await;
    say("warm");
    until_told();
    let (pid, started) = (std::process::id(), Instant::now());
    let before = usage::cpu_seconds(pid);
    let each = mover.all(work.warm_up..work.warm_up + work.count, work.at_once).await;
    let ran = Ran {
        wall_seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: usage::cpu_seconds(pid) - before,
        peak_rss: usage::peak_rss(pid),
        each,
    };
    say(&serde_json::to_string(&ran).expect("it can be written"));
    until_told();
}

fn say(line: &str) {
    let mut output = std::io::stdout();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("the bench listens");
}

/// Until a line comes, or nothing can come any more.
fn until_told() {
    let _ = std::io::stdin().read_line(&mut String::new());
}

struct Mover {
    case: Case,
    http: reqwest::Client,
    url: Url,
    s3: aws_sdk_s3::Client,
}

impl Mover {
    fn new(work: &Work) -> Self {
        let (ccfs_ca, s3_ca) =
            work.ca_files.as_ref().map(|(ccfs, s3)| (pem(ccfs), pem(s3))).unzip();
        let ca = ccfs_ca.map(|pem| reqwest::Certificate::from_pem(&pem).expect("a certificate"));
        let http = reqwest::Client::builder().http1_only().no_proxy().tls_certs_only(ca);
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(&work.s3)
            .force_path_style(true)
            .http_client(connections(s3_ca))
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "bench"))
            .build();
        Self {
            case: Case::named(&work.case).expect("the bench's own case"),
            http: http.build().expect("a client of the bench's own CA"),
            url: format!("{}{PATH}", work.ccfs).parse().expect("the bench's own address"),
            s3: aws_sdk_s3::Client::from_conf(config),
        }
    }

    /// Moves `range`, so many at once, each in a task of its own; the seconds of each.
    async fn all(self: &Arc<Self>, range: Range<usize>, at_once: usize) -> Vec<f64> {
        let moves = stream::iter(range).map(|number| {
            let (mover, call) = (Arc::clone(self), self.case.call("floor", number));
            tokio::spawn(async move {
                let started = Instant::now();
                mover.one(&call).await;
                started.elapsed().as_secs_f64()
            })
        });
        let moves = moves.buffer_unordered(at_once);
        moves.map(|ended| ended.expect("it does not panic")).collect().await
    }

    async fn one(&self, call: &str) {
        let body =
            json!({ "request": { "version": "2.0" }, "msgBody": { "ccId": "1", "callId": call } });
        let request = self.signed(body.to_string());
        let mut answer = request.send().await.expect("the simulator answers");
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

    fn signed(&self, body: String) -> reqwest::RequestBuilder {
        let (name, port) = (self.url.host_str().unwrap_or_default(), self.url.port());
        let host = format!("{name}:{}", port.unwrap_or_default());
        let (length, kind) = (body.len().to_string(), "application/json;charset=UTF-8");
        let headers = [("content-length", &*length), ("content-type", kind), ("host", &*host)];
        let signed =
            ToSign { method: "POST", path: PATH, headers: &headers, body: body.as_bytes() };
        let (access, secret) = (access_key(TENANT), secret_key(TENANT));
        let signed = authorization(&access, &secret, callvault::clock::now(), &signed);
        self.http
            .post(self.url.clone())
            .header("accept-encoding", "identity")
            .header("content-type", kind)
            .header("authorization", signed)
            .body(body)
    }
}

fn pem(file: &Path) -> Vec<u8> {
    std::fs::read(file).expect("the bench's own CA")
}

/// Those of the SDK, to a store that this CA vouches for.
fn connections(ca: Option<Vec<u8>>) -> SharedHttpClient {
    let mut trusted = TrustStore::empty();
    if let Some(pem) = ca {
        trusted.add_pem_certificate(pem);
    }
    let tls = TlsContext::builder().with_trust_store(trusted).build();
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(tls.expect("a context of a trust store alone can be built"))
        .build_https()
}
