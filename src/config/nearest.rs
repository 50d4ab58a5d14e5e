//! "Did you mean": the known name nearest to an unknown one.

use strsim::{damerau_levenshtein, normalized_damerau_levenshtein};

/// The nearest of `known`, all of them dotted keys like `unknown` itself.
///
/// A slip inside the right section comes first, then the right key in the wrong section, then
/// whatever looks most alike; `None` only if nothing is known.
pub(super) fn key<'k>(unknown: &str, known: &'k [String]) -> Option<&'k str> {
    let (section, name) = split(unknown);
    let slip = |candidate: &str| damerau_levenshtein(name, split(candidate).1);
    let close = (name.chars().count() / 3).max(2);
    let siblings = known.iter().filter(|candidate| split(candidate).0 == section);
    let by_slip = siblings.map(|candidate| (slip(candidate), candidate)).min();
    if let Some((distance, candidate)) = by_slip
        && distance <= close
    {
        return Some(candidate);
    }
    let namesakes = || known.iter().filter(|candidate| split(candidate).1 == name);
    let below = |candidate: &&String| {
        candidate.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
    };
    let elsewhere = namesakes().find(below).or_else(|| namesakes().next());
    elsewhere.map(String::as_str).or_else(|| alike(unknown, known.iter().map(String::as_str)))
}

/// The name that looks most alike.
pub fn alike<'k>(unknown: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let likeness = |name: &str| normalized_damerau_levenshtein(unknown, name);
    known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_a_slip_then_the_right_section_then_likeness() {
        let known = ["broker.url", "worker.memory", "store.bucket", "store.key", "http.listen"]
            .map(String::from);
        assert_eq!(key("worker.memroy", &known), Some("worker.memory"));
        assert_eq!(key("bucket", &known), Some("store.bucket"));
        assert_eq!(key("worker.bucket", &known), Some("store.bucket"));
        assert_eq!(key("broken.url", &known), Some("broker.url"));
        assert_eq!(key("httpd.listener", &known), Some("http.listen"));
        assert_eq!(key("x", &[]), None);

        let known = ["store.bucket", "tenants[a].id", "tenants[a].store.bucket"].map(String::from);
        assert_eq!(key("tenants[a].bucket", &known), Some("tenants[a].store.bucket"));
    }
}
