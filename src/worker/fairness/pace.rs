//! How many jobs of one tenant may be in flight: halves when its CC-FS or store throttles, and
//! rises again slowly (additive increase, multiplicative decrease; contract 5, throttled). Pure.

use tokio::time::{Duration, Instant};

/// Answers to what was sent before a cut do not cut again.
const CUT_EVERY: Duration = Duration::from_secs(1);

/// The limit rises by one, at most this often, and only when as many jobs as it allows went well.
const RISE_EVERY: Duration = Duration::from_secs(1);

/// One tenant's limit; starts at its ceiling.
#[derive(Debug)]
pub struct Pace {
    ceiling: usize,
    limit: usize,
    /// Jobs that went well since the last change.
    went_well: usize,
    changed: Option<Instant>,
}

impl Pace {
    /// `ceiling`: at least 1.
    pub fn new(ceiling: usize) -> Self {
        Self { ceiling, limit: ceiling, went_well: 0, changed: None }
    }

    /// A ceiling that has changed takes effect at once.
    pub fn configure(&mut self, ceiling: usize) {
        self.limit = if self.limit == self.ceiling { ceiling } else { self.limit.min(ceiling) };
        self.ceiling = ceiling;
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn throttled(&mut self, now: Instant) {
        self.went_well = 0;
        if self.longer_ago_than(CUT_EVERY, now) {
            self.limit = (self.limit / 2).max(1);
            self.changed = Some(now);
        }
    }

    pub fn went_well(&mut self, now: Instant) {
        if self.limit == self.ceiling {
            return;
        }
        self.went_well += 1;
        if self.went_well >= self.limit && self.longer_ago_than(RISE_EVERY, now) {
            self.limit += 1;
            self.went_well = 0;
            self.changed = Some(now);
        }
    }

    fn longer_ago_than(&self, time: Duration, now: Instant) -> bool {
        self.changed.is_none_or(|changed| now.duration_since(changed) >= time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_throttling_halves_once() {
        let now = Instant::now();
        let mut pace = Pace::new(64);
        (0..40).for_each(|_| pace.throttled(now));
        assert_eq!(pace.limit(), 32);
        pace.throttled(now + CUT_EVERY);
        assert_eq!(pace.limit(), 16);
    }

    #[test]
    fn it_never_falls_below_one_nor_rises_above_its_ceiling() {
        let mut now = Instant::now();
        let mut pace = Pace::new(3);
        for _ in 0..5 {
            pace.throttled(now);
            now += CUT_EVERY;
        }
        assert_eq!(pace.limit(), 1);
        for _ in 0..20 {
            pace.went_well(now);
            now += RISE_EVERY;
        }
        assert_eq!(pace.limit(), 3);
    }

    #[test]
    fn it_rises_by_one_after_a_round_that_went_well() {
        let mut now = Instant::now();
        let mut pace = Pace::new(64);
        for _ in 0..4 {
            pace.throttled(now);
            now += CUT_EVERY;
        }
        assert_eq!(pace.limit(), 4);
        (0..3).for_each(|_| pace.went_well(now));
        assert_eq!(pace.limit(), 4, "three of four are no round");
        (0..100).for_each(|_| pace.went_well(now));
        assert_eq!(pace.limit(), 5, "a hundred at once are one round");
        now += RISE_EVERY;
        pace.went_well(now);
        assert_eq!(pace.limit(), 6);
    }

    /// A server that takes eight at once, seen for five minutes.
    #[test]
    fn it_settles_near_what_the_server_allows() {
        let mut now = Instant::now();
        let mut pace = Pace::new(64);
        let mut seen = Vec::new();
        for _ in 0..300 {
            let sent = pace.limit();
            (0..sent.min(8)).for_each(|_| pace.went_well(now));
            (8..sent).for_each(|_| pace.throttled(now));
            now += Duration::from_secs(1);
            seen.push(pace.limit());
        }
        let settled = &seen[30..];
        assert!(settled.iter().all(|limit| (4..=9).contains(limit)), "{settled:?}");
    }
}
