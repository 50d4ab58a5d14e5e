//! The ledger of deliveries: received = acknowledged + given back + in flight, at every scrape
//! (promise 9).
//!
//! The three series come from one book under one lock, so that no scrape can see a message that
//! has left one column and not reached the other. Knows no broker: whoever holds a delivery holds
//! its [`Ticket`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::TenantLabel;
use super::labels::Settled;
use super::tenants::Tenants;
use super::text::Family;
use crate::request::MessageType;

/// The message types, each at its own index.
const TYPES: [MessageType; 4] = MessageType::ALL;

const RECEIVED: Family = Family {
    name: "callvault_messages_received_total",
    help: "Messages delivered by the broker, redeliveries included.",
    kind: "counter",
};
const SETTLED: Family = Family {
    name: "callvault_messages_settled_total",
    help: "Deliveries acknowledged, or given back to their queue.",
    kind: "counter",
};
const IN_FLIGHT: Family = Family {
    name: "callvault_jobs_in_flight",
    help: "Deliveries that are neither acknowledged nor given back.",
    kind: "gauge",
};
const UNSETTLED: Family = Family {
    name: "callvault_deliveries_unsettled_total",
    help: "Deliveries dropped without being settled while not draining (counted as given back); \
           a fault of callvault.",
    kind: "counter",
};

/// The one book of deliveries; cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

struct Shared {
    /// For their names.
    tenants: Arc<Tenants>,
    book: Mutex<Book>,
    draining: AtomicBool,
}

#[derive(Clone, Debug)]
struct Book {
    received: [u64; TYPES.len()],
    settled: [u64; Settled::ALL.len()],
    /// By [`TenantLabel`], as far as any had one.
    in_flight: Vec<u64>,
    unsettled: u64,
}

/// The ledger's sums at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    pub received: u64,
    pub acked: u64,
    pub given_back: u64,
    /// By [`TenantLabel`], as far as any had one; [`Balance::of`].
    pub in_flight: Vec<u64>,
}

impl Balance {
    /// What a tenant has in flight.
    pub fn of(&self, tenant: TenantLabel) -> u64 {
        self.in_flight.get(tenant.0).copied().unwrap_or_default()
    }
}

/// A delivery in flight. Dropped without [`Ticket::settled`] it counts as given back.
#[derive(Debug)]
#[must_use = "a ticket that is dropped counts its delivery as given back"]
pub struct Ticket {
    ledger: Ledger,
    tenant: TenantLabel,
    open: bool,
}

impl Ledger {
    pub(super) fn new(tenants: Arc<Tenants>) -> Self {
        let book = Book {
            received: Default::default(),
            settled: Default::default(),
            in_flight: Vec::new(),
            unsettled: 0,
        };
        Self(Arc::new(Shared { tenants, book: Mutex::new(book), draining: AtomicBool::new(false) }))
    }

    /// Enters a delivery. Its type and tenant are those of its parsed body.
    pub fn receive(&self, message_type: MessageType, tenant: TenantLabel) -> Ticket {
        let mut book = self.book();
        if tenant.0 >= book.in_flight.len() {
            book.in_flight.resize(tenant.0 + 1, 0);
        }
        book.received[message_type as usize] += 1;
        book.in_flight[tenant.0] += 1;
        drop(book);
        Ticket { ledger: self.clone(), tenant, open: true }
    }

