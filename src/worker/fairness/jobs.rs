//! The jobs at work, and the places they hold.

use std::cmp::Reverse;
use std::collections::HashMap;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::question::Question;
use super::waiting::{Lesson, Place, Waiting};

/// A job whose CC-FS has not answered for so long does not keep others waiting.
const UNANSWERED: Duration = Duration::from_secs(5);

pub struct Jobs {
    tasks: JoinSet<Option<Learnt>>,
    places: HashMap<Id, Place>,
    /// Those that ask CC-FS.
    asking: HashMap<Id, Asking>,
    /// Whose CC-FS has begun to send a recording.
    coming: (UnboundedSender<usize>, UnboundedReceiver<usize>),
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            tasks: JoinSet::default(),
            places: HashMap::new(),
            asking: HashMap::new(),
            coming: mpsc::unbounded_channel(),
        }
    }
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

/// What has come of a job.
pub enum News {
    /// CC-FS sends the recording, which may take long.
    Coming {
        tenant: usize,
    },
    Ended {
        place: Option<Place>,
        learnt: Option<Learnt>,
    },
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

    /// Starts a job that asks CC-FS: it says so when that answers, and may be cut short before.
    pub fn start_asking(
        &mut self,
        place: Place,
        asking: Asking,
        job: impl Future<Output = Option<Learnt>> + Send + 'static,
    ) {
        asking.question.tells(self.coming.0.clone(), asking.tenant);
        let id = self.start(Some(place), job);
        self.asking.insert(id, asking);
    }

    /// Since when the oldest open question of each tenant is that has one.
    pub fn open_questions(&self) -> HashMap<usize, Instant> {
        let mut oldest = HashMap::new();
        for job in self.asking.values() {
            if let Some(since) = job.question.since() {
                let first = oldest.entry(job.tenant).or_insert(since);
                *first = since.min(*first);
            }
        }
        oldest
    }

    /// A job has ended, and the broker does not let it be settled: others may have its place.
    pub fn step_aside<T>(&mut self, job: Id, waiting: &mut Waiting<T>) {
        self.asking.remove(&job);
        if let Some(place) = self.places.remove(&job) {
            self.places.insert(job, waiting.step_aside(place, Instant::now()));
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
        while self.tasks.join_next().await.is_some() {}
    }

    /// What comes next of those at work; `None` while there are none. Safe to cancel.
    pub async fn next(&mut self) -> Option<News> {
        let Self { tasks, coming: (_, coming), .. } = self;
        let ended = tokio::select! {
            Some(tenant) = coming.recv() => return Some(News::Coming { tenant }),
            ended = tasks.join_next_with_id() => ended,
        };
        ended.map(|ended| self.end(ended))
    }

    fn end(&mut self, ended: Result<(Id, Option<Learnt>), JoinError>) -> News {
        let (id, learnt) = ended.unwrap_or_else(|error| (error.id(), lost(&error)));
        self.asking.remove(&id);
        News::Ended { place: self.places.remove(&id), learnt }
    }
}

/// A panic outside the line: a fault of callvault itself. The delivery is gone with it, and comes
/// back when its channel closes.
fn lost(error: &JoinError) -> Option<Learnt> {
    tracing::error!(%error, "a job was lost while it was being settled");
    None
}

impl News {
    /// A place is given back, and what was learnt is told.
    pub fn tell<T>(self, waiting: &mut Waiting<T>) {
        let now = Instant::now();
        match self {
            Self::Coming { tenant } => waiting.learn(tenant, Lesson::Answered, now, now),
            Self::Ended { place, learnt } => {
                let since = place.map_or(now, |place| waiting.leave(place, now));
                if let Some(Learnt { tenant, lesson }) = learnt {
                    waiting.learn(tenant, lesson, since, now);
                }
            }
        }
    }
}
