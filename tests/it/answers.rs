//! What servers answer, and what that does to a message: the table of contract 5, class by class,
//! with headers, queue, event and metrics.
//!
//! Delays are long where a message is looked at while it waits, short where its end counts.

mod ccfs;
mod ladder;
mod refused;
mod store;
mod whole;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use lapin::BasicProperties;
use serde_json::{Value, json};

use crate::ends::{assert_dead, assert_unarchived, assert_waiting, call_of, collect, now};
use crate::support::broker::client::{Seen, text};
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, call};

/// The ladder begins with ten minutes, and who is parked waits half a minute: the queue tells
/// which it was, and neither ends while a test looks.
const LOOK: (&str, &str) = ("retry", "delays = [\"10m\", \"30s\", \"1h\"]");
/// All the places that a message can be in, but with a worker.
const EVERYWHERE: [&str; 4] = ["dead", "retry.30s", "retry.10m", "retry.1h"];

/// Where a message must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In the dead queue, announced as failed.
    Dead,
    /// In the retry queue for those who are parked; no attempt counted, no step taken.
    Parked,
    /// One step up the ladder, and an attempt counted.
    Failed,
    /// One step up the ladder, no attempt counted.
    Waiting,
}

/// A call, what it is answered, and how it must end.
struct Case {
    name: String,
    message: Value,
    replies: Vec<Reply>,
    end: End,
    reason: String,
    /// What the detail must say.
    detail: &'static str,
}

/// One call of `acme` that has just ended; `name` is part of its callId.
fn case(name: &str, reply: Reply, end: End, reason: &str) -> Case {
    let mut message = call(name);
    // A call id tells the day only where it begins with seconds, and these are names.
    message["callEnd"] = json!(now().to_string());
    let (name, reason) = (name.to_owned(), reason.to_owned());
    Case { name, message, replies: vec![reply], end, reason, detail: "" }
}

impl Case {
    fn says(self, detail: &'static str) -> Self {
        Self { detail, ..self }
    }

    fn then(mut self, reply: Reply) -> Self {
        self.replies.push(reply);
        self
    }

    fn at(mut self, field: &str, value: Value) -> Self {
        self.message[field] = value;
        self
    }
}

/// Plays all `cases` at once in a world whose worker has the delays of [`LOOK`], and looks at what
/// became of each. Where each message is, by callId.
async fn play(world: &World, worker: &Worker, cases: &[Case]) -> BTreeMap<String, Seen> {
    let dead_cases = || cases.iter().filter(|case| case.end == End::Dead);
    for case in cases {
        world.ccfs.script(&case.name, case.replies.clone());
        world.publish(&case.message).await;
    }
    let mut ended = BTreeMap::new();
    let mut where_ended = BTreeMap::new();
    for (queue, seen) in collect(world, worker, &EVERYWHERE, cases.len()).await {
        where_ended.insert(call_of(&seen), queue);
        ended.insert(call_of(&seen), seen);
    }
    let expected = cases.iter().map(|case| (case.name.clone(), queue_of(case.end).to_owned()));
    assert_eq!(where_ended, expected.collect(), "{}", worker.log());
    for case in cases {
        assert_ended(world, case, &ended[&case.name]);
    }
    let events = world.rabbit.take_many(&world.events, dead_cases().count()).await;
    let events = crate::ends::by_call(events);
    for case in dead_cases() {
        let event = &events[&case.name];
        assert_unarchived(event, "recording.failed", Some("acme"), &case.reason, 1);
        let message = event.json()["data"]["reason"]["message"].clone();
        assert_eq!(Some(message), ended[&case.name].header("callvault-detail").map(Value::from));
    }
    assert_nothing_more(world, worker).await;
    ended
}

fn queue_of(end: End) -> &'static str {
    match end {
        End::Dead => "dead",
        End::Parked => "retry.30s",
        End::Failed | End::Waiting => "retry.10m",
    }
}

