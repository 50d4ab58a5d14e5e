//! A whole small world: a broker, a CC-FS, a store and the workers among them.
//!
//! Every world has queues, exchanges and a bucket of its own, so that tests run side by side on
//! one broker.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use lapin::BasicProperties;
use serde_json::{Value, json};

use super::broker::client::{Rabbit, Seen};
use super::broker::{Node, node};
use super::ccfs::Simulator;
use super::s3::{self, LocalS3, S3};
use super::worker::{Options, Worker, binary};
use super::{eventually, unique};

/// Nothing that is expected takes longer, even on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// The tenants that [`World::config`] knows; both are accounts of the simulator.
pub const TENANTS: [&str; 2] = ["acme", "globex"];

/// Where the clocks of each are, in what people look at (`make demo`, `deploy/compose`).
pub const ZONES: [&str; 2] = ["Europe/Berlin", "America/New_York"];

/// That of one of them.
pub fn zone(tenant: &str) -> TimeZone {
    let at = TENANTS.iter().position(|one| *one == tenant).expect("a tenant of the kit");
    TimeZone::get(ZONES[at]).expect("a zone of the database")
}

/// Broker, CC-FS, store, and an ear for the events.
pub struct World {
    pub rabbit: Rabbit,
    pub ccfs: Simulator,
    pub store: Arc<LocalS3>,
    pub bucket: String,
    /// Prefix of the queues.
    pub prefix: String,
    pub calls: String,
    pub events_exchange: String,
    /// The queue that all events go to.
    pub events: String,
    pub amqp: String,
}

impl World {
    /// On the broker that all tests share.
    pub async fn new() -> Self {
        Self::on(node().await).await
    }

    /// On a broker of the test's own.
    pub async fn on(node: &Node) -> Self {
        Self::hearing(node, Rabbit::keep).await
    }

    /// On this node of a cluster; what is heard outlives any of them.
    pub async fn among(node: &Node) -> Self {
        Self::hearing(node, Rabbit::keep_replicated).await
    }

    async fn hearing(node: &Node, keep: impl AsyncFn(&Rabbit, &str, &str) -> String) -> Self {
        let rabbit = node.client().await;
        let prefix = unique("cv");
        let (calls, events_exchange) = (format!("{prefix}-calls"), format!("{prefix}-events"));
        // The world outside declares what it uses, with the same arguments as callvault.
        for exchange in [&calls, &events_exchange] {
            rabbit.topic(exchange).await;
        }
        let events = keep(&rabbit, &events_exchange, "#").await;
        let ccfs = Simulator::start().await;
        for tenant in TENANTS {
            ccfs.account(&access_key(tenant), &secret_key(tenant));
        }
        let store = Arc::new(LocalS3::start().await);
        let bucket = store.s3().bucket().await;
        let amqp = node.url();
        Self { rabbit, ccfs, store, bucket, prefix, calls, events_exchange, events, amqp }
    }

    /// A configuration for two tenants with short delays. What `keys` says of a section or key
    /// stands in for what would be there: `("worker", "concurrency = 4")`.
    pub fn config(&self, keys: &[(&str, &str)]) -> String {
        self.config_at(&self.amqp, &self.ccfs.url(), self.store.s3().endpoint(), keys)
    }

    /// The same, with links in front of the servers.
    pub fn config_at(&self, amqp: &str, ccfs: &str, s3: &str, keys: &[(&str, &str)]) -> String {
        let own = |section: &str| -> String {
            let of_section = keys.iter().filter(|(name, _)| *name == section);
            of_section.map(|(_, line)| format!("{line}\n")).collect()
        };
        let Self { prefix, calls, events_exchange, bucket, .. } = self;
        let (key, secret) = (s3::ACCESS_KEY, s3::SECRET_KEY);
        let several = own("broker").contains("urls = ");
        let url = if several { String::new() } else { format!("url = \"{amqp}\"\n") };
        let mut text = format!(
            "[broker]\n{url}queue_prefix = \"{prefix}\"\n\
             calls_exchange = \"{calls}\"\nevents_exchange = \"{events_exchange}\"\n{}\
             [worker]\n{}[ccfs]\nendpoints = [\"{ccfs}\"]\n{}\
             [store]\nendpoint = \"{s3}\"\nbucket = \"{bucket}\"\npath_style = true\n\
             access_key_id = \"{key}\"\nsecret_access_key = \"{secret}\"\n{}\
             [retry]\n{}[log]\nformat = \"json\"\n{}",
            own("broker"),
            own("worker"),
            Some(own("ccfs"))
                .filter(|own| own.contains("read_timeout"))
                .unwrap_or_else(|| format!("read_timeout = \"3s\"\n{}", own("ccfs"))),
            own("store"),
            Some(own("retry")).filter(|own| own.contains("delays")).unwrap_or_else(|| {
                format!("delays = [\"100ms\", \"200ms\"]\nmax_attempts = 3\n{}", own("retry"))
            }),
            Some(own("log"))
                .filter(|own| own.contains("level"))
                .unwrap_or_else(|| format!("level = \"debug\"\n{}", own("log"))),
        );
        for tenant in TENANTS {
            let (access, secret) = (access_key(tenant), secret_key(tenant));
            text += &format!(
                "[[tenants]]\nid = \"{tenant}\"\naccess_key = \"{access}\"\n\
                 secret_key = \"{secret}\"\n{}",
                own(tenant)
            );
        }
        text
    }

