//! What came of it, held against the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::field::Field;
use super::ledger::{Due, Entry, Ledger, name_of, name_of_event};
use crate::support::broker::client::Seen;

/// What must not be; all but `Unexpected` are counted by contract 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Asked for, and neither archived nor absent nor dead; or announced without an object.
    Lost,
    /// Acknowledged before what it asked for was durable.
    AckedEarly,
    /// An object of other bytes than CC-FS owed.
    Truncated,
    /// A key written twice, with different content.
    Overwritten,
    /// Any other end than the ledger has.
    Unexpected,
}

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::Lost, Self::AckedEarly, Self::Truncated, Self::Overwritten, Self::Unexpected];

    pub fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::AckedEarly => "acked early",
            Self::Truncated => "truncated",
            Self::Overwritten => "overwritten",
            Self::Unexpected => "unexpected",
        }
    }
}

/// One thing that must not be, and where.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: Kind,
    pub what: String,
}

impl Finding {
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.word(), self.what)
    }
}

/// What came of a scenario.
#[derive(Default)]
pub struct Verdict {
    pub findings: Vec<Finding>,
    /// Recordings asked for, and messages that asked for them.
    pub recordings: usize,
    pub messages: usize,
    /// Acknowledgements that were looked at on the wire.
    pub acknowledged: usize,
    /// Events beyond one a recording.
    pub duplicated: usize,
    /// What the scenario did.
    pub note: String,
    pub took: Duration,
    /// Where the workers' logs are, if something was found.
    pub logs: Option<PathBuf>,
}

impl Verdict {
    pub fn count(&self, kind: Kind) -> usize {
        self.findings.iter().filter(|finding| finding.kind == kind).count()
    }
}

/// Everything that was there when all was quiet.
struct Evidence {
    /// By subject.
    events: BTreeMap<String, Vec<Value>>,
    /// Reasons of the dead, by subject.
    dead: BTreeMap<String, Vec<String>>,
    /// Hash and length of each object, by key.
    objects: BTreeMap<String, (String, u64)>,
    findings: Vec<Finding>,
}

/// Reads everything and counts.
pub async fn judge(field: &Field) -> Verdict {
    let mut evidence = Evidence {
        events: events(field.drain(&field.world.events).await),
        dead: dead(field.drain(&field.world.queue("dead")).await),
        objects: objects(field).await,
        findings: [field.fleet.findings(), field.watch.findings()].concat(),
    };
    let strays = field.wire.record().strays;
    if strays > 0 {
        let what = format!("{strays} acknowledgements of what was not in hand");
        evidence.find(Kind::Unexpected, what);
    }
    let ledger = field.ledger();
    let mut verdict = Verdict::default();
    for (subject, entry) in ledger.entries() {
        verdict.recordings += 1;
        verdict.messages += entry.messages;
        let events = evidence.events.get(subject).map_or(0, Vec::len);
        verdict.duplicated += events.saturating_sub(1);
        evidence.judge(subject, entry);
    }
    for (request, count) in ledger.dumps() {
        verdict.duplicated += evidence.judge_dump(request, *count);
    }
    evidence.nobody_asked_for(&ledger);
    evidence.overwritten(field);
    verdict.acknowledged = field.watch.count();
    verdict.findings = evidence.findings;
    verdict
}

impl Evidence {
    fn find(&mut self, kind: Kind, what: String) {
        self.findings.push(Finding::new(kind, what));
    }

    /// One recording.
    fn judge(&mut self, subject: &str, entry: &Entry) {
        let events = self.events.get(subject).cloned().unwrap_or_default();
        let said: BTreeSet<_> = events.iter().map(kind_of).collect();
        let ids: BTreeSet<_> = events.iter().map(|event| text(&event["id"])).collect();
        let dead = self.dead.get(subject).cloned().unwrap_or_default();
        let due = match &entry.call.due {
            Due::Archived(_) => "archived".to_owned(),
            Due::Absent => "absent".to_owned(),
            Due::Dead(reason) => format!("failed {reason}"),
        };
        if events.is_empty() && dead.is_empty() {
            return self.find(Kind::Lost, format!("{subject}: no event, and not dead; due: {due}"));
        }
        if said.iter().any(|said| *said != due) {
            self.find(Kind::Unexpected, format!("{subject}: {said:?}; due: {due}"));
        } else if ids.len() > 1 {
            self.find(Kind::Unexpected, format!("{subject}: events of several ids: {ids:?}"));
        }
        self.judge_dead(subject, &entry.call.due, &dead);
        if let Some(bytes) = &entry.bytes {
            self.judge_object(subject, entry, bytes, &events);
        }
    }

