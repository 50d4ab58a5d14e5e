//! How many bytes of bodies a connection has brought that nobody has settled yet: the door through
//! which more of them come is shut while they are too many.
//!
//! A prefetch counts messages, and one may have megabytes. What is not read stays with the broker,
//! since the socket takes no more. A shut door opens a little now and then: heartbeats come through
//! it, too. It must not know what a message is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Bytes that come through a shut door at once: a frame or so.
const PULSE: usize = 128 * 1024;

#[derive(Debug)]
pub(super) struct Load {
    most: usize,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// Bytes of bodies that have come whole and are not settled.
    total: usize,
    /// Those among them that are on their way through lapin, by channel.
    unclaimed: HashMap<u16, usize>,
    /// Who waits at the shut door.
    waits: Option<Waker>,
    /// It may pass once.
    may_pass: bool,
}

/// A body in hand; no load any more when dropped.
#[derive(Debug)]
pub struct Burden {
    load: Arc<Load>,
    bytes: usize,
}

impl Load {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, books: Mutex::default() })
    }

    /// A body has come whole.
    pub(super) fn arrived(&self, channel: u16, bytes: usize) {
        let mut books = self.books();
        books.total += bytes;
        *books.unclaimed.entry(channel).or_default() += bytes;
    }

    /// A body has come out of lapin.
    pub(super) fn claim(self: &Arc<Self>, channel: u16, bytes: usize) -> Burden {
        let mut books = self.books();
        // Of a channel that was forgotten meanwhile nothing is left to claim.
        let left = books.unclaimed.get_mut(&channel);
        let bytes = left.map_or(0, |left| {
            let bytes = bytes.min(*left);
            *left -= bytes;
            bytes
        });
        Burden { load: Arc::clone(self), bytes }
    }

    /// The channel is gone, and what lapin had of it.
    pub(super) fn forget(&self, channel: u16) {
        let mut books = self.books();
        let lost = books.unclaimed.remove(&channel).unwrap_or_default();
        self.settle(books, lost);
    }

    /// How many bytes may come at once, while more may; else when that has changed, or at a
    /// [`Load::pulse`].
    pub(super) fn poll_open(&self, context: &mut Context<'_>) -> Poll<usize> {
        let mut books = self.books();
        if books.total < self.most {
            return Poll::Ready(usize::MAX);
        }
        if std::mem::take(&mut books.may_pass) {
            return Poll::Ready(PULSE);
        }
        books.waits = Some(context.waker().clone());
        Poll::Pending
    }

    /// Opens a shut door for one reading.
    pub(super) fn pulse(&self) {
        let mut books = self.books();
        if let Some(waits) = books.waits.take() {
            books.may_pass = true;
            drop(books);
            waits.wake();
        }
    }

    fn settle(&self, mut books: MutexGuard<'_, Books>, bytes: usize) {
        books.total -= bytes;
        let waits = if books.total < self.most { books.waits.take() } else { None };
        drop(books);
        if let Some(waits) = waits {
            waits.wake();
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Burden {
    fn drop(&mut self) {
        self.load.settle(self.load.books(), self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_door_is_shut_while_too_much_is_in_hand() {
        let load = Load::new(100);
        let woken = Arc::<Woken>::default();
        let waker = woken.clone().into();
        let is_open = || load.poll_open(&mut Context::from_waker(&waker)).is_ready();
        load.arrived(1, 60);
        assert!(is_open());
        load.arrived(2, 60);
        assert!(!is_open());
        let (first, second) = (load.claim(1, 60), load.claim(2, 60));
        assert!(!is_open(), "they are in hand");
        drop(first);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(is_open());
        drop(second);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "nobody waited");
    }

    #[test]
    fn what_a_dead_channel_had_is_no_load() {
        let load = Load::new(100);
        let woken = Arc::<Woken>::default();
        let waker = woken.clone().into();
        let is_open = || load.poll_open(&mut Context::from_waker(&waker)).is_ready();
        load.arrived(1, 100);
        load.arrived(1, 100);
        let claimed = load.claim(1, 100);
        load.forget(1);
        assert!(!is_open(), "one of them is in hand");
        let late = load.claim(1, 100);
        drop(claimed);
        assert!(is_open());
        drop(late);
        assert_eq!(load.books().total, 0);
    }

    #[test]
    fn a_pulse_lets_one_reading_pass() {
        let load = Load::new(100);
        let woken = Arc::<Woken>::default();
        let waker = woken.clone().into();
        let is_open = || load.poll_open(&mut Context::from_waker(&waker)).is_ready();
        load.pulse();
        load.arrived(1, 100);
        assert!(!is_open(), "nobody was waiting at the pulse");
        load.pulse();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(is_open() && !is_open(), "once");
    }
}
