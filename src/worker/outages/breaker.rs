//! A circuit breaker: whether a server answers at all (contract 5, unavailable). Pure; `now` comes
//! from outside.
//!
//! Closed, it lets everything through and counts requests without a usable answer. Open, it lets
//! one probe at a time through, and not more often than its pause; the first answer closes it. Where
//! the probe is a lesser request than those that wait, it closes on trial: the first of them that
//! brings no usable answer opens it again.

use tokio::time::{Duration, Instant};

use crate::config;

/// The first pause between two probes; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Short enough that a person who has mended a server sees within five seconds that it is back.
pub const SHORT_PAUSE: Duration = Duration::from_secs(3);

/// The same after a trial in vain, which costs more than a probe.
const TRIAL_PAUSE: Duration = Duration::from_secs(10);

/// When a breaker opens.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    /// Requests in a row without a usable answer,
    pub(super) failures: u32,
    /// over at least this time.
    pub(super) window: Duration,
}

/// One server's breaker.
#[derive(Debug)]
pub struct Breaker {
    threshold: Threshold,
    longest_pause: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed { unanswered: u32, since: Option<Instant>, trial: Option<Duration> },
    Open { probing: bool, next_probe: Instant, pause: Duration },
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Pass,
    /// The one that finds out whether the server is back.
    Probe,
    Park,
}

/// What a report has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Opened,
    Closed,
}

impl Threshold {
    pub fn new(settings: &config::Retry) -> Self {
        Self { failures: settings.breaker_failures, window: settings.breaker_window }
    }
}

