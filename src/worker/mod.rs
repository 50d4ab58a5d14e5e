//! The worker: one loop that takes deliveries, gives them places, runs their jobs and settles them.
//!
//! delivery → `line::intake` → a place from `fairness` → `line::job`, the line, with `outages`
//! before the servers and `transfer` for the bytes → `line::policy` → settle.

mod drain;
mod fairness;
mod line;
mod outages;
mod reload;
mod roster;
mod sweep;
mod tenant;
mod transfer;

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::task::{self, Id};
use tokio::time::{self, Duration, Instant};
use tokio_util::sync::CancellationToken;

use self::fairness::{Asking, Dumps, Jobs, Learnt, NOBODY, Place, Turn, Waiting};
use self::line::{Concluder, Done, Intake, Outcome, Policy, Received, Tools, Work, dump, traced};
use self::outages::{For, Gate, Party, Pauses, Server, Threshold};
pub use self::reload::{ReloadError, Reloading, Reloads, reloads};
pub use self::roster::{Roster, SetupError, Tenants};
pub use self::tenant::Tenant;
use self::transfer::Budget;
pub use self::transfer::check_folder;
use crate::beat;
use crate::broker::{Broker, Deliveries, Delivery, Publisher};
use crate::clock;
use crate::config;
use crate::crash::{self, Point};
use crate::failure::{Class, Failure, Reason};
use crate::http::Shown;
use crate::identifiers::Identifiers;
use crate::lifecycle::Lifecycle;
use crate::metrics::TenantLabel;
use crate::service::Watchdog;

/// How often those who have waited too long for a place are looked for.
const TICK: Duration = Duration::from_secs(1);

/// A dump of so many bytes takes its room from the budget.
const LARGE: usize = 64 * 1024;

/// A job that has ended and is not settled within this time holds no place any more.
const STEP_ASIDE: Duration = Duration::from_secs(10);

/// Everything that archives.
pub struct Worker {
    tenants: Tenants,
    tools: Arc<Tools>,
    concluder: Concluder,
    /// Jobs that have ended and cannot be settled yet.
    aside: Mutex<Vec<Id>>,
    settings: config::Worker,
    window: Window,
}

/// What the broker lets us have in hand at once.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Of the live and of the bulk queue each.
    pub deliveries: usize,
    /// Bytes of the bodies of all together.
    pub bodies: usize,
}

/// Resolves at `at`, if ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => pending().await,
    }
}

/// A chore, begun again where it panics, as a job is tried again: what one server or key brings about
/// must not end the others.
async fn kept_up<C: Future<Output = ()>>(chore: impl Fn() -> C) {
    while AssertUnwindSafe(chore()).catch_unwind().await.is_err() {
        tracing::error!("a chore of the worker panicked, and begins again; please report it");
        time::sleep(TICK).await;
    }
}

impl Worker {
    pub fn new(
        tenants: Tenants,
        publisher: Publisher,
        shown: Shown,
        identifiers: Identifiers,
        window: Window,
        config: &config::Config,
    ) -> Self {
        let Shown { metrics, health, board } = shown;
        let budget = Budget::new(config.worker.memory, Arc::clone(&metrics));
        let exchange = Server::Events(config.broker.events_exchange.clone());
        let events = Gate::new(exchange, Threshold::new(&config.retry), &metrics, &board);
        let tools = Tools { publisher, events, budget, metrics, health, board, identifiers };
        let tools = Arc::new(tools);
        let concluder = Concluder::new(Arc::clone(&tools), Policy::new(&config.retry));
        let settings = config.worker.clone();
        let aside = Mutex::default();
        let worker = Self { tenants, tools, concluder, aside, settings, window };
        worker.show_limits(&mut worker.nobody_waits());
        worker
    }

    fn nobody_waits(&self) -> Waiting<Received> {
        let mut waiting = Waiting::new(&self.settings, self.window.deliveries);
        waiting.configure(&self.tenants.now().ceilings());
        waiting
    }

