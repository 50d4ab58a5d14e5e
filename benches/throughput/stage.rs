//! One case through a fresh worker and through the bare loop, over the same servers.

use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use tokio::time::Instant;

use crate::case::{Case, TENANT};
use crate::floor::{Loop, Took};
use crate::report::Measured;
use crate::support::broker::client::Rabbit;
use crate::support::ccfs::Simulator;
use crate::support::s3::sink::Sink;
use crate::support::s3::{ACCESS_KEY, SECRET_KEY};
use crate::support::worker::{Options, Worker, binary};
use crate::support::world::{access_key, call, secret_key};
use crate::support::{broker, unique, usage};

/// `worker.concurrency`, and what the bare loop has under way.
const CONCURRENCY: usize = 64;

/// What the bare loop, which has no budget, may hold of whole recordings, in bytes.
const FLOOR_HOLDS: u64 = 256 << 20;

/// What stands around the worker.
pub struct Stage {
    node: &'static broker::Node,
    rabbit: Rabbit,
    ccfs: Simulator,
    /// Who vouches for it, where it is asked over TLS.
    ca: Option<PathBuf>,
    sink: Sink,
}

impl Stage {
    pub async fn set(verify: bool, tls: bool) -> Self {
        let node = broker::node().await;
        let ccfs = if tls { Simulator::start_tls().await } else { Simulator::start().await };
        let ca = tls.then(|| ccfs.ca_file());
        ccfs.account(&access_key(TENANT), &secret_key(TENANT));
        ccfs.remember(false);
        Self { node, rabbit: node.client().await, ccfs, ca, sink: Sink::start(verify).await }
    }

    /// The worker first, then the bare loop, both over the same servers.
    pub async fn measure(&self, case: &Case) -> Measured {
        let (worker, bytes) = self.worker(case).await;
        let floor = self.floor(case).await;
        Measured { case: *case, bytes, worker, floor }
    }

    async fn worker(&self, case: &Case) -> (Took, u64) {
        let names = Names::new(&self.rabbit).await;
        let worker = Worker::start_with(&Options {
            config: &self.config(&names),
            environment: &[],
            binary: &release_binary(),
        });
        let worker = worker.ready().await;
        let pid = worker.pid();
        self.archive(case, 0..case.warm_up, &names).await;
        self.sink.take();

        let (started, before) = (Instant::now(), usage::cpu_seconds(pid));
        self.archive(case, case.warm_up..case.warm_up + case.count, &names).await;
        let took = Took {
            wall: started.elapsed(),
            cpu_seconds: usage::cpu_seconds(pid) - before,
            peak_rss: usage::peak_rss(pid),
        };

        let (objects, bytes) = self.sink.take();
        assert_eq!(objects, case.count, "every recording is stored\n{}", worker.log());
        // The event of the last job is here before the worker has counted it.
        let archived = "outcome=\"archived\"";
        let all = (case.warm_up + case.count) as f64;
        worker.metric_reaches("callvault_jobs_total", &[archived], all).await;
        assert_eq!(worker.metric("callvault_retries_total", &[]).await, 0.0, "at its first try");
        worker.stop().await;
        (took, bytes)
    }

    /// Asks for a range of recordings and waits for their events.
    async fn archive(&self, case: &Case, range: std::ops::Range<usize>, names: &Names) {
        let count = range.len();
        let confirms = range.map(async |number| {
            let body = call(&format!("bench{number}-{}", case.kind)).to_string();
            let properties = BasicProperties::default().with_delivery_mode(2);
            let (exchange, key) = (names.calls.as_str().into(), "call.completed".into());
            let options = BasicPublishOptions::default();
            let channel = self.rabbit.channel();
            let sent = channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
            sent.await.expect("published").await.expect("confirmed");
        });
        let events = self.rabbit.take_many(&names.events, count);
        tokio::join!(join_all(confirms), events);
    }

    async fn floor(&self, case: &Case) -> Took {
        let holds = usize::try_from(FLOOR_HOLDS / case.size).unwrap_or(usize::MAX);
        let bare = Loop {
            ccfs: self.ccfs.url(),
            ca: self.ca_file(),
            s3: self.sink.endpoint().to_owned(),
            kind: case.kind,
            warm_up: case.warm_up,
            count: case.count,
            concurrency: CONCURRENCY.min(holds),
        };
        let took = tokio::task::spawn_blocking(move || bare.run()).await.expect("no panic");
        assert_eq!(self.sink.take().0, case.warm_up + case.count, "every recording is stored");
        took
    }

    /// The path, or nothing.
    fn ca_file(&self) -> String {
        self.ca.as_deref().map_or_else(String::new, |path| path.display().to_string())
    }

    fn config(&self, names: &Names) -> String {
        let Names { prefix, calls, events_exchange, .. } = names;
        let (amqp, ccfs, s3) = (self.node.url(), self.ccfs.url(), self.sink.endpoint());
        let (access, secret) = (access_key(TENANT), secret_key(TENANT));
        let ca = self.ca_file();
        format!(
            "[broker]\nurl = \"{amqp}\"\nqueue_prefix = \"{prefix}\"\n\
             calls_exchange = \"{calls}\"\nevents_exchange = \"{events_exchange}\"\n\
             [worker]\nconcurrency = {CONCURRENCY}\nmemory = \"32MiB\"\n\
             [ccfs]\nendpoints = [\"{ccfs}\"]\nca_file = \"{ca}\"\n\
             [store]\nendpoint = \"{s3}\"\nbucket = \"bench\"\npath_style = true\n\
             access_key_id = \"{ACCESS_KEY}\"\nsecret_access_key = \"{SECRET_KEY}\"\n\
             [[tenants]]\nid = \"{TENANT}\"\naccess_key = \"{access}\"\nsecret_key = \"{secret}\"\n"
        )
    }
}

/// Queues and exchanges of one worker's own.
struct Names {
    prefix: String,
    calls: String,
    events_exchange: String,
    /// The queue that its events go to.
    events: String,
}

impl Names {
    async fn new(rabbit: &Rabbit) -> Self {
        let prefix = unique("bench");
        let (calls, events_exchange) = (format!("{prefix}-calls"), format!("{prefix}-events"));
        for exchange in [&calls, &events_exchange] {
            rabbit.topic(exchange).await;
        }
        let events = rabbit.keep(&events_exchange, "#").await;
        Self { prefix, calls, events_exchange, events }
    }
}

/// The worker that is measured: that of `CALLVAULT_BENCH_BINARY`, so that two can be compared, else
/// the one that cargo built with this bench.
fn release_binary() -> std::path::PathBuf {
    match std::env::var_os("CALLVAULT_BENCH_BINARY") {
        Some(path) => Path::new(&path).to_owned(),
        None => binary(),
    }
}
