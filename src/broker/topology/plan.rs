//! The topology as data. Pure.

use std::fmt;
use std::time::Duration;

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable, LongString};
use serde_json::Value;

use crate::broker::names::Names;
use crate::config;

/// Where nothing may be dropped for having been delivered too often: as good as no limit, and
/// explicit, since brokers from 4.0 on set 20 otherwise.
const NO_DELIVERY_LIMIT: i32 = 1_000_000_000;

/// One thing that the broker must have.
#[derive(Clone, Debug)]
pub(in crate::broker) enum Item {
    Exchange { name: String, kind: ExchangeKind },
    Queue { name: String, arguments: FieldTable },
    Binding { queue: String, exchange: String, key: String },
}

/// Everything, in an order in which it can be declared: a target before what dead-letters to it.
pub(in crate::broker) struct Plan {
    pub names: Names,
    pub items: Vec<Item>,
    delays: Vec<Duration>,
}

impl Plan {
    pub(in crate::broker) fn retry(&self, delay: Duration) -> String {
        let nearest = self.delays.iter().min_by_key(|known| known.abs_diff(delay));
        self.names.retry(*nearest.unwrap_or(&delay))
    }

    pub(in crate::broker) fn new(settings: &config::Broker, delays: &[Duration]) -> Self {
        let names = Names::new(settings);
        let topic =
            |name: &String| Item::Exchange { name: name.clone(), kind: ExchangeKind::Topic };
        let mut items = vec![
            topic(&names.calls),
            topic(&names.events),
            queue(&names.dead, endless()),
            queue(&names.suspect, endless()),
            queue(&names.jobs, limited(settings.delivery_limit, &names.suspect)),
            queue(&names.bulk, limited(settings.delivery_limit, &names.suspect)),
        ];
        for key in ["call.completed.#", "recording.dump-requested.#"] {
            items.push(binding(&names.jobs, &names.calls, key));
        }
        let mut delays = delays.to_vec();
        delays.sort_unstable();
        delays.dedup();
        for &delay in &delays {
            let name = names.retry(delay);
            items.push(Item::Exchange { name: name.clone(), kind: ExchangeKind::Fanout });
            items.push(retry_queue(&names, delay));
            items.push(binding(&name, &name, ""));
        }
        Self { names, items, delays }
    }

    /// What the worker publishes to: events, retries, and through the default exchange the dead.
    pub(in crate::broker) fn exchanges_written_to(&self) -> Vec<String> {
        let retries = self.delays.iter().map(|&delay| self.names.retry(delay));
        [self.names.events.clone(), String::new()].into_iter().chain(retries).collect()
    }

    /// What is missing together with something: what is bound to or from it.
    pub(super) fn bindings_of<'a>(&'a self, gone: &[&'a Item]) -> impl Iterator<Item = &'a Item> {
        self.items.iter().filter(|item| match item {
            Item::Binding { queue, exchange, .. } => gone.iter().any(|gone| match gone {
                Item::Exchange { name, .. } => name == exchange,
                Item::Queue { name, .. } => name == queue,
                Item::Binding { .. } => false,
            }),
            _ => false,
        })
    }
}

fn queue(name: &str, arguments: FieldTable) -> Item {
    Item::Queue { name: name.to_owned(), arguments }
}

fn binding(queue: &str, exchange: &str, key: &str) -> Item {
    Item::Binding { queue: queue.to_owned(), exchange: exchange.to_owned(), key: key.to_owned() }
}

fn quorum(delivery_limit: i32) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), words("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(delivery_limit));
    arguments
}

/// A queue that keeps what is in it.
fn endless() -> FieldTable {
    quorum(NO_DELIVERY_LIMIT)
}

/// Dead-letters at least once, which a quorum queue does only with all three of strategy,
/// `reject-publish` and a dead-letter exchange; otherwise it falls back silently.
fn dead_lettering(mut arguments: FieldTable) -> FieldTable {
    arguments.insert("x-dead-letter-strategy".into(), words("at-least-once"));
    arguments.insert("x-overflow".into(), words("reject-publish"));
    arguments.insert("x-dead-letter-exchange".into(), words(""));
    arguments
}