    /// Archives until it is told to stop, then finishes what is in flight within the drain time
    /// and gives back the rest.
    pub async fn run(
        self: Arc<Self>,
        broker: &Broker,
        mut deliveries: Deliveries,
        mut reloading: Reloading,
        lifecycle: &Lifecycle,
    ) {
        let mut waiting = self.nobody_waits();
        let mut dumps = Dumps::new(self.window.deliveries, self.window.bodies);
        let mut jobs = Jobs::default();
        let stop = CancellationToken::new();
        let mut tick = time::interval_at(beat::after(TICK), TICK);
        let mut watchdog = Watchdog::new();
        let pauses = Pauses::of(broker);
        let stores = || self.tenants.now().stores();
        let at_once = outages::probes(self.settings.concurrency);
        // Each looks up when it is its turn, and not at every delivery.
        let mut chores: FuturesUnordered<_> = [
            kept_up(|| self.mind_the_store(&pauses)).boxed(),
            kept_up(|| outages::mind_the_events(&self.tools.events, &pauses)).boxed(),
            kept_up(|| outages::mind_the_broker(broker.status(), &pauses)).boxed(),
            kept_up(|| {
                outages::mind_the_tenants(self.tenants.watch(), |now| now.is_empty(), &pauses)
            })
            .boxed(),
            kept_up(|| outages::probe_the_stores(stores, at_once)).boxed(),
            kept_up(|| sweep::hourly(&self.tenants, self.settings.job_deadline)).boxed(),
        ]
        .into_iter()
        .collect();
        loop {
            let look_again = waiting.look_again(Instant::now());
            tokio::select! {
                Some(_never) = chores.next() => {}
                () = lifecycle.draining() => break,
                () = until(look_again) => {}
                Some(delivery) = deliveries.next() => {
                    self.receive(delivery, &mut waiting, &mut dumps, &mut jobs, &stop);
                }
                Some(news) = jobs.next() => news.tell(&mut waiting),
                reload = reloading.next() => self.take_over(reload, &mut waiting),
                _ = tick.tick() => {
                    watchdog.round(Instant::now());
                    for job in self.aside().drain(..) {
                        jobs.step_aside(job, &mut waiting);
                    }
                    while let Some(late) = waiting.expired(Instant::now()) {
                        self.park(late, &mut jobs, &stop);
                    }
                    for leaver in dumps.leavers(Instant::now()) {
                        self.park(leaver, &mut jobs, &stop);
                    }
                    waiting.time_passes(&jobs.open_questions(), Instant::now());
                    jobs.cut_short(&waiting, Instant::now());
                }
            }
            let now = Instant::now();
            while let Some((place, received)) = waiting.admit(now) {
                self.start((place, received), &mut jobs, &stop);
            }
            while let Some((turn, (place, dump))) = dumps.next() {
                self.expand((place, dump), turn, &mut jobs, &stop);
            }
            while let Some(in_the_way) = waiting.make_way(now) {
                self.park(in_the_way, &mut jobs, &stop);
            }
            broker.look_further(waiting.looks_further(now));
            self.show_limits(&mut waiting);
        }
        watchdog.during(self.drain(broker, deliveries, (waiting, dumps), jobs, stop)).await;
    }

    /// Shows the limits that have changed.
    fn show_limits(&self, waiting: &mut Waiting<Received>) {
        for (slot, limit) in waiting.changed_limits() {
            self.tools.metrics.tenant_concurrency_limit(TenantLabel::of_slot(slot), limit);
        }
    }

    /// Reads a delivery, which waits for a place from now on, or a dump for its turn; a new suspect
    /// and what belongs on another queue have no work to wait for.
    fn receive(
        self: &Arc<Self>,
        delivery: Delivery,
        waiting: &mut Waiting<Received>,
        dumps: &mut Dumps<(Place, Received)>,
        jobs: &mut Jobs,
        stop: &CancellationToken,
    ) {
        let since = Instant::now();
        let intake = Intake::of(&delivery, &self.tenants, clock::now());
        let tenant = intake.tenant.unwrap_or(NOBODY);
        let lane = intake.lane;
        let ticket = {
            let label = self.tools.metrics.tenant(intake.echo.tenant.as_ref());
            self.tools.metrics.ledger().receive(intake.message_type, label)
        };
        let crashed = self.concluder.arrives(&delivery);
        let size = delivery.body().len();
        // A job that waits for a part must not hold room itself: a dump waits for none.
        let is_dump = matches!(intake.work, Work::Expand(_) | Work::Forward);
        let counts = is_dump && size >= LARGE;
        let room = counts.then(|| self.tools.budget.try_hold(size)).flatten();
        let fits = !counts || room.is_some();
        let received = Received { delivery, ticket, intake, crashed, since, room };
        if received.delivery.is_new_suspect() {
            self.end(None, received, Outcome::NewSuspect, jobs, stop);
            return;
        }
        match received.intake.work {
            Work::Forward => {
                let place = waiting.hold(lane, since);
                self.end(Some(place), received, Outcome::Forwarded, jobs, stop);
            }
            Work::Expand(_) => {
                let dump = (waiting.hold(lane, since), received);
                if dumps.may_wait(size, fits) {
                    dumps.arrive(tenant, since, size, dump);
                } else {
                    self.park(dump, jobs, stop);
                }
            }
            Work::Archive(_) | Work::Reject(_) => waiting.arrive(tenant, lane, since, received),
        }
    }