fn assert_ended(world: &World, case: &Case, seen: &Seen) {
    let reason = &case.reason;
    match case.end {
        End::Dead => assert_dead(world, seen, reason, 1, 0),
        End::Parked => assert_waiting(world, seen, "30s", reason, 0, 0),
        End::Failed => assert_waiting(world, seen, "10m", reason, 1, 1),
        End::Waiting => assert_waiting(world, seen, "10m", reason, 0, 1),
    }
    let detail = seen.header("callvault-detail").unwrap_or_default();
    assert!(detail.contains(case.detail), "{}: {detail}", case.name);
    assert_eq!(seen.json(), case.message, "{}", case.name);
}

/// Nothing is stored, no upload is open, no event waits and no message is in hand.
async fn assert_nothing_more(world: &World, worker: &Worker) {
    world.settled(worker).await;
    assert_eq!(world.store.s3().keys(&world.bucket, "").await, [""; 0]);
    world.store.s3().no_upload_left(&world.bucket).await;
    assert_eq!(world.rabbit.ready(&world.events).await, 0, "no event more");
}

/// The counters agree with what happened to `cases`, all of them of `acme` and never tried before.
/// `codes` are the labels where they are not those of the reason: `reason` → (`reason`, `code`).
async fn assert_counted(
    worker: &Worker,
    cases: &[Case],
    labels: impl Fn(&str) -> (String, String),
) {
    let mut retries = BTreeMap::<String, f64>::new();
    let mut dead = BTreeMap::<String, f64>::new();
    let mut responses = BTreeMap::<String, f64>::new();
    for case in cases {
        let (reason, code) = labels(&case.reason);
        let ends = if case.end == End::Dead { &mut dead } else { &mut retries };
        *ends.entry(reason).or_default() += 1.0;
        *responses.entry(code).or_default() += 1.0;
    }
    let text = worker.get("/metrics").await.1;
    assert_eq!(series(&text, "callvault_retries_total", "reason"), retries);
    assert_eq!(series(&text, "callvault_dead_total", "reason"), dead);
    assert_eq!(series(&text, "callvault_ccfs_responses_total", "code"), responses);
    let mut outcomes = BTreeMap::new();
    for (outcome, of) in [("retried", &retries), ("dead", &dead)] {
        if !of.is_empty() {
            outcomes.insert(outcome.to_owned(), of.values().sum());
        }
    }
    assert_eq!(series(&text, "callvault_jobs_total", "outcome"), outcomes);
}

/// The values of one counter that are not zero, by one of its labels; all of them of `acme`.
fn series(metrics: &str, name: &str, label: &str) -> BTreeMap<String, f64> {
    let of_name = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let mut values = BTreeMap::new();
    for line in of_name {
        let (series, value) = line.rsplit_once(' ').expect("a series and its value");
        let value: f64 = value.parse().expect("a number");
        if value == 0.0 {
            continue;
        }
        assert!(series.contains("tenant=\"acme\""), "{line}");
        let (_, rest) = series.split_once(&format!("{label}=\"")).expect("the label");
        let (label, _) = rest.split_once('"').expect("the label's end");
        values.insert(label.to_owned(), value);
    }
    values
}

/// `ccfs.0300012` and its code, for reasons that have series of their own.
fn same_labels(reason: &str) -> (String, String) {
    let code = reason.strip_prefix("ccfs.").expect("a reason of CC-FS");
    (reason.to_owned(), code.to_owned())
}

/// Back into the queue that its routing key names, as the broker does when the delay is over.
async fn come_back(world: &World, seen: &Seen) {
    let properties = seen.properties.clone();
    world.rabbit.publish("", &seen.routing_key, &seen.body, properties).await;
}

/// A message with a past: its headers as an earlier retry wrote them.
async fn publish_with_past(world: &World, message: &Value, past: &[(&str, &str)]) {
    let mut headers = lapin::types::FieldTable::default();
    for (name, value) in past {
        headers.insert((*name).into(), text(value));
    }
    let properties = BasicProperties::default().with_headers(headers);
    world.publish_raw("call.completed", message.to_string().as_bytes(), properties).await;
}

fn days_ago(days: i64) -> Timestamp {
    now() - SignedDuration::from_hours(24 * days)
}

/// What `/readyz` says, once it says `text`.
async fn readyz_says(worker: &Worker, text: &str, status: u16) -> String {
    eventually(&format!("/readyz says {text}"), SOON, || async {
        let (code, body) = worker.get("/readyz").await;
        (code == status && body.contains(text)).then_some(body)
    })
    .await
}
