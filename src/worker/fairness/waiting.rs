//! Who gets the next place: live before bulk, tenants in turn, nobody more than its share. Pure.
//!
//! Contract 2 (fairness). Tenants are indices into the configuration; one more stands for messages
//! of no configured tenant, which do nothing but die.
//!
//! What waits takes up the window, which is all that the broker lets us have in hand at once. So
//! deliveries of a tenant that is held back make way while places are free that others could use.

use std::collections::VecDeque;

use tokio::time::{Duration, Instant};

use super::pace::Pace;
use super::standing::Standing;
use crate::config;

/// A delivery that has not got a place within this time is parked (contract 2).
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A tenant that does not answer holds at most this share of the places.
const SILENT_SHARE: f64 = 1.0 / 8.0;

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
    /// The most places of one tenant.
    share: usize,
    /// Deliveries in hand at once, of each lane.
    window: usize,
    live: Hand,
    bulk: Hand,
    tenants: Vec<Tenant<T>>,
    /// Whose turn it is, so that no tenant is served twice while another waits.
    turn: usize,
}

/// How many deliveries of a lane are in hand.
#[derive(Default)]
struct Hand {
    queued: usize,
    in_flight: usize,
    /// Being parked.
    leaving: usize,
    /// Of dumps, and of jobs that have ended and cannot be settled.
    aside: usize,
}

impl Hand {
    fn in_hand(&self) -> usize {
        self.queued + self.in_flight + self.leaving + self.aside
    }
}

struct Tenant<T> {
    pace: Pace,
    standing: Standing,
    in_flight: usize,
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
    /// CC-FS or the store brought no usable answer.
    Silent,
}

/// What a delivery that waits no longer takes up; given back with [`Waiting::leave`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a place that is not given back is lost"]
pub struct Place {
    lane: Lane,
    held: Held,
}

/// What a delivery is that has left its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// At work, in a place of this tenant.
    Job(usize),
    /// Being parked: in hand and no more.
    Leaving,
    /// In hand and no more: a dump, or what waits to be settled, nobody knows for how long.
    Aside,
}

impl<T> Waiting<T> {
    /// `window`: deliveries that may be in hand at once, of each lane; `ceilings`: each tenant's
    /// `max_concurrency`, 0 for none.
    pub fn new(settings: &config::Worker, window: usize, ceilings: &[usize]) -> Self {
        let places = settings.concurrency;
        let several = ceilings.len() > 1;
        let share = portion(places, if several { settings.tenant_share } else { 1.0 });
        let tenant = |own: &usize| Tenant::new(if *own == 0 { share } else { share.min(*own) });
        let nobody = Tenant::new(places);
        Self {
            places,
            bulk_places: portion(places, settings.bulk_share),
            share,
            window,
            live: Hand::default(),
            bulk: Hand::default(),
            tenants: ceilings.iter().map(tenant).chain([nobody]).collect(),
            turn: 0,
        }
    }

    /// The index that stands for messages of no configured tenant.
    pub fn nobody(&self) -> usize {
        self.tenants.len() - 1
    }

    pub fn arrive(&mut self, tenant: usize, lane: Lane, now: Instant, item: T) {
        self.hand(lane).queued += 1;
        self.tenants[tenant].queue_mut(lane).push_back(Entry { since: now, item });
    }

    /// The next delivery that may start, with its place.
    pub fn admit(&mut self, now: Instant) -> Option<(Place, T)> {
        if self.live.queued + self.bulk.queued == 0 || self.places_are_taken() {
            return None;
        }
        let bulk_may = self.live.queued == 0 || self.bulk.in_flight < self.bulk_places;
        let live = self.admit_from(Lane::Live, now);
        if live.is_none() && bulk_may { self.admit_from(Lane::Bulk, now) } else { live }
    }

