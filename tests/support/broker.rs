//! A private RabbitMQ node, and a client to play the rest of the world with.
//!
//! Debian's `rabbitmq-server`, or the one that `CALLVAULT_TEST_RABBITMQ` names ([`programs`]), its
//! programs called directly with an environment of their own: own node name, ports, epmd, folders,
//! everything bound to loopback. Works as root. One node is shared by all tests of a process
//! ([`node`]); a test that kills its node starts one with [`Node::start_private`], or three of them
//! that are a [`cluster`].

pub mod client;
pub mod cluster;
mod epmd;
pub mod programs;
pub mod raw;
pub mod tls;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine;
use lapin::{Connection, ConnectionProperties};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OnceCell};

use super::child::GuardedChild;
use super::debian::show;
use super::{eventually, free_port, kit_dir, unique};

use client::Rabbit;
use tls::Tls;

/// 4–6 s on an idle machine.
const BOOT: Duration = Duration::from_secs(120);

/// The node that the tests of this process share; each test takes a queue prefix of its own.
pub async fn node() -> &'static Node {
    static SHARED: OnceCell<Node> = OnceCell::const_new();
    SHARED.get_or_init(Node::start_private).await
}

/// A running RabbitMQ node.
pub struct Node {
    folder: PathBuf,
    name: String,
    ports: Ports,
    /// Another tells where the nodes are.
    mapped: bool,
    running: Mutex<Option<Running>>,
    /// Of a node that was started with [`Node::start_with_tls`].
    pub tls: Option<Tls>,
}

struct Ports {
    amqp: u16,
    dist: u16,
    epmd: u16,
    management: u16,
    prometheus: u16,
}

struct Running {
    server: GuardedChild,
    /// In the foreground, since a daemon would outlive the tests. It ends by itself where another
    /// has its port already.
    _epmd: Option<GuardedChild>,
}

impl Node {
    /// Installs RabbitMQ if need be, and starts a node on an empty folder.
    pub async fn start_private() -> Self {
        Self::start_with("").await
    }

    /// The same, with more lines in its configuration.
    pub async fn start_with(lines: &str) -> Self {
        Self::start_node(false, free_port(), lines).await
    }

    /// The same, in one cluster with `first`: of two nodes neither has a quorum without the other.
    pub async fn start_beside(first: &Self) -> Self {
        let node = Self::start_node(false, first.ports.epmd, "").await;
        node.ctl(&["stop_app"]).await;
        node.ctl(&["join_cluster", &format!("{}@localhost", first.name)]).await;
        node.ctl(&["start_app"]).await;
        node
    }

    /// The same, with a TLS listener besides.
    pub async fn start_with_tls() -> Self {
        Self::start_node(true, free_port(), "").await
    }

    /// Nodes of a cluster have one epmd, which the first of them starts.
    async fn start_node(with_tls: bool, epmd: u16, lines: &str) -> Self {
        let mut node = Self::new(epmd).await;
        node.tls = with_tls.then(|| Tls::generate(&node.folder));
        node.write_files(lines);
        node.start().await;
        if let Some(tls) = &node.tls {
            // It listens there after it has answered without.
            eventually("the broker listens with TLS", Duration::from_secs(60), || async {
                TcpStream::connect(("127.0.0.1", tls.port)).await.ok()
            })
            .await;
        }
        node
    }

    /// A node that has its folder, and neither files nor processes.
    async fn new(epmd: u16) -> Self {
        tokio::task::spawn_blocking(programs::install)
            .await
            .expect("the installation does not panic");
        let name = unique("rabbit");
        let folder = kit_dir().join(&name);
        remove_stale_folders();
        fs::create_dir_all(&folder).expect("target/kit can be written");
        let ports = Ports {
            amqp: free_port(),
            dist: free_port(),
            epmd,
            management: free_port(),
            prometheus: free_port(),
        };
        Self { folder, name, ports, mapped: false, running: Mutex::new(None), tls: None }
    }

