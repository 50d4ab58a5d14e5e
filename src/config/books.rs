//! What is noted while a configuration is read: keys that exist, variables that were used, mistakes.
//!
//! Sections write it, `reader` closes it. Knows no key and no section.

use std::collections::{BTreeMap, BTreeSet};

use super::layers::Environment;
use super::mistake::{Mistake, Place, Wrong};

/// The books of one pass over a configuration.
pub(super) struct Books<'a> {
    pub environment: &'a Environment,
    pub mistakes: Vec<Mistake>,
    pub warnings: Vec<String>,
    /// Full names of the keys that sections asked for.
    pub known: BTreeSet<String>,
    /// The variables of known keys that the environment can set.
    pub variables: BTreeSet<String>,
    /// Variables that were looked up, or named by an `_env` form.
    pub used: BTreeSet<String>,
    /// Required keys that tenants lack, with the tenants.
    pub missing: BTreeMap<String, Vec<String>>,
}

impl<'a> Books<'a> {
    pub fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            mistakes: Vec::new(),
            warnings: Vec::new(),
            known: BTreeSet::new(),
            variables: BTreeSet::new(),
            used: BTreeSet::new(),
            missing: BTreeMap::new(),
        }
    }

    pub fn mistake(&mut self, key: impl Into<String>, place: Option<Place>, wrong: Wrong) {
        self.mistakes.push(Mistake::new(key, place, wrong));
    }

    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }
}
