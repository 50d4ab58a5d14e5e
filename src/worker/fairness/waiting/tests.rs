use tokio::time;

use super::*;

const NONE: [u32; 0] = [];

/// The slots of the first three tenants.
pub(super) const A: usize = 1;
pub(super) const B: usize = 2;
pub(super) const C: usize = 3;

/// Deliveries in hand beyond the places.
const SURPLUS: usize = 4;

/// Of tenants that have been answered long enough to have all that they may.
fn waiting(concurrency: usize, ceilings: &[usize]) -> Waiting<u32> {
    let mut waiting = fresh(concurrency, ceilings);
    (0..ceilings.len()).for_each(|at| answers(&mut waiting, at + A, 4 * concurrency));
    waiting
}

/// Of tenants that nobody has asked anything.
pub(super) fn fresh(concurrency: usize, ceilings: &[usize]) -> Waiting<u32> {
    let settings = config::Worker {
        concurrency,
        bulk_share: 0.5,
        tenant_share: 0.75,
        memory: 0,
        job_deadline: Duration::ZERO,
        drain_timeout: Duration::ZERO,
    };
    let mut waiting = Waiting::new(&settings, concurrency + SURPLUS);
    waiting.configure(&slots(ceilings));
    waiting
}

/// The first tenants, with their own ceilings.
pub(super) fn slots(ceilings: &[usize]) -> Vec<(usize, usize)> {
    ceilings.iter().enumerate().map(|(at, own)| (at + A, *own)).collect()
}

fn learn(waiting: &mut Waiting<u32>, slot: usize, lesson: Lesson) {
    waiting.learn(slot, lesson, Instant::now(), Instant::now());
}

fn answers(waiting: &mut Waiting<u32>, slot: usize, count: usize) {
    (0..count).for_each(|_| learn(waiting, slot, Lesson::Answered));
}

fn leave(waiting: &mut Waiting<u32>, place: Place) {
    waiting.leave(place, Instant::now());
}

fn arrive(waiting: &mut Waiting<u32>, tenant: usize, lane: Lane, items: &[u32]) {
    let now = Instant::now();
    items.iter().for_each(|item| waiting.arrive(tenant, lane, now, *item));
}

fn admitted(waiting: &mut Waiting<u32>) -> Vec<u32> {
    let next = || waiting.admit(Instant::now()).map(|(_held, item)| item);
    std::iter::from_fn(next).collect()
}

/// What makes way, oldest decision first.
fn parked(waiting: &mut Waiting<u32>) -> (Vec<Place>, Vec<u32>) {
    std::iter::from_fn(|| waiting.make_way(Instant::now())).unzip()
}

fn silence(waiting: &mut Waiting<u32>, tenant: usize) {
    (0..3).for_each(|_| learn(waiting, tenant, Lesson::Silent));
}

/// Sixteen places, of which an eighth is two, and twenty in hand.
#[test]
fn places_are_wanted_where_all_are_taken_and_others_wait_or_cannot_be_seen() {
    let mut waiting = waiting(16, &[0, 0]);
    arrive(&mut waiting, A, Lane::Live, &[0; 14]);
    assert_eq!(admitted(&mut waiting).len(), 12, "its share");
    arrive(&mut waiting, B, Lane::Live, &[1; 3]);
    assert_eq!(admitted(&mut waiting).len(), 3);
    assert_eq!(waiting.too_many_of(A), 0, "a place is free");
    arrive(&mut waiting, B, Lane::Bulk, &[1]);
    assert_eq!(admitted(&mut waiting).len(), 1);
    assert_eq!(waiting.too_many_of(A), 0, "nobody else waits");
    arrive(&mut waiting, B, Lane::Bulk, &[1]);
    assert_eq!(waiting.too_many_of(A), 1, "as many as wait");
    arrive(&mut waiting, B, Lane::Bulk, &[1; 9]);
    assert_eq!(waiting.too_many_of(A), 8, "and as many as the other may have more");
    assert_eq!(waiting.too_many_of(B), 0, "who waits beside it has its share");
}

