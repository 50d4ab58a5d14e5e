use lapin::types::LongString;

use super::*;
use crate::broker::headers::*;
use crate::broker::tests::settings;

const FRAME_MAX: usize = 131_072;

fn names() -> Names {
    Names::new(&settings())
}

fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn words(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text.as_bytes().to_vec()))
}

fn death(queue: &str, reason: &str) -> AMQPValue {
    AMQPValue::FieldTable(table(&[("queue", words(queue)), ("reason", words(reason))]))
}

fn now() -> Timestamp {
    "2026-04-25T05:12:44Z".parse().unwrap()
}

fn parse(headers: &FieldTable) -> State {
    State::parse(headers, "cv.jobs", &names(), now())
}

#[test]
fn a_message_without_headers_has_no_past() {
    let state = parse(&FieldTable::default());
    assert_eq!(state, State { origin: Some("cv.jobs".into()), ..State::default() });
}

#[test]
fn hostile_values_are_clamped() {
    for (value, counted) in [
        (AMQPValue::LongLongInt(i64::MAX), MAX_COUNT),
        (AMQPValue::LongLongInt(i64::MIN), 0),
        (AMQPValue::LongInt(-1), 0),
        (AMQPValue::LongUInt(u32::MAX), MAX_COUNT),
        (AMQPValue::ShortShortInt(7), 7),
        (words("5"), 5),
        (words("-5"), 0),
        (words("99999999999999999999"), 0),
        (AMQPValue::LongString(LongString::from(vec![0xff, 0xfe])), 0),
        (AMQPValue::Double(f64::NAN), 0),
        (AMQPValue::FieldTable(FieldTable::default()), 0),
    ] {
        let state = parse(&table(&[(ATTEMPTS, value.clone()), (CRASHES, value.clone())]));
        assert_eq!((state.attempts, state.crashes), (counted, counted), "{value:?}");
        assert!(state.attempts.checked_add(1).is_some());
    }
}

#[test]
fn first_seen_is_a_time_and_never_in_the_future() {
    let at = |text: &str| parse(&table(&[(FIRST_SEEN, words(text))])).first_seen;
    assert_eq!(at("2026-04-24T00:00:00Z"), Some("2026-04-24T00:00:00Z".parse().unwrap()));
    assert_eq!(at("9999-01-01T00:00:00Z"), Some(now()));
    assert_eq!(at("yesterday"), None);
}

#[test]
fn a_redrive_id_that_could_not_be_ours_is_ignored() {
    let redrive = |text: &str| parse(&table(&[(REDRIVE, words(text))])).redrive;
    assert_eq!(redrive("a1b2"), Some("a1b2".into()));
    assert_eq!(redrive(""), None);
    assert_eq!(redrive("a\nb"), None);
    assert_eq!(redrive(&"x".repeat(MAX_REDRIVE + 1)), None);
}

#[test]
fn the_origin_of_a_suspect_is_dug_from_where_it_died() {
    let origin =
        |headers: &FieldTable| State::parse(headers, "cv.suspect", &names(), now()).origin.unwrap();
    let deaths = |deaths: Vec<AMQPValue>| AMQPValue::FieldArray(deaths.into());
    // It waited in a retry queue before it was around at a crash.
    let waited = table(&[
        (
            "x-death",
            deaths(vec![death("cv.bulk", "delivery_limit"), death("cv.retry.5s", "expired")]),
        ),
        ("x-first-death-queue", words("cv.retry.5s")),
        (QUEUE, words("cv.jobs")),
    ]);
    assert_eq!(origin(&waited), "cv.bulk");
    // Our own retry of a suspect: no death in bulk to be seen any more.
    let retried = table(&[
        ("x-death", deaths(vec![death("cv.retry.5s", "expired")])),
        (QUEUE, words("cv.bulk")),
    ]);
    assert_eq!(origin(&retried), "cv.bulk");
    assert_eq!(origin(&table(&[("x-first-death-queue", words("cv.bulk"))])), "cv.bulk");
    // Nonsense ends in jobs.
    let hostile = table(&[("x-death", words("cv.bulk")), (QUEUE, words("amq.topic"))]);
    assert_eq!(origin(&hostile), "cv.jobs");
}

#[test]
fn a_queue_of_its_own_cannot_be_talked_into_another_origin() {
    assert_eq!(parse(&table(&[(QUEUE, words("cv.bulk"))])).origin, Some("cv.jobs".into()));
}