    fn admit_from(&mut self, lane: Lane, now: Instant) -> Option<(Place, T)> {
        let count = self.tenants.len();
        let index = (0..count).map(|offset| (self.turn + offset) % count).find(|&tenant| {
            !self.tenants[tenant].queue(lane).is_empty() && !self.is_at_its_limit(tenant)
        })?;
        self.turn = (index + 1) % count;
        let tenant = &mut self.tenants[index];
        let entry = tenant.queue_mut(lane).pop_front().expect("just seen waiting");
        if tenant.in_flight == 0 {
            tenant.standing.asked(now);
        }
        tenant.in_flight += 1;
        let hand = self.hand(lane);
        hand.queued -= 1;
        hand.in_flight += 1;
        Some((Place { lane, held: Held::Job(index) }, entry.item))
    }

    /// A delivery to be parked, so that the broker sends others: of a lane whose window is full,
    /// while places are free and hardly anything that waits could ever take them.
    pub fn make_way(&mut self, now: Instant) -> Option<(Place, T)> {
        // A single tenant is in nobody's way.
        if !self.are_several() || self.places_are_taken() {
            return None;
        }
        [Lane::Live, Lane::Bulk].into_iter().find_map(|lane| self.make_way_in(lane, now))
    }

    fn make_way_in(&mut self, lane: Lane, now: Instant) -> Option<(Place, T)> {
        let hand = self.hand(lane);
        let (in_hand, leaving) = (hand.in_hand(), hand.leaving);
        if in_hand < self.window {
            return None;
        }
        let (held_back, others): (Vec<_>, Vec<_>) =
            (0..self.tenants.len()).partition(|&tenant| self.is_held_back(tenant, now));
        let waiting = |tenant: usize| self.tenants[tenant].queue(lane).len();
        let ready: usize = others.into_iter().map(waiting).sum();
        let most = held_back.into_iter().max_by_key(|&tenant| waiting(tenant))?;
        // The surplus of the window is there so that the next is at hand when a place is free.
        if ready >= self.window - self.places || leaving >= self.parked_at_once(most) {
            return None;
        }
        // The last to come: whoever has waited longer keeps its turn.
        let entry = self.tenants[most].queue_mut(lane).pop_back()?;
        Some((self.send_away(lane), entry.item))
    }

    /// How many deliveries of a tenant are parked at once. One that does not answer is passed over
    /// quickly; one that is slow, throttled or limited, and may be alone, gives way gently.
    fn parked_at_once(&self, tenant: usize) -> usize {
        let standing = &self.tenants[tenant].standing;
        if standing.is_silent() { self.silent_places() } else { 1 }
    }

    fn send_away(&mut self, lane: Lane) -> Place {
        let hand = self.hand(lane);
        hand.queued -= 1;
        hand.leaving += 1;
        Place { lane, held: Held::Leaving }
    }

    /// How many places of a tenant others want, of those that it would not keep if it did not
    /// answer: all of these where others cannot be seen behind a full window.
    pub fn too_many_of(&self, tenant: usize) -> usize {
        if !self.are_several() || !self.places_are_taken() {
            return 0;
        }
        let wanted = |other: usize| {
            let Tenant { live, bulk, in_flight, .. } = &self.tenants[other];
            (live.len() + bulk.len()).min(self.limit(other).saturating_sub(*in_flight))
        };
        let full = [&self.live, &self.bulk].iter().any(|hand| hand.in_hand() >= self.window);
        let others = (0..self.tenants.len()).filter(|&other| other != tenant);
        let wanted = if full { usize::MAX } else { others.map(wanted).sum() };
        self.tenants[tenant].in_flight.saturating_sub(self.silent_places()).min(wanted)
    }

    /// A delivery that is in hand and needs no place of a job.
    pub fn hold(&mut self, lane: Lane) -> Place {
        self.hand(lane).aside += 1;
        Place { lane, held: Held::Aside }
    }

    /// A job that has ended and cannot be settled yet gives its place to others; its delivery stays
    /// in hand.
    pub fn step_aside(&mut self, place: Place) -> Place {
        let lane = place.lane;
        self.leave(place);
        self.hold(lane)
    }