    /// From now on a dropped ticket is no fault: the drain gives back what is left.
    pub fn draining(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    pub fn balance(&self) -> Balance {
        let book = self.book().clone();
        Balance {
            received: book.received.iter().sum(),
            acked: book.settled[Settled::Acked as usize],
            given_back: book.settled[Settled::GivenBack as usize],
            in_flight: book.in_flight,
        }
    }

    /// All series of the book, as it stands at one instant. A tenant that is not configured any more
    /// is shown until nothing of it is in flight.
    pub(super) fn write(&self, text: &mut String) {
        let book = self.book().clone();
        RECEIVED.open(text);
        for message_type in TYPES {
            let count = book.received[message_type as usize];
            RECEIVED.series(text, &[("type", message_type.as_str())], count);
        }
        SETTLED.open(text);
        for how in Settled::ALL {
            SETTLED.series(text, &[("how", how.as_str())], book.settled[*how as usize]);
        }
        IN_FLIGHT.open(text);
        let roster = self.0.tenants.roster();
        for tenant in roster.labels() {
            let count = book.in_flight.get(tenant.0).copied().unwrap_or_default();
            if count > 0 || roster.is_configured(tenant) {
                IN_FLIGHT.series(text, &[("tenant", roster.id(tenant))], count);
            }
        }
        drop(roster);
        UNSETTLED.open(text);
        UNSETTLED.series(text, &[], book.unsettled);
    }

    fn settle(&self, tenant: TenantLabel, how: Settled, faulty: bool) {
        let mut book = self.book();
        book.in_flight[tenant.0] -= 1;
        book.settled[how as usize] += 1;
        book.unsettled += u64::from(faulty);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // No code under the lock can panic half-way through an entry.
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// For whom it was received.
    pub fn tenant(&self) -> TenantLabel {
        self.tenant
    }

    /// Closes the entry with what became of the delivery.
    pub fn settled(mut self, how: Settled) {
        self.open = false;
        self.ledger.settle(self.tenant, how, false);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let faulty = !self.ledger.0.draining.load(Ordering::Relaxed);
        self.ledger.settle(self.tenant, Settled::GivenBack, faulty);
        if faulty {
            let roster = self.ledger.0.tenants.roster();
            tracing::error!(
                tenant = roster.id(self.tenant),
                "a delivery was dropped unsettled; the broker delivers it again"
            );
        }
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ledger").field(&*self.book()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::TenantId;

    const ACME: TenantLabel = TenantLabel::of_slot(1);

    fn acme() -> [(usize, TenantId); 1] {
        [(1, TenantId::new("acme").unwrap())]
    }

    fn ledger() -> Ledger {
        let tenants = Tenants::new();
        tenants.adopt(&acme());
        Ledger::new(Arc::new(tenants))
    }

    fn written(ledger: &Ledger) -> String {
        let mut text = String::new();
        ledger.write(&mut text);
        text
    }

    /// The sum of a family's series.
    fn sum(text: &str, family: &Family) -> u64 {
        let series = text.lines().filter(|line| line.starts_with(family.name));
        series.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    #[test]
    fn types_stand_at_their_index() {
        for (index, &message_type) in TYPES.iter().enumerate() {
            assert_eq!(message_type as usize, index);
        }
    }

    #[test]
    fn every_entry_ends_in_one_column() {
        let ledger = ledger();
        let acked = ledger.receive(MessageType::CallCompleted, ACME);
        let given_back = ledger.receive(MessageType::DumpItem, ACME);
        let kept = ledger.receive(MessageType::Invalid, TenantLabel::UNKNOWN);
        acked.settled(Settled::Acked);
        given_back.settled(Settled::GivenBack);
        let balance = Balance { received: 3, acked: 1, given_back: 1, in_flight: vec![1, 0] };
        assert_eq!(ledger.balance(), balance);
        kept.settled(Settled::Acked);
        assert_eq!(ledger.balance().in_flight, [0, 0]);
    }

    #[test]
    fn a_dropped_ticket_is_given_back_and_a_fault_unless_draining() {
        let ledger = ledger();
        drop(ledger.receive(MessageType::CallCompleted, ACME));
        assert_eq!(ledger.balance().given_back, 1);
        assert_eq!(ledger.book().unsettled, 1);
        ledger.draining();
        drop(ledger.receive(MessageType::CallCompleted, ACME));
        assert_eq!(ledger.balance().given_back, 2);
        assert_eq!(ledger.book().unsettled, 1);
    }

    #[test]
    fn one_that_went_is_shown_until_nothing_of_it_is_in_flight() {
        let ledger = ledger();
        let acme = "callvault_jobs_in_flight{tenant=\"acme\"} ";
        assert!(written(&ledger).contains(&format!("{acme}0\n")));
        let ticket = ledger.receive(MessageType::CallCompleted, ACME);
        ledger.0.tenants.adopt(&[]);
        assert!(written(&ledger).contains(&format!("{acme}1\n")));
        ticket.settled(Settled::Acked);
        assert!(!written(&ledger).contains(acme));
    }

    #[test]
    fn it_adds_up_at_every_scrape_while_many_settle() {
        let ledger = ledger();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        for n in 0..5_000 {
                            let tenant = TenantLabel::of_slot(n % 2);
                            let ticket = ledger.receive(MessageType::CallCompleted, tenant);
                            ticket.settled(Settled::ALL[n / 2 % 2]);
                        }
                    })
                })
                .collect();
            let scraper = scope.spawn(|| {
                let of_acme = acme();
                let mut scrapes = 0;
                while !done.load(Ordering::Relaxed) || scrapes == 0 {
                    let text = written(&ledger);
                    let settled = sum(&text, &SETTLED) + sum(&text, &IN_FLIGHT);
                    assert_eq!(sum(&text, &RECEIVED), settled, "{text}");
                    // It goes and comes back, with what it has in flight.
                    let there = scrapes % 2 == 0;
                    ledger.0.tenants.adopt(if there { &[] } else { &of_acme });
                    scrapes += 1;
                }
            });
            workers.into_iter().for_each(|worker| worker.join().expect("a worker does not panic"));
            done.store(true, Ordering::Relaxed);
            scraper.join().expect("every scrape adds up");
        });
        assert_eq!(ledger.balance().received, 20_000);
    }
}
