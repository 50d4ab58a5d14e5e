//! Whether a tenant's servers answer, and what that says of how much it may have under way. Pure.

use tokio::time::{Duration, Instant};

/// As many requests in a row without an answer make a tenant a silent one.
const SILENT_AFTER: u32 = 3;

/// A tenant at its limit of which nothing is heard for so long keeps the others waiting.
const GRACE: Duration = Duration::from_secs(2);

/// One tenant's.
#[derive(Debug, Default)]
pub struct Standing {
    /// Requests in a row.
    unanswered: u32,
    heard: Option<Instant>,
    /// When it was asked the first of what it has under way.
    asked: Option<Instant>,
}

impl Standing {
    /// It had nothing under way, and is asked now.
    pub fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    pub fn answered(&mut self, now: Instant) {
        self.unanswered = 0;
        self.heard = Some(now);
    }

    pub fn unanswered(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// Its last requests brought no answer.
    pub fn is_silent(&self) -> bool {
        self.unanswered >= SILENT_AFTER
    }

    /// What it has under way does not get on.
    pub fn keeps_waiting(&self, now: Instant) -> bool {
        self.heard.max(self.asked).is_some_and(|last| now.duration_since(last) >= GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_without_an_answer_make_it_silent() {
        let now = Instant::now();
        let mut standing = Standing::default();
        standing.unanswered();
        standing.unanswered();
        standing.answered(now);
        (1..SILENT_AFTER).for_each(|_| standing.unanswered());
        assert!(!standing.is_silent());
        standing.unanswered();
        assert!(standing.is_silent());
        standing.answered(now);
        assert!(!standing.is_silent());
    }

    #[test]
    fn it_keeps_others_waiting_when_nothing_is_heard_since_it_was_asked() {
        let now = Instant::now();
        let mut standing = Standing::default();
        assert!(!standing.keeps_waiting(now), "it was not asked");
        standing.asked(now);
        assert!(!standing.keeps_waiting(now + GRACE / 2));
        assert!(standing.keeps_waiting(now + GRACE));
        standing.answered(now + GRACE);
        assert!(!standing.keeps_waiting(now + GRACE), "it gets on");
        assert!(standing.keeps_waiting(now + 2 * GRACE));
        standing.asked(now + 2 * GRACE);
        assert!(!standing.keeps_waiting(now + 2 * GRACE), "it had nothing under way");
    }
}
