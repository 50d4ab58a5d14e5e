//! What a failure does to its message: the table of contract 5, and nothing else. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::broker::State;
use crate::config;
use crate::failure::{Class, Failure, Reason, Unproven};

/// Parked messages wait in the longest configured delay that is no longer than this.
const LONGEST_PARKING: Duration = Duration::from_secs(30);

/// A suspect that comes back from this many crashes is dead.
const MOST_CRASHES: u32 = 3;

/// A body that comes the same at so many tries is what CC-FS has (contract 3, 'At the source').
const EQUAL_TRIES: u32 = 3;

/// The ladder and its ends.
#[derive(Clone, Debug)]
pub struct Policy {
    delays: Vec<Duration>,
    parking: Duration,
    max_attempts: u32,
    max_age: SignedDuration,
    not_ready_window: SignedDuration,
}

/// What becomes of a message that was not archived.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Back later, through the retry queue of `delay`.
    Again { delay: Duration, state: State },
    /// CC-FS had no recording until the window closed.
    Absent { attempts: u32 },
    /// To the dead queue.
    Dead { state: State },
}

/// What is known of a message when one of its tries has failed.
#[derive(Clone, Copy, Debug)]
pub struct Try<'a> {
    /// What its headers said on delivery.
    pub state: &'a State,
    /// The instant that gave the recording its date, where there is one.
    pub known_at: Option<Timestamp>,
    /// It failed for an outage that is known, behind an open breaker.
    pub outage: bool,
    /// When it was delivered.
    pub arrived: Timestamp,
    pub now: Timestamp,
}

impl Policy {
    pub fn new(settings: &config::Retry) -> Self {
        let delays = settings.delays.clone();
        let first = *delays.first().expect("the configuration demands at least one delay");
        let short = delays.iter().copied().filter(|delay| *delay <= LONGEST_PARKING);
        Self {
            parking: short.max().unwrap_or(first),
            delays,
            max_attempts: settings.max_attempts,
            max_age: signed(settings.max_age),
            not_ready_window: signed(settings.not_ready_window),
        }
    }

    /// Applies the table of contract 5 to one failed try.
    pub fn judge(&self, failure: &Failure, attempt: Try<'_>) -> Verdict {
        let seen = with_what_came(attempt.state.seen(attempt.now), failure);
        if attempt.outage {
            return self.sit_out(seen, attempt.arrived);
        }
        let tried = State { attempts: seen.attempts.saturating_add(1), ..seen.clone() };
        match failure.class {
            Class::Permanent => return Verdict::Dead { state: tried },
            Class::NotReady if self.window_closed(attempt) => {
                return Verdict::Absent { attempts: tried.attempts };
            }
            _ if self.too_old(&seen, attempt.now) => return Verdict::Dead { state: tried },
            _ => {}
        }
        match failure.class {
            Class::Failure | Class::Unavailable if tried.attempts >= self.most(failure) => {
                Verdict::Dead { state: tried }
            }
            Class::Failure | Class::Unavailable | Class::Permanent => {
                self.climb(tried, attempt.now)
            }
            Class::NotReady | Class::Refused => self.climb(seen, attempt.now),
            Class::Throttled | Class::Held => self.park(seen, attempt.now),
        }
    }

    /// What contradicts itself is asked for often enough to know whether it is so at the source.
    fn most(&self, failure: &Failure) -> u32 {
        match failure.came {
            Some(_) => self.max_attempts.max(EQUAL_TRIES),
            None => self.max_attempts,
        }
    }

    /// A message that waits for something that is not its fault: uncounted, on the same step.
    pub fn park(&self, state: State, now: Timestamp) -> Verdict {
        again(self.parking, state, now)
    }

    /// Behind an open breaker neither attempts nor age are used up: all the time from when it
    /// `arrived` until it comes again is taken off its age.
    pub fn sit_out(&self, state: State, arrived: Timestamp) -> Verdict {
        Verdict::Again { delay: self.parking, state: State { idle_since: Some(arrived), ..state } }
    }

    /// A suspect that has just come back from a crash waits; at three it is dead. `state` counts
    /// them all. `None` where nothing speaks against it.
    pub fn judge_suspect(&self, state: State, crashed: bool, now: Timestamp) -> Option<Verdict> {
        let crashes = state.crashes;
        if crashes >= MOST_CRASHES {
            return Some(Verdict::Dead { state });
        }
        crashed.then(|| again(self.delay(crashes.saturating_sub(1)), state, now))
    }

