//! A client that plays the rest of the world: sends requests, reads events, looks into queues.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};

use super::connect;
use crate::support::{eventually, unique};

/// Nothing of the broker's takes longer, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The rest of the world: publishes requests, reads events, looks into queues.
pub struct Rabbit {
    connection: Connection,
    channel: Channel,
}

/// A message as the client sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub body: Vec<u8>,
    pub exchange: String,
    pub routing_key: String,
    pub properties: BasicProperties,
}

impl Seen {
    /// A header's text; numbers in digits.
    pub fn header(&self, name: &str) -> Option<String> {
        match self.properties.headers().as_ref()?.inner().get(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            AMQPValue::ShortString(text) => Some(text.to_string()),
            AMQPValue::LongLongInt(n) => Some(n.to_string()),
            AMQPValue::LongInt(n) => Some(n.to_string()),
            other => Some(format!("{other:?}")),
        }
    }

    /// Its properties without the headers that only the broker writes.
    pub fn sent_properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        let all = self.properties.headers().iter().flat_map(|table| table.inner());
        for (name, value) in all.filter(|(name, _)| !name.as_str().starts_with("x-")) {
            headers.insert(name.clone(), value.clone());
        }
        self.properties.clone().with_headers(headers)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

impl Rabbit {
    pub async fn connect(url: &str) -> Self {
        Self::try_connect(url).await.expect("the node takes connections")
    }

    pub async fn try_connect(url: &str) -> Option<Self> {
        let connection = connect(url).await.ok()?;
        let channel = connection.create_channel().await.ok()?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.ok()?;
        Some(Self { connection, channel })
    }

    /// The client's own channel, for what is not here.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// A channel more, for what may close it.
    pub async fn new_channel(&self) -> Channel {
        self.connection.create_channel().await.expect("a channel")
    }

    /// Publishes with `mandatory` until it is confirmed, as a producer does: a quorum queue that was
    /// made a moment ago may refuse. Panics if no queue takes it.
    pub async fn publish(&self, exchange: &str, key: &str, body: &[u8], with: BasicProperties) {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let publish = || async {
            let (exchange, key, with) = (exchange.into(), key.into(), with.clone());
            let confirm = self.channel.basic_publish(exchange, key, options, body, with);
            match confirm.await.expect("published").await.expect("confirmed") {
                Confirmation::Nack(None) => None,
                other => Some(other),
            }
        };
        let answer = eventually("a confirm", LIMIT, publish).await;
        assert_eq!(answer, Confirmation::Ack(None), "to {exchange:?} with {key}");
    }

    /// The same for a broker that may be dying; `None`: nobody knows whether it has the message.
    pub async fn try_publish(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        with: BasicProperties,
    ) -> Option<()> {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let confirm = self.channel.basic_publish(exchange.into(), key.into(), options, body, with);
        let confirmation = confirm.await.ok()?.await.ok()?;
        (confirmation == Confirmation::Ack(None)).then_some(())
    }

    /// Straight into a queue, without properties.
    pub async fn send(&self, queue: &str, body: impl AsRef<[u8]>) {
        self.publish("", queue, body.as_ref(), BasicProperties::default()).await;
    }

    /// A queue of our own that gets what is published to `exchange` with a matching key from now on.
    pub async fn capture(&self, exchange: &str, key: &str) -> String {
        let queue = unique("capture");
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let declared = self.channel.queue_declare(queue.as_str().into(), options, table([]));
        declared.await.expect("a capture queue");
        self.bind(&queue, exchange, key).await;
        queue
    }

    /// Declares a durable topic exchange.
    pub async fn topic(&self, exchange: &str) {
        self.exchange(exchange, ExchangeKind::Topic).await;
    }

    /// Declares a durable exchange.
    pub async fn exchange(&self, exchange: &str, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let declared = self.channel.exchange_declare(exchange.into(), kind, options, table([]));
        declared.await.expect("the exchange can be declared");
    }

    /// Like [`Rabbit::capture`], into a durable queue that outlives this client and the node.
    pub async fn keep(&self, exchange: &str, key: &str) -> String {
        let queue = unique("keep");
        self.declare(&queue, table([])).await;
        self.bind(&queue, exchange, key).await;
        queue
    }

