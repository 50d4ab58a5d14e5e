use tokio::time;

use super::*;

const NONE: [u32; 0] = [];

/// Deliveries in hand beyond the places.
const SURPLUS: usize = 4;

fn waiting(concurrency: usize, ceilings: &[usize]) -> Waiting<u32> {
    let settings = config::Worker {
        concurrency,
        bulk_share: 0.5,
        tenant_share: 0.75,
        memory: 0,
        job_deadline: Duration::ZERO,
        drain_timeout: Duration::ZERO,
    };
    Waiting::new(&settings, concurrency + SURPLUS, ceilings)
}

fn answer(waiting: &mut Waiting<u32>, tenant: usize) {
    waiting.learn(tenant, Lesson::Answered, Instant::now());
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
    (0..3).for_each(|_| {
        waiting.learn(tenant, Lesson::Silent, Instant::now());
    });
}

/// Sixteen places, of which an eighth is two, and twenty in hand.
#[test]
fn places_are_wanted_where_all_are_taken_and_others_wait_or_cannot_be_seen() {
    let mut waiting = waiting(16, &[0, 0]);
    arrive(&mut waiting, 0, Lane::Live, &[0; 14]);
    assert_eq!(admitted(&mut waiting).len(), 12, "its share");
    arrive(&mut waiting, 1, Lane::Live, &[1; 3]);
    assert_eq!(admitted(&mut waiting).len(), 3);
    assert_eq!(waiting.too_many_of(0), 0, "a place is free");
    arrive(&mut waiting, 1, Lane::Bulk, &[1]);
    assert_eq!(admitted(&mut waiting).len(), 1);
    assert_eq!(waiting.too_many_of(0), 0, "nobody else waits");
    arrive(&mut waiting, 1, Lane::Bulk, &[1]);
    assert_eq!(waiting.too_many_of(0), 1, "as many as wait");
    arrive(&mut waiting, 1, Lane::Bulk, &[1; 9]);
    assert_eq!(waiting.too_many_of(0), 8, "and as many as the other may have more");
    assert_eq!(waiting.too_many_of(1), 0, "who waits beside it has its share");
}

