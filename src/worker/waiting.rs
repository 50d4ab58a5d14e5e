//! Who gets the next place: live before bulk, tenants in turn, nobody more than its share. Pure.
//!
//! Contract 2 (fairness). Tenants are indices into the configuration; one more stands for messages
//! of no configured tenant, which do nothing but die.

use std::collections::VecDeque;

use tokio::time::{Duration, Instant};

use super::pace::Pace;
use crate::config;

/// A delivery that has not got a place within this time is parked (contract 2).
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One whose last requests brought no answer holds at most this share of the places.
const SILENT_SHARE: f64 = 1.0 / 8.0;

/// As many requests in a row without an answer make a tenant a silent one.
const SILENT_AFTER: u32 = 3;

/// Which queue a job came from, as far as fairness cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// `{prefix}.jobs`, and suspects.
    Live,
    /// `{prefix}.bulk`: expanded dumps.
    Bulk,
}

/// Places for jobs in flight, and the deliveries that wait for one.
pub struct Waiting<T> {
    places: usize,
    bulk_places: usize,
    in_flight: usize,
    bulk_in_flight: usize,
    queued: usize,
    live_queued: usize,
    tenants: Vec<Tenant<T>>,
    /// Whose turn it is, so that no tenant is served twice while another waits.
    turn: usize,
}

struct Tenant<T> {
    pace: Pace,
    in_flight: usize,
    unanswered: u32,
    live: VecDeque<Entry<T>>,
    bulk: VecDeque<Entry<T>>,
}

struct Entry<T> {
    since: Instant,
    item: T,
}

/// What a job has taught of its tenant's servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// CC-FS answered, whatever it said.
    Answered,
    /// CC-FS or the store wants less at once.
    Throttled,
    /// CC-FS brought no usable answer.
    Silent,
}

/// A place that a job holds; given back with [`Waiting::leave`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a place that is not given back is lost"]
pub struct Place {
    tenant: usize,
    lane: Lane,
}

impl<T> Waiting<T> {
    /// `ceilings`: each tenant's `max_concurrency`, 0 for none.
    pub fn new(settings: &config::Worker, ceilings: &[usize]) -> Self {
        let places = settings.concurrency;
        let share = if ceilings.len() > 1 { settings.tenant_share } else { 1.0 };
        let tenant = |own: &usize| {
            let ceiling = portion(places, share);
            Tenant::new(if *own == 0 { ceiling } else { ceiling.min(*own) })
        };
        let nobody = Tenant::new(places);
        Self {
            places,
            bulk_places: portion(places, settings.bulk_share),
            in_flight: 0,
            bulk_in_flight: 0,
            queued: 0,
            live_queued: 0,
            tenants: ceilings.iter().map(tenant).chain([nobody]).collect(),
            turn: 0,
        }
    }

    /// The index that stands for messages of no configured tenant.
    pub fn nobody(&self) -> usize {
        self.tenants.len() - 1
    }

    pub fn arrive(&mut self, tenant: usize, lane: Lane, now: Instant, item: T) {
        self.queued += 1;
        self.live_queued += usize::from(lane == Lane::Live);
        self.tenants[tenant].queue(lane).push_back(Entry { since: now, item });
    }

    /// The next delivery that may start, with its place.
    pub fn admit(&mut self) -> Option<(Place, T)> {
        if self.queued == 0 || self.in_flight >= self.places {
            return None;
        }
        let bulk_may = self.live_queued == 0 || self.bulk_in_flight < self.bulk_places;
        let live = self.admit_from(Lane::Live);
        if live.is_none() && bulk_may { self.admit_from(Lane::Bulk) } else { live }
    }