    /// Starts to expand a dump, whose `turn` is over when it has ended.
    fn expand(
        self: &Arc<Self>,
        (place, received): (Place, Received),
        turn: Turn,
        jobs: &mut Jobs,
        stop: &CancellationToken,
    ) {
        if self.is_paused(&received) {
            return self.park((place, received), jobs, stop);
        }
        let message = crash::Job::of(received.delivery.body());
        let span = traced::attempt(&received, &self.tools.identifiers);
        let job = Arc::clone(self).work(received, CancellationToken::new(), stop.clone());
        let job = message.during(span.during(job));
        jobs.start(Some(place), async move {
            let learnt = job.await;
            drop(turn);
            learnt
        });
    }

    /// Starts the job of a delivery that has got its place.
    fn start(
        self: &Arc<Self>,
        (place, received): (Place, Received),
        jobs: &mut Jobs,
        stop: &CancellationToken,
    ) {
        if self.is_paused(&received) {
            return self.park((place, received), jobs, stop);
        }
        let message = crash::Job::of(received.delivery.body());
        let cut = CancellationToken::new();
        let asking = received.intake.asks().map(|(tenant, question)| {
            let (question, cut) = (question.clone(), cut.clone());
            Asking { tenant, question, cut }
        });
        let span = traced::attempt(&received, &self.tools.identifiers);
        let job = span.during(Arc::clone(self).work(received, cut, stop.clone()));
        let job = message.during(job);
        match asking {
            Some(asking) => jobs.start_asking(place, asking, job),
            None => {
                jobs.start(Some(place), job);
            }
        }
    }

    /// Sends a delivery away that gets no place.
    fn park(
        self: &Arc<Self>,
        (place, received): (Place, Received),
        jobs: &mut Jobs,
        stop: &CancellationToken,
    ) {
        let why = if self.is_paused(&received) { Outcome::Paused } else { Outcome::NoPlace };
        // A crash counts also where there is no place.
        let judged = self.concluder.judge_suspect(&received);
        self.end(Some(place), received, judged.unwrap_or(why), jobs, stop);
    }

    /// Whether a delivery's tenant is paused now, or there is no tenant at all: it may be that the one
    /// it is for is about to come.
    fn is_paused(&self, received: &Received) -> bool {
        let now = self.tenants.now();
        let id = received.intake.echo.tenant.as_ref();
        let tenant = id.and_then(|id| now.find(id));
        now.is_empty() || tenant.is_some_and(|tenant| tenant.paused)
    }

    /// Ends a delivery without any work.
    fn end(
        self: &Arc<Self>,
        place: Option<Place>,
        received: Received,
        outcome: Outcome,
        jobs: &mut Jobs,
        stop: &CancellationToken,
    ) {
        let message = crash::Job::of(received.delivery.body());
        let span = match &outcome {
            Outcome::NoPlace | Outcome::Paused | Outcome::Stopped => traced::no_attempt(&received),
            _ => traced::attempt(&received, &self.tools.identifiers),
        };
        let (worker, stop) = (Arc::clone(self), stop.clone());
        let ending = async move {
            worker.conclude(received, &outcome, &stop).await;
            None
        };
        jobs.start(place, message.during(span.during(ending)));
    }

    /// Ends a job. One that the broker does not let be settled (it takes no copy, or nothing at all)
    /// is in hand until it does or its channel ends, but gives its place to others.
    async fn conclude(&self, received: Received, outcome: &Outcome, stop: &CancellationToken) {
        let mut concluding = Box::pin(self.concluder.conclude(received, outcome, stop));
        if time::timeout(STEP_ASIDE, &mut concluding).await.is_err() {
            self.aside().push(tokio::task::id());
            concluding.await;
        }
    }

