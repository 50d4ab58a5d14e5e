//! How fast deliveries make way, so that others are found behind them. Pure.
//!
//! Who stands behind a tenant's backlog is not to be seen. All that is in front has to be parked,
//! which costs the broker a confirmed publish and an ack for each message, and comes again at the end
//! of the queue, 30 s later or less. So:
//!
//! - **Quickly.** One is parked at first, and twice as many at once with each round, up to
//!   [`AT_ONCE`]: that fills the batches in which they are published. At 6,000 to 7,000 a second,
//!   100,000 are passed within some 15 s.
//! - **Not for ever.** Where nobody else's comes, nobody else is there, and to go on would send the
//!   same messages round: 100,000 of them are 3,300 publishes a second. A search ends when the queue
//!   has run out, or after [`ENOUGH`] in vain, and rests: the longer the more it has parked, two minutes
//!   at most, which is what a call may wait then that comes behind such a backlog. What is parked of a
//!   tenant that gets on leaves it without work until it comes again; so that tenant is left alone
//!   until then, and for a minute more. A backlog without end so costs some 1,000 publishes a second, of a broker
//!   that does 5,000 to 10,000.
//! - **Not blindly.** A tenant that has just begun may be answered at any moment: it is passed for two
//!   windows, and further only when nothing has been heard of it for longer.

use tokio::time::{Duration, Instant};

/// Parked at once: two batches of those that are published together.
const AT_ONCE: usize = 256;

/// As many in a row that are not followed by anything of another tenant are enough.
const ENOUGH: usize = 150_000;

/// A search in which nothing was parked for so long is over.
const OVER: Duration = Duration::from_secs(1);

/// How far a search goes, and how long it rests afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    enough: usize,
    /// For each delivery that was parked in vain.
    rest: Duration,
    longest_rest: Duration,
}

impl Terms {
    /// Of a tenant that is not answered.
    pub const UNANSWERED: Self = Self {
        enough: ENOUGH,
        rest: Duration::from_millis(4),
        longest_rest: Duration::from_secs(120),
    };

    /// Of one that has what it may have, and gets on.
    pub const GETS_ON: Self = Self {
        enough: ENOUGH,
        rest: Duration::from_millis(100),
        longest_rest: Duration::from_secs(90),
    };

    /// Of one that has just begun.
    pub const fn has_just_begun(window: usize) -> Self {
        Self { enough: 2 * window, ..Self::UNANSWERED }
    }

    fn rest_after(&self, vain: usize) -> Duration {
        let vain = u32::try_from(vain).unwrap_or(u32::MAX);
        self.rest.saturating_mul(vain).min(self.longest_rest)
    }
}

/// The search behind one lane's window.
#[derive(Debug)]
pub struct Search {
    /// How many are parked at once.
    at_once: usize,
    /// How many of them have been, since that has grown.
    round: usize,
    /// Parked since anything of another tenant came.
    vain: usize,
    last: Option<Instant>,
    rests_until: Option<Instant>,
}

impl Default for Search {
    fn default() -> Self {
        Self { at_once: 1, round: 0, vain: 0, last: None, rests_until: None }
    }
}

impl Search {
    /// Whether one more may be parked, beside so many that are being parked.
    pub fn goes_on(&mut self, leaving: usize, terms: Terms, now: Instant) -> bool {
        let over = |last: Instant| now.duration_since(last) >= OVER;
        if let Some(last) = self.last.filter(|last| over(*last) || self.vain >= ENOUGH) {
            *self =
                Self { rests_until: Some(last + terms.rest_after(self.vain)), ..Self::default() };
        }
        let rested = self.rests_until.is_none_or(|until| now >= until);
        rested && self.vain < terms.enough && leaving < self.at_once
    }

    /// Whether it goes as fast as it may, which takes more than a window to be in hand.
    pub fn is_at_speed(&self, now: Instant) -> bool {
        let goes_on = self.last.is_some_and(|last| now.duration_since(last) < OVER);
        goes_on && self.at_once == AT_ONCE
    }

    /// One more is being parked.
    pub fn parks(&mut self, now: Instant) {
        self.vain += 1;
        self.last = Some(now);
    }

    /// One has been parked.
    pub fn parked(&mut self) {
        self.round += 1;
        if self.round >= self.at_once {
            self.at_once = AT_ONCE.min(2 * self.at_once);
            self.round = 0;
        }
    }

