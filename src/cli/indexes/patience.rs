//! How long CC-FS is waited for, and how often it is asked meanwhile. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::failure::{Class, Failure};

/// Between the first two looks; each pause is twice the one before, up to the longest.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_mins(1);
/// Whoever is told to ask more slowly does.
const THROTTLED: Duration = Duration::from_secs(10);

/// What is left of it for one index.
pub struct Patience {
    until: Instant,
    next: Duration,
}

impl Patience {
    pub fn new(wait: Duration, now: Instant) -> Self {
        Self { until: now + wait, next: FIRST }
    }

    /// When to try again after a failure of this class; `None`: not any more.
    pub fn pause(&mut self, class: Class, now: Instant) -> Option<Duration> {
        if ends(class) {
            return None;
        }
        let least = if class == Class::Throttled { THROTTLED } else { Duration::ZERO };
        let pause = self.next.max(least).min(self.left(now));
        self.next = (self.next * 2).min(LONGEST);
        (pause > Duration::ZERO).then_some(pause)
    }

    /// How much longer it lasts.
    pub fn left(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

/// Whether another try would bring the same.
pub fn ends(class: Class) -> bool {
    matches!(class, Class::Refused | Class::Permanent)
}

/// What a look came to so far that has tried some names of a package; and whether it is over.
///
/// One name alone is the right one, and the others may be refused for what they are: what leaves
/// hope counts. What is said of the account or by the machinery holds for every name.
pub fn look(known: Option<Failure>, failure: Failure) -> (Failure, bool) {
    match failure.class {
        Class::Refused | Class::Throttled | Class::Unavailable | Class::Held => (failure, true),
        Class::NotReady | Class::Failure | Class::Permanent => match known {
            Some(known) if known.class != Class::Permanent || ends(failure.class) => (known, false),
            _ => (failure, false),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Reason;

    fn seconds(pauses: &[Option<Duration>]) -> Vec<Option<u64>> {
        pauses.iter().map(|pause| pause.map(|pause| pause.as_secs())).collect()
    }

    #[test]
    fn pauses_grow_until_the_wait_is_over() {
        let mut now = Instant::now();
        let mut patience = Patience::new(Duration::from_secs(200), now);
        let mut pauses = Vec::new();
        for class in [Class::NotReady, Class::Failure, Class::Unavailable, Class::Held].repeat(3) {
            let pause = patience.pause(class, now);
            now += pause.unwrap_or_default();
            pauses.push(pause);
        }
        // The last look is at the very end.
        let due = [2, 4, 8, 16, 32, 60, 60, 18].map(Some);
        assert_eq!(seconds(&pauses), [&due[..], &[None; 4]].concat());
    }

    #[test]
    fn who_asks_too_often_asks_more_slowly() {
        let now = Instant::now();
        let mut patience = Patience::new(Duration::from_mins(30), now);
        let pauses = [Class::Throttled, Class::NotReady, Class::Throttled, Class::Throttled]
            .map(|class| patience.pause(class, now));
        assert_eq!(seconds(&pauses), [10, 4, 10, 16].map(Some));
    }

    #[test]
    fn what_cannot_become_better_is_not_waited_for() {
        let now = Instant::now();
        let mut patience = Patience::new(Duration::from_mins(30), now);
        assert_eq!(patience.pause(Class::Refused, now), None);
        assert_eq!(patience.pause(Class::Permanent, now), None);
        assert_eq!(Patience::new(Duration::ZERO, now).pause(Class::NotReady, now), None);
    }

    /// What a look at names that answer so comes to, and how many of them it tries.
    fn looked(classes: &[Class]) -> (Class, usize) {
        let mut known = None;
        for (at, class) in classes.iter().enumerate() {
            let failure = Failure::new(*class, Reason::CCFS_OTHER, format!("of name {at}"));
            let (came, over) = look(known, failure);
            if over {
                return (came.class, at + 1);
            }
            known = Some(came);
        }
        (known.unwrap().class, classes.len())
    }

    #[test]
    fn one_name_alone_is_the_right_one() {
        use Class::{Failure, NotReady, Permanent, Refused, Throttled, Unavailable};
        assert_eq!(looked(&[NotReady, Permanent]), (NotReady, 2));
        assert_eq!(looked(&[Permanent, NotReady, Permanent]), (NotReady, 3));
        assert_eq!(looked(&[Permanent, Failure]), (Failure, 2));
        assert_eq!(looked(&[NotReady, Failure]), (NotReady, 2));
        assert_eq!(looked(&[Permanent, Permanent]), (Permanent, 2));
        // What is true of all names is heard once.
        assert_eq!(looked(&[NotReady, Throttled, NotReady]), (Throttled, 2));
        assert_eq!(looked(&[Refused, NotReady]), (Refused, 1));
        assert_eq!(looked(&[Unavailable, NotReady]), (Unavailable, 1));
    }
}