#[test]
fn behind_a_full_window_there_may_be_others() {
    let mut waiting = waiting(16, &[0, 0]);
    arrive(&mut waiting, 1, Lane::Live, &[1; 4]);
    arrive(&mut waiting, 0, Lane::Live, &[0; 15]);
    assert_eq!(admitted(&mut waiting).len(), 16);
    assert_eq!(waiting.too_many_of(0), 0, "the broker would send more");
    arrive(&mut waiting, 0, Lane::Live, &[0]);
    assert_eq!(waiting.too_many_of(0), 10);
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
    (0..2).for_each(|_| assert!(!waiting.learn(0, Lesson::Silent, now)));
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
    let (place, _) = waiting.admit(Instant::now()).unwrap();
    assert_eq!(waiting.admit(Instant::now()), None);
    waiting.leave(place);
    assert_eq!(admitted(&mut waiting), [2]);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_after_a_minute() {
    let mut waiting = waiting(1, &[0]);
    arrive(&mut waiting, 0, Lane::Live, &[1]);
    time::advance(PATIENCE / 2).await;
    arrive(&mut waiting, 0, Lane::Live, &[2]);
    time::advance(PATIENCE / 2).await;
    let expired = waiting.expired(Instant::now()).map(|(_leaving, item)| item);
    assert_eq!(expired, Some(1));
    assert_eq!(waiting.expired(Instant::now()), None);
    assert_eq!(waiting.drain(), [2]);
    assert_eq!(waiting.admit(Instant::now()), None);
}

/// Sixteen places and a window of twenty, which tenant 0 fills.
fn full_of_one() -> Waiting<u32> {
    let mut waiting = waiting(16, &[0, 0]);
    arrive(&mut waiting, 0, Lane::Live, &(1..=20).collect::<Vec<_>>());
    waiting
}

#[test]
fn a_silent_tenant_makes_way_in_a_full_window_the_last_first() {
    let mut waiting = full_of_one();
    silence(&mut waiting, 0);
    assert_eq!(admitted(&mut waiting), [1, 2]);
    let (leaving, items) = parked(&mut waiting);
    assert_eq!(items, [20, 19], "as many at once as it may have places");
    leaving.into_iter().for_each(|place| waiting.leave(place));
    assert_eq!(parked(&mut waiting).1, NONE, "there is room now");
    arrive(&mut waiting, 1, Lane::Live, &[31]);
    assert_eq!(admitted(&mut waiting), [31]);
    arrive(&mut waiting, 0, Lane::Live, &[21]);
    assert_eq!(parked(&mut waiting).1, [21, 18], "full again");
}

#[test]
fn nobody_makes_way_while_all_places_are_taken_or_others_are_at_hand() {
    let mut busy = waiting(16, &[0, 0, 0]);
    silence(&mut busy, 0);
    arrive(&mut busy, 0, Lane::Live, &[1, 2, 3, 4, 5, 6]);
    arrive(&mut busy, 1, Lane::Live, &[11, 12, 13, 14, 15, 16, 17]);
    arrive(&mut busy, 2, Lane::Live, &[21, 22, 23, 24, 25, 26, 27]);
    assert_eq!(admitted(&mut busy).len(), 16);
    assert_eq!(parked(&mut busy).1, NONE);

    let mut ready = waiting(16, &[0, 0]);
    silence(&mut ready, 0);
    arrive(&mut ready, 1, Lane::Live, &(101..=116).collect::<Vec<_>>());
    arrive(&mut ready, 0, Lane::Live, &[1, 2, 3, 4]);
    assert_eq!(admitted(&mut ready).len(), 12 + 2);
    assert_eq!(parked(&mut ready).1, NONE, "four of the other wait, who is at its share");
}

#[test]
fn a_single_tenant_and_one_that_gets_on_make_no_way() {
    let mut single = waiting(16, &[0]);
    silence(&mut single, 0);
    arrive(&mut single, 0, Lane::Live, &(1..=20).collect::<Vec<_>>());
    assert_eq!(admitted(&mut single), [1, 2]);
    assert_eq!(parked(&mut single).1, NONE);

    let mut well = full_of_one();
    assert_eq!(admitted(&mut well).len(), 12, "its share");
    assert_eq!(parked(&mut well).1, NONE);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_stalls_midway_makes_way_one_at_a_time() {
    let mut waiting = full_of_one();
    assert_eq!(admitted(&mut waiting).len(), 12);
    time::advance(Duration::from_secs(2)).await;
    assert_eq!(parked(&mut waiting).1, [20]);
    answer(&mut waiting, 0);
    arrive(&mut waiting, 0, Lane::Live, &[21]);
    assert_eq!(parked(&mut waiting).1, NONE, "it gets on");
}

#[test]
fn a_tenant_that_is_throttled_or_limited_makes_way_one_at_a_time() {
    let mut throttled = full_of_one();
    throttled.learn(0, Lesson::Throttled, Instant::now());
    assert_eq!(admitted(&mut throttled).len(), 6);
    assert_eq!(parked(&mut throttled).1, [20]);

    let mut limited = waiting(16, &[4, 0]);
    arrive(&mut limited, 0, Lane::Live, &(1..=20).collect::<Vec<_>>());
    assert_eq!(admitted(&mut limited).len(), 4);
    assert_eq!(parked(&mut limited).1, [20]);
}

#[test]
fn what_cannot_be_settled_gives_its_place_and_keeps_nobody_from_making_way() {
    let mut waiting = waiting(16, &[4, 0]);
    arrive(&mut waiting, 0, Lane::Live, &(1..=20).collect::<Vec<_>>());
    let (place, _) = waiting.admit(Instant::now()).unwrap();
    assert_eq!(admitted(&mut waiting).len(), 3);
    let aside = waiting.step_aside(place);
    assert_eq!(admitted(&mut waiting), [5], "its place is the next one's");
    let (leaving, items) = parked(&mut waiting);
    assert_eq!(items, [20], "it is in hand, and is not being parked");
    leaving.into_iter().for_each(|place| waiting.leave(place));
    waiting.leave(aside);
    arrive(&mut waiting, 0, Lane::Live, &[21]);
    assert_eq!(parked(&mut waiting).1, NONE, "there is room for one more");
}

#[test]
fn the_windows_of_live_and_bulk_are_two() {
    let mut waiting = waiting(16, &[0, 0]);
    silence(&mut waiting, 0);
    arrive(&mut waiting, 0, Lane::Bulk, &(1..=20).collect::<Vec<_>>());
    arrive(&mut waiting, 0, Lane::Live, &[31, 32, 33]);
    assert_eq!(admitted(&mut waiting), [31, 32]);
    assert_eq!(parked(&mut waiting).1, [20, 19], "the live one keeps its turn");
}
