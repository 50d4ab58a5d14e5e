//! Rows of one day against what is in the bucket of that day. Pure.

use crate::recording::{KeyPattern, likely_extensions};
use crate::request::Wanted;

/// What the bucket has of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    #[default]
    Missing,
    /// Something of no bytes, which is no recording.
    Empty,
    Present,
}

/// Rows, and what was found of them so far.
pub struct Day {
    /// What keys are known by: all of a key, or what is before its extension; with the row.
    known: Vec<(String, usize)>,
    states: Vec<State>,
}

impl Day {
    /// Each row by the keys it may have.
    pub fn new(rows: impl Iterator<Item = (Wanted, Vec<KeyPattern>)>) -> Self {
        let mut known = Vec::new();
        let mut states = Vec::new();
        for (wanted, patterns) in rows {
            let row = states.len();
            states.push(State::Missing);
            for pattern in patterns {
                match pattern.stem() {
                    Some(stem) => known.push((stem.to_owned(), row)),
                    None => {
                        let likely = likely_extensions(&wanted);
                        let all = likely.iter().map(String::as_str).chain(["bin"]);
                        known.extend(all.map(|extension| (pattern.with(extension), row)));
                    }
                }
            }
        }
        known.sort_unstable();
        Self { known, states }
    }

    /// An object of the bucket.
    pub fn saw(&mut self, key: &str, size: u64) {
        let state = if size > 0 { State::Present } else { State::Empty };
        self.found(key, state);
        if let Some((stem, extension)) = key.rsplit_once('.')
            && !extension.contains('/')
        {
            self.found(stem, state);
        }
        // An unpacked recording is all that is below its name.
        if let Some((name, _)) = key.rsplit_once('/') {
            self.found(name, state);
        }
    }

    /// The rows' states, in their order.
    pub fn states(self) -> Vec<State> {
        self.states
    }

    fn found(&mut self, name: &str, state: State) {
        let first = self.known.partition_point(|(known, _)| known.as_str() < name);
        for (known, row) in &self.known[first..] {
            if known != name {
                return;
            }
            self.states[*row] = self.states[*row].max(state);
        }
    }
}
