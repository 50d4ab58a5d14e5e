//! The budget of all transfer buffers together (`worker.memory`).

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
    total: u32,
    metrics: Arc<Metrics>,
    /// Where a job notes how long it waits.
    waits: Waits,
}

/// A part of the budget; free again when dropped.
pub struct Room {
    permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

impl Budget {
    pub fn new(bytes: u64, metrics: Arc<Metrics>) -> Self {
        let total = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        metrics.buffer_limit(u64::from(total) * UNIT);
        let units = Arc::new(Semaphore::new(total as usize));
        Self { units, total, metrics, waits: Waits::default() }
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

    fn room(&self, permit: OwnedSemaphorePermit) -> Room {
        let room = Room { permit, metrics: Arc::clone(&self.metrics) };
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
