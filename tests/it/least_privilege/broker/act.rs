//! What somebody may try at a broker, and whether it lets him.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};

use crate::support::broker::client::Rabbit;

/// What one may try.
#[derive(Clone, Copy, Debug)]
pub enum Act<'a> {
    Consume(&'a str),
    Get(&'a str),
    /// To the default exchange by an empty name.
    Publish(&'a str),
    Declare(&'a str),
    Bind(&'a str, &'a str, &'a str),
    Purge(&'a str),
    DeleteQueue(&'a str),
    DeleteExchange(&'a str),
}
use Act::{Bind, Consume, Declare, DeleteExchange, DeleteQueue, Get, Publish, Purge};

/// On a channel of its own; `None`: the broker lets it.
pub async fn attempt(client: &Rabbit, act: Act<'_>) -> Option<String> {
    let channel = client.new_channel().await;
    let error = tried(&channel, act).await.err()?.to_string();
    assert!(error.contains("ACCESS_REFUSED"), "{act:?}: {error}");
    Some(error)
}

async fn tried(channel: &Channel, act: Act<'_>) -> lapin::Result<()> {
    let none = FieldTable::default;
    match act {
        Consume(queue) => {
            let consume = BasicConsumeOptions::default();
            let mut consumer =
                channel.basic_consume(queue.into(), "".into(), consume, none()).await?;
            // What it was given goes back with its channel.
            let _ = tokio::time::timeout(Duration::from_millis(1), consumer.next()).await;
            channel.close(200, "seen".into()).await
        }
        Get(queue) => {
            channel.basic_get(queue.into(), BasicGetOptions::default()).await?;
            channel.close(200, "seen".into()).await
        }
        Publish(exchange) => {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let (exchange, with) = (exchange.into(), BasicPublishOptions::default());
            let none = BasicProperties::default();
            channel.basic_publish(exchange, "nobody's".into(), with, b"", none).await?.await?;
            Ok(())
        }
        Declare(queue) => {
            let options = QueueDeclareOptions { durable: true, ..Default::default() };
            channel.queue_declare(queue.into(), options, none()).await.map(drop)
        }
        Bind(queue, exchange, key) => {
            let options = QueueBindOptions::default();
            channel.queue_bind(queue.into(), exchange.into(), key.into(), options, none()).await
        }
        Purge(queue) => {
            channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.map(drop)
        }
        DeleteQueue(queue) => {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.map(drop)
        }
        DeleteExchange(exchange) => {
            channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await
        }
    }
}