impl Breaker {
    /// `longest_pause`: between two probes.
    pub fn new(threshold: Threshold, longest_pause: Duration) -> Self {
        Self { threshold, longest_pause, state: State::closed() }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    pub fn admit(&mut self, now: Instant) -> Admission {
        match &mut self.state {
            State::Closed { .. } => Admission::Pass,
            State::Open { probing: false, next_probe, .. } if now >= *next_probe => {
                self.set_probing(true);
                Admission::Probe
            }
            State::Open { .. } => Admission::Park,
        }
    }

    /// The server gave a usable answer, to whatever request.
    pub fn answered(&mut self) -> Change {
        let was_open = self.is_open();
        self.state = State::closed();
        if was_open { Change::Closed } else { Change::None }
    }

    /// A probe that is a lesser request was answered: the others may try.
    pub fn closed_on_trial(&mut self) -> Change {
        let State::Open { pause, .. } = self.state else { return Change::None };
        self.state = State::Closed { unanswered: 0, since: None, trial: Some(pause) };
        Change::Closed
    }

    /// A request brought no usable answer. `admission` is the one that it was sent with.
    pub fn unanswered(&mut self, admission: Admission, now: Instant) -> Change {
        let Threshold { failures, window } = self.threshold;
        match &mut self.state {
            State::Closed { trial: Some(pause), .. } => {
                let pause = (*pause * 2).min(TRIAL_PAUSE);
                self.state = State::Open { probing: false, next_probe: now + pause, pause };
                Change::Opened
            }
            State::Closed { unanswered, since, trial: None } => {
                *unanswered = unanswered.saturating_add(1);
                let since = *since.get_or_insert(now);
                if *unanswered < failures || now.duration_since(since) < window {
                    return Change::None;
                }
                let next_probe = now + FIRST_PAUSE;
                self.state = State::Open { probing: false, next_probe, pause: FIRST_PAUSE };
                Change::Opened
            }
            State::Open { probing, next_probe, pause } => {
                // What was sent before it opened says nothing new.
                if admission == Admission::Probe {
                    *probing = false;
                    *pause = (*pause * 2).min(self.longest_pause);
                    *next_probe = now + *pause;
                }
                Change::None
            }
        }
    }

    /// A probe ended without having asked: the next may go at once.
    pub fn abandoned(&mut self, admission: Admission) {
        if admission == Admission::Probe {
            self.set_probing(false);
        }
    }

    fn set_probing(&mut self, now_probing: bool) {
        if let State::Open { probing, .. } = &mut self.state {
            *probing = now_probing;
        }
    }
}

impl State {
    fn closed() -> Self {
        Self::Closed { unanswered: 0, since: None, trial: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn breaker() -> Breaker {
        Breaker::new(Threshold { failures: 3, window: WINDOW }, SHORT_PAUSE)
    }

    fn open(at: Instant) -> Breaker {
        let mut breaker = breaker();
        for _ in 0..2 {
            assert_eq!(breaker.unanswered(Admission::Pass, at), Change::None);
        }
        assert_eq!(breaker.unanswered(Admission::Pass, at + WINDOW), Change::Opened);
        breaker
    }

    #[test]
    fn it_opens_after_so_many_in_a_row_over_so_long() {
        let start = Instant::now();
        let mut quick = breaker();
        for _ in 0..10 {
            quick.unanswered(Admission::Pass, start);
        }
        assert!(!quick.is_open(), "ten at once are no outage yet");
        assert_eq!(quick.unanswered(Admission::Pass, start + WINDOW), Change::Opened);

        let mut few = breaker();
        few.unanswered(Admission::Pass, start);
        few.unanswered(Admission::Pass, start + 2 * WINDOW);
        assert!(!few.is_open(), "two are too few");
    }

    #[test]
    fn an_answer_between_starts_the_count_again() {
        let start = Instant::now();
        let mut breaker = breaker();
        breaker.unanswered(Admission::Pass, start);
        breaker.unanswered(Admission::Pass, start);
        assert_eq!(breaker.answered(), Change::None);
        assert_eq!(breaker.unanswered(Admission::Pass, start + WINDOW), Change::None);
    }

    #[test]
    fn one_probe_at_a_time_goes_through_and_its_answer_closes() {
        let start = Instant::now();
        let mut breaker = open(start);
        let later = start + WINDOW + FIRST_PAUSE;
        assert_eq!(breaker.admit(start + WINDOW), Admission::Park, "not at once");
        assert_eq!(breaker.admit(later), Admission::Probe);
        assert_eq!(breaker.admit(later), Admission::Park, "one at a time");
        assert_eq!(breaker.answered(), Change::Closed);
        assert_eq!(breaker.admit(later), Admission::Pass);
    }

    #[test]
    fn probes_come_less_often_but_often_enough() {
        let start = Instant::now();
        let mut breaker = open(start);
        let mut now = start + WINDOW + FIRST_PAUSE;
        for pause in [2, 3, 3, 3] {
            assert_eq!(breaker.admit(now), Admission::Probe);
            breaker.unanswered(Admission::Probe, now);
            let pause = Duration::from_secs(pause);
            assert_eq!(breaker.admit(now + pause - Duration::from_millis(1)), Admission::Park);
            now += pause;
        }
    }

    #[test]
    fn on_trial_the_first_failure_opens_it_again_and_the_first_answer_ends_it() {
        let start = Instant::now();
        let mut breaker = open(start);
        let now = start + WINDOW + FIRST_PAUSE;
        assert_eq!(breaker.admit(now), Admission::Probe);
        assert_eq!(breaker.closed_on_trial(), Change::Closed);
        assert_eq!(breaker.admit(now), Admission::Pass);
        assert_eq!(breaker.unanswered(Admission::Pass, now), Change::Opened);
        assert_eq!(breaker.admit(now + FIRST_PAUSE), Admission::Park, "a longer pause");
        assert_eq!(breaker.admit(now + 2 * FIRST_PAUSE), Admission::Probe);
        assert_eq!(breaker.closed_on_trial(), Change::Closed);
        assert_eq!(breaker.answered(), Change::None);
        assert_eq!(breaker.unanswered(Admission::Pass, now), Change::None, "the trial is over");
    }

    #[test]
    fn stragglers_neither_end_a_probe_nor_delay_the_next() {
        let start = Instant::now();
        let mut breaker = open(start);
        let now = start + WINDOW + FIRST_PAUSE;
        assert_eq!(breaker.admit(now), Admission::Probe);
        breaker.unanswered(Admission::Pass, now);
        assert_eq!(breaker.admit(now), Admission::Park, "the probe is still out");
        breaker.abandoned(Admission::Probe);
        assert_eq!(breaker.admit(now), Admission::Probe, "one that never asked costs no time");
    }
}
