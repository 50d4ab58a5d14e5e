//! The jobs at work, and the places they hold.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::conclude::Outcome;
use super::intake::Work;
use super::waiting::{Lesson, Place, Waiting};
use super::{Received, Worker};
use crate::crash;

/// A job whose tenant's servers have said nothing for so long does not keep others waiting.
const UNHEARD: Duration = Duration::from_secs(5);

/// Whether anything was heard of a job's tenant's servers since it began.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<AtomicBool>);

impl Heard {
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn anything(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub struct Jobs {
    tasks: JoinSet<Option<Learnt>>,
    places: HashMap<Id, Place>,
    /// Those that wait, or have waited, for what their tenant's servers say.
    asking: HashMap<Id, Asking>,
}

struct Asking {
    tenant: usize,
    since: Instant,
    heard: Heard,
    cut: CancellationToken,
}

/// What a job has taught of its tenant.
pub struct Learnt {
    pub tenant: usize,
    pub lesson: Lesson,
}

/// A job that has ended.
pub struct Ended {
    place: Option<Place>,
    learnt: Option<Learnt>,
}

impl Jobs {
    /// Starts a job that has got its place.
    pub fn work(
        &mut self,
        worker: &Arc<Worker>,
        (place, received): (Place, Received),
        stop: &CancellationToken,
    ) {
        let message = crash::Job::of(received.delivery.body());
        let cut = CancellationToken::new();
        let asking = match (&received.intake.work, received.intake.tenant) {
            (Work::Archive(job), Some(tenant)) => {
                let (since, heard) = (Instant::now(), job.heard.clone());
                Some(Asking { tenant, since, heard, cut: cut.clone() })
            }
            // Asks nobody.
            _ => None,
        };
        let job = Arc::clone(worker).work(received, cut, stop.clone());
        let id = self.settle(Some(place), message.during(job));
        self.asking.extend(asking.map(|asking| (id, asking)));
    }

    /// Starts what a delivery's end takes.
    pub fn settle(
        &mut self,
        place: Option<Place>,
        job: impl Future<Output = Option<Learnt>> + Send + 'static,
    ) -> Id {
        let id = self.tasks.spawn(job).id();
        self.places.extend(place.map(|place| (id, place)));
        id
    }

    /// Sends a delivery away that gets no place.
    pub fn park(
        &mut self,
        worker: &Arc<Worker>,
        (place, received): (Place, Received),
        stop: &CancellationToken,
    ) {
        let (worker, stop) = (Arc::clone(worker), stop.clone());
        self.settle(Some(place), async move {
            // A crash counts also where there is no place.
            let outcome = worker.judge_suspect(&received).unwrap_or(Outcome::NoPlace);
            worker.conclude(received, &outcome, &stop).await;
            None
        });
    }

    /// Takes places from jobs that nobody answers, the last to begin first, where others wait for
    /// them: such a tenant keeps an eighth (contract 2).
    pub fn cut_short(&mut self, waiting: &Waiting<Received>, now: Instant) {
        let unheard = |job: &&Asking| {
            !job.heard.anything()
                && !job.cut.is_cancelled()
                && now.duration_since(job.since) >= UNHEARD
        };
        let mut candidates: Vec<&Asking> = self.asking.values().filter(unheard).collect();
        candidates.sort_by_key(|job| std::cmp::Reverse(job.since));
        let mut taken = HashMap::new();
        for job in candidates {
            let taken = taken.entry(job.tenant).or_insert_with(|| self.cut_of(job.tenant));
            if *taken < waiting.too_many_of(job.tenant) {
                *taken += 1;
                job.cut.cancel();
            }
        }
    }

    /// Jobs of a tenant that are on their way out.
    fn cut_of(&self, tenant: usize) -> usize {
        let cut = |job: &&Asking| job.tenant == tenant && job.cut.is_cancelled();
        self.asking.values().filter(cut).count()
    }

    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Waits for all of them to end.
    pub async fn all(&mut self) {
        while self.next().await.is_some() {}
    }

    /// The next job to end; `None` while there is none.
    pub async fn next(&mut self) -> Option<Ended> {
        let (id, learnt) = match self.tasks.join_next_with_id().await? {
            Ok((id, learnt)) => (id, learnt),
            Err(error) => (error.id(), lost(&error)),
        };
        self.asking.remove(&id);
        Some(Ended { place: self.places.remove(&id), learnt })
    }
}

/// A panic outside the line: a fault of callvault itself. The delivery is gone with it, and comes
/// back when its channel closes.
fn lost(error: &JoinError) -> Option<Learnt> {
    tracing::error!(%error, "a job was lost while it was being settled");
    None
}

impl Ended {
    /// Gives back its place; true where a tenant's limit has changed.
    pub fn leave(self, waiting: &mut Waiting<Received>) -> bool {
        if let Some(place) = self.place {
            waiting.leave(place);
        }
        let Some(Learnt { tenant, lesson }) = self.learnt else { return false };
        waiting.learn(tenant, lesson, Instant::now())
    }
}
