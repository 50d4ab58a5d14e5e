//! What exists and is not what it would be declared as: argument by argument, and what is lost by it.
//! Pure.
//!
//! Over AMQP nobody can ask for arguments. The broker says what differs when something is declared
//! that is there already, one argument at a time.

use std::fmt;

use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::plan::{Item, kind_name};

/// One argument that differs, in the broker's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub argument: String,
    /// Without quotes and type; `None`: it is not set.
    pub current: Option<String>,
    wanted: Option<String>,
}

impl Difference {
    /// Reads `inequivalent arg 'x' for queue 'q' in vhost '/': received … but current is …`.
    pub(super) fn read(said: &str) -> Option<Self> {
        let (_, rest) = said.split_once("inequivalent arg '")?;
        let (argument, rest) = rest.split_once('\'')?;
        let (received, current) = rest.rsplit_once(" but current is ")?;
        let (_, received) = received.rsplit_once(": received ")?;
        Some(Self {
            argument: argument.to_owned(),
            current: value(current),
            wanted: value(received),
        })
    }

    /// Takes the broker's value over into what is declared, so that it tells the next one. False if
    /// that is not to be done: of the arguments of another type of queue it tells no more.
    pub(super) fn take_over(&self, arguments: &mut FieldTable, durable: &mut bool) -> bool {
        match self.argument.as_str() {
            "durable" => *durable = self.current.as_deref() == Some("true"),
            "x-queue-type" => return false,
            argument if argument.starts_with("x-") => {
                let argument: ShortString = argument.to_owned().into();
                let mut others = arguments.inner().clone();
                others.remove(&argument);
                *arguments = others.into();
                if let Some(current) = &self.current {
                    let value = match current.parse() {
                        Ok(number) => AMQPValue::LongLongInt(number),
                        Err(_) => AMQPValue::LongString(LongString::from(current.as_str())),
                    };
                    arguments.insert(argument, value);
                }
            }
            _ => return false,
        }
        true
    }

    fn number(&self) -> Option<u64> {
        self.current.as_deref()?.parse().ok()
    }
}

/// `the value 'quorum' of type 'longstr'`, `'direct'`, `none`.
fn value(said: &str) -> Option<String> {
    let said = said.strip_prefix("the value ").unwrap_or(said);
    let said = said.rsplit_once(" of type ").map_or(said, |(value, _)| value);
    (said != "none").then(|| said.trim_matches('\'').to_owned())
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| match value {
            Some(value) => format!("{value:?}"),
            None => "none".to_owned(),
        };
        let current = match (self.argument.as_str(), &self.current) {
            // As RabbitMQ 3 has it.
            ("x-queue-type", None) => "\"classic\"".to_owned(),
            (_, current) => shown(current),
        };
        write!(f, "{} is {current}, not {}", self.argument, shown(&self.wanted))
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::broker) enum Grade {
    /// It works, otherwise.
    Bends,
    /// It works, and messages are lost by it.
    Loses,
    /// Nothing works with it.
    Unusable,
}

/// Something that exists, and is not as it would be declared.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Differing {
    pub grade: Grade,
    /// How it differs, and what is lost by it: a sentence.
    pub seen: String,
    /// What to do about it.
    pub advice: String,
}

impl Differing {
    pub(super) fn new(item: &Item, differences: &[Difference], said: &str) -> Self {
        let mut grade = Grade::Bends;
        let mut lost = Vec::new();
        for (how, what) in differences.iter().flat_map(|one| harm(item, one, differences)) {
            grade = grade.max(how);
            if !lost.contains(&what) {
                lost.push(what);
            }
        }
        let how = match differences {
            [] => format!("exists with other arguments ({said})"),
            [only] if only.argument == "type" => {
                let [is, must] = [&only.current, &only.wanted].map(|it| it.as_deref());
                let (is, must) = (is.unwrap_or_default(), must.unwrap_or_default());
                format!("is of type {is}, and must be of type {must}")
            }
            some => {
                let some: Vec<_> = some.iter().map(ToString::to_string).collect();
                format!("exists with other arguments ({})", some.join(", "))
            }
        };
        let lost = if lost.is_empty() { String::new() } else { format!(": {}", lost.join("; ")) };
        let seen = format!("{item} {how}{lost}");
        Self { grade, seen, advice: advice(item, grade) }
    }
}

fn advice(item: &Item, grade: Grade) -> String {
    let when = if matches!(item, Item::Queue { .. }) { " while it is empty" } else { "" };
    let anew = format!(
        "delete it{when}, and have it made anew (broker.declare = true, or \
                        `callvault topology`)"
    );
    match grade {
        Grade::Unusable | Grade::Loses => format!("{anew}; or choose another name in [broker]"),
        Grade::Bends => format!("it is used as it is; else {anew}"),
    }
}

