//! What is known of recordings that are not there: their messages, dead or waiting for a retry.
//!
//! Either may be any number. So a few thousand recordings are collected, the queues are walked through
//! once for all of them, and they are written down; nothing is taken out of a queue.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Serialize, Serializer};

use crate::broker::{HeldMessage, Shelf};
use crate::cli::Error;
use crate::cli::compare::Listed;
use crate::cli::held::{Desk, Filter, Lines, Selection, Whose};
use crate::cli::spool::Waiting;
use crate::cli::terminal::harmless;
use crate::config::{self, Config};
use crate::index::Position;
use crate::lifecycle::Lifecycle;
use crate::recording::KeyPattern;
use crate::request::{CallId, FileName, TenantId, Wanted};

/// Recordings that one walk is made for.
const AT_ONCE: usize = 5_000;

pub struct Explaining<'a> {
    broker: &'a config::Broker,
    /// Those of the retry queues.
    delays: Vec<Duration>,
    json: bool,
    notes: Vec<Note<'a>>,
    lines: Lines,
    is_empty: bool,
    /// Why a queue could not be looked through; from then on none is.
    trouble: Option<Error>,
}

/// A recording that is not there as it should.
struct Note<'a> {
    tenant: &'a TenantId,
    day: Date,
    state: &'static str,
    at: Position,
    wanted: Wanted,
    key: KeyPattern,
    message: Option<Message>,
}

/// What is left of the message that asks for it.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    queue: Queue,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "whole")]
    due_at: Option<Timestamp>,
}

fn whole<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(to)
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Queue {
    Dead,
    Waiting,
}

impl<'a> Explaining<'a> {
    pub fn new(config: &'a Config, json: bool) -> Self {
        let mut delays = config.retry.delays.clone();
        delays.sort_unstable();
        delays.dedup();
        let (notes, lines) = (Vec::new(), Lines::new());
        let broker = &config.broker;
        Self { broker, delays, json, notes, lines, is_empty: true, trouble: None }
    }

    /// A row that is not there as it should.
    ///
    /// # Errors
    /// There is no room for what is written down.
    pub async fn add(
        &mut self,
        (tenant, day, state): (&'a TenantId, Date, &'static str),
        row: &Waiting,
        key: KeyPattern,
    ) -> Result<(), Error> {
        let (at, wanted) = (row.at(), row.wanted());
        self.notes.push(Note { tenant, day, state, at, wanted, key, message: None });
        if self.notes.len() < AT_ONCE { Ok(()) } else { self.explain().await }
    }

    /// What was written down; and what kept some of it from being explained.
    ///
    /// # Errors
    /// As of [`Explaining::add`].
    pub async fn end(mut self) -> Result<(Option<Lines>, Option<Error>), Error> {
        self.explain().await?;
        Ok((Some(self.lines), self.trouble))
    }

    async fn explain(&mut self) -> Result<(), Error> {
        let mut notes = std::mem::take(&mut self.notes);
        if !notes.is_empty() && self.trouble.is_none() {
            self.trouble = self.walk(&mut notes).await.err();
        }
        let known = self.trouble.is_none();
        for note in &notes {
            let line = if self.json { note.json(known, self.is_empty) } else { note.text(known) };
            self.is_empty = false;
            self.lines.add(&line)?;
        }
        Ok(())
    }

    /// Through the dead queue, then through what waits: that is alive.
    async fn walk(&self, notes: &mut [Note<'_>]) -> Result<(), Error> {
        let mut places: HashMap<(&TenantId, String), Vec<usize>> = HashMap::new();
        for (place, note) in notes.iter().enumerate() {
            for name in names(note.wanted.call_id.as_ref(), note.wanted.file_name.as_ref()) {
                places.entry((note.tenant, name)).or_default().push(place);
            }
        }
        // Whoever stops the command ends its connection, and the broker has all again.
        let lifecycle = Lifecycle::default();
        let dead = vec![Shelf::dead(self.broker)];
        let retry = self.delays.iter().map(|delay| Shelf::retry(self.broker, *delay)).collect();
        let mut found = Vec::new();
        for (queue, command, shelves) in
            [(Queue::Dead, "dead", dead), (Queue::Waiting, "waiting", retry)]
        {
            let desk = Desk { shelves, lifecycle: &lifecycle, command };
            let all = Selection::new(Vec::new(), Filter::default());
            let hear = |message: &HeldMessage, whose: &Whose| {
                let Some(tenant) = &whose.tenant else { return Ok(()) };
                for name in names(whose.call_id.as_ref(), whose.file_name.as_ref()) {
                    for place in places.get(&(tenant, name)).into_iter().flatten() {
                        found.push((*place, Message::of(queue, message)));
                    }
                }
                Ok(())
            };
            desk.look(&all, hear).await?;
        }
        for (place, message) in found {
            notes[place].message = Some(message);
        }
        Ok(())
    }
}

/// What it may be known by, told apart.
fn names(call_id: Option<&CallId>, file_name: Option<&FileName>) -> impl Iterator<Item = String> {
    let call_id = call_id.map(|id| format!("call {id}"));
    call_id.into_iter().chain(file_name.map(|name| format!("file {name}")))
}

impl Message {
    fn of(queue: Queue, message: &HeldMessage) -> Self {
        let past = &message.past;
        let (reason, detail) = (past.reason.clone(), past.detail.clone());
        Self { queue, reason, detail, id: message.id.clone(), due_at: message.due }
    }

    fn text(&self) -> String {
        let reason = self.reason.as_deref().map_or_else(|| "without a reason".to_owned(), harmless);
        let what = match (self.queue, self.due_at) {
            (Queue::Dead, _) => "dead".to_owned(),
            (Queue::Waiting, None) => "waits".to_owned(),
            (Queue::Waiting, Some(due)) => format!("waits until {due:.0}"),
        };
        format!("{what}: {reason} ({})", self.id)
    }
}

impl Note<'_> {
    /// `known`: whether its message would have been found.
    fn text(&self, known: bool) -> String {
        let Self { tenant, day, state, key, message, .. } = self;
        let state = if *state == "pending" { "on the way" } else { *state };
        let message = match message {
            Some(message) => message.text(),
            None if known => "no message".to_owned(),
            None => "the queues were not asked".to_owned(),
        };
        format!("{state:10}  {tenant}  {day}  {key}  {message}\n")
    }

    fn json(&self, known: bool, is_first: bool) -> String {
        #[derive(Serialize)]
        struct Told<'a> {
            tenant: &'a TenantId,
            day: String,
            #[serde(flatten)]
            listed: Listed<'a>,
            /// Left out: nobody could be asked; null: there is none.
            #[serde(skip_serializing_if = "Option::is_none")]
            message: Option<&'a Option<Message>>,
        }
        let Self { tenant, day, state, at, wanted, key, message } = self;
        let listed = Listed::new(state, at, wanted, key);
        let message = Some(message).filter(|message| known || message.is_some());
        let told = Told { tenant, day: day.to_string(), listed, message };
        let told = serde_json::to_string(&told).expect("strings and numbers always serialise");
        format!("{}\n  {told}", if is_first { "" } else { "," })
    }
}