    fn admit_from(&mut self, lane: Lane) -> Option<(Place, T)> {
        let count = self.tenants.len();
        let places = self.places;
        let tenant = (0..count).map(|offset| (self.turn + offset) % count).find(|&tenant| {
            let tenant = &mut self.tenants[tenant];
            tenant.in_flight < tenant.ceiling(places) && !tenant.queue(lane).is_empty()
        })?;
        let entry = self.tenants[tenant].queue(lane).pop_front().expect("just seen waiting");
        self.turn = (tenant + 1) % count;
        self.queued -= 1;
        self.tenants[tenant].in_flight += 1;
        self.in_flight += 1;
        match lane {
            Lane::Live => self.live_queued -= 1,
            Lane::Bulk => self.bulk_in_flight += 1,
        }
        Some((Place { tenant, lane }, entry.item))
    }

    pub fn leave(&mut self, place: Place) {
        self.in_flight -= 1;
        self.bulk_in_flight -= usize::from(place.lane == Lane::Bulk);
        self.tenants[place.tenant].in_flight -= 1;
    }

    /// Takes a lesson to heart; true where it changes the places that `tenant` may hold.
    pub fn learn(&mut self, tenant: usize, lesson: Lesson, now: Instant) -> bool {
        let before = self.limit(tenant);
        let Tenant { pace, unanswered, .. } = &mut self.tenants[tenant];
        match lesson {
            Lesson::Answered => {
                *unanswered = 0;
                pace.went_well(now);
            }
            Lesson::Throttled => {
                *unanswered = 0;
                pace.throttled(now);
            }
            Lesson::Silent => *unanswered = unanswered.saturating_add(1),
        }
        self.limit(tenant) != before
    }

    /// Takes out those whose patience is over at `now`.
    pub fn expired(&mut self, now: Instant) -> Vec<T> {
        self.take(|entry| now.duration_since(entry.since) >= PATIENCE)
    }

    /// Takes out all that wait.
    pub fn drain(&mut self) -> Vec<T> {
        self.take(|_| true)
    }

    fn take(&mut self, leaves: impl Fn(&Entry<T>) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for tenant in &mut self.tenants {
            // Each queue is in order of arrival, so those who leave stand at its front.
            while tenant.live.front().is_some_and(&leaves) {
                taken.extend(tenant.live.pop_front());
                self.live_queued -= 1;
            }
            while tenant.bulk.front().is_some_and(&leaves) {
                taken.extend(tenant.bulk.pop_front());
            }
        }
        self.queued -= taken.len();
        taken.into_iter().map(|entry| entry.item).collect()
    }

    /// The places that `tenant` may hold now.
    pub fn limit(&self, tenant: usize) -> usize {
        self.tenants[tenant].ceiling(self.places)
    }
}

impl<T> Tenant<T> {
    fn new(ceiling: usize) -> Self {
        let (live, bulk) = (VecDeque::new(), VecDeque::new());
        Self { pace: Pace::new(ceiling), in_flight: 0, unanswered: 0, live, bulk }
    }

    fn queue(&mut self, lane: Lane) -> &mut VecDeque<Entry<T>> {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Bulk => &mut self.bulk,
        }
    }

    fn ceiling(&self, places: usize) -> usize {
        if self.unanswered >= SILENT_AFTER {
            self.pace.limit().min(portion(places, SILENT_SHARE))
        } else {
            self.pace.limit()
        }
    }
}

