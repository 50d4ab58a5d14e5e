//! "Did you mean": the known name that an unknown one is a slip for.

use std::collections::BTreeSet;

use strsim::damerau_levenshtein;

/// More edits make another word of it: `Mars` is no slip for `Factory`.
const SLIP: usize = 2;

/// The nearest of `known`, all of them dotted keys like `unknown` itself.
///
/// A slip inside the right section comes first, then the right key in the wrong section, then a slip
/// anywhere in it; `None` if nothing is as near as that.
pub(super) fn key<'k>(unknown: &str, known: &'k BTreeSet<String>) -> Option<&'k str> {
    let (section, name) = split(unknown);
    let siblings = known.iter().filter(|candidate| split(candidate).0 == section);
    let names = siblings.map(|candidate| split(candidate).1);
    if let Some(meant) = alike(name, names) {
        let is_meant = |candidate: &&String| split(candidate) == (section, meant);
        return known.iter().find(is_meant).map(String::as_str);
    }
    let namesakes = || known.iter().filter(|candidate| split(candidate).1 == name);
    let below = |candidate: &&String| {
        candidate.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
    };
    let elsewhere = namesakes().find(below).or_else(|| namesakes().next());
    elsewhere.map(String::as_str).or_else(|| alike(unknown, known.iter().map(String::as_str)))
}

/// The section that `unknown` stands in, with its keys; where there is no such section, nothing and
/// what can stand at the top.
pub(super) fn choices<'u>(unknown: &'u str, known: &BTreeSet<String>) -> (&'u str, String) {
    let (section, _) = split(unknown);
    let siblings = known.iter().filter(|key| split(key).0 == section).map(|key| split(key).1);
    let names: BTreeSet<&str> = siblings.collect();
    if !section.is_empty() && !names.is_empty() {
        return (section, listed(names));
    }
    ("", listed(known.iter().map(|key| key.split(['.', '[']).next().unwrap_or(key)).collect()))
}

fn listed(names: BTreeSet<&str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// The name that `unknown` is a slip for: at most two edits away, two neighbours that changed places
/// being one, and in a short name fewer than half of its letters.
pub fn alike<'k>(unknown: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let slips = known.map(|name| (damerau_levenshtein(unknown, name), name));
    let (edits, name) = slips.min_by_key(|(edits, _)| *edits)?;
    (edits <= SLIP && 2 * edits < unknown.chars().count()).then_some(name)
}

fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_a_slip_then_the_right_section() {
        let known = ["broker.url", "worker.memory", "store.bucket", "store.key", "http.listen"]
            .map(String::from)
            .into();
        assert_eq!(key("worker.memroy", &known), Some("worker.memory"));
        assert_eq!(key("bucket", &known), Some("store.bucket"));
        assert_eq!(key("worker.bucket", &known), Some("store.bucket"));
        assert_eq!(key("broken.url", &known), Some("broker.url"));
        assert_eq!(key("x", &BTreeSet::new()), None);

        let known = ["store.bucket", "tenants[a].id", "tenants[a].store.bucket"];
        let known = known.map(String::from).into();
        assert_eq!(key("tenants[a].bucket", &known), Some("tenants[a].store.bucket"));
    }

    #[test]
    fn what_is_like_nothing_is_told_what_there_is() {
        let known = ["broker.url", "store.bucket", "store.key", "tenants", "tenants[a].id"]
            .map(String::from)
            .into();
        assert_eq!(key("httpd.listener", &known), None);
        assert_eq!(key("store.colour", &known), None);
        let (keys, top) = ("bucket, key".to_owned(), "broker, store, tenants".to_owned());
        assert_eq!(choices("store.colour", &known), ("store", keys));
        assert_eq!(choices("shop.colour", &known), ("", top.clone()));
        assert_eq!(choices("colour", &known), ("", top));
        assert_eq!(choices("tenants[a].colour", &known), ("tenants[a]", "id".to_owned()));
    }

    #[test]
    fn a_slip_is_two_edits_at_the_most() {
        let zones = ["Factory", "Europe/Berlin", "GB", "UTC"];
        let meant = |unknown| alike(unknown, zones.into_iter());
        assert_eq!(meant("Mars"), None);
        assert_eq!(meant("Europe/Brelni"), Some("Europe/Berlin"));
        assert_eq!(meant("Europ/berlin"), Some("Europe/Berlin"));
        assert_eq!(meant("Erope/berln"), None);
        assert_eq!(meant("UCT"), Some("UTC"));
        assert_eq!(meant("XY"), None);
    }
}
