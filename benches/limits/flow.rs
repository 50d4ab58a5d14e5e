//! What all parts do: a worker between a simulator and a sink, messages in, events out.

use std::ops::Range;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Consumer, PublisherConfirm};
use serde_json::{Value, json};

use crate::support::broker::client::Rabbit;
use crate::support::s3::sink::Sink;
use crate::support::worker::{Options, Worker, binary};
use crate::support::world::{World, access_key, call, secret_key};

/// Messages that are published before their confirms are waited for.
const AT_ONCE: usize = 500;

/// Starts the release binary over the sink; `tenants` stands at the end of the configuration.
pub async fn worker(world: &World, sink: &Sink, keys: &[(&str, &str)], tenants: &str) -> Worker {
    let config = world.config_at(&world.amqp, &world.ccfs.url(), sink.endpoint(), keys);
    let options = Options {
        config: &(config + tenants),
        // A line a job, written to the disk, is no part of what is measured.
        environment: &[("CALLVAULT__LOG__LEVEL", "error")],
        binary: &binary(),
    };
    Worker::start_with(&options).ready().await
}

/// So many tenants, `t0` and so on, that the world's CC-FS knows, as they stand in a configuration.
pub fn accounts(world: &World, tenants: usize) -> String {
    let own = |n| {
        let id = format!("t{n}");
        let (access, secret) = (access_key(&id), secret_key(&id));
        world.ccfs.account(&access, &secret);
        format!(
            "[[tenants]]\nid = \"{id}\"\naccess_key = \"{access}\"\nsecret_key = \"{secret}\"\n"
        )
    };
    (0..tenants).map(own).collect()
}

/// The one in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Publishes calls of a tenant.
pub struct Calls {
    channel: Channel,
    exchange: String,
}

impl Calls {
    pub fn of(world: &World) -> Self {
        Self { channel: world.rabbit.channel().clone(), exchange: world.calls.clone() }
    }

    /// Sends one; its confirm may be waited for.
    pub async fn send(&self, tenant: &str, call_id: &str) -> PublisherConfirm {
        let mut message = call(call_id);
        message["tenant"] = json!(tenant);
        let (exchange, key) = (self.exchange.as_str().into(), "call.completed".into());
        let (options, body) = (BasicPublishOptions::default(), message.to_string());
        let properties = BasicProperties::default().with_delivery_mode(2);
        let sent = self.channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
        sent.await.expect("published")
    }

    pub async fn publish(&self, tenant: &str, call_id: &str) {
        self.send(tenant, call_id).await.await.expect("confirmed");
    }

    /// Publishes a range of them; `name` says tenant and call id of each.
    pub async fn publish_all(&self, range: Range<usize>, name: impl Fn(usize) -> (String, String)) {
        let all: Vec<_> = range.map(name).collect();
        for some in all.chunks(AT_ONCE) {
            join_all(some.iter().map(|(tenant, call_id)| self.publish(tenant, call_id))).await;
        }
    }
}

/// The events of a world, as they come.
pub struct Events(Consumer);

impl Events {
    pub async fn of(world: &World) -> Self {
        Self::consume(&world.rabbit, &world.events).await
    }

    async fn consume(rabbit: &Rabbit, queue: &str) -> Self {
        let channel = rabbit.new_channel().await;
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        Self(consumer.await.expect("the queue is there"))
    }

    pub async fn next(&mut self) -> Value {
        let delivery = self.0.next().await.expect("a living consumer").expect("a delivery");
        delivery.ack(BasicAckOptions::default()).await.expect("an ack");
        serde_json::from_slice(&delivery.data).expect("an event is JSON")
    }

    /// Takes so many.
    pub async fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.next().await;
        }
    }
}
