//! What holds whatever comes, and in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::tests::{A, C, slots};
use super::*;

const PLACES: usize = 8;
const SHARE: usize = 6;
const WINDOW: usize = PLACES + 4;

#[derive(Clone, Debug)]
enum Step {
    Arrive(usize, Lane),
    /// As many as may.
    Admit,
    /// Of those held, one.
    Leave(prop::sample::Index),
    Aside(prop::sample::Index),
    MakeWay,
    Expire,
    Learn(usize, Lesson),
    /// Milliseconds.
    Pass(u64),
    Configure(Vec<(usize, usize)>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let slot = A..=C;
    let lane = prop_oneof![Just(Lane::Live), Just(Lane::Bulk)];
    let lesson = prop_oneof![Just(Lesson::Answered), Just(Lesson::Throttled), Just(Lesson::Silent)];
    let configured = vec(0..PLACES, 0..=3).prop_map(|ceilings| slots(&ceilings));
    vec(
        prop_oneof![
            12 => (NOBODY..=C, lane).prop_map(|(slot, lane)| Step::Arrive(slot, lane)),
            6 => Just(Step::Admit),
            8 => any::<prop::sample::Index>().prop_map(Step::Leave),
            1 => any::<prop::sample::Index>().prop_map(Step::Aside),
            4 => Just(Step::MakeWay),
            1 => Just(Step::Expire),
            6 => (slot, lesson).prop_map(|(slot, lesson)| Step::Learn(slot, lesson)),
            4 => (0..20_000_u64).prop_map(Step::Pass),
            1 => configured.prop_map(Step::Configure),
        ],
        0..120,
    )
}

/// What is known of a `Waiting` from outside.
struct Seen {
    waiting: Waiting<u32>,
    now: Instant,
    several: bool,
    arrived: u32,
    /// What waits.
    inside: BTreeSet<u32>,
    held: Vec<Place>,
}

impl Seen {
    fn new() -> Self {
        let mut waiting = tests::fresh(PLACES, &[0, 0, 0]);
        assert_eq!(waiting.window, WINDOW);
        waiting.changed_limits();
        let (inside, held) = (BTreeSet::new(), Vec::new());
        Self { waiting, now: Instant::now(), several: true, arrived: 0, inside, held }
    }

    fn at_work(&self, of: impl Fn(usize) -> bool) -> usize {
        let work = |place: &&Place| matches!(place.held, Held::Job(slot) if of(slot));
        self.held.iter().filter(work).count()
    }

    fn out(&mut self, (place, item): (Place, u32)) {
        assert!(self.inside.remove(&item), "{item} comes out once");
        self.held.push(place);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arrive(slot, lane) => {
                self.waiting.arrive(slot, lane, self.now, self.arrived);
                self.inside.insert(self.arrived);
                self.arrived += 1;
            }
            Step::Admit => {
                while let Some(admitted) = self.waiting.admit(self.now) {
                    let Held::Job(slot) = admitted.0.held else { panic!("it has a place") };
                    self.out(admitted);
                    assert!(self.at_work(|_| true) <= PLACES);
                    let one = self.at_work(|other| other == slot);
                    assert!(slot == NOBODY || !self.several || one <= SHARE, "{one} of {slot}");
                }
            }
            Step::Leave(which) => {
                if !self.held.is_empty() {
                    let place = self.held.swap_remove(which.index(self.held.len()));
                    self.waiting.leave(place, self.now);
                }
            }
            Step::Aside(which) => {
                let work = |place: &Place| matches!(place.held, Held::Job(_));
                let work: Vec<_> =
                    (0..self.held.len()).filter(|at| work(&self.held[*at])).collect();
                if !work.is_empty() {
                    let place = self.held.swap_remove(work[which.index(work.len())]);
                    let aside = self.waiting.step_aside(place, self.now);
                    self.held.push(aside);
                }
            }
            Step::MakeWay => {
                while let Some(gone) = self.waiting.make_way(self.now) {
                    self.out(gone);
                }
            }
            Step::Expire => {
                while let Some(gone) = self.waiting.expired(self.now) {
                    self.out(gone);
                }
            }
            Step::Learn(slot, lesson) => self.waiting.learn(slot, lesson, self.now, self.now),
            Step::Pass(millis) => {
                self.now += Duration::from_millis(millis);
                self.waiting.time_passes(&HashMap::new(), self.now);
            }
            Step::Configure(tenants) => {
                self.several = tenants.len() > 1;
                self.waiting.configure(&tenants);
            }
        }
        self.agrees();
    }

    /// The counts agree with what is held, and a turn has whoever has something waiting.
    fn agrees(&self) {
        let Waiting { live, bulk, tenants, .. } = &self.waiting;
        assert_eq!(live.in_flight + bulk.in_flight, self.at_work(|_| true));
        assert_eq!(live.in_hand() + bulk.in_hand(), self.held.len() + self.inside.len());
        for (slot, tenant) in tenants.iter().enumerate() {
            assert_eq!(tenant.in_flight, self.at_work(|other| other == slot));
            assert!(self.waiting.limit(slot) >= 1);
        }
        for (lane, hand) in [(Lane::Live, live), (Lane::Bulk, bulk)] {
            let queued = |slot: usize| tenants[slot].queue(lane).len();
            let mut turns = hand.turns.clone();
            turns.make_contiguous().sort_unstable();
            let those = (0..tenants.len()).filter(|slot| queued(*slot) > 0);
            assert_eq!(turns, those.collect::<Vec<_>>());
            assert_eq!(hand.queued, (0..tenants.len()).map(queued).sum::<usize>());
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_doubled_and_no_place_is_given_twice(steps in steps()) {
        let mut seen = Seen::new();
        for step in steps {
            seen.step(step);
        }
        for place in seen.held.drain(..) {
            seen.waiting.leave(place, seen.now);
        }
        let rest: BTreeSet<_> = seen.waiting.drain().into_iter().collect();
        prop_assert_eq!(rest, seen.inside);
        seen.waiting.configure(&[]);
        let kept = seen.waiting.tenants.iter().skip(NOBODY + 1).filter(|tenant| tenant.is_kept());
        prop_assert_eq!(kept.count(), 0);
    }

    #[test]
    fn nobody_is_served_twice_while_another_waits(arrivals in vec(prop::option::of(A..=C), 0..200)) {
        let mut waiting = tests::fresh(PLACES, &[0, 0, 0]);
        // When each began to wait for its turn.
        let mut since = BTreeMap::new();
        let mut served = BTreeMap::new();
        for (at, arrival) in arrivals.into_iter().enumerate() {
            let Some(slot) = arrival else {
                let Some((place, _)) = waiting.admit(Instant::now()) else { continue };
                let Held::Job(slot) = place.held else { panic!("it has a place") };
                let before = served.insert(slot, at);
                since.remove(&slot);
                let longer = since.iter().filter(|(_, began)| Some(**began) < before);
                prop_assert_eq!(longer.count(), 0, "{} at {}: {:?}", slot, at, since);
                if !waiting.tenants[slot].live.is_empty() {
                    since.insert(slot, at);
                }
                waiting.leave(place, Instant::now());
                continue;
            };
            waiting.arrive(slot, Lane::Live, Instant::now(), 0);
            since.entry(slot).or_insert(at);
        }
    }
}
