//! Exchanges, queues and bindings of contracts 2 and 5: what there is, and making sure of it.
//!
//! It must not know deliveries.

mod plan;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, ErrorKind};

pub(super) use plan::{Item, Names, Plan, passage};

use super::connection::{Fault, Link, rpc};

/// Makes sure that the topology is there; remembers what it has warned of.
pub(super) struct Topology {
    plan: Plan,
    declare: bool,
    /// What differs, and what the broker says of it.
    warned: Mutex<BTreeMap<String, String>>,
}

impl Topology {
    pub(super) fn new(plan: Plan, declare: bool) -> Self {
        Self { plan, declare, warned: Mutex::default() }
    }

    pub(super) fn names(&self) -> &Names {
        &self.plan.names
    }

    /// The exchange before the retry queue whose delay is nearest to this one.
    pub(super) fn retry(&self, delay: Duration) -> String {
        self.plan.retry(delay)
    }

    /// Whether [`Topology::ensure`] may make what is missing.
    pub(super) fn declares(&self) -> bool {
        self.declare
    }

    /// Declares everything, or with `declare = false` looks whether it is there.
    pub(super) async fn ensure(&self, link: &Link) -> Result<(), Fault> {
        if self.declare { self.declare_all(link).await } else { self.look(link).await }
    }

    async fn declare_all(&self, link: &Link) -> Result<(), Fault> {
        let mut channel = link.channel().await?;
        for item in &self.plan.items {
            match declare(&channel, item, false).await {
                Ok(()) => {}
                Err(refusal @ Refusal { kind: Kind::Differs, .. }) => {
                    channel = self.use_as_is(link, item, &refusal).await?;
                }
                Err(refusal) => return Err(refusal.into_fault(item)),
            }
        }
        close(&channel).await;
        Ok(())
    }

    /// The item exists with other arguments, which cannot change: it is used, with a warning.
    async fn use_as_is(
        &self,
        link: &Link,
        item: &Item,
        refusal: &Refusal,
    ) -> Result<Channel, Fault> {
        // The broker closed the channel with its refusal.
        let channel = link.channel().await?;
        declare(&channel, item, true).await.map_err(|refusal| refusal.into_fault(item))?;
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.insert(item.to_string(), refusal.text.clone()).is_none() {
            tracing::warn!(
                wanted = %item.wanted(),
                broker_says = %refusal.text,
                "{item} exists with other arguments and is used as it is; \
                 delete it while it is empty to have it declared anew",
            );
        }
        Ok(channel)
    }

    /// What exists with other arguments than ours, in sentences.
    pub(super) fn differing(&self) -> Vec<String> {
        let warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let sentence = |(item, says)| format!("{item} exists with other arguments: {says}");
        warned.iter().map(sentence).collect()
    }

    async fn look(&self, link: &Link) -> Result<(), Fault> {
        let mut missing = Vec::new();
        let mut channel = link.channel().await?;
        for item in self.plan.items.iter().filter(|item| item.can_be_looked_up()) {
            match declare(&channel, item, true).await {
                Ok(()) => {}
                Err(Refusal { kind: Kind::Missing, .. }) => {
                    missing.push(item);
                    channel = link.channel().await?;
                }
                Err(refusal) => return Err(refusal.into_fault(item)),
            }
        }
        close(&channel).await;
        if missing.is_empty() { Ok(()) } else { Err(self.plan.missing(&missing)) }
    }
}

/// Declares one thing.
pub(super) async fn make(channel: &Channel, item: &Item) -> Result<(), Fault> {
    declare(channel, item, false).await.map_err(|refusal| refusal.into_fault(item))
}

async fn close(channel: &Channel) {
    // A channel that cannot be closed is gone with its connection; nothing was left on it.
    let _ = rpc("channel.close", channel.close(200, "done".into())).await;
}

struct Refusal {
    kind: Kind,
    text: String,
}

enum Kind {
    /// It exists with other arguments.
    Differs,
    Missing,
    Other,
}

impl Refusal {
    fn into_fault(self, item: &Item) -> Fault {
        match self.kind {
            Kind::Missing => Fault::new(format!("topology missing: {item}")),
            _ => Fault::new(format!("{item}: {}", self.text)),
        }
    }
}

async fn declare(channel: &Channel, item: &Item, passive: bool) -> Result<(), Refusal> {
    let done = match item {
        Item::Exchange { name, kind } => {
            let options = ExchangeDeclareOptions { passive, durable: true, ..Default::default() };
            let arguments = FieldTable::default();
            let call =
                channel.exchange_declare(name.as_str().into(), kind.clone(), options, arguments);
            rpc("exchange.declare", call).await
        }
        Item::Queue { name, arguments } => {
            let options = QueueDeclareOptions { passive, durable: true, ..Default::default() };
            let call = channel.queue_declare(name.as_str().into(), options, arguments.clone());
            rpc("queue.declare", async { call.await.map(drop) }).await
        }
        Item::Binding { queue, exchange, key } => {
            let call = channel.queue_bind(
                queue.as_str().into(),
                exchange.as_str().into(),
                key.as_str().into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            rpc("queue.bind", call).await
        }
    };
    done.map_err(|fault| Refusal { kind: kind_of(fault.cause()), text: fault.to_string() })
}

fn kind_of(cause: Option<&lapin::Error>) -> Kind {
    let Some(ErrorKind::ProtocolError(error)) = cause.map(lapin::Error::kind) else {
        return Kind::Other;
    };
    match error.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => Kind::Differs,
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Kind::Missing,
        _ => Kind::Other,
    }
}
