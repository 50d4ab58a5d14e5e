//! Jobs in flight. Each tells its step and its bytes by a handle of its own, so that it waits for
//! nobody; a lock is taken when it begins and when it ends.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::time::Instant;

/// So many jobs are shown: those that began first.
const SHOWN: usize = 100;

/// What a job is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// It has its place, and has not asked CC-FS; the store may be asked whether it is there.
    #[default]
    Waiting,
    /// CC-FS is asked, or the recording comes; parts of a long one go up meanwhile.
    Download,
    /// All of it has come.
    Proof,
    Upload,
    /// It is stored; the broker is told.
    Announce,
    /// A dump becomes a message a recording.
    Expand,
}

impl Step {
    /// Each at its own index.
    const ALL: [Self; 6] =
        [Self::Waiting, Self::Download, Self::Proof, Self::Upload, Self::Announce, Self::Expand];
}

/// How far a job is: the job tells it, whoever looks reads it.
#[derive(Clone, Default)]
pub struct Progress(Arc<Far>);

#[derive(Default)]
struct Far {
    step: AtomicU8,
    /// That have come from CC-FS.
    bytes: AtomicU64,
    /// Of all that will; 0 where that is not known.
    size: AtomicU64,
}

impl Progress {
    pub fn at(step: Step) -> Self {
        let progress = Self::default();
        progress.step(step);
        progress
    }

    pub fn step(&self, step: Step) {
        self.0.step.store(step as u8, Ordering::Relaxed);
    }

    /// A recording comes, of this many bytes where that is known.
    pub fn comes(&self, size: Option<u64>) {
        self.0.size.store(size.unwrap_or_default(), Ordering::Relaxed);
    }

    /// So many bytes of it have come.
    pub fn bytes(&self, bytes: u64) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
    }

    fn read(&self) -> (Step, Option<u64>, Option<u64>) {
        let known = |number: &AtomicU64| Some(number.load(Ordering::Relaxed)).filter(|n| *n > 0);
        let step = Step::ALL[usize::from(self.0.step.load(Ordering::Relaxed))];
        (step, known(&self.0.bytes), known(&self.0.size))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.read()).finish()
    }
}

/// A job that has got its place.
#[derive(Debug)]
pub struct Job {
    pub tenant: Option<String>,
    /// Its call id, its file, or the request of a dump, as the log may have it.
    pub call: Option<String>,
    /// Tries that counted, this one included.
    pub tries: u32,
    /// A call that has just ended, not one of a dump.
    pub live: bool,
    pub progress: Progress,
}

/// The jobs in flight.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    next: u64,
    /// By number: in the order in which they began.
    at_work: BTreeMap<u64, Arc<Begun>>,
}

#[derive(Debug)]
struct Begun {
    job: Job,
    since: Instant,
}

/// A job is shown for as long as this is held.
#[derive(Debug)]
#[must_use = "a job is shown for as long as its seat is held"]
pub struct Seat<'a> {
    jobs: &'a Jobs,
    number: u64,
}

/// The jobs as they are shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobsSeen {
    /// All of them.
    jobs_in_flight: usize,
    /// The oldest.
    jobs: Vec<JobSeen>,
}

#[derive(Debug, Serialize)]
struct JobSeen {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<String>,
    step: Step,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Since it got its place.
    seconds: f64,
    tries: u32,
    live: bool,
}

impl Jobs {
    /// A job has got its place.
    pub fn begin(&self, job: Job) -> Seat<'_> {
        let begun = Arc::new(Begun { job, since: Instant::now() });
        let mut book = self.book();
        let number = book.next;
        book.next += 1;
        book.at_work.insert(number, begun);
        Seat { jobs: self, number }
    }

    pub fn seen(&self) -> JobsSeen {
        let (jobs_in_flight, oldest) = {
            let book = self.book();
            let oldest: Vec<_> = book.at_work.values().take(SHOWN).map(Arc::clone).collect();
            (book.at_work.len(), oldest)
        };
        JobsSeen { jobs_in_flight, jobs: oldest.iter().map(|begun| begun.seen()).collect() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Every change of the map is one call, so that a panic leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun {
    fn seen(&self) -> JobSeen {
        let Job { tenant, call, tries, live, progress } = &self.job;
        let (step, bytes, size) = progress.read();
        JobSeen {
            tenant: tenant.clone(),
            call: call.clone(),
            step,
            bytes,
            size,
            seconds: tenths(self.since.elapsed().as_secs_f64()),
            tries: *tries,
            live: *live,
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.jobs.book().at_work.remove(&self.number);
    }
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::time::{Duration, advance};

    use super::*;

    fn job(call: &str, progress: &Progress) -> Job {
        let (tenant, call) = (Some("acme".to_owned()), Some(call.to_owned()));
        Job { tenant, call, tries: 1, live: true, progress: progress.clone() }
    }

    fn seen(jobs: &Jobs) -> Value {
        serde_json::to_value(jobs.seen()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_seen_from_its_place_to_its_end_with_its_step_and_bytes() {
        let (jobs, progress) = (Jobs::default(), Progress::default());
        assert_eq!(seen(&jobs), json!({ "jobsInFlight": 0, "jobs": [] }));
        let seat = jobs.begin(job("1777093663-1", &progress));
        advance(Duration::from_millis(1540)).await;
        assert_eq!(
            seen(&jobs)["jobs"][0],
            json!({ "tenant": "acme", "call": "1777093663-1", "step": "waiting", "seconds": 1.5,
                    "tries": 1, "live": true })
        );
        progress.step(Step::Download);
        progress.comes(Some(640));
        progress.bytes(64);
        let shown = seen(&jobs);
        assert_eq!(shown["jobs"][0]["step"], "download");
        assert_eq!(
            (&shown["jobs"][0]["bytes"], &shown["jobs"][0]["size"]),
            (&json!(64), &json!(640))
        );
        for step in Step::ALL {
            progress.step(step);
            assert_eq!(seen(&jobs)["jobs"][0]["step"], format!("{step:?}").to_lowercase());
        }
        drop(seat);
        assert_eq!(seen(&jobs)["jobsInFlight"], 0);
    }

    #[test]
    fn the_oldest_are_shown_and_all_are_counted() {
        let jobs = Jobs::default();
        let progress = Progress::default();
        let mut seats: Vec<_> =
            (0..SHOWN + 20).map(|n| jobs.begin(job(&n.to_string(), &progress))).collect();
        drop(seats.swap_remove(0));
        let shown = seen(&jobs);
        assert_eq!(shown["jobsInFlight"], SHOWN + 19);
        assert_eq!(shown["jobs"].as_array().unwrap().len(), SHOWN);
        assert_eq!(
            (&shown["jobs"][0]["call"], &shown["jobs"][99]["call"]),
            (&json!("1"), &json!("100"))
        );
    }
}