#[test]
fn behind_a_full_window_there_may_be_others() {
    let mut waiting = waiting(16, &[0, 0]);
    arrive(&mut waiting, B, Lane::Live, &[1; 4]);
    arrive(&mut waiting, A, Lane::Live, &[0; 15]);
    assert_eq!(admitted(&mut waiting).len(), 16);
    assert_eq!(waiting.too_many_of(A), 0, "the broker would send more");
    arrive(&mut waiting, A, Lane::Live, &[0]);
    assert_eq!(waiting.too_many_of(A), 10);
}

#[test]
fn live_goes_before_bulk() {
    let mut waiting = waiting(8, &[0]);
    arrive(&mut waiting, A, Lane::Bulk, &[1, 2]);
    arrive(&mut waiting, A, Lane::Live, &[3]);
    assert_eq!(admitted(&mut waiting), [3, 1, 2]);
}

#[test]
fn tenants_take_turns() {
    let mut waiting = waiting(8, &[0, 0]);
    arrive(&mut waiting, A, Lane::Live, &[1, 2, 3]);
    arrive(&mut waiting, B, Lane::Live, &[11, 12]);
    assert_eq!(admitted(&mut waiting), [1, 11, 2, 12, 3]);
}

#[test]
fn one_of_several_tenants_holds_at_most_its_share_and_its_own_ceiling() {
    let mut both = waiting(8, &[0, 2]);
    arrive(&mut both, A, Lane::Live, &[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(admitted(&mut both), [1, 2, 3, 4, 5, 6], "three quarters of eight");
    let mut small = waiting(8, &[0, 2]);
    arrive(&mut small, B, Lane::Live, &[1, 2, 3]);
    assert_eq!(admitted(&mut small), [1, 2]);
    let mut single = waiting(8, &[0]);
    arrive(&mut single, A, Lane::Live, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(admitted(&mut single).len(), 8, "a single tenant has all places");
}

#[test]
fn bulk_keeps_to_its_share_only_while_live_jobs_wait() {
    let mut waiting = waiting(4, &[1, 0]);
    arrive(&mut waiting, B, Lane::Bulk, &[1, 2, 3]);
    // A holds its one place and has one more live job waiting.
    arrive(&mut waiting, A, Lane::Live, &[8, 9]);
    assert_eq!(admitted(&mut waiting), [8, 1, 2], "half of four for bulk while 9 waits");
    let mut idle = self::waiting(4, &[0]);
    arrive(&mut idle, A, Lane::Bulk, &[1, 2, 3, 4]);
    assert_eq!(admitted(&mut idle).len(), 4, "all places while no live job waits");
}

#[test]
fn a_silent_tenant_holds_an_eighth_and_begins_small_when_it_is_answered() {
    let mut waiting = waiting(16, &[0, 0]);
    waiting.changed_limits();
    (0..2).for_each(|_| learn(&mut waiting, A, Lesson::Silent));
    assert_eq!(waiting.changed_limits(), []);
    learn(&mut waiting, A, Lesson::Silent);
    assert_eq!(waiting.changed_limits(), [(A, 2)]);
    answers(&mut waiting, A, 1);
    assert_eq!(waiting.changed_limits(), [(A, 4)]);
    answers(&mut waiting, A, 3 + 8);
    assert_eq!(waiting.limit(A), 12);
}

#[tokio::test(start_paused = true)]
async fn one_with_a_question_open_for_ten_seconds_is_silent() {
    let mut waiting = waiting(16, &[0, 0]);
    let open = HashMap::from([(A, Instant::now())]);
    waiting.changed_limits();
    time::advance(Duration::from_secs(9)).await;
    waiting.time_passes(&open, Instant::now());
    assert_eq!(waiting.changed_limits(), []);
    time::advance(Duration::from_secs(1)).await;
    waiting.time_passes(&open, Instant::now());
    assert_eq!(waiting.changed_limits(), [(A, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_begins_small_and_again_after_a_minute_without_work() {
    let mut waiting = fresh(64, &[0, 0]);
    assert_eq!(waiting.changed_limits(), [(A, 6), (B, 6)], "an eighth of three quarters");
    arrive(&mut waiting, A, Lane::Live, &[0; 60]);
    let mut places: Vec<_> = std::iter::from_fn(|| waiting.admit(Instant::now())).collect();
    assert_eq!(places.len(), 6);
    answers(&mut waiting, A, 6);
    places.extend(std::iter::from_fn(|| waiting.admit(Instant::now())));
    assert_eq!(places.len(), 12);
    answers(&mut waiting, A, 12 + 24);
    places.extend(std::iter::from_fn(|| waiting.admit(Instant::now())));
    assert_eq!(places.len(), 48);
    let minute = async |waiting: &mut Waiting<u32>| {
        waiting.changed_limits();
        time::advance(IDLE).await;
        waiting.time_passes(&HashMap::new(), Instant::now());
        waiting.changed_limits()
    };
    assert_eq!(minute(&mut waiting).await, [], "it has work");
    waiting.drain();
    places.into_iter().for_each(|(place, _)| leave(&mut waiting, place));
    assert_eq!(minute(&mut waiting).await, [(A, 6)]);
}

#[test]
fn what_the_store_had_already_is_an_answer_but_not_of_ccfs() {
    let mut waiting = fresh(16, &[0, 0]);
    (0..4).for_each(|_| learn(&mut waiting, A, Lesson::Stored));
    assert_eq!(waiting.limit(A), 8);
    silence(&mut waiting, A);
    learn(&mut waiting, A, Lesson::Stored);
    assert_eq!(waiting.limit(A), 2, "it is silent still");
}

#[test]
fn a_throttled_tenant_holds_half() {
    let mut waiting = waiting(16, &[0, 0]);
    learn(&mut waiting, A, Lesson::Throttled);
    assert_eq!((waiting.limit(A), waiting.limit(B)), (6, 12));
}

#[test]
fn a_place_given_back_is_taken_by_the_next() {
    let mut waiting = waiting(1, &[0]);
    arrive(&mut waiting, A, Lane::Bulk, &[1, 2]);
    let (place, _) = waiting.admit(Instant::now()).unwrap();
    assert_eq!(waiting.admit(Instant::now()), None);
    leave(&mut waiting, place);
    assert_eq!(admitted(&mut waiting), [2]);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_after_a_minute() {
    let mut waiting = waiting(1, &[0]);
    arrive(&mut waiting, A, Lane::Live, &[1]);
    time::advance(PATIENCE / 2).await;
    arrive(&mut waiting, A, Lane::Live, &[2]);
    time::advance(PATIENCE / 2).await;
    let expired = waiting.expired(Instant::now()).map(|(_leaving, item)| item);
    assert_eq!(expired, Some(1));
    assert_eq!(waiting.expired(Instant::now()), None);
    assert_eq!(waiting.drain(), [2]);
    assert_eq!(waiting.admit(Instant::now()), None);
}

/// Sixteen places and a window of twenty, which tenant A fills.
fn full_of_one() -> Waiting<u32> {
    let mut waiting = waiting(16, &[0, 0]);
    arrive(&mut waiting, A, Lane::Live, &(1..=20).collect::<Vec<_>>());
    waiting
}

#[test]
fn a_silent_tenant_makes_way_in_a_full_window_the_last_first() {
    let mut waiting = full_of_one();
    silence(&mut waiting, A);
    assert_eq!(admitted(&mut waiting), [1, 2]);
    let (leaving, items) = parked(&mut waiting);
    assert_eq!(items, [20], "one at first");
    leaving.into_iter().for_each(|place| leave(&mut waiting, place));
    assert_eq!(parked(&mut waiting).1, NONE, "there is room now");
    arrive(&mut waiting, B, Lane::Live, &[31]);
    assert_eq!(admitted(&mut waiting), [31]);
    assert_eq!(parked(&mut waiting).1, [19, 18], "full again: twice as many");
}

#[test]
fn nobody_makes_way_while_all_places_are_taken_or_others_are_at_hand() {
    let mut busy = waiting(16, &[0, 0, 0]);
    silence(&mut busy, A);
    arrive(&mut busy, A, Lane::Live, &[1, 2, 3, 4, 5, 6]);
    arrive(&mut busy, B, Lane::Live, &[11, 12, 13, 14, 15, 16, 17]);
    arrive(&mut busy, C, Lane::Live, &[21, 22, 23, 24, 25, 26, 27]);
    assert_eq!(admitted(&mut busy).len(), 16);
    assert_eq!(parked(&mut busy).1, NONE);

    let mut ready = waiting(16, &[0, 0]);
    silence(&mut ready, A);
    arrive(&mut ready, B, Lane::Live, &(101..=116).collect::<Vec<_>>());
    arrive(&mut ready, A, Lane::Live, &[1, 2, 3, 4]);
    assert_eq!(admitted(&mut ready).len(), 12 + 2);
    assert_eq!(parked(&mut ready).1, NONE, "four of the other wait, who is at its share");
}

#[test]
fn a_single_tenant_and_one_that_gets_on_make_no_way() {
    let mut single = waiting(16, &[0]);
    silence(&mut single, A);
    arrive(&mut single, A, Lane::Live, &(1..=20).collect::<Vec<_>>());
    assert_eq!(admitted(&mut single), [1, 2]);
    assert_eq!(parked(&mut single).1, NONE);

    let mut well = full_of_one();
    assert_eq!(admitted(&mut well).len(), 12, "its share");
    assert_eq!(parked(&mut well).1, NONE);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_stalls_midway_makes_way() {
    let mut waiting = full_of_one();
    assert_eq!(admitted(&mut waiting).len(), 12);
    time::advance(Duration::from_secs(2)).await;
    assert_eq!(parked(&mut waiting).1, [20]);
    answers(&mut waiting, A, 1);
    arrive(&mut waiting, A, Lane::Live, &[21]);
    assert_eq!(parked(&mut waiting).1, NONE, "it gets on");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_just_begun_makes_way_for_two_windows_where_it_is_not_answered_soon() {
    let mut waiting = fresh(16, &[0, 0]);
    arrive(&mut waiting, A, Lane::Live, &[0; 20]);
    assert_eq!(admitted(&mut waiting).len(), 4);
    assert_eq!(parked(&mut waiting).1, NONE, "it may be answered at any moment");
    time::advance(Duration::from_millis(250)).await;
    assert_eq!(pass_by(&mut waiting, 1000), 2 * 20);
    time::advance(Duration::from_secs(2)).await;
    assert_eq!(pass_by(&mut waiting, 1000), 1000, "it has been silent for longer");
    answers(&mut waiting, A, 1);
    assert_eq!(pass_by(&mut waiting, 1000), 0, "it is on its way up");
}

#[tokio::test(start_paused = true)]
async fn one_that_may_turn_out_not_to_get_on_or_rests_is_looked_at_in_time() {
    let mut waiting = fresh(16, &[0, 0]);
    let began = Instant::now();
    arrive(&mut waiting, A, Lane::Live, &[0; 19]);
    assert_eq!(admitted(&mut waiting).len(), 4);
    assert_eq!(waiting.look_again(began), None, "the broker would send more");
    arrive(&mut waiting, A, Lane::Live, &[0]);
    let at = waiting.look_again(began).expect("it has not been heard");
    assert_eq!(at - began, Duration::from_millis(250));
    time::advance(at - began).await;
    assert_eq!(waiting.look_again(Instant::now()), None, "it is known");
    assert_eq!(parked(&mut waiting).1.len(), 1);

    let mut refused = fresh(16, &[0, 0]);
    arrive(&mut refused, A, Lane::Live, &[1, 2, 3, 4, 5]);
    assert_eq!(admitted(&mut refused).len(), 4);
    for _ in 0..3 {
        time::advance(Duration::from_millis(1)).await;
        learn(&mut refused, A, Lesson::Throttled);
    }
    let now = Instant::now();
    assert_eq!(refused.look_again(now), Some(now + Duration::from_secs(1)), "it rests");
}

#[tokio::test(start_paused = true)]
async fn behind_one_that_has_just_begun_it_is_looked_further_until_it_is_heard_or_makes_way() {
    let looks = |waiting: &Waiting<u32>| waiting.looks_further(Instant::now());
    let full = |tenants: &[usize]| {
        let mut waiting = fresh(16, tenants);
        arrive(&mut waiting, A, Lane::Live, &[0; 19]);
        assert_eq!(admitted(&mut waiting).len(), 4);
        assert!(!looks(&waiting), "the broker would send more");
        arrive(&mut waiting, A, Lane::Live, &[0]);
        waiting
    };
    assert!(!looks(&full(&[0])), "a single tenant is in nobody's way");
    let mut heard = full(&[0, 0]);
    assert!(looks(&heard));
    answers(&mut heard, A, 1);
    assert!(!looks(&heard), "it is on its way up");
    let silent = full(&[0, 0]);
    time::advance(Duration::from_millis(250)).await;
    assert!(!looks(&silent), "it makes way");
}

#[tokio::test(start_paused = true)]
async fn past_a_long_backlog_more_is_in_hand() {
    let mut waiting = waiting(16, &[1, 0]);
    arrive(&mut waiting, A, Lane::Live, &[0; 20]);
    assert_eq!(admitted(&mut waiting).len(), 1);
    assert!(!waiting.looks_further(Instant::now()), "it begins gently");
    assert_eq!(pass_by(&mut waiting, 1000), 1000);
    assert!(waiting.looks_further(Instant::now()));
    time::advance(Duration::from_secs(1)).await;
    assert!(!waiting.looks_further(Instant::now()), "nothing is in the way any more");
}

/// How many of A's make way, of so many that stand behind the window.
fn pass_by(waiting: &mut Waiting<u32>, behind: usize) -> usize {
    let mut passed = 0;
    while passed < behind {
        let (places, _) = parked(waiting);
        if places.is_empty() {
            break;
        }
        for place in places {
            leave(waiting, place);
            arrive(waiting, A, Lane::Live, &[0]);
            passed += 1;
        }
    }
    passed.min(behind)
}

/// A tenant with two places, and a call of another behind its backlog.
#[test]
fn a_backlog_makes_way_more_and_more_at_once_until_another_comes() {
    let mut waiting = waiting(16, &[2, 0]);
    arrive(&mut waiting, A, Lane::Live, &[0; 20]);
    assert_eq!(admitted(&mut waiting).len(), 2);
    assert_eq!(pass_by(&mut waiting, 10_000), 10_000);
    let (places, _) = parked(&mut waiting);
    assert!(places.len() > 8, "{} at once", places.len());
    let room = places.len();
    places.into_iter().for_each(|place| leave(&mut waiting, place));
    arrive(&mut waiting, B, Lane::Live, &vec![7; room]);
    assert_eq!(admitted(&mut waiting), vec![7; room.min(12)]);
}

#[test]
fn a_tenant_that_is_throttled_or_limited_makes_way() {
    let mut throttled = full_of_one();
    learn(&mut throttled, A, Lesson::Throttled);
    assert_eq!(admitted(&mut throttled).len(), 6);
    assert_eq!(parked(&mut throttled).1, [20]);

    let mut limited = waiting(16, &[4, 0]);
    arrive(&mut limited, A, Lane::Live, &(1..=20).collect::<Vec<_>>());
    assert_eq!(admitted(&mut limited).len(), 4);
    assert_eq!(parked(&mut limited).1, [20]);
}

#[test]
fn what_cannot_be_settled_gives_its_place_and_keeps_nobody_from_making_way() {
    let mut waiting = waiting(16, &[4, 0]);
    arrive(&mut waiting, A, Lane::Live, &(1..=20).collect::<Vec<_>>());
    let (place, _) = waiting.admit(Instant::now()).unwrap();
    assert_eq!(admitted(&mut waiting).len(), 3);
    let aside = waiting.step_aside(place, Instant::now());
    assert_eq!(admitted(&mut waiting), [5], "its place is the next one's");
    let (leaving, items) = parked(&mut waiting);
    assert_eq!(items, [20], "it is in hand, and is not being parked");
    leaving.into_iter().for_each(|place| leave(&mut waiting, place));
    leave(&mut waiting, aside);
    arrive(&mut waiting, A, Lane::Live, &[21]);
    assert_eq!(parked(&mut waiting).1, NONE, "there is room for one more");
}

#[test]
fn the_windows_of_live_and_bulk_are_two() {
    let mut waiting = waiting(16, &[0, 0]);
    silence(&mut waiting, A);
    arrive(&mut waiting, A, Lane::Bulk, &(1..=20).collect::<Vec<_>>());
    arrive(&mut waiting, A, Lane::Live, &[31, 32, 33]);
    assert_eq!(admitted(&mut waiting), [31, 32]);
    assert_eq!(parked(&mut waiting).1, [20], "the live one keeps its turn");
}

#[test]
fn a_ceiling_that_changes_takes_effect() {
    let mut waiting = waiting(16, &[0, 0]);
    waiting.changed_limits();
    waiting.configure(&[(A, 4), (B, 0)]);
    assert_eq!(waiting.changed_limits(), [(A, 4)]);
    waiting.configure(&[(A, 0)]);
    answers(&mut waiting, A, 32);
    assert_eq!(waiting.limit(A), 16, "it is the only one now");
    arrive(&mut waiting, A, Lane::Live, &[0; 20]);
    assert_eq!(admitted(&mut waiting).len(), 16);
    waiting.changed_limits();
    waiting.configure(&[(A, 0), (B, 0), (C, 2)]);
    assert_eq!(waiting.changed_limits(), [(A, 12), (B, 4), (C, 2)], "and B begins anew");
}

#[test]
fn of_a_tenant_that_went_what_is_in_hand_goes_on_and_nothing_else_is_kept() {
    let mut waiting = waiting(16, &[2, 0]);
    learn(&mut waiting, A, Lesson::Throttled);
    arrive(&mut waiting, A, Lane::Live, &[1, 2, 3]);
    let (first, _) = waiting.admit(Instant::now()).unwrap();
    waiting.configure(&[(B, 0)]);
    assert_eq!(admitted(&mut waiting), NONE, "with the limit that it had");
    leave(&mut waiting, first);
    let (second, _) = waiting.admit(Instant::now()).unwrap();
    leave(&mut waiting, second);
    let (third, _) = waiting.admit(Instant::now()).unwrap();
    leave(&mut waiting, third);
    silence(&mut waiting, A);
    waiting.changed_limits();
    waiting.configure(&[(A, 8), (B, 0)]);
    assert_eq!(waiting.changed_limits(), [(A, 4)], "it begins anew");
}

#[test]
fn messages_of_nobody_wait_for_no_tenant() {
    let mut waiting = waiting(4, &[]);
    arrive(&mut waiting, NOBODY, Lane::Live, &[1, 2, 3, 4, 5]);
    assert_eq!(admitted(&mut waiting), [1, 2, 3, 4]);
    assert_eq!(waiting.changed_limits(), [], "they have no limit to show");
}
