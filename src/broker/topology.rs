//! Exchanges, queues and bindings of contracts 2 and 5: what there is, and making sure of it.
//!
//! It must not know deliveries.

mod differing;
mod made;
mod plan;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, ErrorKind};

pub(super) use differing::{Differing, Grade};
pub use made::Admin;
pub(super) use plan::{Item, Plan, passage, retry_queue};

use super::connection::{Fault, Link, rpc};
use super::door::Door;
use super::names::Names;
use super::refused::is_refusal;
use differing::Difference;

/// Arguments that a queue may have, and a few more than that.
const MOST_ARGUMENTS: usize = 24;

/// Makes sure that the topology is there; remembers what it has warned of.
pub(super) struct Topology {
    plan: Plan,
    declare: bool,
    /// What differs, by item, with what the broker said of it first.
    differing: Mutex<BTreeMap<String, (String, Differing)>>,
    was_there: AtomicBool,
}

impl Topology {
    pub(super) fn new(plan: Plan, declare: bool) -> Self {
        Self { plan, declare, differing: Mutex::default(), was_there: AtomicBool::new(false) }
    }

    pub(super) fn names(&self) -> &Names {
        &self.plan.names
    }

    /// The names of the queues.
    pub(super) fn queues(&self) -> impl Iterator<Item = &str> {
        let queues = self.plan.items.iter().filter(|item| matches!(item, Item::Queue { .. }));
        queues.map(Item::name)
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
    ///
    /// # Errors
    /// It is not, or one of the exchanges is of a type with which messages would go astray.
    pub(super) async fn ensure(&self, link: &Link) -> Result<(), Fault> {
        let seen = self.see(link).await;
        seen.map_err(|fault| self.advised(fault, link.door()))?;
        let unusable = self.differing().into_iter().filter(|it| it.grade == Grade::Unusable);
        let faults: Vec<_> = unusable.map(|it| Fault::new(it.seen).advising(it.advice)).collect();
        if faults.is_empty() {
            self.was_there.store(true, Ordering::Relaxed);
            Ok(())
        } else {
            Err(Fault::of_all(&faults))
        }
    }

    /// Whether all of it was found once, or made.
    pub(super) fn was_there(&self) -> bool {
        self.was_there.load(Ordering::Relaxed)
    }

    /// Where the broker lets this user not do something: with the command that lets it.
    pub(super) fn advised(&self, fault: Fault, door: &Door) -> Fault {
        if fault.advice().is_some() || !fault.cause().is_some_and(is_refusal) {
            return fault;
        }
        let grant = door.grant(&self.plan.names);
        fault.advising(format!("grant the user of broker.url what a worker needs: `{grant}`"))
    }

    /// The same, whatever is wrong with what exists: that is in [`Topology::differing`].
    pub(super) async fn see(&self, link: &Link) -> Result<(), Fault> {
        if self.declare { self.declare_all(link).await } else { self.look(link).await }
    }

    async fn declare_all(&self, link: &Link) -> Result<(), Fault> {
        let mut channel = link.channel().await?;
        for item in &self.plan.items {
            match declare(&channel, item, false).await {
                Ok(()) => self.is_as_wanted(item),
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
        self.note(link, item, refusal).await;
        Ok(channel)
    }

    /// Finds out how the item differs, and warns of it once.
    async fn note(&self, link: &Link, item: &Item, refusal: &Refusal) {
        let known =
            self.lock().get(&item.to_string()).is_some_and(|(said, _)| *said == refusal.text);
        if known {
            return;
        }
        let differences = differences(link, item, &refusal.text).await;
        let differing = Differing::new(item, &differences, &refusal.text);
        let Differing { seen, advice, .. } = &differing;
        match differing.grade {
            Grade::Bends => {
                tracing::warn!(wanted = %item.wanted(), broker_says = %refusal.text, "{seen}; {advice}");
            }
            Grade::Loses | Grade::Unusable => {
                tracing::error!(wanted = %item.wanted(), broker_says = %refusal.text, "{seen}; {advice}");
            }
        }
        self.lock().insert(item.to_string(), (refusal.text.clone(), differing));
    }

    /// Somebody may have made it anew.
    fn is_as_wanted(&self, item: &Item) {
        self.lock().remove(&item.to_string());
    }

    /// What exists otherwise than it would be declared.
    pub(super) fn differing(&self) -> Vec<Differing> {
        self.lock().values().map(|(_, differing)| differing.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (String, Differing)>> {
        self.differing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there is declared once more, which changes nothing of it and tells whether it is as
    /// it should be; where this user may not declare, nobody says.
    async fn look(&self, link: &Link) -> Result<(), Fault> {
        let mut missing = Vec::new();
        let mut may_ask = true;
        let mut channel = link.channel().await?;
        for item in self.plan.items.iter().filter(|item| item.can_be_looked_up()) {
            match declare(&channel, item, true).await {
                Ok(()) => {}
                Err(Refusal { kind: Kind::Missing, .. }) => {
                    missing.push(item);
                    channel = link.channel().await?;
                    continue;
                }
                Err(refusal) => return Err(refusal.into_fault(item)),
            }
            if !may_ask {
                continue;
            }
            match declare(&channel, item, false).await {
                Ok(()) => self.is_as_wanted(item),
                Err(refusal) => {
                    channel = link.channel().await?;
                    match refusal.kind {
                        Kind::Differs => self.note(link, item, &refusal).await,
                        Kind::Missing | Kind::Other => may_ask = false,
                    }
                }
            }
        }
        close(&channel).await;
        match missing.as_slice() {
            [] => Ok(()),
            missing => Err(self.plan.missing(missing, &link.door().vhost)),
        }
    }
}

/// How an existing item differs, one argument after the other: the broker tells the next once the
/// last is declared as it is. Whatever goes wrong meanwhile ends it.
async fn differences(link: &Link, item: &Item, said: &str) -> Vec<Difference> {
    let mut found: Vec<Difference> = Vec::new();
    let mut said = said.to_owned();
    let mut durable = true;
    let mut arguments = match item {
        Item::Queue { arguments, .. } => arguments.clone(),
        // Of an exchange the first says enough.
        _ => return Difference::read(&said).into_iter().collect(),
    };
    while let Some(next) = Difference::read(&said)
        && found.len() < MOST_ARGUMENTS
        && found.iter().all(|known| known.argument != next.argument)
    {
        let goes_on = next.take_over(&mut arguments, &mut durable);
        found.push(next);
        if !goes_on {
            break;
        }
        let Ok(channel) = link.channel().await else { break };
        match declare_queue(&channel, item.name(), &arguments, durable).await {
            Err(Refusal { kind: Kind::Differs, text, .. }) => said = text,
            Err(_) => break,
            Ok(()) => {
                close(&channel).await;
                break;
            }
        }
    }
    found
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
    fault: Fault,
}

enum Kind {
    /// It exists with other arguments.
    Differs,
    Missing,
    Other,
}

impl Refusal {
    fn of(fault: Fault) -> Self {
        Self { kind: kind_of(fault.cause()), text: fault.to_string(), fault }
    }

    fn into_fault(self, item: &Item) -> Fault {
        match self.kind {
            Kind::Missing => Fault::new(format!("topology missing: {item}")),
            _ => self.fault.about(item),
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
    done.map_err(Refusal::of)
}

async fn declare_queue(
    channel: &Channel,
    name: &str,
    arguments: &FieldTable,
    durable: bool,
) -> Result<(), Refusal> {
    let options = QueueDeclareOptions { durable, ..Default::default() };
    let call = channel.queue_declare(name.into(), options, arguments.clone());
    rpc("queue.declare", async { call.await.map(drop) }).await.map_err(Refusal::of)
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