    /// A worker with [`World::config`], ready.
    pub async fn worker(&self, keys: &[(&str, &str)]) -> Worker {
        Worker::start(&self.config(keys)).ready().await
    }

    /// One that dies where `CALLVAULT_CRASH` says (`src/crash.rs`); it may do so before it is ready
    /// where its message waits already.
    pub fn doomed(&self, keys: &[(&str, &str)], crash: &str) -> Worker {
        let environment = [("CALLVAULT_CRASH", crash)];
        let config = self.config(keys);
        let options = Options { config: &config, environment: &environment, binary: &binary() };
        Worker::start_with(&options)
    }

    /// The real S3 of the kit in place of the in-process one.
    pub async fn seaweed(&self) -> (S3, String) {
        let s3 = s3::seaweed().await;
        let bucket = s3.bucket().await;
        (s3, bucket)
    }

    /// Publishes a message as producers do.
    pub async fn publish(&self, message: &Value) {
        let key = message["type"].as_str().unwrap_or("call.completed").to_owned();
        let properties = BasicProperties::default().with_content_type("application/json".into());
        self.publish_raw(&key, message.to_string().as_bytes(), properties).await;
    }

    pub async fn publish_raw(&self, key: &str, body: &[u8], properties: BasicProperties) {
        self.rabbit.publish(&self.calls, key, body, properties.with_delivery_mode(2)).await;
    }

    /// `call.completed` of `acme`.
    pub async fn call(&self, call_id: &str) {
        self.publish(&call(call_id)).await;
    }

    /// The next event.
    pub async fn event(&self) -> Seen {
        self.rabbit.take(&self.events).await
    }

    /// The next events, in the order of their `subject`.
    pub async fn events(&self, count: usize) -> Vec<Value> {
        let events = self.rabbit.take_many(&self.events, count).await;
        let mut events: Vec<Value> = events.iter().map(Seen::json).collect();
        events.sort_by_key(|event| event["subject"].as_str().unwrap_or_default().to_owned());
        events
    }

    /// The next message of a queue of ours: `jobs`, `dead`, `retry.30s`.
    pub async fn take(&self, queue: &str) -> Seen {
        self.rabbit.take(&self.queue(queue)).await
    }

    /// Messages that are ready in a queue of ours.
    pub async fn depth(&self, queue: &str) -> u32 {
        self.rabbit.ready(&self.queue(queue)).await
    }

    /// The full name of a queue of ours.
    pub fn queue(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// Waits until no message is in hand nor waiting, in any queue of ours but the dead one.
    pub async fn settled(&self, worker: &Worker) {
        eventually("everything is settled", SOON, || async {
            let in_flight = worker.metric("callvault_jobs_in_flight", &[]).await;
            let jobs = self.depth("jobs").await + self.depth("bulk").await;
            (in_flight == 0.0 && jobs == 0).then_some(())
        })
        .await;
    }
}

/// `call.completed` of `acme`, for changing.
pub fn call(call_id: &str) -> Value {
    json!({ "type": "call.completed", "tenant": "acme", "callId": call_id,
            "callEnd": "2026-04-25T05:12:44Z" })
}

/// The CC-FS AK of a tenant.
pub fn access_key(tenant: &str) -> String {
    format!("ak-{tenant}")
}

/// The CC-FS SK of a tenant.
pub fn secret_key(tenant: &str) -> String {
    format!("sk-{tenant}-0123456789")
}

/// The configuration without the store's keys: they come from the SDK's own chain then.
pub fn without_store_keys(config: &str) -> String {
    let own =
        |line: &&str| !line.starts_with("access_key_id") && !line.starts_with("secret_access_key");
    config.lines().filter(own).map(|line| format!("{line}\n")).collect()
}
