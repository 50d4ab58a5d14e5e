//! What is wrong with a configuration, where, and what to do about it. Never quotes a secret.

use std::fmt;
use std::sync::Arc;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of the configuration file or of a tenant's own, counted from 1.
    File { file: Arc<str>, line: usize },
    /// An environment variable.
    Environment(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Environment(name) => f.write_str(name),
        }
    }
}

/// Why a value is refused, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub what: String,
    pub fix: String,
}

impl Wrong {
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }

    /// What is wrong with the elements of one value, as one; `None` if nothing is.
    pub fn all(mut wrong: Vec<Self>) -> Option<Self> {
        let unlike = |part: fn(&Self) -> &str| {
            let mut parts: Vec<&str> = wrong.iter().map(part).collect();
            parts.dedup();
            parts.join(", ")
        };
        let all = Self::new(unlike(|one| &one.what), unlike(|one| &one.fix));
        wrong.pop().map(|_| all)
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `worker.memory`, `tenants[acme].store.bucket`; empty where the file itself is the trouble.
    pub key: String,
    /// `None`: the key is missing.
    pub place: Option<Place>,
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl Mistake {
    pub(super) fn new(key: impl Into<String>, place: Option<Place>, wrong: Wrong) -> Self {
        Self { key: key.into(), place, what: wrong.what, fix: wrong.fix }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.fix)
    }
}

/// All mistakes of a configuration: those of the file in its order, then those of the
/// environment, then what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Sorts, and drops what was found twice: a wrong value of `[ccfs]` is seen by every tenant.
    pub(super) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| (mistake.place.is_none(), mistake.place.clone()));
        let mut kept: Vec<Mistake> = Vec::new();
        for mistake in mistakes {
            if !kept.iter().any(|other| other.key == mistake.key && other.place == mistake.place) {
                kept.push(mistake);
            }
        }
        Self(kept)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a mistake:")?,
            n => write!(f, "the configuration has {n} mistakes:")?,
        }
        for mistake in &self.0 {
            write!(f, "\n  {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
