//! The budget of all transfer buffers, and of dumps in hand, together (`worker.memory`).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;
use crate::worker::outages::{For, Waits};

/// The budget counts in KiB, so that its permits fit a `u32` up to 4 TiB.
const UNIT: u64 = 1024;

/// Memory for transfers, given out first come, first served.
#[derive(Clone)]
pub struct Budget {
    units: Arc<Semaphore>,
    /// What of it dumps may take: the rest is for transfers alone.
    dumps: Arc<Semaphore>,
    total: u32,
    metrics: Arc<Metrics>,
    /// Where a job notes how long it waits.
    waits: Waits,
}

/// A part of the budget; free again when dropped.
pub struct Room {
    permit: OwnedSemaphorePermit,
    _of_dumps: Option<OwnedSemaphorePermit>,
    metrics: Arc<Metrics>,
}

impl Budget {
    pub fn new(bytes: u64, metrics: Arc<Metrics>) -> Self {
        let total = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        metrics.buffer_limit(u64::from(total) * UNIT);
        let units = Arc::new(Semaphore::new(total as usize));
        let dumps = Arc::new(Semaphore::new(total as usize / 2));
        Self { units, dumps, total, metrics, waits: Waits::default() }
    }

    /// The same budget, for one job.
    #[must_use]
    pub fn of(&self, waits: &Waits) -> Self {
        Self { waits: waits.clone(), ..self.clone() }
    }

    /// Waits for `bytes`; more than the whole budget is the whole budget.
    pub async fn reserve(&self, bytes: u64) -> Room {
        let permit = Arc::clone(&self.units).acquire_many_owned(self.units_of(bytes));
        let permit = self.waits.during(For::Memory, permit).await;
        self.room(permit.expect("the budget's semaphore is never closed"))
    }

    /// Takes `bytes` if they are free now: who holds some of the budget never waits for more.
    pub fn try_reserve(&self, bytes: u64) -> Option<Room> {
        let permit = Arc::clone(&self.units).try_acquire_many_owned(self.units_of(bytes)).ok()?;
        Some(self.room(permit))
    }

    /// Takes `bytes` for the body of a dump if they are free now. For all dumps together it is half of
    /// the budget at most, and nothing while a transfer waits for room: that is before them.
    pub fn try_hold(&self, bytes: usize) -> Option<Room> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let of_dumps = Arc::clone(&self.dumps).try_acquire_many_owned(self.units_of(bytes)).ok()?;
        let mut room = self.try_reserve(bytes)?;
        room._of_dumps = Some(of_dumps);
        Some(room)
    }

    fn room(&self, permit: OwnedSemaphorePermit) -> Room {
        let metrics = Arc::clone(&self.metrics);
        let room = Room { permit, _of_dumps: None, metrics };
        self.metrics.buffer_taken(room.bytes());
        room
    }

    fn units_of(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.total)
    }
}

impl Room {
    fn bytes(&self) -> u64 {
        self.permit.num_permits() as u64 * UNIT
    }

    /// Gives back what a body did not need.
    pub fn shrink_to(&mut self, bytes: u64) {
        let needed = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX).max(1);
        let spare = self.permit.num_permits().saturating_sub(needed);
        if let Some(surplus) = self.permit.split(spare) {
            self.metrics.buffer_returned(surplus.num_permits() as u64 * UNIT);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.metrics.buffer_returned(self.bytes());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn dumps_take_half_of_it_and_nothing_while_a_transfer_waits() {
        let budget = Budget::new(8 << 20, Metrics::new());
        let first = budget.try_hold(3 * MIB).expect("half of it is 4 MiB");
        assert!(budget.try_hold(2 * MIB).is_none(), "that would be more");
        let second = budget.try_hold(MIB).expect("all of the half");
        drop(first);
        let part = budget.reserve(6 << 20).now_or_never().expect("it is free");
        assert_eq!(part.bytes(), 6 << 20);

        let mut waits = std::pin::pin!(budget.reserve(8 << 20));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(budget.try_hold(MIB).is_none(), "a transfer is before it");
        drop(part);
        assert!(waits.as_mut().now_or_never().is_none(), "it waits for the dump");
        drop(second);
        drop(waits.now_or_never().expect("all of it is free"));
        assert!(budget.try_hold(4 * MIB).is_some(), "nothing is lost");
    }
}
