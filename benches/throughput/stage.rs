//! What stands around the worker and the bare loop: a broker, a CC-FS, a store, and the queues of
//! each worker.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Consumer, PublisherConfirm};

use crate::case::{Case, TENANT};
use crate::count::Counter;
use crate::options::Options;
use crate::support::broker::client::Rabbit;
use crate::support::ccfs::Simulator;
use crate::support::s3::sink::Sink;
use crate::support::s3::{ACCESS_KEY, SECRET_KEY};
use crate::support::worker::{self, Worker, binary};
use crate::support::world::{access_key, call, secret_key};
use crate::support::{broker, unique};

/// No recording takes longer, on a simulated processor neither.
const LIMIT: Duration = Duration::from_secs(600);

pub struct Stage {
    node: &'static broker::Node,
    pub rabbit: Rabbit,
    /// Of RabbitMQ.
    pub version: String,
    pub ccfs: Simulator,
    pub sink: Sink,
    pub tls: bool,
    /// What `[worker]` says of its memory.
    memory: String,
    pub counter: Counter,
    /// A worker in Python is measured, too.
    pub python: bool,
}

impl Stage {
    pub async fn set(options: &Options) -> Self {
        let node = broker::node().await;
        let version = node.ctl(&["version"]).await.trim().to_owned();
        let (ccfs, sink) = if options.tls {
            (Simulator::start_tls().await, Sink::start_tls(options.verify).await)
        } else {
            (Simulator::start().await, Sink::start(options.verify).await)
        };
        ccfs.account(&access_key(TENANT), &secret_key(TENANT));
        ccfs.remember(false);
        let memory = options.memory.as_ref().map(|size| format!("memory = \"{size}\"\n"));
        Self {
            node,
            rabbit: node.client().await,
            version,
            ccfs,
            sink,
            tls: options.tls,
            memory: memory.unwrap_or_default(),
            counter: options.counter,
            python: options.python,
        }
    }

    pub fn amqp(&self) -> String {
        self.node.url()
    }

    /// Who vouches for CC-FS and for the store, where they are asked over TLS.
    pub fn ca_files(&self) -> Option<(PathBuf, PathBuf)> {
        self.tls.then(|| (self.ccfs.ca_file(), self.sink.ca_file()))
    }

    /// Starts a worker with `worker.concurrency` = `at_once`; it need not be ready yet.
    pub fn worker(&self, names: &Names, at_once: usize) -> Worker {
        let binary = self.counter.program(&release_binary());
        let config = self.config(names, at_once);
        let options = worker::Options { config: &config, environment: &[], binary: &binary };
        Worker::start_with(&options)
    }

    fn config(&self, names: &Names, at_once: usize) -> String {
        let Names { prefix, calls, events_exchange, .. } = names;
        let (amqp, ccfs, s3) = (self.amqp(), self.ccfs.url(), self.sink.endpoint());
        let (access, secret) = (access_key(TENANT), secret_key(TENANT));
        let (ccfs_ca, s3_ca) = self.ca_files().unwrap_or_default();
        let (ccfs_ca, s3_ca, memory) = (ccfs_ca.display(), s3_ca.display(), &self.memory);
        let patience = self.counter.patience();
        format!(
            "[broker]\nurl = \"{amqp}\"\nqueue_prefix = \"{prefix}\"\n\
             calls_exchange = \"{calls}\"\nevents_exchange = \"{events_exchange}\"\n\
             [worker]\nconcurrency = {at_once}\n{memory}\
             [ccfs]\nendpoints = [\"{ccfs}\"]\nca_file = \"{ccfs_ca}\"\n{patience}\
             [store]\nendpoint = \"{s3}\"\nca_file = \"{s3_ca}\"\nbucket = \"bench\"\npath_style = true\n\
             access_key_id = \"{ACCESS_KEY}\"\nsecret_access_key = \"{SECRET_KEY}\"\n{patience}\
             [[tenants]]\nid = \"{TENANT}\"\naccess_key = \"{access}\"\nsecret_key = \"{secret}\"\n"
        )
    }

    /// Asks for a recording of a case; its confirm is to be waited for.
    pub async fn ask(&self, names: &Names, case: &Case, number: usize) -> PublisherConfirm {
        self.publish(&names.calls, &call(&case.call("bench", number)).to_string()).await
    }

    /// Asks for a range of recordings and waits for their events.
    pub async fn archive(
        &self,
        names: &Names,
        events: &mut Consumer,
        case: &Case,
        range: Range<usize>,
    ) {
        let heard = async {
            for _ in range.clone() {
                next(events).await;
            }
        };
        let confirms = range.clone().map(async |number| {
            self.ask(names, case, number).await.await.expect("confirmed");
        });
        tokio::join!(join_all(confirms), heard);
    }

    /// Of a queue, on a channel of its own; what it gets needs no acknowledgement.
    pub async fn consumer(&self, queue: &str) -> Consumer {
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let channel = self.rabbit.new_channel().await;
        let queue = queue.into();
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        consumer.await.expect("the queue is there")
    }

    /// Publishes as producers do.
    pub async fn publish(&self, exchange: &str, body: &str) -> PublisherConfirm {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let (exchange, key) = (exchange.into(), "call.completed".into());
        let options = BasicPublishOptions::default();
        let channel = self.rabbit.channel();
        let sent = channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
        sent.await.expect("published")
    }
}

/// The next message.
pub async fn next(consumer: &mut Consumer) -> Delivery {
    let next = tokio::time::timeout(LIMIT, consumer.next()).await;
    next.expect("a message comes").expect("a living consumer").expect("a delivery")
}

/// Queues and exchanges of one worker's own.
pub struct Names {
    pub prefix: String,
    pub calls: String,
    pub events_exchange: String,
    /// The queue that its events go to.
    pub events: String,
}

impl Names {
    pub async fn new(rabbit: &Rabbit) -> Self {
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
fn release_binary() -> PathBuf {
    match std::env::var_os("CALLVAULT_BENCH_BINARY") {
        Some(path) => Path::new(&path).to_owned(),
        None => binary(),
    }
}
