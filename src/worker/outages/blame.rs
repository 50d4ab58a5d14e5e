//! Whom a job has waited for, and how long: a job that runs out of time lays it to whoever kept it
//! waiting most (contract 5). It must not know what a job does.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Duration, Instant};

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// The head of an answer of CC-FS.
    Answer,
    /// The next bytes of its body; a part of what is waited for in a [`For::Transfer`].
    Body,
    /// The store, but for what else is waited for in a transfer.
    Transfer,
    /// Room in our own budget of memory; a part of a transfer, too.
    Memory,
    /// The broker, to take what is published.
    Broker,
    /// A place among the jobs in flight.
    Place,
}

const ALL: usize = 6;

/// Who can be to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    Ccfs,
    Store,
    /// We, or the broker.
    Ours,
}

/// What one job has waited.
#[derive(Clone, Debug, Default)]
pub struct Waits(Arc<Mutex<[Duration; ALL]>>);

impl Waits {
    /// Notes how long `work` takes, also where it is cut off.
    pub async fn during<T>(&self, what: For, work: impl Future<Output = T>) -> T {
        let _waiting = Waiting { waits: self, what, since: Instant::now() };
        work.await
    }

    /// Notes what it has waited.
    pub fn add(&self, what: For, waited: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[what as usize] += waited;
    }

    /// Whom it has waited for most.
    pub fn most(&self) -> Party {
        let ccfs = self.on(For::Answer) + self.on(For::Body);
        let ours = self.on(For::Memory) + self.on(For::Broker) + self.on(For::Place);
        let within = self.on(For::Body) + self.on(For::Memory);
        let store = self.on(For::Transfer).saturating_sub(within);
        let parties = [(ours, Party::Ours), (store, Party::Store), (ccfs, Party::Ccfs)];
        parties.into_iter().max_by_key(|(waited, _)| *waited).map_or(Party::Ours, |(_, who)| who)
    }

    /// How long it has waited.
    pub fn on(&self, what: For) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[what as usize]
    }
}

struct Waiting<'a> {
    waits: &'a Waits,
    what: For,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waits.add(self.what, self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn waited(waits: &Waits, what: For, seconds: u64) {
        waits.during(what, tokio::time::sleep(Duration::from_secs(seconds))).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_kept_it_waiting_most_is_to_blame() {
        let waits = Waits::default();
        waited(&waits, For::Answer, 3).await;
        assert_eq!(waits.most(), Party::Ccfs);
        waited(&waits, For::Broker, 5).await;
        assert_eq!(waits.most(), Party::Ours);
        waited(&waits, For::Transfer, 7).await;
        assert_eq!(waits.most(), Party::Store);
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_transfer_the_store_bears_what_is_left() {
        let waits = Waits::default();
        waits
            .during(For::Transfer, async {
                waited(&waits, For::Memory, 4).await;
                waited(&waits, For::Body, 6).await;
                tokio::time::sleep(Duration::from_secs(5)).await;
            })
            .await;
        assert_eq!(waits.most(), Party::Ccfs);
        assert_eq!(waits.on(For::Memory), Duration::from_secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_cut_off_counts() {
        let waits = Waits::default();
        let never = waits.during(For::Transfer, std::future::pending::<()>());
        assert!(tokio::time::timeout(Duration::from_secs(2), never).await.is_err());
        waited(&waits, For::Answer, 1).await;
        assert_eq!(waits.most(), Party::Store);
    }
}
