//! The real binary as a child process.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::child::GuardedChild;
use super::{eventually, free_port, kit_dir, unique};

/// A worker starts within this time even on a busy machine.
const START: Duration = Duration::from_secs(60);

/// What `std::process::abort` raises.
const SIGABRT: i32 = 6;

/// A running `callvault run`.
pub struct Worker {
    child: GuardedChild,
    port: u16,
    config: PathBuf,
    log: PathBuf,
}

/// What to start a worker with.
pub struct Options<'a> {
    /// The configuration, without `[http]`, which the kit adds.
    pub config: &'a str,
    pub environment: &'a [(&'a str, &'a str)],
    pub binary: &'a Path,
}

impl Worker {
    /// Starts the binary that cargo built for the tests.
    pub fn start(config: &str) -> Self {
        Self::start_with(&Options { config, environment: &[], binary: &binary() })
    }

    pub fn start_with(options: &Options<'_>) -> Self {
        Self::start_in(&kit_dir().join("workers"), &unique("worker"), options)
    }

    /// The same, with its configuration and log in `folder` as `{name}.toml` and `{name}.log`.
    pub fn start_in(folder: &Path, name: &str, options: &Options<'_>) -> Self {
        let port = free_port();
        std::fs::create_dir_all(folder).expect("the kit's folder can be made");
        let config = folder.join(format!("{name}.toml"));
        let log = folder.join(format!("{name}.log"));
        write_config(&config, options.config, port);
        let child = spawn(options.binary, options.environment, &config, &log);
        Self { child, port, config, log }
    }

    /// SIGKILL, and the same again on the same port, with an empty log.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&binary(), &[], &self.config, &self.log);
    }

    /// Waits until `/readyz` says 200.
    pub async fn ready(mut self) -> Self {
        let url = "/readyz";
        eventually("the worker is ready", START, || {
            let ended = self.child.exited();
            let (port, log) = (self.port, self.log.clone());
            async move {
                assert!(ended.is_none(), "the worker ended: {ended:?}\n{}", read(&log));
                (get(port, url).await?.0 == 200).then_some(())
            }
        })
        .await;
        self
    }

    /// Writes another configuration in place of its own, which it does not know of yet.
    pub fn write_config(&self, config: &str) {
        write_config(&self.config, config, self.port);
    }

    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// SIGTERM, SIGKILL, SIGSTOP …, without `SIG`.
    pub fn signal(&self, signal: &str) {
        self.child.signal(signal);
    }

    /// How it ended, or `None` while it runs.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.exited()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Waits for its end.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        self.child.wait(limit).await
    }

    /// Waits for its death at the crash point that it was started with.
    pub async fn crashed(&mut self) {
        let status = self.ended(START).await;
        assert_eq!(status.signal(), Some(SIGABRT), "{status}\n{}", self.log());
    }

    /// SIGTERM, and waits for exit 0.
    pub async fn stop(mut self) -> String {
        self.signal("TERM");
        let status = self.ended(Duration::from_secs(60)).await;
        assert!(status.success(), "the worker ended with {status}\n{}", self.log());
        self.log()
    }

    /// Status and body of a GET.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let port = self.port;
        eventually(path, START, || get(port, path)).await
    }

    /// Whether `/readyz` says 200 now.
    pub async fn is_ready(&self) -> bool {
        get(self.port, "/readyz").await.is_some_and(|(status, _)| status == 200)
    }

    /// The sum of all series of `name` whose labels contain every one of `labels`
    /// (`tenant="acme"`).
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200, "{text}");
        sum_of(&text, name, labels)
    }

    /// Waits until a metric reaches `least`.
    pub async fn metric_reaches(&self, name: &str, labels: &[&str], least: f64) {
        let what = format!("{name} {labels:?} reaches {least}");
        eventually(&what, START, || async {
            (self.metric(name, labels).await >= least).then_some(())
        })
        .await;
    }
}

/// The binary that cargo built beside this test, example or bench.
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its program");
    let profile = own.ancestors().nth(2).expect("cargo builds into target/PROFILE/KIND/");
    let binary = profile.join("callvault");
    assert!(binary.exists(), "{} is missing: cargo build first", binary.display());
    binary
}

/// Sums the series of a Prometheus text.
pub fn sum_of(text: &str, name: &str, labels: &[&str]) -> f64 {
    let series = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (own, own_labels) = series.split_once('{').unwrap_or((series, ""));
        let wanted = own == name && labels.iter().all(|label| own_labels.contains(label));
        wanted.then(|| value.parse::<f64>().ok())?
    });
    series.sum()
}

fn spawn(binary: &Path, environment: &[(&str, &str)], config: &Path, log: &Path) -> GuardedChild {
    let output = std::fs::File::create(log).expect("the log can be made");
    let mut command = Command::new(binary);
    command.args(["run", "--config"]).arg(config).stderr(Stdio::from(output));
    command.stdout(Stdio::null()).envs(environment.iter().copied());
    GuardedChild::spawn(&mut command).expect("the worker can be started")
}

fn write_config(path: &Path, config: &str, port: u16) {
    let text = format!("{config}\n[http]\nlisten = \"127.0.0.1:{port}\"\n");
    std::fs::write(path, text).expect("the configuration can be written");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A GET over a connection of its own; `None` while nobody listens.
async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
