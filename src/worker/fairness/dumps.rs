//! Whose dump is expanded next: two at a time over the worker, tenants in turn. Pure.
//!
//! Expanding asks neither CC-FS nor the store, so a dump takes no place of a job. What waits here is
//! in hand all the same, and keeps items out of the window: the last to come make way, and what would
//! be too much in bytes does not wait here at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant};

use super::waiting::PATIENCE;

/// Dumps that are expanded at once (contract 2).
const AT_ONCE: usize = 2;

/// A dump that has waited so long is in the way of items that could be at work.
const IN_THE_WAY: Duration = Duration::from_secs(5);

/// Dumps that make way in a second: each is published anew, and calls are not to feel it.
const LEAVING: usize = 16;

/// Dumps that wait to be expanded.
pub struct Dumps<T> {
    /// By tenant; no queue is empty.
    waiting: BTreeMap<usize, VecDeque<Entry<T>>>,
    queued: usize,
    /// Bytes of those that wait, and how many there may be.
    bytes: usize,
    most_bytes: usize,
    /// How many keep their place in the window, however long they wait.
    kept: usize,
    /// The tenant that was served last.
    last: usize,
    at_work: Arc<Semaphore>,
}

struct Entry<T> {
    since: Instant,
    bytes: usize,
    item: T,
}

/// Held while a dump is expanded.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl<T> Dumps<T> {
    /// `window`: deliveries that may be in hand at once of the bulk queue; `bodies`: their bytes, and
    /// those of all others. Dumps that wait take a quarter of these, dumps at work as much or more.
    pub fn new(window: usize, bodies: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            queued: 0,
            bytes: 0,
            most_bytes: bodies / 4,
            kept: window / 4,
            last: 0,
            at_work: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Whether a dump of so many bytes may wait; `fits`: memory has room for it. One whose turn it is
    /// always has.
    pub fn may_wait(&self, bytes: usize, fits: bool) -> bool {
        let is_next = self.queued < self.at_work.available_permits();
        is_next || fits && self.bytes + bytes <= self.most_bytes
    }

    pub fn arrive(&mut self, tenant: usize, now: Instant, bytes: usize, item: T) {
        self.waiting.entry(tenant).or_default().push_back(Entry { since: now, bytes, item });
        self.queued += 1;
        self.bytes += bytes;
    }

    /// The next dump to be expanded: of the tenant after the last one that has one.
    pub fn next(&mut self) -> Option<(Turn, T)> {
        if self.queued == 0 {
            return None;
        }
        let turn = Arc::clone(&self.at_work).try_acquire_owned().ok()?;
        let after = self.waiting.range(self.last + 1..).next();
        let (&tenant, _) = after.or_else(|| self.waiting.first_key_value())?;
        self.last = tenant;
        let entry = self.take(tenant, VecDeque::pop_front)?;
        Some((Turn { _permit: turn }, entry.item))
    }

    /// Those to be parked, asked for once a second: whose patience is over, and of those beyond what
    /// is kept the last to come of the tenant with the most.
    pub fn leavers(&mut self, now: Instant) -> Vec<T> {
        let mut leavers = Vec::new();
        let waits = |entry: &Entry<T>, for_so_long| now.duration_since(entry.since) >= for_so_long;
        while let Some((&tenant, _)) = self
            .waiting
            .iter()
            .find(|(_, queue)| queue.front().is_some_and(|entry| waits(entry, PATIENCE)))
        {
            leavers.extend(self.take(tenant, VecDeque::pop_front));
        }
        while self.queued > self.kept && leavers.len() < LEAVING {
            let most = self.waiting.iter().max_by_key(|(_, queue)| queue.len());
            let Some((&tenant, queue)) = most else { break };
            if !queue.back().is_some_and(|entry| waits(entry, IN_THE_WAY)) {
                break;
            }
            leavers.extend(self.take(tenant, VecDeque::pop_back));
        }
        leavers.into_iter().map(|entry| entry.item).collect()
    }

    /// Takes out all that wait.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        (self.queued, self.bytes) = (0, 0);
        let queues = std::mem::take(&mut self.waiting).into_values();
        queues.flatten().map(|entry| entry.item)
    }

    fn take(
        &mut self,
        tenant: usize,
        from: impl FnOnce(&mut VecDeque<Entry<T>>) -> Option<Entry<T>>,
    ) -> Option<Entry<T>> {
        let queue = self.waiting.get_mut(&tenant)?;
        let taken = from(queue)?;
        if queue.is_empty() {
            self.waiting.remove(&tenant);
        }
        self.queued -= 1;
        self.bytes -= taken.bytes;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dumps(of: &[usize]) -> Dumps<(usize, usize)> {
        let mut dumps = Dumps::new(8, 40);
        let now = Instant::now();
        of.iter().enumerate().for_each(|(n, tenant)| dumps.arrive(*tenant, now, 3, (*tenant, n)));
        dumps
    }

    #[test]
    fn two_are_expanded_at_once_and_tenants_take_turns() {
        let mut dumps = dumps(&[1, 1, 1, 2, 0]);
        let (first, item) = dumps.next().expect("it is free");
        assert_eq!(item, (1, 0));
        let (_second, item) = dumps.next().expect("two at a time");
        assert_eq!(item, (2, 3));
        assert!(dumps.next().is_none(), "a third has to wait");
        let mut ended = first;
        let mut order = Vec::new();
        for _ in 0..3 {
            drop(ended);
            let (turn, item) = dumps.next().expect("one has ended");
            order.push(item);
            ended = turn;
        }
        assert_eq!(order, [(0, 4), (1, 1), (1, 2)]);
        drop(ended);
        assert!(dumps.next().is_none(), "nothing is left");
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_whose_turn_it_is_always_may() {
        let mut dumps = dumps(&[]);
        assert!(dumps.may_wait(100, false), "it is its turn");
        for n in 0..4 {
            dumps.arrive(1, Instant::now(), 4, (1, n));
        }
        let turns = [dumps.next(), dumps.next()];
        assert!(dumps.may_wait(2, true) && !dumps.may_wait(3, true));
        assert!(!dumps.may_wait(2, false), "memory has no room");
        let [first, second] = turns;
        drop(first);
        assert!(!dumps.may_wait(3, true), "those that wait are before it");
        drop(second);
        let _turns = [dumps.next(), dumps.next()];
        assert!(dumps.may_wait(10, true), "none waits");
    }

    #[test]
    fn the_last_to_come_make_way_after_a_while_and_all_go_in_the_end() {
        let mut waiting = dumps(&[1, 1, 1, 2]);
        let now = Instant::now();
        assert!(waiting.leavers(now).is_empty(), "they have just come");
        assert_eq!(waiting.leavers(now + IN_THE_WAY), [(1, 2), (1, 1)]);
        assert!(waiting.leavers(now + IN_THE_WAY).is_empty(), "a quarter of the window is kept");
        assert_eq!(waiting.leavers(now + PATIENCE), [(1, 0), (2, 3)]);

        let mut many = dumps(&[3; 100]);
        let now = Instant::now();
        assert_eq!(many.leavers(now + IN_THE_WAY).len(), LEAVING, "in a second");
        assert_eq!(many.drain().count(), 100 - LEAVING);
        assert!(many.next().is_none());
    }
}
