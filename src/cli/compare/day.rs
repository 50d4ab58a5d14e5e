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

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Empty => "empty",
            Self::Partial => "partial",
            Self::Present => "present",
        }
    }
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

/// What of a listing in the order of keys is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead<'a> {
    /// Nothing that a row is known by.
    Nothing,
    /// Something, perhaps at once.
    Next,
    /// Nothing up to this key.
    After(&'a str),
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

    /// What comes after `last` among the keys that begin with `prefix`.
    pub fn ahead(&self, prefix: &str, last: &str) -> Ahead<'_> {
        // Whose name has come may have more below it: keys that go on with a dot or a slash, and all
        // of those come before what goes on with the next character.
        const BEHIND: char = '0';
        let open = |(at, next): (usize, char)| next < BEHIND && self.knows(&last[..at]);
        if self.knows(last) || last.char_indices().any(open) {
            return Ahead::Next;
        }
        let next = self
            .known
            .partition_point(|known| known.name.as_str() <= last || known.name.as_str() < prefix);
        let next = self.known.get(next).map(|known| known.name.as_str());
        let Some(name) = next.filter(|name| name.starts_with(prefix)) else {
            return Ahead::Nothing;
        };
        // A listing goes on behind a key.
        let mut chars = name.chars();
        chars.next_back();
        let before = chars.as_str();
        if before > last { Ahead::After(before) } else { Ahead::Next }
    }

    fn knows(&self, name: &str) -> bool {
        self.known.binary_search_by(|known| known.name.as_str().cmp(name)).is_ok()
    }

    /// The rows' states, in their order.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    pub fn into_states(self) -> Vec<State> {
        self.states
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Few letters, so that names meet, among them all that stand before and behind dot and slash.
    fn names(most: usize) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[a-b]/[-./01a]{1,4}", 0..most)
    }

    fn day(names: &[String]) -> Day {
        let known = |(row, name): (usize, &String)| Known { name: name.clone(), row, shared: true };
        let mut known: Vec<_> = names.iter().enumerate().map(known).collect();
        known.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Day { known, states: vec![State::Missing; names.len()] }
    }

    proptest! {
        /// However long the pages are, nothing is passed over that a row is known by.
        #[test]
        fn leaps_find_what_a_whole_listing_finds(
            sought in names(8),
            objects in prop::collection::btree_map("[a-b]/[-./01a]{1,6}", 0..2_u64, 0..40),
            page in 1_usize..5,
        ) {
            let prefix = "a/";
            let objects: BTreeMap<_, _> =
                objects.into_iter().filter(|(key, _)| key.starts_with(prefix)).collect();
            let mut whole = day(&sought);
            objects.iter().for_each(|(key, size)| whole.saw(key, *size));

            let (mut leapt, mut last, mut pages) = (day(&sought), String::new(), 0);
            loop {
                match leapt.ahead(prefix, &last) {
                    Ahead::Nothing => break,
                    Ahead::Next => {}
                    Ahead::After(key) => last = key.to_owned(),
                }
                let rest = objects.iter().filter(|(key, _)| **key > last);
                let listed: Vec<_> = rest.take(page).collect();
                let Some((key, _)) = listed.last() else { break };
                last = (*key).clone();
                listed.iter().for_each(|(key, size)| leapt.saw(key, **size));
                pages += 1;
            }
            prop_assert_eq!(leapt.states(), whole.states());
            prop_assert!(pages <= objects.len().div_ceil(page));
        }
    }

    #[test]
    fn what_lies_between_is_passed_over() {
        let day = day(&["a/1".to_owned(), "a/7".to_owned(), "b/1".to_owned()]);
        let ahead = |last: &str| day.ahead("a/", last);
        assert_eq!(ahead(""), Ahead::After("a/"));
        assert_eq!(ahead("a/"), Ahead::Next);
        for open in ["a/1", "a/1-5.wav", "a/1.wav", "a/1/2.wav"] {
            assert_eq!(ahead(open), Ahead::Next, "{open}");
        }
        assert_eq!(ahead("a/10.wav"), Ahead::Next, "the next is as near as can be told");
        assert_eq!(ahead("a/7/1.wav"), Ahead::Next);
        assert_eq!(ahead("a/8.wav"), Ahead::Nothing);
        let far = Day { known: Vec::new(), ..day };
        assert_eq!(far.ahead("a/", ""), Ahead::Nothing);
    }
}
