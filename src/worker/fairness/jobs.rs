//! The jobs at work, and the places they hold.

use std::cmp::Reverse;
use std::collections::HashMap;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::question::Question;
use super::waiting::{Lesson, Place, Waiting};

/// A job whose CC-FS has not answered for so long does not keep others waiting.
const UNANSWERED: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Jobs {
    tasks: JoinSet<Option<Learnt>>,
    places: HashMap<Id, Place>,
    /// Those that ask CC-FS.
    asking: HashMap<Id, Asking>,
}

/// A job that asks CC-FS.
pub struct Asking {
    /// Its slot.
    pub tenant: usize,
    pub question: Question,
    /// Ends the job.
    pub cut: CancellationToken,
}

/// What a job has taught of its tenant.
pub struct Learnt {
    /// Its slot.
    pub tenant: usize,
    pub lesson: Lesson,
}

/// A job that has ended.
pub struct Ended {
    place: Option<Place>,
    learnt: Option<Learnt>,
}

impl Jobs {
    /// Starts `job`, which holds `place` until it has ended.
    pub fn start(
        &mut self,
        place: Option<Place>,
        job: impl Future<Output = Option<Learnt>> + Send + 'static,
    ) -> Id {
        let id = self.tasks.spawn(job).id();
        self.places.extend(place.map(|place| (id, place)));
        id
    }

    /// Says of a job that it asks CC-FS, and may be cut short while that does not answer.
    pub fn asks(&mut self, job: Id, asking: Asking) {
        self.asking.insert(job, asking);
    }

    /// A job has ended, and the broker does not let it be settled: others may have its place.
    pub fn step_aside<T>(&mut self, job: Id, waiting: &mut Waiting<T>) {
        self.asking.remove(&job);
        if let Some(place) = self.places.remove(&job) {
            self.places.insert(job, waiting.step_aside(place));
        }
    }

    /// Takes places from jobs that nobody answers, the last to ask first, where others wait for
    /// them: such a tenant keeps an eighth (contract 2).
    pub fn cut_short<T>(&mut self, waiting: &Waiting<T>, now: Instant) {
        let unanswered = |job: &Asking| {
            let since = job.question.since()?;
            let long = now.duration_since(since) >= UNANSWERED && !job.cut.is_cancelled();
            long.then_some(since)
        };
        let jobs = self.asking.values();
        let mut candidates: Vec<_> = jobs.filter_map(|job| Some((unanswered(job)?, job))).collect();
        candidates.sort_by_key(|(since, _)| Reverse(*since));
        let mut too_many = HashMap::new();
        for (_, job) in candidates {
            let too_many = too_many.entry(job.tenant).or_insert_with(|| {
                waiting.too_many_of(job.tenant).saturating_sub(self.cut_of(job.tenant))
            });
            if *too_many > 0 {
                *too_many -= 1;
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
    /// Gives back its place, and tells what it has learnt.
    pub fn leave<T>(self, waiting: &mut Waiting<T>) {
        if let Some(place) = self.place {
            waiting.leave(place);
        }
        if let Some(Learnt { tenant, lesson }) = self.learnt {
            waiting.learn(tenant, lesson, Instant::now());
        }
    }
}
