//! What is wrong with a message: all that one reading finds, so that its sender mends it at once.
//!
//! A mistake names the field and the rule that it broke, and never what stood there.

use crate::failure::{Failure, Reason};

/// Stands between two mistakes of a detail, and in none of them.
pub const SEPARATOR: &str = "; ";

/// So many bytes of mistakes are told, which is more than a call can have; a dump can have thousands.
/// The header `callvault-detail` has room for them.
const MOST: usize = 800;

/// One mistake, in words that quote nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake(String);

impl Mistake {
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// The same, with where it was found.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        Self::permanent(Reason::MESSAGE_INVALID, mistake.0)
    }
}

/// The mistakes of a message in the order in which they were found.
#[derive(Debug, Default)]
pub struct Mistakes {
    told: Vec<String>,
    bytes: usize,
    /// Those that are only counted.
    more: usize,
}

impl Mistakes {
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Adds those that were found apart.
    pub fn append(&mut self, others: Self) {
        for words in others.told {
            self.add(Mistake(words));
        }
        self.more += others.more;
    }

    pub fn add(&mut self, mistake: Mistake) {
        let bytes = self.bytes + mistake.0.len() + SEPARATOR.len();
        // Once one is left out so are all that follow: what is told are the first.
        if self.more > 0 || bytes > MOST {
            self.more += 1;
        } else {
            self.told.push(mistake.0);
            self.bytes = bytes;
        }
    }

    /// Notes what is wrong with a field, and hands on what was read.
    pub fn note<T>(&mut self, read: Result<T, Mistake>) -> Option<T> {
        read.map_err(|mistake| self.add(mistake)).ok()
    }

    /// Adds those of a dump's recording, each with its place.
    pub fn of_recording(&mut self, index: usize, own: Self) {
        for mistake in own.told {
            self.add(Mistake(mistake).within(&format!("recordings[{index}]")));
        }
        self.more += own.more;
    }

    /// What was read, if nothing is wrong with it.
    ///
    /// # Errors
    /// `message.invalid`, with all the mistakes.
    pub fn unless_any<T>(self, read: Option<T>) -> Result<T, Failure> {
        match read {
            Some(read) if self.is_empty() => Ok(read),
            _ => Err(self.into()),
        }
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        let Mistakes { mut told, more, .. } = mistakes;
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        Self::permanent(Reason::MESSAGE_INVALID, told.join(SEPARATOR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_told_and_the_others_counted() {
        let mut mistakes = Mistakes::default();
        for index in 0..10_000 {
            let mut own = Mistakes::default();
            own.add(Mistake::new("callEnd must be an RFC 3339 date and time"));
            own.add(Mistake::new("ccId must be a string, is a number"));
            mistakes.of_recording(index, own);
        }
        let detail = Failure::from(mistakes).detail;
        assert!(detail.len() < 900, "{}", detail.len());
        let told: Vec<_> = detail.split(SEPARATOR).collect();
        assert_eq!(told[0], "recordings[0]: callEnd must be an RFC 3339 date and time");
        assert_eq!(told[1], "recordings[0]: ccId must be a string, is a number");
        assert_eq!(told.last(), Some(&&*format!("and {} more", 20_001 - told.len())));
    }

    #[test]
    fn none_that_follows_one_that_was_left_out_is_told() {
        let mut mistakes = Mistakes::default();
        for words in ["x".repeat(MOST - 10), "y".repeat(20), "z".to_owned()] {
            mistakes.add(Mistake::new(words));
        }
        let detail = Failure::from(mistakes).detail;
        assert_eq!(detail, format!("{}; and 2 more", "x".repeat(MOST - 10)));
    }
}
