//! How many messages wait in each of our queues, asked of the broker from time to time.
//!
//! It must not know who reads it. What goes wrong here reaches nobody else: it has a channel of its
//! own, and a queue of which nothing is known is left out.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::protocol::AMQPErrorKind;
use lapin::types::FieldTable;
use lapin::{Channel, ErrorKind};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use super::connection::{Fault, Link, rpc};
use crate::beat;

const ASK_EVERY: Duration = Duration::from_secs(15);
/// A queue that the broker does not tell of is let alone for so long: each such answer closes a
/// channel, whose number lapin does not give a second time until all of them are used up.
const REFUSED_FOR: Duration = Duration::from_secs(600);

/// Messages ready, by queue; of those that the broker tells of, while there is a connection.
pub type Depths = BTreeMap<String, u32>;

/// Asks again and again, for as long as this is polled; what is known ends with it.
pub(super) async fn ask(shared: &Shared, link: &Link) -> Infallible {
    let known = Known(&shared.depths);
    let mut asking = Asking { link, channel: None, refused: BTreeMap::new() };
    loop {
        let depths = asking.round(shared.topology.queues()).await.unwrap_or_else(|fault| {
            tracing::debug!("how many messages wait: {fault}");
            Depths::new()
        });
        known.0.send_replace(depths);
        beat::rest(ASK_EVERY).await;
    }
}

/// What was told; without a connection nothing is known.
struct Known<'a>(&'a watch::Sender<Depths>);

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.0.send_replace(Depths::new());
    }
}

struct Asking<'a> {
    link: &'a Link,
    channel: Option<Channel>,
    /// When the broker did not tell of a queue.
    refused: BTreeMap<String, Instant>,
}

impl Asking<'_> {
    async fn round(&mut self, queues: impl Iterator<Item = &str>) -> Result<Depths, Fault> {
        self.refused.retain(|_, at| at.elapsed() < REFUSED_FOR);
        let mut depths = Depths::new();
        for queue in queues {
            if self.refused.contains_key(queue) {
                continue;
            }
            match self.ready(queue).await {
                Ok(ready) => _ = depths.insert(queue.to_owned(), ready),
                Err(fault) if is_refusal(&fault) => {
                    tracing::debug!("how many messages wait in queue {queue}: {fault}");
                    self.refused.insert(queue.to_owned(), Instant::now());
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(depths)
    }

    /// The channel is kept only if all is well.
    async fn ready(&mut self, queue: &str) -> Result<u32, Fault> {
        let channel = match self.channel.take() {
            Some(channel) if channel.status().connected() => channel,
            _ => self.link.try_channel().await?,
        };
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let look = channel.queue_declare(queue.into(), options, FieldTable::default());
        let found = rpc("queue.declare", look).await?;
        self.channel = Some(channel);
        Ok(found.message_count())
    }
}

/// The broker has answered, and closed the channel: no such queue, or not for us.
fn is_refusal(fault: &Fault) -> bool {
    fault.cause().is_some_and(|cause| match cause.kind() {
        ErrorKind::ProtocolError(error) => matches!(error.kind(), AMQPErrorKind::Soft(_)),
        _ => false,
    })
}