    /// What is said of a suspect that came back from crashes.
    pub fn crashed(verdict: &Verdict) -> Failure {
        let crashes = match verdict {
            Verdict::Again { state, .. } | Verdict::Dead { state } => state.crashes,
            Verdict::Absent { .. } => 0,
        };
        let detail = format!("its worker ended while it was the only suspect at work, {crashes}×");
        Failure::permanent(Reason::JOB_CRASHED, detail)
    }

    fn climb(&self, state: State, now: Timestamp) -> Verdict {
        let delay = self.delay(state.step);
        again(delay, State { step: state.step.saturating_add(1), ..state }, now)
    }

    fn delay(&self, step: u32) -> Duration {
        let last = self.delays.len() - 1;
        self.delays[last.min(usize::try_from(step).unwrap_or(last))]
    }

    fn window_closed(&self, attempt: Try<'_>) -> bool {
        let Some(known_at) = attempt.known_at else { return false };
        attempt.now.duration_since(known_at) >= self.not_ready_window
    }

    fn too_old(&self, state: &State, now: Timestamp) -> bool {
        state.first_seen.is_some_and(|first| now.duration_since(first) > self.max_age)
    }
}

/// Back after `delay`. What is longer than that it waits for us, with consuming paused or without a
/// broker, and does not age.
fn again(delay: Duration, state: State, now: Timestamp) -> Verdict {
    let due = now.checked_add(signed(delay)).unwrap_or(now);
    Verdict::Again { delay, state: State { idle_since: Some(due), ..state } }
}

/// What is taken as it is if it comes once more.
pub fn accepted(state: &State) -> Option<&Unproven> {
    state.unproven.as_ref().filter(|unproven| unproven.times + 1 >= EQUAL_TRIES)
}

/// Counts how often the same body came, whatever else happened between.
fn with_what_came(state: State, failure: &Failure) -> State {
    let Some(came) = failure.came else { return state };
    let before = state.unproven.as_ref().filter(|before| before.came == came);
    let times = before.map_or(0, |before| before.times).saturating_add(1);
    State { unproven: Some(Unproven { came, reason: failure.reason.clone(), times }), ..state }
}

