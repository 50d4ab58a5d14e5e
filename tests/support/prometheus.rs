//! A real Prometheus on a private port: Debian's, unpacked for the kit where the machine has none; and
//! what it scrapes besides workers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::child::GuardedChild;
use super::{debian, eventually, free_port, kit_dir, unique};

/// How often it scrapes and evaluates.
const EVERY: &str = "500ms";

/// A server, and its folder, which goes with it.
pub struct Prometheus {
    port: u16,
    _child: GuardedChild,
    _folder: tempfile::TempDir,
}

/// A series of an answer: its labels, and the value as Prometheus writes it.
#[derive(Clone, Debug)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: String,
}

/// A series over time: seconds since the epoch, and the value then.
#[derive(Clone, Debug)]
pub struct Line {
    pub labels: BTreeMap<String, String>,
    pub points: Vec<(f64, f64)>,
}

impl Prometheus {
    /// Scrapes the workers and exporters on `ports` of this machine, with these rules (name and text).
    ///
    /// # Panics
    /// It cannot be had, or does not start.
    pub async fn start(ports: &[u16], rules: &[(&str, String)]) -> Self {
        let program = tokio::task::spawn_blocking(program).await.expect("it is found or fetched");
        let folders = kit_dir().join("prometheus");
        fs::create_dir_all(&folders).expect("the kit's folder can be made");
        let folder = tempfile::Builder::new().prefix(&unique("p")).tempdir_in(folders);
        let folder = folder.expect("a folder can be made");
        let port = free_port();
        let config = folder.path().join("prometheus.yml");
        fs::write(&config, configuration(ports, rules)).expect("the folder can be written");
        for (name, text) in rules {
            fs::write(folder.path().join(name), text).expect("the folder can be written");
        }
        let log_path = folder.path().join("log");
        let log = File::create(&log_path).expect("the folder can be written");
        let mut command = Command::new(program);
        command
            .current_dir(folder.path())
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--log.level=warn", "--storage.tsdb.retention.time=1d"])
            .stdout(Stdio::null())
            .stderr(log);
        let mut child = GuardedChild::spawn(&mut command).expect("prometheus can be started");
        eventually("Prometheus is ready", Duration::from_secs(60), || {
            let ended = child.exited();
            let log = fs::read_to_string(&log_path).unwrap_or_default();
            async move {
                assert!(ended.is_none(), "Prometheus ended: {ended:?}\n{log}");
                get(port, "/-/ready").await.filter(|(status, _)| *status == 200)
            }
        })
        .await;
        Self { port, _child: child, _folder: folder }
    }

    /// What an expression gives now.
    ///
    /// # Panics
    /// It is no expression.
    pub async fn query(&self, expression: &str) -> Vec<Sample> {
        let query = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let data = self.api(&format!("query?query={query}")).await;
        let result = data["result"].as_array().expect("a vector");
        let sample = |found: &Value| Sample {
            labels: labels(&found["metric"]),
            value: text(&found["value"][1]),
        };
        result.iter().map(sample).collect()
    }

    /// What an expression gave in the last `seconds`, second by second.
    ///
    /// # Panics
    /// It is no expression.
    pub async fn range(&self, expression: &str, seconds: u32) -> Vec<Line> {
        let query = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let until = callvault::clock::now().as_second();
        let from = until - i64::from(seconds);
        let data =
            self.api(&format!("query_range?start={from}&end={until}&step=1&query={query}")).await;
        let result = data["result"].as_array().expect("a matrix");
        let point = |pair: &Value| {
            let value = text(&pair[1]).parse().expect("a number, or NaN, or Inf");
            (pair[0].as_f64().expect("a time"), value)
        };
        let line = |found: &Value| Line {
            labels: labels(&found["metric"]),
            points: found["values"].as_array().expect("points").iter().map(point).collect(),
        };
        result.iter().map(line).collect()
    }

    /// The alerts that are pending or firing, by name.
    pub async fn alerts(&self) -> BTreeSet<String> {
        let data = self.api("alerts").await;
        let alerts = data["alerts"].as_array().expect("a list").iter();
        let names = alerts.filter_map(|alert| alert["labels"]["alertname"].as_str());
        names.map(str::to_owned).collect()
    }

    /// Each rule that could not be evaluated, with why; and how many there are.
    pub async fn failing_rules(&self) -> (Vec<String>, usize) {
        let data = self.api("rules").await;
        let groups = data["groups"].as_array().expect("a list").iter();
        let rules: Vec<_> = groups.flat_map(|group| group["rules"].as_array()).flatten().collect();
        let failing = rules.iter().filter(|rule| rule["health"] == "err");
        let told = failing.map(|rule| format!("{}: {}", rule["name"], rule["lastError"]));
        (told.collect(), rules.len())
    }

    async fn api(&self, path: &str) -> Value {
        let (status, body) = get(self.port, &format!("/api/v1/{path}")).await.expect("it answers");
        assert_eq!(status, 200, "{path}: {body}");
        let mut answer: Value = serde_json::from_str(&body).expect("JSON");
        answer["data"].take()
    }
}

/// An exporter that tells every scrape the same; it stops when it is dropped.
pub struct Exporter {
    port: u16,
    serving: JoinHandle<()>,
}

impl Exporter {
    /// # Panics
    /// Loopback has no free port.
    pub async fn start(series: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let kind = "text/plain; version=0.0.4";
        let length = series.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{series}"
        );
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // What is asked for does not matter, but closing before it was read would be a reset.
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { port, serving }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn labels(metric: &Value) -> BTreeMap<String, String> {
    let pairs = metric.as_object().expect("labels").iter();
    pairs.map(|(label, value)| (label.clone(), text(value))).collect()
}

/// This machine's, or Debian's.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut here = std::env::split_paths(&path).map(|folder| folder.join("prometheus"));
    let unpacked = || debian::unpacked("prometheus").join("usr/bin/prometheus");
    here.find(|program| Path::is_file(program)).unwrap_or_else(unpacked)
}

fn configuration(ports: &[u16], rules: &[(&str, String)]) -> String {
    let targets: Vec<_> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    let files: String = rules.iter().map(|(name, _)| format!("  - {name}\n")).collect();
    format!(
        "global:\n  scrape_interval: {EVERY}\n  scrape_timeout: {EVERY}\n  \
         evaluation_interval: {EVERY}\nrule_files:\n{files}scrape_configs:\n  \
         - job_name: callvault\n    static_configs:\n      - targets: [{}]\n",
        targets.join(", ")
    )
}

/// A GET over a connection of its own; `None` while nobody listens. HTTP/1.0: nothing comes in chunks.
async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
