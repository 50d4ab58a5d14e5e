//! The jobs at work, and the places they hold.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::conclude::Outcome;
use super::intake::Work;
use super::waiting::{Lesson, Place, Waiting};
use super::{Received, Worker};
use crate::crash;

/// A job whose CC-FS has not answered for so long does not keep others waiting.
const UNANSWERED: Duration = Duration::from_secs(5);

/// Since when a job waits for the first word of CC-FS, if it does.
#[derive(Clone, Debug, Default)]
pub struct Question(Arc<Mutex<Option<Instant>>>);

impl Question {
    pub fn asked(&self) {
        self.set(Some(Instant::now()));
    }

    pub fn answered(&self) {
        self.set(None);
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
pub struct Jobs {
    tasks: JoinSet<Option<Learnt>>,
    places: HashMap<Id, Place>,
    /// Those that ask CC-FS.
    asking: HashMap<Id, Asking>,
}

struct Asking {
    tenant: usize,
    question: Question,
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
                Some(Asking { tenant, question: job.question.clone(), cut: cut.clone() })
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

    /// Takes places from jobs that nobody answers, the last to ask first, where others wait for
    /// them: such a tenant keeps an eighth (contract 2).
    pub fn cut_short(&mut self, waiting: &Waiting<Received>, now: Instant) {
        let unanswered = |job: &Asking| {
            let since = job.question.since()?;
            let long = now.duration_since(since) >= UNANSWERED && !job.cut.is_cancelled();
            long.then_some(since)
        };
        let jobs = self.asking.values();
        let mut candidates: Vec<_> = jobs.filter_map(|job| Some((unanswered(job)?, job))).collect();
        candidates.sort_by_key(|(since, _)| Reverse(*since));
        let mut taken = HashMap::new();
        for (_, job) in candidates {
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