/// Configured durations are far below the 292 billion years that do not fit.
fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Came;

    const NOW: &str = "2026-04-25T12:00:00Z";

    fn policy() -> Policy {
        let delays = [5, 30, 120].map(Duration::from_secs).to_vec();
        Policy::new(&config::Retry {
            delays,
            max_attempts: 3,
            max_age: Duration::from_secs(7 * 86_400),
            not_ready_window: Duration::from_secs(86_400),
            breaker_failures: 5,
            breaker_window: Duration::from_secs(10),
        })
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a test's timestamp")
    }

    fn state(attempts: u32, step: u32) -> State {
        State { attempts, step, first_seen: Some(at(NOW)), ..State::default() }
    }

    fn judge(class: Class, state: &State, known_at: Option<&str>) -> Verdict {
        let failure = Failure::new(class, Reason::CCFS_PROTOCOL, "a test's failure");
        let (now, arrived) = (at(NOW), at(NOW));
        let attempt = Try { state, known_at: known_at.map(at), outage: false, arrived, now };
        policy().judge(&failure, attempt)
    }

    fn again(seconds: u64, state: State) -> Verdict {
        super::again(Duration::from_secs(seconds), state, at(NOW))
    }

    #[test]
    fn a_failure_climbs_counts_and_dies_at_the_last_attempt() {
        assert_eq!(judge(Class::Failure, &state(0, 0), None), again(5, state(1, 1)));
        assert_eq!(judge(Class::Unavailable, &state(1, 1), None), again(30, state(2, 2)));
        assert_eq!(judge(Class::Failure, &state(2, 2), None), Verdict::Dead { state: state(3, 2) });
    }

    #[test]
    fn the_first_failure_writes_when_the_message_was_first_seen() {
        let verdict = judge(Class::Failure, &State::default(), None);
        assert_eq!(verdict, again(5, state(1, 1)));
    }

    #[test]
    fn refused_climbs_without_counting_and_the_last_delay_repeats() {
        assert_eq!(judge(Class::Refused, &state(2, 9), None), again(120, state(2, 10)));
    }

    #[test]
    fn throttled_is_parked_on_its_step_without_counting() {
        assert_eq!(judge(Class::Throttled, &state(2, 2), None), again(30, state(2, 2)));
    }

    #[test]
    fn parking_takes_the_first_delay_where_all_are_longer_than_the_limit() {
        let delays = [120, 60].map(Duration::from_secs).to_vec();
        let settings = config::Retry {
            delays,
            max_attempts: 3,
            max_age: Duration::from_secs(60),
            not_ready_window: Duration::from_secs(60),
            breaker_failures: 5,
            breaker_window: Duration::from_secs(10),
        };
        assert_eq!(Policy::new(&settings).park(state(0, 0), at(NOW)), again(120, state(0, 0)));
    }

    #[test]
    fn not_ready_waits_for_the_window_and_is_then_absent() {
        let within = Some("2026-04-24T12:00:01Z");
        assert_eq!(judge(Class::NotReady, &state(0, 1), within), again(30, state(0, 2)));
        let closed = Some("2026-04-24T12:00:00Z");
        assert_eq!(judge(Class::NotReady, &state(0, 1), closed), Verdict::Absent { attempts: 1 });
    }

    #[test]
    fn permanent_is_dead_at_once() {
        assert_eq!(
            judge(Class::Permanent, &state(0, 0), None),
            Verdict::Dead { state: state(1, 0) }
        );
    }

    #[test]
    fn a_message_older_than_max_age_is_dead_whatever_the_class() {
        let old = State { first_seen: Some(at("2026-04-18T11:59:59Z")), ..State::default() };
        for class in
            [Class::Throttled, Class::Held, Class::Refused, Class::NotReady, Class::Failure]
        {
            let dead = Verdict::Dead { state: State { attempts: 1, ..old.clone() } };
            assert_eq!(judge(class, &old, Some("2026-04-25T11:00:00Z")), dead, "{class:?}");
        }
    }

    #[test]
    fn an_outage_uses_up_neither_attempts_nor_age() {
        let old = State { first_seen: Some(at("2026-04-01T00:00:00Z")), ..state(2, 1) };
        let failure = Failure::new(Class::Unavailable, Reason::STORE_UNREACHABLE, "down");
        let (now, arrived) = (at(NOW), at("2026-04-25T11:45:00Z"));
        let attempt = Try { state: &old, known_at: None, outage: true, arrived, now };
        let idle = State { idle_since: Some(arrived), ..old.clone() };
        let parked = Verdict::Again { delay: Duration::from_secs(30), state: idle };
        assert_eq!(policy().judge(&failure, attempt), parked);
    }

    #[test]
    fn what_comes_the_same_at_three_tries_is_accepted_and_has_three_tries() {
        let refused = |sha256: u8, class| {
            let came = Came { size: 9000, sha256: [sha256; 32] };
            Failure::new(class, Reason::CCFS_TRUNCATED, "a test's failure").of(came)
        };
        let next = |state: &State, failure: &Failure| {
            let (now, arrived) = (at(NOW), at(NOW));
            let attempt = Try { state, known_at: None, outage: false, arrived, now };
            match policy().judge(failure, attempt) {
                Verdict::Again { state, .. } => state,
                other => panic!("{other:?}"),
            }
        };
        let once = next(&state(0, 0), &refused(1, Class::Failure));
        assert_eq!(accepted(&once), None);
        // What else happens in between says nothing of it.
        let between = Failure::new(Class::Throttled, Reason::CCFS_FIREWALL, "a test's failure");
        let twice = next(&next(&once, &between), &refused(1, Class::Failure));
        let known = accepted(&twice).expect("the third time it is taken");
        assert_eq!((known.times, &known.reason), (2, &Reason::CCFS_TRUNCATED));
        // Another one begins anew.
        assert_eq!(accepted(&next(&twice, &refused(2, Class::Throttled))), None);

        let impatient = Policy { max_attempts: 1, ..policy() };
        let judge = |state: &State| {
            let (now, arrived) = (at(NOW), at(NOW));
            let attempt = Try { state, known_at: None, outage: false, arrived, now };
            impatient.judge(&refused(2, Class::Failure), attempt)
        };
        assert!(matches!(judge(&state(1, 1)), Verdict::Again { .. }));
        assert!(matches!(judge(&state(2, 2)), Verdict::Dead { .. }));
    }

    #[test]
    fn a_suspect_that_comes_back_three_times_is_dead() {
        let policy = policy();
        let suspect = |crashes| State { crashes, ..state(0, 0) };
        assert_eq!(policy.judge_suspect(suspect(0), false, at(NOW)), None);
        assert_eq!(policy.judge_suspect(suspect(1), true, at(NOW)), Some(again(5, suspect(1))));
        assert_eq!(policy.judge_suspect(suspect(2), true, at(NOW)), Some(again(30, suspect(2))));
        let dead = Some(Verdict::Dead { state: suspect(3) });
        assert_eq!(policy.judge_suspect(suspect(3), true, at(NOW)), dead);
        assert_eq!(policy.judge_suspect(suspect(3), false, at(NOW)), dead);
    }
}