/// What one difference does.
fn harm(item: &Item, one: &Difference, all: &[Difference]) -> Vec<(Grade, String)> {
    match item {
        Item::Exchange { kind, .. } => of_exchange(one, kind_name(kind)),
        Item::Queue { arguments, .. } => of_queue(Role::of(arguments), one, all),
        Item::Binding { .. } => Vec::new(),
    }
}

fn of_exchange(one: &Difference, wanted: &str) -> Vec<(Grade, String)> {
    let found = match (one.argument.as_str(), one.current.as_deref()) {
        ("type", Some(current @ ("direct" | "fanout" | "topic" | "headers"))) => {
            let what = match (wanted, current) {
                ("topic", "fanout") => "every queue that is bound gets all that is published to it",
                ("topic", _) => {
                    "what is published to it reaches no queue that is bound by a pattern, and is \
                     lost"
                }
                _ => "what is to wait for a retry does not reach its queue",
            };
            (Grade::Unusable, what.to_owned())
        }
        ("type", Some(_)) => (Grade::Bends, "it routes as its plugin does".to_owned()),
        ("durable", _) => {
            let what = "it is gone when the broker restarts, and what is published then is lost";
            (Grade::Loses, what.to_owned())
        }
        ("auto_delete", _) => {
            let what = "it is gone with its last binding, and what is published then is lost";
            (Grade::Loses, what.to_owned())
        }
        _ => return Vec::new(),
    };
    vec![found]
}

/// What a queue is for, as its arguments tell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Its messages go on after a time.
    Waits,
    /// Its messages are delivered so often at most.
    Works,
    /// Its messages stay.
    Keeps,
}

impl Role {
    fn of(arguments: &FieldTable) -> Self {
        if arguments.contains_key("x-message-ttl") {
            Self::Waits
        } else if arguments.contains_key("x-dead-letter-exchange") {
            Self::Works
        } else {
            Self::Keeps
        }
    }
}

const NO_SUSPECTS: &str =
    "no suspects: a message that kills its worker comes again and again, or is dropped";

fn of_queue(role: Role, one: &Difference, all: &[Difference]) -> Vec<(Grade, String)> {
    use Grade::{Bends, Loses};
    use Role::{Keeps, Waits, Works};
    let current = one.current.as_deref();
    let found = match (one.argument.as_str(), role) {
        ("durable", _) => (Loses, "it is gone when the broker restarts, with all in it".to_owned()),
        ("x-expires", _) if current.is_some() => {
            (Loses, "it is gone, with all in it, when nobody uses it for a while".to_owned())
        }
        ("x-max-length" | "x-max-length-bytes", _) if current.is_some() && !refuses(role, all) => {
            (Loses, "when it is full its oldest messages are dropped".to_owned())
        }
        ("x-message-ttl", Waits) => match one.number() {
            Some(ms) => (Bends, format!("what waits in it comes back after {ms} ms")),
            None => (Loses, "what waits in it never comes back".to_owned()),
        },
        ("x-message-ttl", Works | Keeps) => {
            (Loses, "what is in it for longer is taken out, unread".to_owned())
        }
        ("x-dead-letter-exchange", Waits) => match current {
            None => (Loses, "what has waited in it is dropped".to_owned()),
            Some(to) => (Loses, format!("what has waited in it goes to the exchange {to:?}")),
        },
        ("x-dead-letter-routing-key", Waits) => {
            let to = current.unwrap_or_default();
            (Loses, format!("what has waited in it goes to {to:?}, wherever it came from"))
        }
        ("x-dead-letter-exchange" | "x-dead-letter-routing-key", Works) => {
            (Bends, NO_SUSPECTS.to_owned())
        }
        ("x-delivery-limit", Works) if current.is_none() => (Bends, NO_SUSPECTS.to_owned()),
        ("x-delivery-limit", Keeps | Waits) if current.is_some() => {
            (Loses, "what is looked at so often is dropped".to_owned())
        }
        ("x-dead-letter-strategy", Waits | Works) => (Bends, AT_MOST_ONCE.to_owned()),
        ("x-queue-type", role) => return of_type(role),
        _ => return Vec::new(),
    };
    vec![found]
}

const AT_MOST_ONCE: &str =
    "no at-least-once dead-lettering: what goes on from it can be lost on the way";

/// A queue that is no quorum queue.
fn of_type(role: Role) -> Vec<(Grade, String)> {
    let bends = |what: &str| (Grade::Bends, what.to_owned());
    let mut lost = match role {
        Role::Works => vec![bends("no delivery limit"), bends(NO_SUSPECTS), bends(AT_MOST_ONCE)],
        Role::Waits => vec![bends(AT_MOST_ONCE)],
        Role::Keeps => Vec::new(),
    };
    lost.push(bends("its messages have one copy, on one node"));
    lost
}

