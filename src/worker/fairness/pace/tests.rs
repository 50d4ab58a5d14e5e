use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

fn answers(pace: &mut Pace, count: usize) {
    (0..count).for_each(|_| pace.went_well());
}

fn at_its_ceiling(ceiling: usize) -> Pace {
    let mut pace = Pace::new(ceiling);
    answers(&mut pace, 10 * ceiling);
    assert_eq!(pace.limit(), ceiling);
    pace
}

#[test]
fn it_begins_with_an_eighth_and_doubles_with_each_window_of_answers() {
    let mut pace = Pace::new(64);
    let mut seen = vec![pace.limit()];
    for _ in 0..8 + 16 + 32 {
        pace.went_well();
        if *seen.last().unwrap() != pace.limit() {
            seen.push(pace.limit());
        }
    }
    assert_eq!(seen, [8, 16, 32, 64]);
    assert_eq!(
        [1, 3, 4, 12, 48, 2048].map(|ceiling| Pace::new(ceiling).limit()),
        [1, 3, 4, 4, 6, 256]
    );
}

#[test]
fn the_last_answer_of_a_window_doubles_it_and_none_before() {
    let mut pace = Pace::new(64);
    answers(&mut pace, 7);
    assert_eq!(pace.limit(), 8);
    answers(&mut pace, 1);
    assert_eq!(pace.limit(), 16);
}

#[test]
fn it_begins_again_with_the_eighth_or_less() {
    let mut pace = at_its_ceiling(64);
    pace.begin_again();
    assert_eq!(pace.limit(), 8);
    answers(&mut pace, 8);
    assert_eq!(pace.limit(), 16, "it doubles as at first");

    let now = Instant::now();
    (0..3).for_each(|n| pace.throttled(now + Duration::from_secs(n), now + Duration::from_secs(n)));
    pace.begin_again();
    assert_eq!(pace.limit(), 2, "what is known of its servers is not forgotten");
}

#[test]
fn a_burst_of_throttling_halves_once() {
    let now = Instant::now();
    let mut pace = at_its_ceiling(64);
    (0..40).for_each(|_| pace.throttled(now, now));
    assert_eq!(pace.limit(), 32);
    pace.throttled(now, now + Duration::from_secs(60));
    assert_eq!(pace.limit(), 32, "it was sent before");
    pace.throttled(now + Duration::from_millis(1), now + Duration::from_millis(2));
    assert_eq!(pace.limit(), 16);
}

#[test]
fn it_doubles_up_to_half_of_what_was_refused_and_rises_by_one_from_there() {
    let now = Instant::now();
    let mut pace = at_its_ceiling(64);
    pace.throttled(now, now);
    pace.begin_again();
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(pace.limit());
        let window = pace.limit();
        answers(&mut pace, window);
    }
    assert_eq!(seen, [8, 16, 32, 33, 34, 35]);
}

#[test]
fn right_below_what_was_refused_it_stays() {
    let now = Instant::now();
    let mut pace = Pace::new(64);
    pace.throttled(now, now);
    assert_eq!(pace.limit(), 4);
    answers(&mut pace, 4 + 5 + 6);
    assert_eq!(pace.limit(), 7);
    answers(&mut pace, 7 * AT_THE_EDGE - 1);
    assert_eq!(pace.limit(), 7);
    answers(&mut pace, 1);
    assert_eq!(pace.limit(), 8);
    answers(&mut pace, 8 + 9);
    assert_eq!(pace.limit(), 10, "it is taken now");
}

#[test]
fn it_never_falls_below_one_nor_rises_above_its_ceiling_and_rests_where_one_is_too_many() {
    let mut now = Instant::now();
    let mut pace = Pace::new(3);
    for _ in 0..5 {
        now += Duration::from_millis(1);
        pace.throttled(now, now);
    }
    assert_eq!(pace.limit(), 1);
    assert!(!pace.allows(0, now + REST / 2));
    assert!(pace.allows(0, now + REST));
    answers(&mut pace, 100);
    assert_eq!(pace.limit(), 3);
}

#[test]
fn a_ceiling_that_changes_takes_effect() {
    let mut pace = at_its_ceiling(64);
    pace.configure(16);
    assert_eq!(pace.limit(), 16);
    pace.configure(64);
    assert_eq!(pace.limit(), 16);
    answers(&mut pace, 16);
    assert_eq!(pace.limit(), 32);
    let mut small = Pace::new(2);
    small.configure(64);
    assert_eq!(small.limit(), 8, "an eighth of what it may have now");
    let now = Instant::now();
    small.throttled(now, now);
    small.configure(128);
    assert_eq!(small.limit(), 4, "what was refused is not forgotten");
}

/// A server that takes so many at once, and those who ask it.
struct Served {
    refused: usize,
    took: Duration,
    /// The limit after each end, of the second half.
    settled: Vec<usize>,
}

/// Each answer takes `TIME`, a refusal no time to speak of.
const TIME: Duration = Duration::from_millis(60);
const REFUSAL: Duration = Duration::from_millis(3);

fn serve(takes: usize, recordings: usize) -> Served {
    let began = Instant::now();
    let mut now = began;
    let mut pace = Pace::new(48);
    // When it ends, when it began, whether it was refused.
    let mut in_flight = BinaryHeap::new();
    let (mut served, mut refused, mut settled) = (0, 0, Vec::new());
    while served < recordings {
        while pace.allows(in_flight.len(), now) {
            let at_work = in_flight.iter().filter(|Reverse((_, _, refused))| !refused).count();
            let is_refused = at_work >= takes;
            let ends = now + if is_refused { REFUSAL } else { TIME };
            in_flight.push(Reverse((ends, now, is_refused)));
        }
        let Some(Reverse((ends, since, was_refused))) = in_flight.pop() else {
            now += REST;
            continue;
        };
        now = ends;
        if was_refused {
            refused += 1;
            pace.throttled(since, now);
        } else {
            served += 1;
            pace.went_well();
        }
        if served > recordings / 2 {
            settled.push(pace.limit());
        }
    }
    Served { refused, took: now - began, settled }
}

#[test]
fn it_settles_near_what_the_server_allows() {
    for (takes, recordings) in [(4, 300), (8, 1000), (20, 3000)] {
        let Served { refused, took, settled } = serve(takes, recordings);
        assert!(
            refused * 20 <= recordings,
            "{refused} of {recordings} refused, of {takes} at once"
        );
        let rounds = u32::try_from(recordings.div_ceil(takes)).unwrap();
        let ideal = TIME * rounds;
        assert!(took * 100 < ideal * 115, "{took:?} for {ideal:?}, of {takes} at once");
        let range = takes / 2..=takes + 1;
        assert!(settled.iter().all(|limit| range.contains(limit)), "{takes}: {settled:?}");
    }
    // One at a time: a second would be refused each time, and is tried now and then.
    let Served { refused, .. } = serve(1, 300);
    assert!(refused * 5 <= 300, "{refused}");
}
