//! Which suspects come back from a crash: those that are delivered again, but not from us.
//!
//! That the broker has delivered one before says something only of those that are marked: RabbitMQ 4
//! says it of whatever it has dead-lettered. A connection that is lost under a living worker gives its
//! deliveries back too, and the broker tells no more than that they come again. It must not know what
//! follows from a crash.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::broker::Delivery;

/// A channel has one suspect in hand, so more than a few are those of channels that died while
/// another worker took over; what is forgotten counts as a crash.
const MOST: usize = 64;

/// The suspects that this process has taken and not settled.
#[derive(Default)]
pub struct Suspects(Mutex<HashSet<String>>);

impl Suspects {
    /// Notes a delivery's arrival; true for a marked one that was in hand when another process ended.
    pub fn arrives(&self, delivery: &Delivery) -> bool {
        let Some(suspect) = delivery.suspect() else { return false };
        let mut in_hand = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if in_hand.len() >= MOST {
            in_hand.clear();
        }
        in_hand.insert(suspect) && delivery.redelivered
    }

    pub fn settled(&self, suspect: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(suspect);
    }
}
