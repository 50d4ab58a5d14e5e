//! Room for others. Pure.
//!
//! What waits takes up the window, which is all that the broker lets us have in hand at once. So
//! deliveries of a tenant that is held back make way while places are free that others could use;
//! and jobs that nobody answers, while none is.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::search::Terms;
use super::{Hand, Lane, Place, Waiting};

impl<T> Waiting<T> {
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
        if hand.in_hand() < self.window {
            return None;
        }
        let waiting = |slot: &usize| self.tenants[*slot].queue(lane).len();
        let (held_back, others): (Vec<_>, Vec<_>) =
            hand.turns.iter().copied().partition(|slot| self.is_held_back(*slot, now));
        let ready: usize = others.iter().map(waiting).sum();
        let most = held_back.into_iter().max_by_key(waiting)?;
        // The surplus of the window is there so that the next is at hand when a place is free.
        if ready >= self.window - self.places {
            self.hand_mut(lane).search.is_not_needed();
            return None;
        }
        let terms = self.terms(most, now);
        let hand = self.hand_mut(lane);
        if !hand.search.goes_on(hand.leaving, terms, now) {
            return None;
        }
        // The last to come: whoever has waited longer keeps its turn.
        let entry = self.take(most, lane, VecDeque::pop_back)?;
        self.hand_mut(lane).search.parks(now);
        Some(self.send_away(most, lane, entry, now))
    }

    /// Whether to have more of the live lane in hand than its window: to look behind those of tenants
    /// that may be answered at any moment, and may never be, before anything makes way; and while
    /// what is in the way is long.
    pub fn looks_further(&self, now: Instant) -> bool {
        if !self.are_several() || self.places_are_taken() {
            return false;
        }
        let hand = &self.live;
        let begins = |slot: &usize| self.tenants[*slot].standing.begins(now);
        let doubts = hand.in_hand() >= self.window && hand.turns.iter().any(begins);
        doubts || hand.search.is_at_speed(now)
    }

    /// When to look again although nothing happens until then: a tenant that rests may go on, or one
    /// whose deliveries fill the window may turn out not to get on.
    pub fn look_again(&self, now: Instant) -> Option<Instant> {
        if self.places_are_taken() {
            return None;
        }
        let in_lane = |hand: &Hand| {
            let is_full = hand.in_hand() >= self.window && self.are_several();
            let news = |slot: &usize| {
                let tenant = &self.tenants[*slot];
                let doubt = tenant.standing.gets_on_until().filter(|_| is_full);
                [tenant.pace.rests_until(), doubt]
                    .into_iter()
                    .flatten()
                    .filter(|at| *at > now)
                    .min()
            };
            hand.turns.iter().filter_map(news).min()
        };
        [&self.live, &self.bulk].into_iter().filter_map(in_lane).min()
    }

    /// How far deliveries of a tenant that is held back make way.
    fn terms(&self, slot: usize, now: Instant) -> Terms {
        let standing = &self.tenants[slot].standing;
        if standing.is_silent() {
            Terms::UNANSWERED
        } else if standing.gets_on(now) {
            Terms::GETS_ON
        } else if standing.has_just_begun(now) {
            Terms::has_just_begun(self.window)
        } else {
            Terms::UNANSWERED
        }
    }

    /// How many places of a tenant others want, of those that it would not keep if it did not
    /// answer: all of these where others cannot be seen behind a full window.
    pub fn too_many_of(&self, tenant: usize) -> usize {
        let more = self.tenants[tenant].in_flight.saturating_sub(self.silent_places());
        if more == 0 || !self.are_several() || !self.places_are_taken() {
            return 0;
        }
        let hands = [(Lane::Live, &self.live), (Lane::Bulk, &self.bulk)];
        if hands.iter().any(|(_, hand)| hand.in_hand() >= self.window) {
            return more;
        }
        // Each by how many it has waiting, and by how many more it may have at work.
        let mut wanted = BTreeMap::new();
        for (lane, hand) in hands {
            for slot in hand.turns.iter().filter(|slot| **slot != tenant) {
                *wanted.entry(*slot).or_default() += self.tenants[*slot].queue(lane).len();
            }
        }
        let wanted = wanted.into_iter().map(|(slot, waiting): (usize, usize)| {
            waiting.min(self.limit(slot).saturating_sub(self.tenants[slot].in_flight))
        });
        more.min(wanted.sum())
    }

    /// Whether what waits of a tenant is kept from free places, and for more than a moment: it may
    /// hold less than its share, and not because it has only begun; or what it holds does not get on.
    fn is_held_back(&self, slot: usize, now: Instant) -> bool {
        let tenant = &self.tenants[slot];
        let lastingly = (self.limit(slot) < self.share && !tenant.pace.is_rising())
            || tenant.standing.is_silent()
            || !tenant.standing.gets_on(now);
        lastingly && self.is_at_its_limit(slot, now)
    }
}
