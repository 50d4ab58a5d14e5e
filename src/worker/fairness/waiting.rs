//! Who gets the next place: live before bulk, tenants in turn, nobody more than its share. Pure.
//!
//! Contract 2 (fairness). A tenant is known by its slot, a small number that is its own as long as
//! the process lives; [`NOBODY`] stands for messages of no configured tenant, which do nothing but
//! die. Tenants may be many and are idle for the most part: whatever is done for a delivery looks
//! at those alone that have something waiting.
//!
//! How those who are held back make room for the others is in `room`.

mod room;
mod search;

use std::collections::{HashMap, VecDeque};

use tokio::time::{Duration, Instant};

use self::search::Search;
use super::pace::Pace;
use super::standing::Standing;
use crate::config;

/// A delivery that has not got a place within this time is parked (contract 2).
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The slot of messages of no configured tenant.
pub const NOBODY: usize = 0;

/// A tenant that has had no work for so long begins small again (contract 2).
const IDLE: Duration = Duration::from_secs(60);

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
    /// The most places of one tenant: of all of them, where others are configured.
    share: usize,
    tenant_share: f64,
    /// Deliveries in hand at once, of each lane.
    window: usize,
    /// Configured tenants.
    configured: usize,
    live: Hand,
    bulk: Hand,
    /// By slot.
    tenants: Vec<Tenant<T>>,
    /// Whose limit is not what was last told of it.
    changed: Vec<usize>,
}

/// The deliveries of a lane that are in hand.
#[derive(Default)]
struct Hand {
    queued: usize,
    in_flight: usize,
    /// Being parked.
    leaving: usize,
    /// Of dumps, and of jobs that have ended and cannot be settled.
    aside: usize,
    /// The tenants that have something waiting, each once: whoever is served goes to the end, so
    /// that no tenant is served twice while another waits.
    turns: VecDeque<usize>,
    /// For others behind the window.
    search: Search,
}

impl Hand {
    fn in_hand(&self) -> usize {
        self.queued + self.in_flight + self.leaving + self.aside
    }
}

struct Tenant<T> {
    configured: bool,
    pace: Pace,
    standing: Standing,
    in_flight: usize,
    /// Since when it has no work.
    idle: Option<Instant>,
    live: VecDeque<Entry<T>>,
    bulk: VecDeque<Entry<T>>,
    /// The limit that was last told.
    told: Option<usize>,
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
    /// The store had it already: CC-FS was not asked.
    Stored,
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
    since: Instant,
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
    /// Of no tenants yet. `window`: deliveries that may be in hand at once, of each lane.
    pub fn new(settings: &config::Worker, window: usize) -> Self {
        let places = settings.concurrency;
        Self {
            places,
            bulk_places: portion(places, settings.bulk_share),
            share: places,
            tenant_share: settings.tenant_share,
            window,
            configured: 0,
            live: Hand::default(),
            bulk: Hand::default(),
            tenants: vec![Tenant::new(Pace::full(places))],
            changed: Vec::new(),
        }
    }

    /// Whose messages there may be from now on: their slots, and `max_concurrency`, 0 for none. Who
    /// is not among them any more keeps what is in hand, and nothing else.
    pub fn configure(&mut self, tenants: &[(usize, usize)]) {
        self.configured = tenants.len();
        self.share = portion(self.places, if self.are_several() { self.tenant_share } else { 1.0 });
        for gone in &mut self.tenants[NOBODY + 1..] {
            gone.configured = false;
        }
        for (slot, own) in tenants {
            let ceiling = if *own == 0 { self.share } else { self.share.min(*own) };
            while self.tenants.len() <= *slot {
                self.tenants.push(Tenant::new(Pace::new(self.share)));
            }
            let tenant = &mut self.tenants[*slot];
            tenant.configured = true;
            tenant.pace.configure(ceiling);
        }
        for slot in NOBODY + 1..self.tenants.len() {
            self.forget_if_gone(slot);
            self.note_limit(slot);
        }
    }

    /// The limits that have changed since this was last asked, with their slots.
    pub fn changed_limits(&mut self) -> Vec<(usize, usize)> {
        let changed = std::mem::take(&mut self.changed);
        let told = |slot: usize| Some((slot, self.tenants[slot].told?));
        changed.into_iter().filter_map(told).collect()
    }

