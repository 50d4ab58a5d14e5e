//! One section while it is read: its keys looked up through its scopes and layers, and what was
//! found put into the books. `kinds` and `forms` give it a getter for every kind of value.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::books::Books;
use super::effective::{Row, Source};
use super::layers::{Kind, Node, Table, variable};
use super::mistake::{Place, Wrong};

/// Where a section's keys are looked for: one table of the file, with or without variables.
pub(super) struct Scope<'a> {
    /// `worker`, `tenants[acme].store`; empty: before any section.
    pub name: String,
    pub table: Option<&'a Table>,
    /// The section whose variables lie over the table.
    pub variables: Option<&'static str>,
    /// Where a key that it lacks is missed.
    pub place: Option<Place>,
}

impl Scope<'_> {
    /// The full name of a key.
    pub(super) fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

/// Whether a section is complete, or the base that tenants lay theirs over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Base,
    Whole,
}

/// Where a key's value was found.
struct Found {
    scope: usize,
    /// `None`: its default.
    place: Option<Place>,
}

/// One section while it is read.
pub(super) struct Section<'r, 'a> {
    books: &'r mut Books<'a>,
    /// The most specific first.
    scopes: Vec<Scope<'a>>,
    stage: Stage,
    /// The tenant that is read, for messages.
    tenant: Option<String>,
    found: BTreeMap<String, Found>,
    rows: Vec<Row>,
}

/// A value that is there.
pub(super) struct Present {
    pub scope: usize,
    pub node: Node,
}

impl<'r, 'a> Section<'r, 'a> {
    pub(super) fn new(
        books: &'r mut Books<'a>,
        scopes: Vec<Scope<'a>>,
        stage: Stage,
        tenant: Option<&str>,
    ) -> Self {
        let tenant = tenant.map(str::to_owned);
        Self { books, scopes, stage, tenant, found: BTreeMap::new(), rows: Vec::new() }
    }

    pub(super) fn into_rows(self) -> Vec<Row> {
        self.rows
    }

    /// The value of a key in the highest layer that has one. `Err`: recorded as a mistake.
    pub(super) fn find(&mut self, key: &str, kind: Kind) -> Result<Option<Present>, ()> {
        self.know(key);
        for scope in 0..self.scopes.len() {
            for layer in self.layers(scope) {
                if let Some(node) = self.at(scope, layer, key, kind)? {
                    return Ok(Some(Present { scope, node }));
                }
            }
        }
        Ok(None)
    }

    /// Remembers that a key exists, wherever it is looked for.
    pub(super) fn know(&mut self, key: &str) {
        for scope in &self.scopes {
            self.books.known.insert(scope.full(key));
            if let Some(section) = scope.variables {
                self.books.variables.insert(variable(section, key));
            }
        }
    }

    pub(super) fn scopes(&self) -> std::ops::Range<usize> {
        0..self.scopes.len()
    }

    /// The layers of a scope, the higher first.
    pub(super) fn layers(&self, scope: usize) -> &'static [Layer] {
        match self.scopes[scope].variables {
            Some(_) => &[Layer::Environment, Layer::File],
            None => &[Layer::File],
        }
    }

    /// The value of a key in one layer of one scope.
    pub(super) fn at(
        &mut self,
        scope: usize,
        layer: &Layer,
        key: &str,
        kind: Kind,
    ) -> Result<Option<Node>, ()> {
        let Scope { table, variables, .. } = &self.scopes[scope];
        match (layer, variables) {
            (Layer::File, _) => Ok(table.and_then(|table| table.get(key)).cloned()),
            (Layer::Environment, None) => Ok(None),
            (Layer::Environment, Some(section)) => {
                let name = variable(section, key);
                match self.books.environment.node(&name, kind) {
                    None => Ok(None),
                    Some(read) => {
                        self.books.used.insert(name.clone());
                        read.map(Some).map_err(|wrong| {
                            self.wrong(scope, key, Some(Place::Environment(name)), wrong);
                        })
                    }
                }
            }
        }
    }

    /// The variables that set single entries of a table key.
    pub(super) fn entry_variables(&mut self, scope: usize, key: &str) -> Vec<(String, Node)> {
        let Some(section) = self.scopes[scope].variables else { return Vec::new() };
        let name = variable(section, key);
        let entries = self.books.environment.entries(&name);
        let entries: Vec<_> = entries.map(|(entry, node)| (entry.to_owned(), node)).collect();
        let used = entries.iter().map(|(_, node)| node.place.to_string());
        self.books.used.extend(used);
        entries
    }

    /// A variable that an `_env` form names.
    pub(super) fn named_variable(&mut self, name: &str) -> Option<Result<&'a str, Wrong>> {
        self.books.used.insert(name.to_owned());
        self.books.environment.get(name)
    }

    /// Remembers a value that takes effect. A tenant's section shows only what it sets itself.
    pub(super) fn record(&mut self, key: &str, scope: usize, place: Option<Place>, row: Row) {
        self.remember(key, scope, place);
        self.show(scope, row);
    }

    pub(super) fn remember(&mut self, key: &str, scope: usize, place: Option<Place>) {
        self.found.insert(key.to_owned(), Found { scope, place });
    }

    pub(super) fn show(&mut self, scope: usize, row: Row) {
        if scope == 0 && (self.scopes.len() == 1 || row.source != Source::Default) {
            self.rows.push(row);
        }
    }

    /// A required key is nowhere.
    pub(super) fn absent(&mut self, key: &str) {
        let base = &self.scopes[self.scopes.len() - 1];
        let (name, place) = (base.full(key), base.place.clone());
        match (&self.tenant, self.stage) {
            (_, Stage::Base) => {
                let source = Source::Tenants;
                self.rows.push(Row { key: key.into(), value: None, source, default: None });
            }
            (Some(tenant), Stage::Whole) if self.scopes.len() > 1 => {
                self.books.missing.entry(name).or_default().push(tenant.clone());
            }
            (_, Stage::Whole) => {
                let wrong = Wrong::new("is required, and missing", "set it");
                self.books.mistake(name, place, wrong);
            }
        }
    }

    /// Records a mistake about a value found in a scope.
    pub(super) fn wrong(&mut self, scope: usize, key: &str, place: Option<Place>, wrong: Wrong) {
        let name = self.scopes[scope].full(key);
        self.books.mistake(name, place, wrong);
    }

    /// Records that a key that was read does not fit another. Only keys of a whole section are
    /// compared: what a base lacks, a tenant may set.
    pub(super) fn refuse(&mut self, key: &str, wrong: Wrong) {
        if self.stage == Stage::Base {
            return;
        }
        if let Some(Found { scope, place }) = self.found.get(key) {
            let (scope, place) = (*scope, place.clone());
            self.wrong(scope, key, place, wrong);
        }
    }

    /// Whether a key was set in the nearest scope, and not in one that lies below.
    pub(super) fn is_own(&self, key: &str) -> bool {
        self.found.get(key).is_some_and(|found| found.scope == 0)
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.books.warn(warning);
    }

    /// Records where a secret came from; the row says whether it is set, never what it is.
    pub(super) fn secret_source(by: &Place, origin: &Origin) -> Source {
        let by = by.clone();
        match origin {
            Origin::Inline => Source::Set(by),
            Origin::File(path) => Source::SecretFile { path: path.clone(), by },
            Origin::Variable(name) => Source::SecretVariable { name: name.clone(), by },
        }
    }
}

/// A layer of a scope.
pub(super) enum Layer {
    Environment,
    File,
}

/// Which form a secret had.
pub(super) enum Origin {
    Inline,
    File(PathBuf),
    Variable(String),
}