#[test]
fn a_copy_carries_the_state_and_reads_back_the_same() {
    let state = State {
        attempts: 3,
        step: 5,
        idle_since: None,
        expanded: true,
        first_seen: Some("2026-04-24T00:00:00Z".parse().unwrap()),
        crashes: 1,
        origin: Some("cv.bulk".into()),
        unproven: Some(Unproven {
            came: Came { size: 2_408_044, sha256: [0xab; 32] },
            reason: Reason::CCFS_TRUNCATED,
            times: 2,
        }),
        redrive: Some("r1".into()),
    };
    let verdict =
        Verdict { reason: &Reason::CCFS_TIMEOUT, detail: "slow", end: End::Retried(now()) };
    let (headers, whole) = copied_headers(&FieldTable::default(), &state, &verdict, FRAME_MAX);
    assert!(whole);
    assert_eq!(State::parse(&headers, "cv.bulk", &names(), now()), state);
    assert_eq!(headers.inner()[REASON], words("ccfs.timeout"));
    let unproven = format!("2;2408044;{};ccfs.truncated", "ab".repeat(32));
    assert_eq!(headers.inner()[UNPROVEN], words(&unproven));
    assert!(!headers.contains_key(DEAD_AT));
}

#[test]
fn what_is_no_word_of_ours_on_what_came_is_none() {
    let hash = "ab".repeat(32);
    for foreign in [
        String::new(),
        "2;1;ab;ccfs.truncated".into(),
        format!("-1;1;{hash};ccfs.truncated"),
        format!("2;1;{hash}"),
        format!("2;1;{hash};store.SlowDown"),
        format!("2;1;{hash};ccfs.+49 155 501"),
    ] {
        assert_eq!(parse(&table(&[(UNPROVEN, words(&foreign))])).unproven, None, "{foreign}");
    }
}

#[test]
fn a_copy_leaves_out_what_would_harm_it_and_what_is_stale() {
    let original = table(&[
        ("CC", words("elsewhere")),
        ("BCC", words("elsewhere")),
        ("x-death", words("x")),
        ("x-first-death-queue", words("x")),
        ("x-last-death-reason", words("x")),
        ("x-delivery-count", AMQPValue::LongInt(3)),
        ("x-acquired-count", AMQPValue::LongLongInt(3)),
        ("x-opt-rabbitmq-sent-time", AMQPValue::LongLongInt(3)),
        (SUSPECT, words("2020-01-01T00:00:00Z")),
        (DEAD_AT, words("2020-01-01T00:00:00Z")),
        (RETRIED_AT, words("2020-01-01T00:00:00Z")),
        (REDRIVE, words("old")),
        ("trace", words("kept")),
    ]);
    let verdict = Verdict { reason: &Reason::CCFS_EMPTY, detail: "", end: End::Retried(now()) };
    let (headers, _) = copied_headers(&original, &State::default(), &verdict, FRAME_MAX);
    let names: Vec<_> = headers.inner().keys().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(names, [ATTEMPTS, CRASHES, DETAIL, REASON, RETRIED_AT, STEP, "trace"]);
    assert_eq!(headers.inner()[RETRIED_AT], words("2026-04-25T05:12:44Z"));
}

#[test]
fn a_marked_copy_keeps_its_past_and_says_where_its_story_began() {
    let death = AMQPValue::FieldArray(vec![death("cv.bulk", "delivery_limit")].into());
    let original = table(&[
        ("x-death", death.clone()),
        ("x-delivery-count", AMQPValue::LongInt(3)),
        (ATTEMPTS, AMQPValue::LongLongInt(2)),
        (REASON, words("ccfs.timeout")),
        (REDRIVE, words("r1")),
        (FIRST_SEEN, words("2026-04-25T03:00:00Z")),
        (IDLE_SINCE, words("2026-04-25T04:12:44Z")),
        ("trace", words("kept")),
    ]);
    let before = State::parse(&original, "cv.suspect", &names(), now());
    assert_eq!(mark_of(&original), None);
    let (headers, whole) = marked_headers(&original, &before, now(), FRAME_MAX);
    assert!(whole && mark_of(&headers).is_some());
    assert_eq!(State::parse(&headers, "cv.suspect", &names(), now()), before);
    let found: Vec<_> = headers.inner().keys().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(found, [ATTEMPTS, FIRST_SEEN, QUEUE, REASON, REDRIVE, SUSPECT, "trace"]);
    // What was dead-lettered with a mark has it from elsewhere; a retry has none.
    let mut elsewhere = headers.clone();
    elsewhere.insert("x-death".into(), death);
    assert_eq!(mark_of(&elsewhere), None);
    let verdict = Verdict { reason: &Reason::CCFS_EMPTY, detail: "", end: End::Retried(now()) };
    assert_eq!(mark_of(&copied_headers(&headers, &before, &verdict, FRAME_MAX).0), None);
}