/// Whether the queue refuses what it has no room for.
fn refuses(role: Role, all: &[Difference]) -> bool {
    let overflow = all.iter().find(|one| one.argument == "x-overflow");
    match overflow {
        Some(overflow) => overflow.current.as_deref().is_some_and(|how| how != "drop-head"),
        None => role != Role::Keeps,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::tests::settings;
    use crate::broker::topology::Plan;

    fn item(name: &str) -> Item {
        let plan = Plan::new(&settings(), &[Duration::from_secs(5)]);
        // Before a retry queue is an exchange of its name.
        let fits = |item: &Item| item.name() == name && item.to_string() != "exchange cv.retry.5s";
        plan.items.into_iter().find(fits).unwrap()
    }

    fn one(argument: &str, current: Option<&str>) -> Difference {
        let current = current.map(str::to_owned);
        let wanted = Some("topic".to_owned()).filter(|_| argument == "type");
        Difference { argument: argument.to_owned(), current, wanted }
    }

    #[test]
    fn what_the_broker_says_of_a_difference_is_read() {
        let read = |said: &str| {
            let Difference { argument, current, wanted } = Difference::read(said).unwrap();
            (argument, wanted, current)
        };
        let some = |text: &str| Some(text.to_owned());
        for (said, argument, wanted, current) in [
            (
                "queue.declare: PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue \
                 'cv.jobs' in vhost '/': received the value 'quorum' of type 'longstr' but \
                 current is none",
                "x-queue-type",
                some("quorum"),
                None,
            ),
            (
                "inequivalent arg 'x-max-length' for queue 'a: received b' in vhost '/': received \
                 none but current is the value '10' of type 'signedint'",
                "x-max-length",
                None,
                some("10"),
            ),
            (
                "inequivalent arg 'type' for exchange 'calls' in vhost '/': received 'topic' but \
                 current is 'direct'",
                "type",
                some("topic"),
                some("direct"),
            ),
        ] {
            assert_eq!(read(said), (argument.to_owned(), wanted, current));
        }
        assert_eq!(Difference::read("PRECONDITION_FAILED - invalid arg 'x-expires'"), None);
    }

    #[test]
    fn who_loses_messages_is_told_from_who_only_bends() {
        let unset = |argument| one(argument, None);
        let set = |argument, to| one(argument, Some(to));
        for (queue, differences, grade, told) in [
            ("cv.retry.5s", vec![unset("x-message-ttl")], Grade::Loses, "never comes back"),
            ("cv.retry.5s", vec![set("x-message-ttl", "9")], Grade::Bends, "after 9 ms"),
            ("cv.retry.5s", vec![unset("x-dead-letter-exchange")], Grade::Loses, "is dropped"),
            ("cv.dead", vec![set("x-message-ttl", "9")], Grade::Loses, "unread"),
            ("cv.dead", vec![set("x-delivery-limit", "20")], Grade::Loses, "so often"),
            ("cv.dead", vec![set("x-max-length", "9")], Grade::Loses, "oldest"),
            (
                "cv.dead",
                vec![set("x-max-length", "9"), set("x-overflow", "reject-publish")],
                Grade::Bends,
                "x-max-length is \"9\"",
            ),
            ("cv.jobs", vec![set("x-max-length", "9")], Grade::Bends, "x-max-length"),
            (
                "cv.jobs",
                vec![set("x-max-length", "9"), unset("x-overflow")],
                Grade::Loses,
                "oldest",
            ),
            ("cv.jobs", vec![unset("x-queue-type")], Grade::Bends, "no suspects"),
            ("cv.jobs", vec![set("x-delivery-limit", "3")], Grade::Bends, "x-delivery-limit"),
            ("cv.jobs", vec![set("durable", "false")], Grade::Loses, "restarts"),
            ("calls", vec![set("type", "direct")], Grade::Unusable, "must be of type topic"),
            ("calls", vec![set("type", "x-delayed-message")], Grade::Bends, "plugin"),
            ("cv.retry.5s", vec![], Grade::Bends, "as it says"),
        ] {
            let item = item(queue);
            let differing = Differing::new(&item, &differences, "as it says");
            assert_eq!(differing.grade, grade, "{}", differing.seen);
            assert!(differing.seen.contains(told), "{}", differing.seen);
        }
    }

    #[test]
    fn a_difference_is_taken_over_to_hear_of_the_next() {
        let Item::Queue { mut arguments, .. } = item("cv.jobs") else { panic!("a queue") };
        let mut durable = true;
        assert!(one("x-delivery-limit", Some("7")).take_over(&mut arguments, &mut durable));
        assert!(one("x-overflow", None).take_over(&mut arguments, &mut durable));
        assert!(one("durable", Some("false")).take_over(&mut arguments, &mut durable));
        assert_eq!(arguments.inner()["x-delivery-limit"], AMQPValue::LongLongInt(7));
        assert!(!arguments.contains_key("x-overflow") && !durable);
        assert!(!one("x-queue-type", None).take_over(&mut arguments, &mut durable));
    }
}