/// `share` of `places`, at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "places are few, shares lie in (0, 1]"
)]
fn portion(places: usize, share: f64) -> usize {
    ((places as f64 * share).floor() as usize).clamp(1, places.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(concurrency: usize, ceilings: &[usize]) -> Waiting<u32> {
        let settings = config::Worker {
            concurrency,
            bulk_share: 0.5,
            tenant_share: 0.75,
            memory: 0,
            job_deadline: Duration::ZERO,
            drain_timeout: Duration::ZERO,
        };
        Waiting::new(&settings, ceilings)
    }

    fn arrive(waiting: &mut Waiting<u32>, tenant: usize, lane: Lane, items: &[u32]) {
        let now = Instant::now();
        items.iter().for_each(|item| waiting.arrive(tenant, lane, now, *item));
    }

    fn admitted(waiting: &mut Waiting<u32>) -> Vec<u32> {
        let next = || waiting.admit().map(|(_held, item)| item);
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn live_goes_before_bulk() {
        let mut waiting = waiting(8, &[0]);
        arrive(&mut waiting, 0, Lane::Bulk, &[1, 2]);
        arrive(&mut waiting, 0, Lane::Live, &[3]);
        assert_eq!(admitted(&mut waiting), [3, 1, 2]);
    }

    #[test]
    fn tenants_take_turns() {
        let mut waiting = waiting(8, &[0, 0]);
        arrive(&mut waiting, 0, Lane::Live, &[1, 2, 3]);
        arrive(&mut waiting, 1, Lane::Live, &[11, 12]);
        assert_eq!(admitted(&mut waiting), [1, 11, 2, 12, 3]);
    }

    #[test]
    fn one_of_several_tenants_holds_at_most_its_share_and_its_own_ceiling() {
        let mut both = waiting(8, &[0, 2]);
        arrive(&mut both, 0, Lane::Live, &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(admitted(&mut both), [1, 2, 3, 4, 5, 6], "three quarters of eight");
        let mut small = waiting(8, &[0, 2]);
        arrive(&mut small, 1, Lane::Live, &[1, 2, 3]);
        assert_eq!(admitted(&mut small), [1, 2]);
        let mut single = waiting(8, &[0]);
        arrive(&mut single, 0, Lane::Live, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(admitted(&mut single).len(), 8, "a single tenant has all places");
    }

    #[test]
    fn bulk_keeps_to_its_share_only_while_live_jobs_wait() {
        let mut waiting = waiting(4, &[1, 0]);
        arrive(&mut waiting, 1, Lane::Bulk, &[1, 2, 3]);
        // Tenant 0 holds its one place and has one more live job waiting.
        arrive(&mut waiting, 0, Lane::Live, &[8, 9]);
        assert_eq!(admitted(&mut waiting), [8, 1, 2], "half of four for bulk while 9 waits");
        let mut idle = self::waiting(4, &[0]);
        arrive(&mut idle, 0, Lane::Bulk, &[1, 2, 3, 4]);
        assert_eq!(admitted(&mut idle).len(), 4, "all places while no live job waits");
    }

    #[test]
    fn a_silent_tenant_holds_an_eighth_until_it_is_answered() {
        let mut waiting = waiting(16, &[0, 0]);
        let now = Instant::now();
        (0..SILENT_AFTER).for_each(|_| assert!(!waiting.learn(0, Lesson::Answered, now)));
        (1..SILENT_AFTER).for_each(|_| assert!(!waiting.learn(0, Lesson::Silent, now)));
        assert!(waiting.learn(0, Lesson::Silent, now), "its limit changes");
        assert_eq!(waiting.limit(0), 2);
        waiting.learn(0, Lesson::Answered, now);
        assert_eq!(waiting.limit(0), 12);
    }

    #[test]
    fn a_throttled_tenant_holds_half() {
        let mut waiting = waiting(16, &[0, 0]);
        assert!(waiting.learn(0, Lesson::Throttled, Instant::now()));
        assert_eq!((waiting.limit(0), waiting.limit(1)), (6, 12));
    }

    #[test]
    fn a_place_given_back_is_taken_by_the_next() {
        let mut waiting = waiting(1, &[0]);
        arrive(&mut waiting, 0, Lane::Bulk, &[1, 2]);
        let (place, _) = waiting.admit().unwrap();
        assert_eq!(waiting.admit(), None);
        waiting.leave(place);
        assert_eq!(waiting.admit().map(|(_, item)| item), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_after_a_minute() {
        let mut waiting = waiting(1, &[0]);
        arrive(&mut waiting, 0, Lane::Live, &[1]);
        tokio::time::advance(PATIENCE / 2).await;
        arrive(&mut waiting, 0, Lane::Live, &[2]);
        tokio::time::advance(PATIENCE / 2).await;
        assert_eq!(waiting.expired(Instant::now()), [1]);
        assert_eq!(waiting.drain(), [2]);
        assert_eq!(waiting.admit(), None);
    }
}