    pub fn leave(&mut self, place: Place) {
        let Place { lane, held } = place;
        match held {
            Held::Job(tenant) => {
                self.tenants[tenant].in_flight -= 1;
                self.hand(lane).in_flight -= 1;
            }
            Held::Leaving => self.hand(lane).leaving -= 1,
            Held::Aside => self.hand(lane).aside -= 1,
        }
    }

    /// Takes a lesson to heart; true where it changes the places that `tenant` may hold.
    pub fn learn(&mut self, tenant: usize, lesson: Lesson, now: Instant) -> bool {
        let before = self.limit(tenant);
        let Tenant { pace, standing, .. } = &mut self.tenants[tenant];
        match lesson {
            Lesson::Answered => {
                standing.answered(now);
                pace.went_well(now);
            }
            Lesson::Throttled => {
                standing.answered(now);
                pace.throttled(now);
            }
            Lesson::Silent => standing.unanswered(),
        }
        self.limit(tenant) != before
    }

    /// The next of those whose patience is over at `now`, to be parked.
    pub fn expired(&mut self, now: Instant) -> Option<(Place, T)> {
        // Each queue is in order of arrival, so those who leave stand at its front.
        let over = |entry: &mut Entry<T>| now.duration_since(entry.since) >= PATIENCE;
        let (lane, entry) = self.tenants.iter_mut().find_map(|tenant| {
            let live = tenant.live.pop_front_if(over).map(|entry| (Lane::Live, entry));
            live.or_else(|| tenant.bulk.pop_front_if(over).map(|entry| (Lane::Bulk, entry)))
        })?;
        Some((self.send_away(lane), entry.item))
    }

    /// Takes out all that wait.
    pub fn drain(&mut self) -> Vec<T> {
        (self.live.queued, self.bulk.queued) = (0, 0);
        let queues =
            self.tenants.iter_mut().flat_map(|tenant| [&mut tenant.live, &mut tenant.bulk]);
        queues.flat_map(std::mem::take).map(|entry| entry.item).collect()
    }

    /// The places that `tenant` may hold.
    pub fn limit(&self, tenant: usize) -> usize {
        let Tenant { pace, standing, .. } = &self.tenants[tenant];
        if standing.is_silent() { pace.limit().min(self.silent_places()) } else { pace.limit() }
    }

    fn is_at_its_limit(&self, tenant: usize) -> bool {
        self.tenants[tenant].in_flight >= self.limit(tenant)
    }

    /// Whether what waits of `tenant` is kept from free places, and for more than a moment: it may
    /// hold less than its share, or what it holds does not get on.
    fn is_held_back(&self, tenant: usize, now: Instant) -> bool {
        let standing = &self.tenants[tenant].standing;
        let lastingly = self.limit(tenant) < self.share || standing.keeps_waiting(now);
        lastingly && self.is_at_its_limit(tenant)
    }

    fn are_several(&self) -> bool {
        self.nobody() > 1
    }

    fn silent_places(&self) -> usize {
        portion(self.places, SILENT_SHARE)
    }

    fn places_are_taken(&self) -> bool {
        self.live.in_flight + self.bulk.in_flight >= self.places
    }

    fn hand(&mut self, lane: Lane) -> &mut Hand {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

impl<T> Tenant<T> {
    fn new(ceiling: usize) -> Self {
        let (live, bulk) = (VecDeque::new(), VecDeque::new());
        Self { pace: Pace::new(ceiling), standing: Standing::default(), in_flight: 0, live, bulk }
    }

    fn queue(&self, lane: Lane) -> &VecDeque<Entry<T>> {
        match lane {
            Lane::Live => &self.live,
            Lane::Bulk => &self.bulk,
        }
    }

    fn queue_mut(&mut self, lane: Lane) -> &mut VecDeque<Entry<T>> {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Bulk => &mut self.bulk,
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
mod tests;
