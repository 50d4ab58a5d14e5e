//! How many jobs of one tenant may be in flight: found out as TCP finds out what a network takes
//! (contract 2, slow start; contract 5, throttled). Pure.
//!
//! Nobody knows yet what a tenant's servers take, so it begins small, and doubles with each window:
//! as many answers as it may have jobs. Where its CC-FS or store throttles, it halves. What it had
//! then is remembered: it doubles up to half of that and rises by one a window from there, and right
//! below it stays for many windows. A server that takes four at once so refuses one in some seventy,
//! and has four at once for nearly all the time.

use tokio::time::{Duration, Instant};

/// It begins with its ceiling divided by this, and with no less than `LEAST` where it may.
const START: usize = 8;
const LEAST: usize = 4;

/// Windows that it stays right below where it was refused.
const AT_THE_EDGE: usize = 16;

/// How long it rests where even one at a time is refused.
const REST: Duration = Duration::from_secs(1);

/// One tenant's limit.
#[derive(Debug)]
pub struct Pace {
    ceiling: usize,
    limit: usize,
    /// Up to here it doubles.
    threshold: usize,
    /// What it had when it was last refused.
    refused: Option<usize>,
    /// Answers since the limit last changed.
    answers: usize,
    /// When it was last halved.
    halved: Option<Instant>,
    rests_until: Option<Instant>,
}

impl Pace {
    /// `ceiling`: at least 1.
    pub fn new(ceiling: usize) -> Self {
        Self { limit: start(ceiling), ..Self::full(ceiling) }
    }

    /// Of those who ask nobody.
    pub fn full(ceiling: usize) -> Self {
        Self {
            ceiling,
            limit: ceiling,
            threshold: ceiling,
            refused: None,
            answers: 0,
            halved: None,
            rests_until: None,
        }
    }

    /// A ceiling that has changed takes effect at once; a higher one is reached as any other.
    pub fn configure(&mut self, ceiling: usize) {
        let free = self.threshold == self.ceiling;
        self.threshold = if free { ceiling } else { self.threshold.min(ceiling) };
        self.limit = self.limit.max(if free { start(ceiling) } else { 1 }).min(ceiling);
        self.ceiling = ceiling;
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether the next may start, with so many in flight.
    pub fn allows(&self, in_flight: usize, now: Instant) -> bool {
        in_flight < self.limit && self.rests_until.is_none_or(|until| now >= until)
    }

    /// Where even one at a time was refused: until when it rests.
    pub fn rests_until(&self) -> Option<Instant> {
        self.rests_until
    }

    /// Whether it is on its way up and has not been refused.
    pub fn is_rising(&self) -> bool {
        self.limit < self.threshold
    }

    /// What it had was long ago, or is not answered.
    pub fn begin_again(&mut self) {
        self.limit = self.limit.min(start(self.ceiling));
        self.answers = 0;
    }

    /// A job that had started at `since` is throttled. What was sent before the last cut does not
    /// cut again.
    pub fn throttled(&mut self, since: Instant, now: Instant) {
        if self.halved.is_some_and(|halved| since <= halved) {
            return;
        }
        if self.limit == 1 {
            self.rests_until = Some(now + REST);
        }
        self.refused = Some(self.limit);
        self.limit = (self.limit / 2).max(1);
        self.threshold = self.limit;
        self.answers = 0;
        self.halved = Some(now);
    }

    pub fn went_well(&mut self) {
        if self.limit == self.ceiling {
            return;
        }
        self.answers += 1;
        let at_the_edge = self.refused == Some(self.limit + 1);
        let windows = if at_the_edge { AT_THE_EDGE } else { 1 };
        if self.answers < self.limit * windows {
            return;
        }
        // What was refused once is taken now.
        self.refused = self.refused.filter(|refused| *refused > self.limit);
        let more =
            if self.is_rising() { self.threshold.min(2 * self.limit) } else { self.limit + 1 };
        self.limit = more.min(self.ceiling);
        self.answers = 0;
        if self.limit == self.ceiling {
            self.threshold = self.ceiling;
            self.refused = None;
        }
    }
}

fn start(ceiling: usize) -> usize {
    (ceiling / START).max(LEAST).min(ceiling)
}

#[cfg(test)]
mod tests;