/// A queue whose messages go to `suspect` after `delivery_limit` deliveries.
fn limited(delivery_limit: u32, suspect: &str) -> FieldTable {
    let limit = i32::try_from(delivery_limit).unwrap_or(i32::MAX);
    let mut arguments = dead_lettering(quorum(limit));
    arguments.insert("x-dead-letter-routing-key".into(), words(suspect));
    arguments
}

/// A queue whose messages wait for `delay`, then go where their routing key says.
fn waiting(delay: Duration) -> FieldTable {
    let mut arguments = dead_lettering(endless());
    let ttl = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(ttl));
    arguments
}

/// The queue of the messages that wait for `delay`.
pub(in crate::broker) fn retry_queue(names: &Names, delay: Duration) -> Item {
    queue(&names.retry(delay), waiting(delay))
}

/// The queue that a redriven message passes on its way to `target`: rejected there, it goes on.
pub(in crate::broker) fn passage(target: &str) -> Item {
    let mut arguments = dead_lettering(endless());
    arguments.insert("x-dead-letter-routing-key".into(), words(target));
    queue(&format!("{target}.redrive"), arguments)
}

fn words(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text.as_bytes().to_vec()))
}

impl Item {
    /// The name of the exchange or queue; of a binding that of its queue.
    pub(in crate::broker) fn name(&self) -> &str {
        match self {
            Self::Exchange { name, .. } | Self::Queue { name, .. } => name,
            Self::Binding { queue, .. } => queue,
        }
    }

    /// Bindings cannot be asked for over AMQP.
    pub(in crate::broker) fn can_be_looked_up(&self) -> bool {
        !matches!(self, Self::Binding { .. })
    }

    /// What it would be declared with.
    pub(in crate::broker) fn wanted(&self) -> String {
        match self {
            Self::Exchange { kind, .. } => format!("{} exchange, durable", kind_name(kind)),
            Self::Queue { arguments, .. } => format!("durable, {}", arguments_of(arguments)),
            Self::Binding { key, .. } => format!("routing key {key:?}"),
        }
    }
}

/// The exchange's kind as the broker calls it.
pub(super) fn kind_name(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Topic => "topic",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Direct => "direct",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Custom(kind) => kind.as_str(),
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange { name, .. } => write!(f, "exchange {name}"),
            Self::Queue { name, .. } => write!(f, "queue {name}"),
            Self::Binding { queue, exchange, key } => {
                write!(f, "binding of {queue} to {exchange} with {key:?}")
            }
        }
    }
}

/// Arguments as the management tools write them; ours are strings and numbers only.
pub(super) fn arguments_of(arguments: &FieldTable) -> Value {
    let value = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        AMQPValue::LongInt(n) => (*n).into(),
        AMQPValue::LongLongInt(n) => (*n).into(),
        _ => Value::Null,
    };
    let pairs = arguments.inner().iter().map(|(name, v)| (name.to_string(), value(v)));
    Value::Object(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::tests::settings;

    #[test]
    fn every_queue_that_dead_letters_does_so_at_least_once_to_a_queue_declared_before_it() {
        let plan = Plan::new(&settings(), &[Duration::from_secs(30), Duration::from_secs(30)]);
        let mut seen = Vec::new();
        for item in &plan.items {
            let Item::Queue { name, arguments } = item else { continue };
            assert_eq!(arguments.inner()["x-queue-type"], words("quorum"), "{name}");
            assert!(arguments.contains_key("x-delivery-limit"), "{name}");
            if arguments.contains_key("x-dead-letter-exchange") {
                assert_eq!(arguments.inner()["x-dead-letter-strategy"], words("at-least-once"));
                assert_eq!(arguments.inner()["x-overflow"], words("reject-publish"));
            }
            if let Some(AMQPValue::LongString(to)) =
                arguments.inner().get("x-dead-letter-routing-key")
            {
                let to = String::from_utf8_lossy(to.as_bytes()).into_owned();
                assert!(seen.contains(&to), "{name} dead-letters to {to}, declared later");
            }
            seen.push(name.clone());
        }
        assert_eq!(seen, ["cv.dead", "cv.suspect", "cv.jobs", "cv.bulk", "cv.retry.30s"]);
    }
}
