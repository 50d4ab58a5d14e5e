//! The workers: real processes, started, killed and stopped by place.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Mutex as Guard;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::judge::{Finding, Kind};
use crate::support::worker::{Options, Worker, binary};
use crate::support::{kit_dir, unique};

const UNBROKEN: &str = "no panic holds the lock";
/// What a drain may take, on a busy machine.
const DRAIN: Duration = Duration::from_secs(60);
/// Places for workers: no scenario has more of them at once.
const PLACES: usize = 4;

pub struct Fleet {
    config: Guard<String>,
    places: [Mutex<Option<Member>>; PLACES],
    starts: AtomicUsize,
    folder: PathBuf,
    /// What workers did that they should not.
    findings: Guard<Vec<Finding>>,
}

struct Member {
    worker: Worker,
    /// With a crash point: it may end by itself.
    armed: bool,
}

impl Fleet {
    pub fn new(scenario: &str, config: String) -> Self {
        let folder = kit_dir().with_file_name("torture").join(unique(scenario));
        Self {
            config: Guard::new(config),
            places: Default::default(),
            starts: AtomicUsize::new(0),
            folder,
            findings: Guard::default(),
        }
    }

    /// Of the workers that are started from now on.
    pub fn configure(&self, config: String) {
        *self.config.lock().expect(UNBROKEN) = config;
    }

    /// Starts a worker in a free place; it need not be ready yet.
    pub async fn start(&self, place: usize) {
        self.start_with(place, &[]).await;
    }

    /// The same, with more in its environment: a crash point.
    pub async fn start_with(&self, place: usize, environment: &[(&str, &str)]) {
        let mut member = self.places[place].lock().await;
        assert!(member.is_none(), "place {place} is free");
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let config = self.config.lock().expect(UNBROKEN).clone();
        let options = Options { config: &config, environment, binary: &build(number) };
        let name = format!("{number:03}-place{place}");
        let worker = Worker::start_in(&self.folder, &name, &options);
        *member = Some(Member { worker, armed: !environment.is_empty() });
    }

    /// Waits until it consumes.
    pub async fn ready(&self, place: usize) {
        let mut member = self.places[place].lock().await;
        if let Some(Member { worker, armed }) = member.take() {
            *member = Some(Member { worker: worker.ready().await, armed });
        }
    }

    /// Waits until it consumes, or has died of its crash point before.
    pub async fn ready_or_gone(&self, place: usize) {
        let mut member = self.places[place].lock().await;
        let Some(armed) = member.as_mut().map(|member| &mut member.worker) else { return };
        while armed.exited().is_none() && !armed.is_ready().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it answers at all.
    pub async fn alive(&self, place: usize) {
        if let Some(Member { worker, .. }) = &*self.places[place].lock().await {
            worker.get("/livez").await;
        }
    }

    /// SIGKILL; whoever is there next finds the place free.
    pub async fn kill(&self, place: usize) {
        let Some(Member { mut worker, armed }) = self.places[place].lock().await.take() else {
            return;
        };
        if let Some(status) = worker.exited().filter(|_| !armed) {
            self.find(format!("a worker ended by itself, with {status}: {}", tail(&worker)));
        }
        worker.kill();
        self.read_log(&worker);
    }

    /// Waits until a worker that is armed with a crash point has gone off; false if it has not.
    pub async fn crashed(&self, place: usize, limit: Duration) -> bool {
        let mut member = self.places[place].lock().await;
        let Some(armed) = member.as_mut().map(|member| &mut member.worker) else { return false };
        let deadline = tokio::time::Instant::now() + limit;
        while armed.exited().is_none() {
            if tokio::time::Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.read_log(armed);
        *member = None;
        true
    }

    /// SIGTERM; it has to end with 0.
    pub async fn stop(&self, place: usize) {
        let Some(Member { mut worker, armed }) = self.places[place].lock().await.take() else {
            return;
        };
        worker.signal("TERM");
        let status = worker.ended(DRAIN).await;
        if !armed && status.code() != Some(0) {
            self.find(format!("a worker ended with {status} on SIGTERM: {}", tail(&worker)));
        }
        self.read_log(&worker);
    }

    /// Workers that may still go off are replaced by ones that do not.
    pub async fn disarm(&self) {
        for place in 0..PLACES {
            let armed = self.places[place].lock().await.as_ref().is_some_and(|member| member.armed);
            if armed {
                self.kill(place).await;
                self.start(place).await;
            }
        }
    }

    pub async fn stop_all(&self) {
        for place in 0..PLACES {
            self.stop(place).await;
        }
    }

    /// Whether there is a worker at all.
    pub async fn is_empty(&self) -> bool {
        for place in &self.places {
            if place.lock().await.is_some() {
                return false;
            }
        }
        true
    }

    /// The sum of a metric over all workers; a worker that does not answer counts as busy.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let mut sum = 0.0;
        for place in &self.places {
            if let Some(Member { worker, .. }) = &*place.lock().await {
                sum += worker.metric(name, labels).await;
            }
        }
        sum
    }

    /// What a worker says of itself that must not be.
    fn read_log(&self, worker: &Worker) {
        const BAD: [&str; 3] = ["dropped unsettled", "a job was lost", "panicked"];
        let log = worker.log();
        let bad = log.lines().filter(|line| BAD.iter().any(|word| line.contains(word)));
        bad.for_each(|line| self.find(format!("a worker's log: {line}")));
    }

    /// A thing that workers must not do.
    pub fn find(&self, what: String) {
        self.findings.lock().expect(UNBROKEN).push(Finding::new(Kind::Unexpected, what));
    }

    pub fn findings(&self) -> Vec<Finding> {
        self.findings.lock().expect(UNBROKEN).clone()
    }

    /// Nothing was found: their logs tell nothing.
    pub fn forget_logs(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    /// The folder of the logs, with the findings beside them.
    pub fn keep_logs(&self, findings: &[Finding]) -> PathBuf {
        let text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
        std::fs::create_dir_all(&self.folder).expect("target/ can be written");
        std::fs::write(self.folder.join("findings.txt"), text).expect("target/ can be written");
        self.folder.clone()
    }
}

/// The build of the worker that is started as the `number`th: every other one is of the build that
/// `CALLVAULT_TORTURE_BESIDE` names, if it does. So two versions work on one queue.
fn build(number: usize) -> PathBuf {
    beside().filter(|_| !number.is_multiple_of(2)).unwrap_or_else(binary)
}

/// The other build that plays along.
pub fn beside() -> Option<PathBuf> {
    std::env::var_os("CALLVAULT_TORTURE_BESIDE").map(PathBuf::from)
}

/// The last words of a log.
fn tail(worker: &Worker) -> String {
    let log = worker.log();
    log.lines().last().unwrap_or("nothing in its log").to_owned()
}