    /// `amqp://` URL of the default user and virtual host.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports.amqp)
    }

    pub fn amqp_port(&self) -> u16 {
        self.ports.amqp
    }

    /// `http://127.0.0.1:{port}`, user and password guest.
    pub fn management_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.management)
    }

    /// Asks the management plugin as `user` (`name:password`); status and body.
    pub async fn manage(
        &self,
        user: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> io::Result<(u16, String)> {
        let user = base64::engine::general_purpose::STANDARD.encode(user);
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: localhost\r\nauthorization: Basic {user}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports.management)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
    }

    /// Starts the node on its folder, again after [`Node::stop`] or [`Node::kill`].
    pub async fn start(&self) {
        let mut running = self.running.lock().await;
        assert!(running.is_none(), "{} runs already", self.name);
        let log = || fs::File::create(self.folder.join("console.log")).expect("a writable folder");
        let epmd = (!self.mapped).then(|| {
            let mut epmd = programs::epmd();
            epmd.args(["-address", "127.0.0.1", "-port", &self.ports.epmd.to_string()]);
            epmd.stdout(Stdio::null()).stderr(Stdio::null());
            GuardedChild::spawn(&mut epmd).expect("epmd starts")
        });
        let mut server = self.command("rabbitmq-server");
        server.stdout(log()).stderr(log());
        let server = GuardedChild::spawn(&mut server).expect("rabbitmq-server starts");
        *running = Some(Running { server, _epmd: epmd });
        drop(running);
        eventually("RabbitMQ takes connections", BOOT, async || {
            let mut running = self.running.lock().await;
            let running = running.as_mut().expect("just started");
            assert!(running.server.exited().is_none(), "RabbitMQ ended: {}", self.console());
            connect(&self.url()).await.ok()
        })
        .await;
    }

    /// Starts it unless it runs: a start may have been cancelled on the way.
    pub async fn ensure_started(&self) {
        if self.running.lock().await.is_none() {
            return self.start().await;
        }
        eventually("RabbitMQ takes connections", BOOT, async || connect(&self.url()).await.ok())
            .await;
    }

    /// Ends the node in order.
    pub async fn stop(&self) {
        let mut running = self.running.lock().await.take().expect("a running node");
        running.server.signal("TERM");
        running.server.wait(Duration::from_secs(60)).await;
        // The Erlang machine may outlive the script that started it by a moment.
        running.server.signal("KILL");
    }

    /// `kill -9`.
    pub async fn kill(&self) {
        let mut running = self.running.lock().await.take().expect("a running node");
        running.server.kill();
    }

    /// SIGSTOP: the node is there, and says nothing. See [`Node::thaw`].
    pub async fn freeze(&self) {
        self.running.lock().await.as_ref().expect("a running node").server.signal("STOP");
    }

    pub async fn thaw(&self) {
        self.running.lock().await.as_ref().expect("a running node").server.signal("CONT");
    }

    /// Maintenance mode: its clients are sent away, and it leads no queue any more. Until it is
    /// started anew.
    pub async fn drain(&self) {
        self.run("rabbitmq-upgrade", &["drain"]).await.expect("it can be drained");
    }

    /// Runs `rabbitmqctl`; panics with its output if it fails. A second or two.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        self.try_ctl(arguments).await.unwrap_or_else(|said| panic!("{said}"))
    }

    /// The same of a node that may be booting; or what was said instead.
    pub async fn try_ctl(&self, arguments: &[&str]) -> Result<String, String> {
        self.run("rabbitmqctl", arguments).await
    }

    async fn run(&self, tool: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command(tool);
        command.args(["-n", &format!("{}@localhost", self.name), "--quiet"]).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output());
        let output = output.await.expect("a tool does not panic").expect("a tool runs");
        if !output.status.success() {
            return Err(format!("{tool} {arguments:?}: {}", show(&output)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a script in which `rabbitmqadmin` asks this node; panics with what it said if it fails.
    pub async fn script(&self, script: &str) -> String {
        let management = self.ports.management.to_string();
        let mut shell = programs::shell();
        // Of the one of 3.10, then of that of 4.3.
        let config = format!("[default]\nhostname = 127.0.0.1\nport = {management}\n");
        if !programs::has_rabbitmqadmin_v2() {
            let file = self.folder.join(".rabbitmqadmin.conf");
            fs::write(file, config).expect("target/kit can be written");
        }
        shell.args(["-e", "-c", script]).env("HOME", &self.folder);
        shell.env("RABBITMQADMIN_TARGET_HOST", "127.0.0.1");
        shell.env("RABBITMQADMIN_TARGET_PORT", management);
        let output = tokio::task::spawn_blocking(move || shell.stdin(Stdio::null()).output());
        let output = output.await.expect("a shell does not panic").expect("a shell runs");
        assert!(output.status.success(), "{script}: {}", show(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A file that this node's programs can read.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.join(name);
        fs::write(&file, text).expect("target/kit can be written");
        file
    }

    /// The memory alarm: publishers are blocked while it is on.
    pub async fn memory_alarm(&self, on: bool) {
        let limit = if on { "1MB" } else { "4GB" };
        self.ctl(&["set_vm_memory_high_watermark", "absolute", limit]).await;
    }

    /// The disk alarm: publishers are blocked while it is on, in a cluster those of every node.
    pub async fn disk_alarm(&self, on: bool) {
        self.ctl(&["set_disk_free_limit", if on { "100000GB" } else { "50MB" }]).await;
    }

    /// Name and number of messages, ready or not, of every queue.
    pub async fn queues(&self) -> Vec<(String, u32)> {
        let lines = self.ctl(&["list_queues", "name", "messages", "--no-table-headers"]).await;
        let pair = |line: &str| {
            let (name, depth) = line.split_once('\t')?;
            Some((name.to_owned(), depth.trim().parse().ok()?))
        };
        lines.lines().filter_map(pair).collect()
    }

    /// Closes the connections with this client-given name ("callvault consume"); how many.
    pub async fn cut_connections(&self, name: &str) -> usize {
        let list = self.ctl(&["list_connections", "pid", "client_properties"]).await;
        let named = format!("\"{name}\"");
        let pids: Vec<_> = list
            .lines()
            .filter(|line| line.contains(&named))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        for pid in &pids {
            self.ctl(&["close_connection", pid, "cut by a test"]).await;
        }
        pids.len()
    }

    /// What the node wrote to its console, for failing tests.
    pub fn console(&self) -> String {
        fs::read_to_string(self.folder.join("console.log")).unwrap_or_default()
    }

    /// A client; panics when the node cannot be reached.
    pub async fn client(&self) -> Rabbit {
        Rabbit::connect(&self.url()).await
    }

    /// A client, if the node can be reached.
    pub async fn try_client(&self) -> Option<Rabbit> {
        Rabbit::try_connect(&self.url()).await
    }

    fn write_files(&self, lines: &str) {
        let file = |name: &str, text: String| {
            fs::write(self.folder.join(name), text).expect("target/kit can be written");
        };
        let Ports { amqp, management, prometheus, .. } = self.ports;
        let tls = self.tls.as_ref().map(|tls| tls.config(&self.folder)).unwrap_or_default();
        file(
            "rabbitmq.conf",
            format!(
                "listeners.tcp.local = 127.0.0.1:{amqp}\n\
                 management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\n\
                 prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {prometheus}\n\
                 vm_memory_high_watermark.absolute = 4GB\ndisk_free_limit.absolute = 50MB\n\
                 log.console = true\nlog.console.level = warning\nlog.file = false\n\
                 {tls}{lines}"
            ),
        );
        file("enabled_plugins", "[rabbitmq_management,rabbitmq_prometheus].\n".to_owned());
        // Tests cannot wait for what takes a minute and more: channels look for late acknowledgements
        // once a minute; what was delivered over a node that is gone comes again after one (4.3), and
        // what was dead-lettered to a queue that changed its leader after three.
        let own = "{channel_tick_interval, 1000}, {consumer_disconnected_timeout, 5000}, \
                   {dead_letter_worker_publisher_confirm_timeout, 5000}";
        file("advanced.config", format!("[{{rabbit, [{own}]}}].\n"));
        file(".erlang.cookie", "CALLVAULTTESTKIT".to_owned());
        let cookie = self.folder.join(".erlang.cookie");
        fs::set_permissions(cookie, fs::Permissions::from_mode(0o400)).expect("our own file");
    }

    fn command(&self, program: &str) -> Command {
        let folder = |name: &str| self.folder.join(name);
        let mut command = programs::rabbitmq(program);
        for (name, _) in std::env::vars_os() {
            // The surrounding machine's RabbitMQ is none of ours.
            if ["RABBITMQ_", "ERL_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", &self.folder)
            .env("RABBITMQ_NODENAME", format!("{}@localhost", self.name))
            .env("RABBITMQ_NODE_PORT", self.ports.amqp.to_string())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_DIST_PORT", self.ports.dist.to_string())
            .env("ERL_EPMD_PORT", self.ports.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", folder("data"))
            .env("RABBITMQ_LOG_BASE", folder("log"))
            .env("RABBITMQ_PID_FILE", folder("pid"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", folder("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", folder("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder("enabled_plugins"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                // No epmd of its own. Several nodes share the machine: fewer schedulers, and none that
                // spins while it waits for work.
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 2:2 \
                 +sbwt none +sbwtdcpu none +sbwtdio none",
            );
        command
    }
}

/// A shared node is a static, which is never dropped: what earlier processes left is removed here.
fn remove_stale_folders() {
    for entry in fs::read_dir(kit_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("rabbit-").and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The children first, then what they wrote.
        *self.running.get_mut() = None;
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn connect(url: &str) -> lapin::Result<Connection> {
    // A node that is still booting may take the connection and say nothing.
    let opening = Connection::connect(url, ConnectionProperties::default());
    let opened = tokio::time::timeout(Duration::from_secs(10), opening).await;
    opened.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}