#[test]
fn a_forwarded_copy_keeps_its_past_but_for_the_queue_and_does_not_age_while_it_waits() {
    let original = table(&[
        ("x-delivery-count", AMQPValue::LongInt(3)),
        ("CC", words("elsewhere")),
        (ATTEMPTS, AMQPValue::LongLongInt(2)),
        (STEP, AMQPValue::LongLongInt(4)),
        (REDRIVE, words("r1")),
        (FIRST_SEEN, words("2026-04-25T03:00:00Z")),
        (IDLE_SINCE, words("2026-04-25T04:12:44Z")),
        (QUEUE, words("cv.jobs")),
        (EXPANDED, words("true")),
        (SUSPECT, words("2020-01-01T00:00:00Z")),
        ("trace", words("kept")),
    ]);
    let before = parse(&original);
    let (headers, whole) = forwarded_headers(&original, &before, now(), FRAME_MAX);
    let found: Vec<_> = headers.inner().keys().map(|name| name.as_str().to_owned()).collect();
    let wanted = [ATTEMPTS, EXPANDED, FIRST_SEEN, IDLE_SINCE, REDRIVE, STEP, "trace"];
    assert!(whole && found == wanted, "{found:?}");
    let hour = SignedDuration::from_hours(1);
    let after = State::parse(&headers, "cv.bulk", &names(), now() + hour);
    let aged = before.first_seen.map(|first| first + hour);
    assert_eq!(after, State { first_seen: aged, origin: Some("cv.bulk".into()), ..before });

    // What comes for the first time has no past.
    let fresh = table(&[("trace", words("kept"))]);
    let (headers, _) = forwarded_headers(&fresh, &parse(&fresh), now(), FRAME_MAX);
    assert_eq!(headers, fresh);
}

#[test]
fn of_headers_too_large_for_a_frame_the_largest_are_left_out_and_a_detail_is_cut_between_characters()
 {
    let detail = "é".repeat(MAX_DETAIL);
    let verdict = Verdict { reason: &Reason::CCFS_EMPTY, detail: &detail, end: End::Dead(now()) };
    // The broker says how large its frames are.
    for frame_max in [FRAME_MAX, 65_536, 16_384] {
        let half = words(&"x".repeat(frame_max * 3 / 8));
        let original = table(&[("a", half.clone()), ("bigger", half), ("trace", words("kept"))]);
        let (headers, whole) = copied_headers(&original, &State::default(), &verdict, frame_max);
        assert!(!whole && headers.contains_key("a") && !headers.contains_key("bigger"));
        assert_eq!(headers.inner()["trace"], words("kept"));
        assert_eq!(headers.inner()[DETAIL], words(&"é".repeat(MAX_DETAIL / 2)));
        assert!(table_bytes(&headers) < frame_max);
    }
}

#[test]
fn what_stands_under_our_names_and_is_too_long_to_be_ours_is_not_marked_along() {
    let original =
        table(&[(DETAIL, words(&"x".repeat(FRAME_MAX))), (REASON, words("job.crashed"))]);
    let (headers, _) = marked_headers(&original, &State::default(), now(), FRAME_MAX);
    assert!(!headers.contains_key(DETAIL));
    assert_eq!(reason_of(&headers), Some("job.crashed"));
}

#[test]
fn what_a_message_spent_idle_is_taken_off_its_age() {
    let first = "2026-04-20T00:00:00Z";
    let aged = |idle_since: &str| {
        parse(&table(&[(FIRST_SEEN, words(first)), (IDLE_SINCE, words(idle_since))])).first_seen
    };
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    assert_eq!(aged("2026-04-25T05:00:00Z"), at("2026-04-20T00:12:44Z"));
    assert_eq!(aged("2026-04-26T00:00:00Z"), at(first), "it came before it was due");
    assert_eq!(aged("1970-01-01T00:00:00Z"), Some(now()), "never in the future");
    assert_eq!(aged("nonsense"), at(first));
}

#[test]
fn a_copy_says_since_when_it_is_idle_and_a_delivery_has_read_it() {
    let state = State { first_seen: Some(now()), idle_since: Some(now()), ..State::default() };
    let verdict =
        Verdict { reason: &Reason::STORE_TIMEOUT, detail: "down", end: End::Retried(now()) };
    let (headers, _) = copied_headers(&FieldTable::default(), &state, &verdict, FRAME_MAX);
    assert_eq!(text(&headers, IDLE_SINCE), Some("2026-04-25T05:12:44Z"));
    assert_eq!(parse(&headers).idle_since, None);
    let (again, _) = copied_headers(&headers, &parse(&headers), &verdict, FRAME_MAX);
    assert_eq!(text(&again, IDLE_SINCE), None, "not what an earlier copy said");
}