    /// Something of another tenant came.
    pub fn found(&mut self) {
        self.vain = 0;
        self.rests_until = None;
    }

    /// There is enough at hand of others: whatever is needed later begins gently again.
    pub fn is_not_needed(&mut self) {
        (self.at_once, self.round) = (1, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A queue of one tenant's messages that is searched, each parked in `TIME`.
    struct Queue {
        search: Search,
        now: Instant,
        left: usize,
        /// When each of those that are being parked is.
        leaving: VecDeque<Instant>,
        parked: usize,
        most_at_once: usize,
    }

    /// A batch is confirmed within this.
    const TIME: Duration = Duration::from_millis(4);
    const STEP: Duration = Duration::from_millis(1);

    impl Queue {
        fn of(messages: usize) -> Self {
            let (search, leaving) = (Search::default(), VecDeque::new());
            let now = Instant::now();
            Self { search, now, left: messages, leaving, parked: 0, most_at_once: 0 }
        }

        fn pass(&mut self, time: Duration, terms: Terms) {
            let until = self.now + time;
            while self.now < until {
                while self.leaving.pop_front_if(|at| *at <= self.now).is_some() {
                    self.search.parked();
                    self.parked += 1;
                }
                while self.left > 0 && self.search.goes_on(self.leaving.len(), terms, self.now) {
                    self.search.parks(self.now);
                    self.left -= 1;
                    self.leaving.push_back(self.now + TIME);
                }
                self.most_at_once = self.most_at_once.max(self.leaving.len());
                self.now += STEP;
            }
        }
    }

    #[test]
    fn a_hundred_thousand_are_passed_in_fifteen_seconds() {
        let mut queue = Queue::of(100_000);
        queue.pass(Duration::from_secs(15), Terms::GETS_ON);
        assert_eq!((queue.left, queue.most_at_once), (0, AT_ONCE));
    }

    #[test]
    fn it_begins_gently() {
        let mut queue = Queue::of(1000);
        queue.pass(TIME, Terms::GETS_ON);
        assert_eq!((queue.most_at_once, queue.parked), (1, 0));
        queue.pass(4 * TIME, Terms::GETS_ON);
        assert!((4..=16).contains(&queue.most_at_once), "{}", queue.most_at_once);
        queue.search.is_not_needed();
        let before = queue.parked;
        queue.pass(2 * TIME, Terms::GETS_ON);
        assert!(queue.parked - before <= 2 + AT_ONCE, "{}", queue.parked - before);
    }

    #[test]
    fn a_search_in_vain_rests() {
        for (terms, rest) in [(Terms::UNANSWERED, 4), (Terms::GETS_ON, 90)] {
            let mut queue = Queue::of(1000);
            queue.pass(Duration::from_secs(2), terms);
            assert_eq!(queue.parked, 1000);
            // They come again.
            queue.left = 1000;
            queue.pass(Duration::from_secs(rest - 3), terms);
            assert_eq!(queue.left, 1000, "{terms:?}");
            queue.pass(Duration::from_secs(4), terms);
            assert!(queue.left < 1000, "{terms:?}");
        }
    }

    #[test]
    fn what_goes_round_for_ever_costs_the_broker_little() {
        let mut queue = Queue::of(usize::MAX);
        queue.pass(Duration::from_secs(140), Terms::UNANSWERED);
        let before = queue.parked;
        queue.pass(Duration::from_secs(139), Terms::UNANSWERED);
        let a_second = (queue.parked - before) / 139;
        assert!(a_second < 1200, "{a_second}");
    }

    #[test]
    fn where_others_come_it_goes_on() {
        let mut queue = Queue::of(1000);
        queue.pass(Duration::from_secs(2), Terms::GETS_ON);
        queue.left = 1000;
        queue.search.found();
        queue.pass(Duration::from_secs(2), Terms::GETS_ON);
        assert_eq!(queue.left, 0);
    }

    #[test]
    fn who_has_just_begun_is_passed_for_two_windows() {
        let mut queue = Queue::of(10_000);
        queue.pass(Duration::from_millis(900), Terms::has_just_begun(80));
        assert_eq!(10_000 - queue.left, 160);
    }
}