    /// The same, into a queue with a member on every node of a cluster.
    pub async fn keep_replicated(&self, exchange: &str, key: &str) -> String {
        let queue = unique("keep");
        self.declare(&queue, table([("x-queue-type", text("quorum"))])).await;
        self.bind(&queue, exchange, key).await;
        queue
    }

    /// Declares a durable queue that holds one message and refuses (nacks) every other.
    pub async fn declare_for_one(&self, queue: &str) {
        let one = AMQPValue::LongInt(1);
        let arguments = [("x-max-length", one), ("x-overflow", text("reject-publish"))];
        self.declare(queue, table(arguments)).await;
    }

    /// Binds a queue to an exchange.
    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let options = QueueBindOptions::default();
        let binding =
            self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, table([]));
        binding.await.expect("the exchange is there");
    }

    /// Declares a durable queue with these arguments.
    pub async fn declare(&self, queue: &str, arguments: FieldTable) {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let declared = self.channel.queue_declare(queue.into(), options, arguments).await;
        declared.expect("the queue can be declared");
    }

    /// Whether the queue exists.
    pub async fn exists(&self, queue: &str) -> bool {
        self.passive(queue).await.is_some()
    }

    /// Messages that are ready in a queue; panics if there is no such queue.
    pub async fn ready(&self, queue: &str) -> u32 {
        self.passive(queue).await.unwrap_or_else(|| panic!("queue {queue} exists")).0
    }

    /// Consumers of a queue; panics if there is no such queue.
    pub async fn consumers(&self, queue: &str) -> u32 {
        self.passive(queue).await.unwrap_or_else(|| panic!("queue {queue} exists")).1
    }

    async fn passive(&self, queue: &str) -> Option<(u32, u32)> {
        // A queue that is missing closes the channel that asked.
        let channel = self.new_channel().await;
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let found = channel.queue_declare(queue.into(), options, table([])).await.ok()?;
        Some((found.message_count(), found.consumer_count()))
    }

    /// Takes (and acknowledges) a message if there is one.
    pub async fn get(&self, queue: &str) -> Option<Seen> {
        let got = self.channel.basic_get(queue.into(), BasicGetOptions::default()).await;
        let delivery = got.expect("the queue is there")?.delivery;
        assert!(delivery.ack(BasicAckOptions::default()).await.expect("an ack"));
        Some(Seen {
            body: delivery.data,
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            properties: delivery.properties,
        })
    }

    /// Takes the next message, waiting for it; panics after a minute.
    pub async fn take(&self, queue: &str) -> Seen {
        let what = format!("a message in {queue}");
        eventually(&what, LIMIT, || self.get(queue)).await
    }

    /// Consumes `count` messages, acknowledging each; faster than [`Rabbit::take`] for many.
    pub async fn take_many(&self, queue: &str, count: usize) -> Vec<Seen> {
        let channel = self.new_channel().await;
        let consume = channel.basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            table([]),
        );
        let mut consumer = consume.await.expect("the queue is there");
        let mut seen = Vec::new();
        while seen.len() < count {
            let next = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await;
            let next = next.unwrap_or_else(|_| panic!("{} of {count} in {queue}", seen.len()));
            let delivery = next.expect("a living consumer").expect("a delivery");
            assert!(delivery.ack(BasicAckOptions::default()).await.expect("an ack"));
            seen.push(Seen {
                body: delivery.data,
                exchange: delivery.exchange.to_string(),
                routing_key: delivery.routing_key.to_string(),
                properties: delivery.properties,
            });
        }
        seen
    }

    /// Waits until a queue has this many ready messages.
    pub async fn until_ready(&self, queue: &str, count: u32) {
        let what = format!("{count} messages in {queue}");
        eventually(&what, LIMIT, async || (self.ready(queue).await == count).then_some(())).await;
    }

    pub async fn purge(&self, queue: &str) {
        let purged = self.channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await;
        purged.expect("the queue is there");
    }

    pub async fn delete_exchange(&self, exchange: &str) {
        let options = ExchangeDeleteOptions::default();
        let deleted = self.channel.exchange_delete(exchange.into(), options).await;
        deleted.expect("an exchange can be deleted");
    }

    pub async fn delete(&self, queue: &str) {
        let deleted = self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
        deleted.expect("a queue can be deleted");
    }
}

/// Headers or queue arguments.
pub fn table<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(name.into(), value);
    }
    table
}

/// A text header or argument.
pub fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.as_bytes().to_vec().into())
}