    /// A dump, whose recordings have entries of their own; says how often too much it was expanded.
    fn judge_dump(&mut self, request: &str, count: usize) -> usize {
        let events = self.events.remove(request).unwrap_or_default();
        if events.is_empty() {
            self.find(Kind::Lost, format!("{request}: the dump was never expanded"));
        }
        let wrong =
            |event: &&Value| event["type"] != "dump.expanded" || event["data"]["count"] != count;
        if let Some(wrong) = events.iter().find(wrong) {
            self.find(Kind::Unexpected, format!("{request}: {wrong}; due: {count} expanded"));
        }
        events.len().saturating_sub(1)
    }

    fn judge_dead(&mut self, subject: &str, due: &Due, dead: &[String]) {
        match due {
            Due::Dead(_) if dead.is_empty() => {
                self.find(Kind::Lost, format!("{subject}: not in the dead queue"));
            }
            Due::Dead(reason) if dead.iter().all(|own| own == reason) => (),
            _ if dead.is_empty() => (),
            _ => self.find(Kind::Unexpected, format!("{subject}: dead with {dead:?}")),
        }
    }

    fn judge_object(
        &mut self,
        subject: &str,
        entry: &Entry,
        bytes: &(String, u64),
        events: &[Value],
    ) {
        let key = entry.call.key();
        match self.objects.get(&key) {
            None => self.find(Kind::Lost, format!("{subject}: there is no object {key}")),
            Some(there) if there != bytes => {
                let what = format!("{key}: {} bytes where {} are due", there.1, bytes.1);
                self.find(Kind::Truncated, what);
            }
            Some(_) => {}
        }
        for event in events.iter().filter(|event| event["type"] == "recording.archived") {
            let object = &event["data"]["objects"][0];
            let hash = object["sha256"].as_str().unwrap_or(&bytes.0);
            let unproven = object["unproven"].as_str();
            let named = object["key"] == *key && unproven == entry.call.unproven;
            if !named || object["size"] != bytes.1 || hash != bytes.0 {
                self.find(Kind::Unexpected, format!("{subject}: announced as {object}"));
            }
        }
    }

    /// Objects, events and dead messages without a cause.
    fn nobody_asked_for(&mut self, ledger: &Ledger) {
        let due: BTreeSet<_> = ledger
            .entries()
            .filter(|(_, entry)| entry.bytes.is_some())
            .map(|(_, entry)| entry.call.key())
            .collect();
        let objects = self.objects.keys().filter(|key| !due.contains(*key));
        let objects: Vec<_> = objects.map(|key| format!("an object at {key}")).collect();
        let said = self.events.keys().map(|subject| (subject, "an event of"));
        let dead = self.dead.keys().map(|subject| (subject, "dead:"));
        let unknown = said.chain(dead).filter(|(subject, _)| ledger.entry(subject).is_none());
        let unknown: Vec<_> = unknown.map(|(subject, what)| format!("{what} {subject}")).collect();
        for what in objects.into_iter().chain(unknown) {
            self.find(Kind::Unexpected, format!("{what}, which nobody asked for"));
        }
    }

    fn overwritten(&mut self, field: &Field) {
        let mut contents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for write in field.world.store.writes() {
            contents.entry(write.key).or_default().insert(write.sha256);
        }
        for (key, contents) in contents.into_iter().filter(|(_, contents)| contents.len() > 1) {
            self.find(Kind::Overwritten, format!("{key}: {} contents", contents.len()));
        }
    }
}

/// `archived`, `absent`, or `failed` with its reason.
fn kind_of(event: &Value) -> String {
    let kind = text(&event["type"]).trim_start_matches("recording.").to_owned();
    match kind.as_str() {
        "failed" => format!("failed {}", text(&event["data"]["reason"]["code"])),
        _ => kind,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn events(seen: Vec<Seen>) -> BTreeMap<String, Vec<Value>> {
    let mut events: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for event in seen.iter().map(Seen::json) {
        events.entry(name_of_event(&event)).or_default().push(event);
    }
    events
}

fn dead(seen: Vec<Seen>) -> BTreeMap<String, Vec<String>> {
    let mut dead: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in seen {
        let subject = name_of(&message.body);
        let reason = message.header("callvault-reason").unwrap_or_default();
        dead.entry(subject).or_default().push(reason);
    }
    dead
}

async fn objects(field: &Field) -> BTreeMap<String, (String, u64)> {
    let (store, bucket) = (&field.world.store, &field.world.bucket);
    let keys = store.s3().keys(bucket, "").await;
    let found = keys.into_iter().map(|key| {
        let content = store.content(bucket, &key).unwrap_or_default();
        (key, content)
    });
    found.collect()
}
