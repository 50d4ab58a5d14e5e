//! Rows of one day against what is in the bucket. Pure.

use crate::cli::keys::Candidate;
use crate::recording::likely_extensions;
use crate::request::Wanted;

/// What the bucket has of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    #[default]
    Missing,
    /// Something of no bytes, which is no recording.
    Empty,
    /// One file, of a call that has several.
    Partial,
    Present,
}

/// A row of the index, by the keys it may have.
pub struct Sought {
    pub wanted: Wanted,
    pub candidates: Vec<Candidate>,
    /// Whether other rows are of the same call.
    pub has_siblings: bool,
}

/// Rows, and what was found of them so far.
pub struct Day {
    known: Vec<Known>,
    states: Vec<State>,
}

/// What a row is known by in the bucket.
struct Known {
    /// All of a key, or what is before its extension.
    name: String,
    row: usize,
    /// Whether one file there does not stand for all that have the name.
    shared: bool,
}

impl Day {
    pub fn new(rows: impl Iterator<Item = Sought>) -> Self {
        let mut known = Vec::new();
        let mut states = Vec::new();
        for Sought { wanted, candidates, has_siblings } in rows {
            let row = states.len();
            states.push(State::Missing);
            for Candidate { pattern, of_call } in candidates {
                let shared = of_call && has_siblings;
                if let Some(stem) = pattern.stem() {
                    known.push(Known { name: stem.to_owned(), row, shared });
                    continue;
                }
                // Of a key without an extension nothing tells whether it is a ZIP.
                let shared = shared && pattern.has_extension();
                let likely = likely_extensions(&wanted);
                known.extend(likely.iter().map(String::as_str).chain(["bin"]).map(|extension| {
                    let name = pattern.with(extension);
                    Known { name, row, shared: shared && extension != ZIP }
                }));
            }
        }
        known.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Self { known, states }
    }

    /// An object of the bucket.
    pub fn saw(&mut self, key: &str, size: u64) {
        self.found(key, size, false);
        if let Some((stem, extension)) = key.rsplit_once('.')
            && !extension.contains('/')
        {
            self.found(stem, size, extension == ZIP);
        }
        // An unpacked recording is all that is below its name.
        if let Some((name, _)) = key.rsplit_once('/') {
            self.found(name, size, false);
        }
    }

    /// The rows' states, in their order.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// An object that goes by a name; `all`: of a call it is all there is.
    fn found(&mut self, name: &str, size: u64, all: bool) {
        let first = self.known.partition_point(|known| known.name.as_str() < name);
        for known in self.known[first..].iter().take_while(|known| known.name == name) {
            let state = &mut self.states[known.row];
            let seen = match (size, *state) {
                (0, _) => State::Empty,
                // The second file.
                (_, State::Partial) => State::Present,
                _ if known.shared && !all => State::Partial,
                _ => State::Present,
            };
            *state = seen.max(*state);
        }
    }
}

/// The extension of what may hold all recordings of a call.
const ZIP: &str = "zip";