    fn aside(&self) -> MutexGuard<'_, Vec<Id>> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one job to its end: settled, given back when `stop` says so, or parked when `cut` does.
    async fn work(
        self: Arc<Self>,
        received: Received,
        cut: CancellationToken,
        stop: CancellationToken,
    ) -> Option<Learnt> {
        let tenant = received.intake.tenant;
        let _seat = self.tools.board.jobs.begin(received.shown(&self.tools.identifiers));
        traced::waited(&received);
        let outcome = if !received.delivery.usable() {
            // Its channel died while it waited for a place: the broker delivers it again.
            Outcome::Stopped
        } else if let Some(crashed) = self.concluder.judge_suspect(&received) {
            crashed
        } else {
            tokio::select! {
                outcome = self.attempt(&received) => Outcome::from(outcome),
                () = stop.cancelled() => Outcome::Stopped,
                () = cut.cancelled() => Outcome::CutShort,
            }
        };
        let learnt = tenant.zip(outcome.lesson());
        self.conclude(received, &outcome, &stop).await;
        learnt.map(|(tenant, lesson)| Learnt { tenant, lesson })
    }

    /// One try, cut off at its deadline; a panic is a failed try.
    async fn attempt(&self, received: &Received) -> Result<Done, Failure> {
        if let Work::Archive(job) = &received.intake.work {
            job.waits.add(For::Place, received.since.elapsed());
        }
        let deadline = received.since + self.settings.job_deadline;
        let line = AssertUnwindSafe(self.line(received)).catch_unwind();
        match time::timeout_at(deadline, line).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(line::panicked()),
            Err(_elapsed) => Err(self.out_of_time(&received.intake)),
        }
    }

    /// The deadline is laid to whoever was waited for (contract 5).
    fn out_of_time(&self, intake: &Intake) -> Failure {
        let limit = config::show_duration(self.settings.job_deadline);
        let (class, who) = match intake.kept_waiting_by() {
            Some(Party::Ccfs) => (Class::Unavailable, "CC-FS"),
            Some(Party::Store) => (Class::Unavailable, "the store"),
            Some(Party::Ours) | None => (Class::Held, "this worker and its broker"),
        };
        let detail = format!("not done within worker.job_deadline ({limit}): it waited for {who}");
        let failure = Failure::new(class, Reason::JOB_DEADLINE, detail);
        if let Some(gate) = intake.gate_that_kept_it() {
            gate.kept_waiting(&failure);
        }
        failure
    }

    async fn line(&self, received: &Received) -> Result<Done, Failure> {
        crash::point(Point::Received);
        match &received.intake.work {
            // Boxed: else each future around it, which is moved to where it runs, is as large.
            Work::Archive(job) => Box::pin(job.run(&self.tools)).await.map(Done::Archived),
            Work::Expand(tenant) => {
                let delivery = &received.delivery;
                // Megabytes take their time.
                let dump = task::block_in_place(|| dump::read(delivery, tenant))?;
                let items_are_out = delivery.state().expanded;
                let expanded = dump::expand(dump, delivery.sent_at(), items_are_out, &self.tools);
                Box::pin(expanded).await.map(Done::Expanded)
            }
            Work::Forward => unreachable!("a dump on the live queue is forwarded before any work"),
            Work::Reject(failure) => Err(failure.clone()),
        }
    }

    /// Pauses consuming while the store that every tenant uses is down; never ends.
    async fn mind_the_store(&self, pauses: &Pauses<'_>) {
        let mut now = self.tenants.watch();
        loop {
            let common = now.borrow_and_update().common_store().cloned();
            let minding = async {
                let Some(gate) = &common else { return pending().await };
                outages::mind_the_store(gate, pauses).await;
            };
            let another = now.wait_for(|now| match (now.common_store(), &common) {
                (Some(now), Some(before)) => !Arc::ptr_eq(now, before),
                (now, before) => now.is_some() != before.is_some(),
            });
            tokio::select! {
                () = minding => {}
                _ = another => outages::nothing_of_the_store(pauses),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_chore_that_panics_begins_again() {
        let begun = AtomicU32::new(0);
        kept_up(async || assert!(begun.fetch_add(1, Ordering::Relaxed) == 2, "not yet")).await;
        assert_eq!(begun.into_inner(), 3);
    }
}
