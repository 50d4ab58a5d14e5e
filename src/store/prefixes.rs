//! What the keys of our tenants begin with, as a bucket is asked and its answer is sifted. Pure.

use std::collections::BTreeSet;
use std::ops::Bound::{Included, Unbounded};

/// What ours begin with, however many tenants there are.
#[derive(Clone, Debug)]
pub struct Prefixes(BTreeSet<String>);

impl Prefixes {
    pub fn new(prefixes: impl IntoIterator<Item = String>) -> Self {
        let sorted: BTreeSet<String> = prefixes.into_iter().collect();
        let mut kept: BTreeSet<String> = BTreeSet::new();
        for prefix in sorted {
            // What begins with a shorter one comes right after it.
            if kept.last().is_none_or(|shorter| !prefix.starts_with(shorter)) {
                kept.insert(prefix);
            }
        }
        Self(kept)
    }

    /// What all keys begin with.
    pub fn common(&self) -> &str {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return "" };
        // What is equal in these is equal in all between.
        let equal = first.char_indices().zip(last.chars()).find(|((_, a), b)| a != b);
        &first[..equal.map_or(first.len(), |((at, _), _)| at)]
    }

    /// Whether `key` begins with one.
    pub fn hold(&self, key: &str) -> bool {
        // None begins with another, so that no second one lies between one and its keys.
        let nearest = self.0.range::<str, _>((Unbounded, Included(key))).next_back();
        nearest.is_some_and(|prefix| key.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(all: &[&str]) -> Prefixes {
        Prefixes::new(all.iter().map(|&prefix| prefix.to_owned()))
    }

    #[test]
    fn a_key_is_held_by_whatever_prefix_it_has() {
        let ours = prefixes(&["acme/", "acme2/", "x/", "x/acme/", "z.a/"]);
        for key in ["acme/1", "acme2/1", "x/1", "x/acme/1", "x/b/1", "x/", "z.a/\u{10ffff}"] {
            assert!(ours.hold(key), "{key}");
        }
        for key in ["", "acme", "acme1/1", "acme22/1", "a", "w/acme/1", "y/1", "z.b/1", "zz"] {
            assert!(!ours.hold(key), "{key}");
        }
        assert!(!prefixes(&[]).hold("acme/1"));
    }

    #[test]
    fn the_bucket_is_asked_for_what_all_have_in_common() {
        assert_eq!(prefixes(&["acme/"]).common(), "acme/");
        assert_eq!(prefixes(&["calls/acme/", "calls/aglobe/", "calls/azur/"]).common(), "calls/a");
        assert_eq!(prefixes(&["acme/", "globex/"]).common(), "");
        assert_eq!(prefixes(&["x/", "x/acme/"]).common(), "x/");
        assert_eq!(prefixes(&[]).common(), "");
    }
}
