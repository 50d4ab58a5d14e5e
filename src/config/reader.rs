//! Pulls values by key through the layers, and records what it saw: sources, mistakes, known keys.
//!
//! A section asks for each of its keys once, giving name, default, type and check on the spot.
//! From these calls alone come the effective view, the list of known keys and every mistake, so
//! that a key stands once in the code. Knows no key itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::effective::{self, Effective, EffectiveSection, Row, Source};
use super::layers::{Environment, Kind, Node, PREFIX, Table, Value, variable};
use super::mistake::{Mistake, Mistakes, Place, Wrong};
use super::nearest;

/// One pass over a configuration.
pub(super) struct Reader<'a> {
    file: &'a Table,
    environment: &'a Environment,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
    effective: Effective,
    /// Full names of the keys that sections asked for.
    known: Vec<String>,
    /// Known keys that the environment can set.
    variables: Vec<String>,
    /// Variables that were looked up, or named by an `_env` form.
    used: BTreeSet<String>,
    /// Keys in the file, to be held against `known` once that is whole.
    present: Vec<(String, Place)>,
    /// Required keys that tenants lack, with the tenants.
    missing: BTreeMap<String, Vec<String>>,
}

/// Where a section's keys are looked for: one table of the file, with or without variables.
pub(super) struct Scope<'a> {
    /// `worker`, `tenants[acme].store`.
    name: String,
    table: Option<&'a Table>,
    /// The section whose variables lie over the table.
    variables: Option<&'static str>,
    /// Where a key that it lacks is missed.
    place: Option<Place>,
}

impl<'a> Reader<'a> {
    pub fn new(file: &'a Table, environment: &'a Environment) -> Self {
        Self {
            file,
            environment,
            mistakes: Vec::new(),
            warnings: Vec::new(),
            effective: Effective::default(),
            known: Vec::new(),
            variables: Vec::new(),
            used: BTreeSet::new(),
            present: Vec::new(),
            missing: BTreeMap::new(),
        }
    }