    pub fn arrive(&mut self, tenant: usize, lane: Lane, now: Instant, item: T) {
        let has_room = !self.is_at_its_limit(tenant, now);
        let queue = self.tenants[tenant].queue_mut(lane);
        queue.push_back(Entry { since: now, item });
        let first = queue.len() == 1;
        let hand = self.hand_mut(lane);
        hand.queued += 1;
        if has_room {
            hand.search.found();
        }
        if first {
            hand.turns.push_back(tenant);
        }
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
        let turns = &self.hand(lane).turns;
        let slot = turns.iter().copied().find(|slot| !self.is_at_its_limit(*slot, now))?;
        let entry = self.take(slot, lane, VecDeque::pop_front)?;
        let tenant = &mut self.tenants[slot];
        if tenant.in_flight == 0 {
            tenant.standing.asked(now);
            tenant.idle = None;
        }
        tenant.in_flight += 1;
        let has_more = !tenant.queue(lane).is_empty();
        let hand = self.hand_mut(lane);
        hand.in_flight += 1;
        if has_more {
            hand.turns.retain(|other| *other != slot);
            hand.turns.push_back(slot);
        }
        Some((Place { lane, held: Held::Job(slot), since: now }, entry.item))
    }

    /// One of those of a tenant that wait; who has none left has no turn.
    fn take(
        &mut self,
        slot: usize,
        lane: Lane,
        which: impl FnOnce(&mut VecDeque<Entry<T>>) -> Option<Entry<T>>,
    ) -> Option<Entry<T>> {
        let queue = self.tenants[slot].queue_mut(lane);
        let entry = which(queue)?;
        let was_last = queue.is_empty();
        if was_last {
            *queue = VecDeque::new(); // A burst's memory is not kept by each tenant that had one.
        }
        let hand = self.hand_mut(lane);
        hand.queued -= 1;
        if was_last {
            hand.turns.retain(|other| *other != slot);
        }
        Some(entry)
    }

    fn send_away(&mut self, slot: usize, lane: Lane, entry: Entry<T>, now: Instant) -> (Place, T) {
        self.hand_mut(lane).leaving += 1;
        self.forget_if_gone(slot);
        (Place { lane, held: Held::Leaving, since: now }, entry.item)
    }

    /// A delivery that is in hand and needs no place of a job.
    pub fn hold(&mut self, lane: Lane, now: Instant) -> Place {
        self.hand_mut(lane).aside += 1;
        Place { lane, held: Held::Aside, since: now }
    }

    /// A job that has ended and cannot be settled yet gives its place to others; its delivery stays
    /// in hand.
    pub fn step_aside(&mut self, place: Place, now: Instant) -> Place {
        let Place { lane, since, .. } = place;
        self.leave(place, now);
        Place { since, ..self.hold(lane, now) }
    }

    /// Gives a place back; since when it was held.
    pub fn leave(&mut self, place: Place, now: Instant) -> Instant {
        let Place { lane, held, since } = place;
        match held {
            Held::Job(slot) => {
                let tenant = &mut self.tenants[slot];
                tenant.in_flight -= 1;
                tenant.idle = (tenant.in_flight == 0).then_some(now);
                self.hand_mut(lane).in_flight -= 1;
                self.forget_if_gone(slot);
            }
            Held::Leaving => {
                let hand = self.hand_mut(lane);
                hand.leaving -= 1;
                hand.search.parked();
            }
            Held::Aside => self.hand_mut(lane).aside -= 1,
        }
        since
    }

    /// Takes a lesson to heart, of a job that had started at `since`.
    pub fn learn(&mut self, slot: usize, lesson: Lesson, since: Instant, now: Instant) {
        let Tenant { configured, pace, standing, .. } = &mut self.tenants[slot];
        if !*configured {
            return; // It is gone, and keeps nothing.
        }
        match lesson {
            Lesson::Answered => {
                standing.answered(now);
                pace.went_well();
            }
            Lesson::Stored => pace.went_well(),
            Lesson::Throttled => {
                standing.answered(now);
                pace.throttled(since, now);
            }
            Lesson::Silent => standing.unanswered(),
        }
        if standing.is_silent() {
            pace.begin_again();
        }
        self.note_limit(slot);
    }

