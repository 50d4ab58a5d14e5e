//! Whether a tenant's servers answer, and what that says of how much it may have under way. Pure.
//!
//! An answer is the first word of CC-FS, whatever it says. A tenant that *does not get on* has had
//! none for a moment: it makes way for others, and loses nothing else. A *silent* one has had none
//! to its last requests, or none at all while a question was open for long: it holds an eighth of the
//! places at most, and begins small when it is answered again.

use tokio::time::{Duration, Instant};

/// As many requests in a row without an answer make a tenant a silent one.
const SILENT_AFTER: u32 = 3;

/// So does a question that is open for so long, while no other is answered (contract 2).
const TOO_LONG: Duration = Duration::from_secs(10);

/// One of which nothing is heard for so long does not get on.
const GRACE: Duration = Duration::from_secs(2);

/// The same of one that has just begun, and may never be heard: more than the first answer of most
/// takes, its connection included.
const FIRST_GRACE: Duration = Duration::from_millis(250);

/// One tenant's.
#[derive(Debug, Default)]
pub struct Standing {
    /// Requests in a row.
    unanswered: u32,
    /// A question was open too long when the clock was last looked at.
    overdue: bool,
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
        self.overdue = false;
        self.heard = Some(now);
    }

    pub fn unanswered(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// `open`: since when the oldest of its open questions is.
    pub fn time_passes(&mut self, open: Option<Instant>, now: Instant) {
        let since = open.map(|asked| self.heard.map_or(asked, |heard| heard.max(asked)));
        self.overdue |= since.is_some_and(|since| now.duration_since(since) >= TOO_LONG);
    }

    /// No server of it answers.
    pub fn is_silent(&self) -> bool {
        self.overdue || self.unanswered >= SILENT_AFTER
    }

    /// Something was heard of what it has under way, or may be soon.
    pub fn gets_on(&self, now: Instant) -> bool {
        self.gets_on_until().is_none_or(|until| now < until)
    }

    /// Until when it gets on if nothing more is heard of it; `None` where it was asked nothing.
    pub fn gets_on_until(&self) -> Option<Instant> {
        self.until(if self.heard.is_none() { FIRST_GRACE } else { GRACE })
    }

    /// It was asked a moment ago for the first time: the first answer may be under way.
    pub fn begins(&self, now: Instant) -> bool {
        self.heard.is_none() && self.asked.is_some() && self.gets_on(now)
    }

    /// Nothing was heard of it yet, which says little.
    pub fn has_just_begun(&self, now: Instant) -> bool {
        self.heard.is_none() && self.until(GRACE).is_none_or(|until| now < until)
    }

    fn until(&self, grace: Duration) -> Option<Instant> {
        self.heard.max(self.asked).map(|last| last + grace)
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
    fn so_does_a_question_that_is_open_for_ten_seconds_while_none_is_answered() {
        let asked = Instant::now();
        let mut standing = Standing::default();
        standing.time_passes(None, asked + 2 * TOO_LONG);
        assert!(!standing.is_silent(), "nobody asks");
        standing.time_passes(Some(asked), asked + TOO_LONG / 2);
        standing.answered(asked + TOO_LONG / 2);
        standing.time_passes(Some(asked), asked + TOO_LONG);
        assert!(!standing.is_silent(), "another was answered");
        standing.time_passes(Some(asked), asked + 2 * TOO_LONG);
        assert!(standing.is_silent());
        standing.time_passes(None, asked + 2 * TOO_LONG);
        assert!(standing.is_silent(), "until it is answered");
        standing.answered(asked + 2 * TOO_LONG);
        assert!(!standing.is_silent());
    }

    #[test]
    fn it_gets_on_as_long_as_something_is_heard() {
        let now = Instant::now();
        let mut standing = Standing::default();
        assert!(standing.gets_on(now), "it was not asked");
        standing.asked(now);
        assert!(standing.gets_on(now + FIRST_GRACE / 2));
        assert!(!standing.gets_on(now + FIRST_GRACE), "it was never heard");
        assert!(standing.has_just_begun(now + FIRST_GRACE));
        assert!(!standing.has_just_begun(now + GRACE));
        let heard = now + GRACE;
        standing.answered(heard);
        assert!(standing.gets_on(heard + FIRST_GRACE));
        assert!(!standing.gets_on(heard + GRACE));
        standing.asked(heard + GRACE);
        assert!(standing.gets_on(heard + GRACE), "it had nothing under way");
    }
}