    /// Reads a section whose required keys must be there.
    pub fn section<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        let scope = self.global(name);
        self.scopes(format!("[{name}]"), vec![scope], Stage::Whole, None, read)
    }

    /// Reads a section that tenants lay theirs over: required keys may still be missing, and keys
    /// that must fit each other are compared when the tenants are read.
    pub fn base<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'_, 'a>) -> T) {
        let scope = self.global(name);
        self.scopes(format!("[{name}]"), vec![scope], Stage::Base, None, read);
    }

    /// Reads a tenant's own keys.
    pub fn tenant<T>(
        &mut self,
        label: &str,
        node: &Node,
        table: &'a Table,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        let place = Some(node.place.clone());
        let scope = Scope { name: label.into(), table: Some(table), variables: None, place };
        self.scopes("[[tenants]]".into(), vec![scope], Stage::Whole, Some(label), read)
    }

    /// Reads `[tenants.<name>]` over `[<name>]`.
    pub fn merged<T>(
        &mut self,
        label: &str,
        table: &'a Table,
        name: &'static str,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        let own_name = format!("{label}.{name}");
        self.known.push(own_name.clone());
        let own = self.table(table, name, &own_name);
        let own = Scope { name: own_name, table: own, variables: None, place: None };
        let base = self.global(name);
        let header = format!("[tenants.{name}]");
        self.scopes(header, vec![own, base], Stage::Whole, Some(label), read)
    }

    /// The elements of `[[tenants]]`.
    pub fn tenants(&mut self) -> Vec<&'a Node> {
        self.known.push("tenants".into());
        let file = self.file;
        match file.get("tenants").map(|node| (&node.value, &node.place)) {
            Some((Value::List(nodes), _)) => nodes.iter().collect(),
            Some((other, place)) => {
                let what = format!("must be an array of tables, is {}", other.kind());
                let wrong = Wrong::new(what, "begin each tenant with a line [[tenants]]");
                self.mistake("tenants", Some(place.clone()), wrong);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    pub fn mistake(&mut self, key: impl Into<String>, place: Option<Place>, wrong: Wrong) {
        self.mistakes.push(Mistake::new(key, place, wrong));
    }

    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Where a key that was read is set; `None`: it has its default.
    pub fn place(&self, header: &str, key: &str) -> Option<Place> {
        let section = self.effective.sections.iter().find(|section| section.header == header)?;
        match &section.rows.iter().find(|row| row.key == key)?.source {
            Source::Set(place) => Some(place.clone()),
            _ => None,
        }
    }

    /// The full names of all keys that were asked for.
    #[cfg(test)]
    pub fn known(&self) -> &[String] {
        &self.known
    }

    fn global(&mut self, name: &'static str) -> Scope<'a> {
        self.known.push(name.into());
        let table = self.table(self.file, name, name);
        Scope { name: name.into(), table, variables: Some(name), place: None }
    }

    fn table(&mut self, parent: &'a Table, key: &str, name: &str) -> Option<&'a Table> {
        let node = parent.get(key)?;
        if let Value::Table(table) = &node.value {
            return Some(table);
        }
        let what = format!("must be a section, is {}", node.value.kind());
        let fix = format!("write its keys under a line [{key}]");
        self.mistake(name, Some(node.place.clone()), Wrong::new(what, fix));
        None
    }

    fn scopes<T>(
        &mut self,
        header: String,
        scopes: Vec<Scope<'a>>,
        stage: Stage,
        tenant: Option<&str>,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        for scope in &scopes {
            let place = |(key, node): (&String, &Node)| {
                (format!("{}.{}", scope.name, effective::key(key)), node.place.clone())
            };
            self.present.extend(scope.table.into_iter().flatten().map(place));
        }
        let mut section = Section {
            reader: self,
            scopes,
            stage,
            tenant: tenant.map(str::to_owned),
            found: BTreeMap::new(),
            rows: Vec::new(),
        };
        let value = read(&mut section);
        let rows = section.rows;
        // A tenant that sets nothing over the global section has no section of its own to show.
        if !rows.is_empty() {
            self.effective.sections.push(EffectiveSection { header, rows });
        }
        value
    }

    /// Everything seen, once the unknown and the missing are known too.
    pub fn finish(mut self) -> Result<(Effective, Vec<String>), Mistakes> {
        let top = self.file.iter().map(|(key, node)| (effective::key(key), node.place.clone()));
        self.present.extend(top);
        self.unknown_keys();
        self.unknown_variables();
        for (key, tenants) in std::mem::take(&mut self.missing) {
            let (section, _) = key.rsplit_once('.').unwrap_or(("", &key));
            let what = format!("is required, and missing for {}", tenants.join(", "));
            let fix = format!("set it in [{section}] or in the tenant's [tenants.{section}]");
            self.mistake(key, None, Wrong::new(what, fix));
        }
        if self.mistakes.is_empty() {
            Ok((self.effective, self.warnings))
        } else {
            Err(Mistakes::new(self.mistakes))
        }
    }

    fn unknown_keys(&mut self) {
        let known: BTreeSet<&str> = self.known.iter().map(String::as_str).collect();
        let unknown = self.present.iter().filter(|(key, _)| !known.contains(key.as_str()));
        let mistake = |(key, place): &(String, Place)| {
            let nearest = nearest::key(key, &self.known).unwrap_or_default();
            let wrong = Wrong::new("is not known", format!("did you mean {nearest}?"));
            Mistake::new(key, Some(place.clone()), wrong)
        };
        let mistakes: Vec<_> = unknown.map(mistake).collect();
        self.mistakes.extend(mistakes);
    }

    fn unknown_variables(&mut self) {
        for name in self.environment.names() {
            let place = Some(Place::Environment(name.into()));
            let Some(path) = name.strip_prefix(PREFIX) else {
                self.near_miss(name);
                continue;
            };
            if self.used.contains(name) {
                continue;
            }
            let key = path.to_ascii_lowercase().replace("__", ".");
            let wrong = if key.split('.').next() == Some("tenants") {
                Wrong::new(
                    "tenants are not set by environment",
                    "write them in the file; secret_key_env names a variable with the secret",
                )
            } else {
                let known = self.variables.iter().map(String::as_str);
                let nearest = nearest::alike(name, known).unwrap_or_default();
                Wrong::new("is not known", format!("did you mean {nearest}?"))
            };
            self.mistakes.push(Mistake::new("", place, wrong));
        }
    }

    /// `CALLVAULT_BROKER_URL`: does nothing, and nobody would notice.
    fn near_miss(&mut self, name: &str) {
        let flat = |name: &str| name.to_ascii_uppercase().replace("__", "_");
        if !self.used.contains(name)
            && let Some(meant) = self.variables.iter().find(|known| flat(known) == flat(name))
        {
            let warning = format!("{name} has no effect; did you mean {meant}?");
            self.warnings.push(warning);
        }
    }
}

/// Whether a section is complete, or the base that tenants lay theirs over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
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
    reader: &'r mut Reader<'a>,
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

impl<'a> Section<'_, 'a> {
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
            self.reader.known.push(format!("{}.{key}", scope.name));
            if let Some(section) = scope.variables {
                self.reader.variables.push(variable(section, key));
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
                match self.reader.environment.node(&name, kind) {
                    None => Ok(None),
                    Some(read) => {
                        self.reader.used.insert(name.clone());
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
        let entries = self.reader.environment.entries(&name);
        let entries: Vec<_> = entries.map(|(entry, node)| (entry.to_owned(), node)).collect();
        let used = entries.iter().map(|(_, node)| node.place.to_string());
        self.reader.used.extend(used);
        entries
    }

    /// A variable that an `_env` form names.
    pub(super) fn named_variable(&mut self, name: &str) -> Option<&'a str> {
        self.reader.used.insert(name.to_owned());
        self.reader.environment.get(name)
    }

    /// Remembers a value that takes effect. A tenant's section shows only what it sets itself.
    pub(super) fn record(&mut self, key: &str, scope: usize, place: Option<Place>, row: Row) {
        self.found.insert(key.to_owned(), Found { scope, place });
        self.show(scope, row);
    }

    pub(super) fn show(&mut self, scope: usize, row: Row) {
        if scope == 0 && (self.scopes.len() == 1 || row.source != Source::Default) {
            self.rows.push(row);
        }
    }

    /// A required key is nowhere.
    pub(super) fn absent(&mut self, key: &str) {
        let base = &self.scopes[self.scopes.len() - 1];
        let (name, place) = (format!("{}.{key}", base.name), base.place.clone());
        match (&self.tenant, self.stage) {
            (_, Stage::Base) => {
                let source = Source::Tenants;
                self.rows.push(Row { key: key.into(), value: None, source, default: None });
            }
            (Some(tenant), Stage::Whole) if self.scopes.len() > 1 => {
                self.reader.missing.entry(name).or_default().push(tenant.clone());
            }
            (_, Stage::Whole) => {
                let wrong = Wrong::new("is required, and missing", "set it");
                self.reader.mistake(name, place, wrong);
            }
        }
    }

    /// Records a mistake about a value found in a scope.
    pub(super) fn wrong(&mut self, scope: usize, key: &str, place: Option<Place>, wrong: Wrong) {
        let name = format!("{}.{key}", self.scopes[scope].name);
        self.reader.mistake(name, place, wrong);
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

    /// Whether two keys were set in the same scope, so that a pair is not torn.
    pub(super) fn same_scope(&self, one: &str, other: &str) -> bool {
        let scope = |key| self.found.get(key).map(|found| found.scope);
        scope(one) == scope(other)
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.reader.warn(warning);
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
