//! The ledger of deliveries: received = acknowledged + given back + in flight, at every scrape
//! (promise 9).
//!
//! The three series come from one book under one lock, so that no scrape can see a message that
//! has left one column and not reached the other. Knows no broker: whoever holds a delivery holds
//! its [`Ticket`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::TenantLabel;
use super::labels::Settled;
use crate::request::MessageType;

/// The message types, each at its own index.
const TYPES: [MessageType; 4] = MessageType::ALL;

struct Series {
    name: &'static str,
    help: &'static str,
    label: Option<&'static str>,
}

const RECEIVED: Series = Series {
    name: "callvault_messages_received_total",
    help: "Messages delivered by the broker, redeliveries included.",
    label: Some("type"),
};
const SETTLED: Series = Series {
    name: "callvault_messages_settled_total",
    help: "Deliveries acknowledged, or given back to their queue.",
    label: Some("how"),
};
const IN_FLIGHT: Series = Series {
    name: "callvault_jobs_in_flight",
    help: "Deliveries that are neither acknowledged nor given back.",
    label: Some("tenant"),
};
const UNSETTLED: Series = Series {
    name: "callvault_deliveries_unsettled_total",
    help: "Deliveries dropped without being settled while not draining (counted as given back); \
           a fault of callvault.",
    label: None,
};

/// The one book of deliveries; cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

struct Shared {
    /// The values of the label `tenant`, by [`TenantLabel`].
    tenants: Vec<String>,
    book: Mutex<Book>,
    draining: AtomicBool,
    descs: Vec<Desc>,
}

#[derive(Clone, Debug)]
struct Book {
    received: [u64; TYPES.len()],
    settled: [u64; Settled::ALL.len()],
    in_flight: Vec<u64>,
    unsettled: u64,
}

/// The ledger's sums at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    pub received: u64,
    pub acked: u64,
    pub given_back: u64,
    /// By [`TenantLabel`].
    pub in_flight: Vec<u64>,
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
    pub(super) fn new(tenants: Vec<String>) -> Self {
        let book = Book {
            received: Default::default(),
            settled: Default::default(),
            in_flight: vec![0; tenants.len()],
            unsettled: 0,
        };
        let descs = [RECEIVED, SETTLED, IN_FLIGHT, UNSETTLED].map(|series| series.desc()).into();
        let book = Mutex::new(book);
        Self(Arc::new(Shared { tenants, book, draining: AtomicBool::new(false), descs }))
    }

    /// Enters a delivery. Its type and tenant are those of its parsed body.
    pub fn receive(&self, message_type: MessageType, tenant: TenantLabel) -> Ticket {
        let mut book = self.book();
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
            let tenant = self.ledger.0.tenants[self.tenant.0].as_str();
            tracing::error!(
                tenant,
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

impl Collector for Ledger {
    fn desc(&self) -> Vec<&Desc> {
        self.0.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let book = self.book().clone();
        let types = TYPES.iter().map(|&t| (t.as_str(), book.received[t as usize]));
        let hows = Settled::ALL.iter().map(|&how| (how.as_str(), book.settled[how as usize]));
        let tenants = self.0.tenants.iter().map(String::as_str).zip(book.in_flight);
        vec![
            RECEIVED.family(MetricType::COUNTER, types),
            SETTLED.family(MetricType::COUNTER, hows),
            IN_FLIGHT.family(MetricType::GAUGE, tenants),
            UNSETTLED.family(MetricType::COUNTER, [("", book.unsettled)]),
        ]
    }
}

impl Series {
    fn desc(&self) -> Desc {
        let labels = self.label.iter().map(|&label| label.to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
            .expect("the names and labels above are valid")
    }

    fn family<'a>(
        &self,
        kind: MetricType,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> MetricFamily {
        let metric = |(value, count): (&str, u64)| {
            let label = |name: &str| {
                let mut pair = LabelPair::default();
                pair.set_name(name.to_owned());
                pair.set_value(value.to_owned());
                pair
            };
            let mut metric = Metric::from_label(self.label.into_iter().map(label).collect());
            set(&mut metric, kind, count);
            metric
        };
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(kind);
        family.set_metric(values.into_iter().map(metric).collect());
        family
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in f64, exact up to 2^53")]
fn set(metric: &mut Metric, kind: MetricType, count: u64) {
    if kind == MetricType::GAUGE {
        let mut gauge = Gauge::default();
        gauge.set_value(count as f64);
        metric.set_gauge(gauge);
    } else {
        let mut counter = Counter::default();
        counter.set_value(count as f64);
        metric.set_counter(counter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(vec!["unknown".into(), "acme".into()])
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
        let acked = ledger.receive(MessageType::CallCompleted, TenantLabel(1));
        let given_back = ledger.receive(MessageType::DumpItem, TenantLabel(1));
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
        drop(ledger.receive(MessageType::CallCompleted, TenantLabel(1)));
        assert_eq!(ledger.balance().given_back, 1);
        assert_eq!(ledger.book().unsettled, 1);
        ledger.draining();
        drop(ledger.receive(MessageType::CallCompleted, TenantLabel(1)));
        assert_eq!(ledger.balance().given_back, 2);
        assert_eq!(ledger.book().unsettled, 1);
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
                            let tenant = TenantLabel(n % 2);
                            let ticket = ledger.receive(MessageType::CallCompleted, tenant);
                            ticket.settled(Settled::ALL[n / 2 % 2]);
                        }
                    })
                })
                .collect();
            let scraper = scope.spawn(|| {
                let mut scrapes = 0;
                while !done.load(Ordering::Relaxed) || scrapes == 0 {
                    let sums: Vec<f64> = ledger.collect()[..3].iter().map(sum).collect();
                    assert!((sums[0] - sums[1] - sums[2]).abs() < 0.5, "{sums:?}");
                    scrapes += 1;
                }
            });
            workers.into_iter().for_each(|worker| worker.join().expect("a worker does not panic"));
            done.store(true, Ordering::Relaxed);
            scraper.join().expect("every scrape adds up");
        });
        assert_eq!(ledger.balance().received, 20_000);
    }

    fn sum(family: &MetricFamily) -> f64 {
        let value =
            |metric: &Metric| metric.get_counter().get_value() + metric.get_gauge().get_value();
        family.get_metric().iter().map(value).sum()
    }
}