    /// A look at the clock, once a second. `open`: since when the oldest open question of a tenant
    /// is, where it has one.
    pub fn time_passes(&mut self, open: &HashMap<usize, Instant>, now: Instant) {
        for slot in NOBODY + 1..self.tenants.len() {
            let tenant = &mut self.tenants[slot];
            tenant.standing.time_passes(open.get(&slot).copied(), now);
            if tenant.standing.is_silent() {
                tenant.pace.begin_again();
            }
            let idle = tenant.idle.filter(|_| !tenant.is_busy());
            if idle.is_some_and(|since| now.duration_since(since) >= IDLE) {
                tenant.pace.begin_again();
                tenant.standing = Standing::default();
                tenant.idle = None;
            }
            self.note_limit(slot);
        }
    }

    /// The next of those whose patience is over at `now`, to be parked.
    pub fn expired(&mut self, now: Instant) -> Option<(Place, T)> {
        // Each queue is in order of arrival, so those who leave stand at its front.
        let over = |entry: &Entry<T>| now.duration_since(entry.since) >= PATIENCE;
        let (lane, slot) = [Lane::Live, Lane::Bulk].into_iter().find_map(|lane| {
            let late = |slot: &usize| self.tenants[*slot].queue(lane).front().is_some_and(over);
            let slot = self.hand(lane).turns.iter().copied().find(late)?;
            Some((lane, slot))
        })?;
        let entry = self.take(slot, lane, VecDeque::pop_front)?;
        Some(self.send_away(slot, lane, entry, now))
    }

    /// Takes out all that wait.
    pub fn drain(&mut self) -> Vec<T> {
        for hand in [&mut self.live, &mut self.bulk] {
            hand.queued = 0;
            hand.turns.clear();
        }
        let queues =
            self.tenants.iter_mut().flat_map(|tenant| [&mut tenant.live, &mut tenant.bulk]);
        queues.flat_map(std::mem::take).map(|entry| entry.item).collect()
    }

    /// The places that `tenant` may hold.
    fn limit(&self, tenant: usize) -> usize {
        let Tenant { pace, standing, .. } = &self.tenants[tenant];
        if standing.is_silent() { pace.limit().min(self.silent_places()) } else { pace.limit() }
    }

    fn note_limit(&mut self, slot: usize) {
        let limit = self.tenants[slot].configured.then(|| self.limit(slot));
        if limit.is_some() && self.tenants[slot].told != limit {
            self.changed.push(slot);
        }
        self.tenants[slot].told = limit;
    }

    /// Nothing is kept of a tenant that is not configured and has nothing in hand.
    fn forget_if_gone(&mut self, slot: usize) {
        if slot != NOBODY && !self.tenants[slot].is_kept() {
            self.tenants[slot] = Tenant::new(Pace::new(self.share));
        }
    }

    fn is_at_its_limit(&self, slot: usize, now: Instant) -> bool {
        let Tenant { pace, in_flight, .. } = &self.tenants[slot];
        *in_flight >= self.limit(slot) || !pace.allows(*in_flight, now)
    }

    fn are_several(&self) -> bool {
        self.configured > 1
    }

    fn silent_places(&self) -> usize {
        portion(self.places, SILENT_SHARE)
    }

    fn places_are_taken(&self) -> bool {
        self.live.in_flight + self.bulk.in_flight >= self.places
    }

    fn hand(&self, lane: Lane) -> &Hand {
        match lane {
            Lane::Live => &self.live,
            Lane::Bulk => &self.bulk,
        }
    }

    fn hand_mut(&mut self, lane: Lane) -> &mut Hand {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

impl<T> Tenant<T> {
    fn new(pace: Pace) -> Self {
        Self {
            configured: false,
            pace,
            standing: Standing::default(),
            in_flight: 0,
            idle: None,
            live: VecDeque::new(),
            bulk: VecDeque::new(),
            told: None,
        }
    }

    fn is_kept(&self) -> bool {
        self.configured || self.is_busy()
    }

    fn is_busy(&self) -> bool {
        self.in_flight > 0 || !self.live.is_empty() || !self.bulk.is_empty()
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
mod properties;
#[cfg(test)]
mod tests;
