//! The order of frames on the wire: at the instant of each `basic.ack`, before the broker has it,
//! what the message asked for has to be durable.
//!
//! Durable is: an event of its recording that the broker has confirmed (with the object there,
//! whole, if it says archived), or a copy of it confirmed in a retry queue, the dead queue, the
//! bulk queue (a dump), or with its mark in the suspect queue. And each acknowledgement needs one of its
//! own: of three, no two may rest on the same event.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

use super::judge::{Finding, Kind};
use super::ledger::{Ledger, is_dump, name_of, name_of_event, request_of};
use crate::support::s3::LocalS3;
use crate::support::wire::{Acked, Published, Wire};
use crate::support::world::World;

/// What has been said and acknowledged so far.
#[derive(Default)]
struct Books {
    /// Confirmed publishes that are in the accounts.
    read: usize,
    accounts: HashMap<String, Account>,
    findings: Vec<Finding>,
}

/// Of one recording.
#[derive(Default)]
struct Account {
    archived: usize,
    absent: usize,
    /// In retry queues, the dead one, marked in that of suspects, and of a dump in the bulk queue.
    copies: usize,
    /// Events that a dump is expanded, and the items that it was expanded to.
    expanded: usize,
    items: usize,
    acknowledged: usize,
}

/// Where this world's messages go.
struct Names {
    events: String,
    retry: String,
    bulk: String,
    suspect: String,
    dead: String,
    bucket: String,
}

/// Keeps the books from now on.
pub struct Watch {
    books: Arc<Mutex<Books>>,
}

impl Watch {
    pub fn over(wire: &Wire, world: &World, ledger: &Arc<Mutex<Ledger>>) -> Self {
        let books: Arc<Mutex<Books>> = Arc::default();
        let names = Arc::new(Names {
            events: world.events_exchange.clone(),
            retry: world.queue("retry."),
            bulk: world.queue("bulk"),
            suspect: world.queue("suspect"),
            dead: world.queue("dead"),
            bucket: world.bucket.clone(),
        });
        let (kept, ledger) = (Arc::clone(&books), Arc::clone(ledger));
        let store = Arc::clone(&world.store);
        wire.on_ack(move |acked| {
            lock(&kept).acknowledge(&acked, &names, &lock(&ledger), &store);
            std::future::ready(())
        });
        Self { books }
    }

    /// Acknowledgements so far.
    pub fn count(&self) -> usize {
        lock(&self.books).accounts.values().map(|account| account.acknowledged).sum()
    }

    pub fn findings(&self) -> Vec<Finding> {
        lock(&self.books).findings.clone()
    }
}

impl Books {
    fn acknowledge(&mut self, acked: &Acked, names: &Names, ledger: &Ledger, store: &LocalS3) {
        let body = &acked.delivered.letter.body;
        self.catch_up(acked, names);
        let name = name_of(body);
        let account = self.accounts.entry(name.clone()).or_default();
        account.acknowledged += 1;
        let durable = account.archived + account.absent + account.copies + account.expanded;
        let (archived, acknowledged) = (account.archived, account.acknowledged);
        if acknowledged > durable {
            let what = format!("{name}: {acknowledged} times, with {durable} confirmed ends");
            self.findings.push(Finding::new(Kind::AckedEarly, what));
        }
        let items = account.items;
        if account.expanded > 0 && ledger.dumps().get(&name).is_some_and(|due| items < *due) {
            let what = format!("{name}: the dump is expanded, but only {items} items of it");
            self.findings.push(Finding::new(Kind::AckedEarly, what));
        }
        let due =
            ledger.entry(&name).and_then(|entry| Some((entry.call.key(), entry.bytes.as_ref()?)));
        if let Some((key, bytes)) = due.filter(|_| archived > 0)
            && store.holds(&names.bucket, &key).as_ref() != Some(bytes)
        {
            let what = format!("{name}: {key} is not there, or not whole");
            self.findings.push(Finding::new(Kind::AckedEarly, what));
        }
    }

    /// Writes down what was confirmed since the last time.
    fn catch_up(&mut self, acked: &Acked, names: &Names) {
        let record = acked.record();
        for published in record.confirms().skip(self.read) {
            self.read += 1;
            self.confirmed(published, names);
        }
    }

    fn confirmed(&mut self, published: &Published, names: &Names) {
        let letter = &published.letter;
        if letter.exchange == names.events {
            let event: Value = serde_json::from_slice(&letter.body).unwrap_or_default();
            let account = self.accounts.entry(name_of_event(&event)).or_default();
            match event["type"].as_str() {
                Some("recording.archived") => account.archived += 1,
                Some("recording.absent") => account.absent += 1,
                Some("dump.expanded") => account.expanded += 1,
                // A death is durable in the dead queue, not by its event.
                _ => {}
            }
        } else if letter.exchange.is_empty() && letter.routing_key == names.bulk {
            let account = self.accounts.entry(request_of(&letter.body).unwrap_or_default());
            let account = account.or_default();
            match is_dump(&letter.body) {
                true => account.copies += 1,
                false => account.items += 1,
            }
        } else if letter.exchange.starts_with(&names.retry)
            || [&names.suspect, &names.dead].contains(&&letter.routing_key)
        {
            self.accounts.entry(name_of(&letter.body)).or_default().copies += 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
