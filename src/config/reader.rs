//! Pulls values by key through the layers, and records what it saw: sources, mistakes, known keys.
//!
//! A section asks for each of its keys once, giving name, default, type and check on the spot.
//! From these calls alone come the effective view, the list of known keys and every mistake, so
//! that a key stands once in the code. Knows no key itself.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::Path;

use super::books::Books;
use super::effective::{self, Effective, EffectiveSection, Source};
use super::folder::{self, Folder};
use super::layers::{Environment, Node, PREFIX, Table, Value};
use super::mistake::{Mistake, Mistakes, Place, Wrong};
use super::nearest;
use super::section::{Scope, Section, Stage};

/// One pass over a configuration.
pub(super) struct Reader<'a> {
    file: &'a Table,
    /// Read when it is known which.
    folder: &'a OnceCell<Folder>,
    books: Books<'a>,
    effective: Effective,
    /// Keys in the file, to be held against `known` once that is whole.
    present: Vec<(String, Place)>,
}

impl<'a> Reader<'a> {
    pub fn new(
        file: &'a Table,
        folder: &'a OnceCell<Folder>,
        environment: &'a Environment,
    ) -> Self {
        let (books, effective) = (Books::new(environment), Effective::default());
        Self { file, folder, books, effective, present: Vec::new() }
    }

    /// Reads the keys that stand before any section.
    pub fn top<T>(&mut self, read: impl FnOnce(&mut Section<'_, 'a>) -> T) -> T {
        let (table, variables) = (Some(self.file), Some(""));
        let scope = Scope { name: String::new(), table, variables, place: None };
        self.scopes(String::new(), vec![scope], Stage::Whole, None, read)
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

    /// Remembers that a section exists.
    pub fn know(&mut self, name: String) {
        self.books.known.insert(name);
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
        let own = self.table(table, name, &own_name);
        let own = Scope { name: own_name, table: own, variables: None, place: None };
        let base = self.global(name);
        let header = format!("[tenants.{name}]");
        self.scopes(header, vec![own, base], Stage::Whole, Some(label), read)
    }

    /// The elements of `[[tenants]]`; `None`: a mistake was recorded.
    pub fn tenants(&mut self) -> Option<Vec<&'a Node>> {
        self.books.known.insert("tenants".into());
        let file = self.file;
        match file.get("tenants").map(|node| (&node.value, &node.place)) {
            Some((Value::List(nodes), _)) => Some(nodes.iter().collect()),
            Some((other, place)) => {
                let what = format!("must be an array of tables, is {}", other.kind());
                let wrong = Wrong::new(what, "begin each tenant with a line [[tenants]]");
                self.mistake("tenants", Some(place.clone()), wrong);
                None
            }
            None => Some(Vec::new()),
        }
    }

    /// The files of `tenants_dir` that can be read, each with its name; `None`: the folder cannot.
    pub fn folder(&mut self, path: &Path) -> Option<&'a [(String, Node)]> {
        let read = match folder::read(path) {
            Ok(read) => read,
            Err(wrong) => {
                self.mistake("tenants_dir", self.place("", "tenants_dir"), wrong);
                return None;
            }
        };
        let cell = self.folder;
        let Folder { tenants, mistakes } = cell.get_or_init(|| read);
        self.books.mistakes.extend(mistakes.iter().cloned());
        Some(tenants)
    }

    pub fn mistake(&mut self, key: impl Into<String>, place: Option<Place>, wrong: Wrong) {
        self.books.mistake(key, place, wrong);
    }

    pub fn warn(&mut self, warning: impl Into<String>) {
        self.books.warn(warning);
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
    pub fn known(&self) -> &BTreeSet<String> {
        &self.books.known
    }

    fn global(&mut self, name: &'static str) -> Scope<'a> {
        self.books.known.insert(name.into());
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
                (scope.full(&effective::key(key)), node.place.clone())
            };
            self.present.extend(scope.table.into_iter().flatten().map(place));
        }
        let mut section = Section::new(&mut self.books, scopes, stage, tenant);
        let value = read(&mut section);
        let rows = section.into_rows();
        // A tenant that sets nothing over the global section has no section of its own to show.
        if !rows.is_empty() {
            self.effective.sections.push(EffectiveSection { header, rows });
        }
        value
    }

    /// Everything seen, once the unknown and the missing are known too.
    pub fn finish(mut self) -> Result<(Effective, Vec<String>), Mistakes> {
        self.unknown_keys();
        self.unknown_variables();
        for (key, tenants) in std::mem::take(&mut self.books.missing) {
            let (section, _) = key.rsplit_once('.').unwrap_or(("", &key));
            let what = format!("is required, and missing for {}", tenants.join(", "));
            // In a file of its own a tenant's section is named as the global one is.
            let own = match self.folder.get() {
                Some(_) => format!("own [{section}]"),
                None => format!("[tenants.{section}]"),
            };
            let fix = format!("set it in [{section}] or in the tenant's {own}");
            self.mistake(key, None, Wrong::new(what, fix));
        }
        if self.books.mistakes.is_empty() {
            Ok((self.effective, self.books.warnings))
        } else {
            Err(Mistakes::new(self.books.mistakes))
        }
    }

    fn unknown_keys(&mut self) {
        let unknown = self.present.iter().filter(|(key, _)| !self.books.known.contains(key));
        let mistake = |(key, place): &(String, Place)| {
            let fix = match nearest::key(key, &self.books.known) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => match nearest::choices(key, &self.books.known) {
                    ("", names) => format!("there are {names}"),
                    (section, names) => format!("{section} has {names}"),
                },
            };
            Mistake::new(key, Some(place.clone()), Wrong::new("is not known", fix))
        };
        let mistakes: Vec<_> = unknown.map(mistake).collect();
        self.books.mistakes.extend(mistakes);
    }

    fn unknown_variables(&mut self) {
        for name in self.books.environment.names() {
            let place = Some(Place::Environment(name.into()));
            let Some(key) = key_of(name) else {
                self.near_miss(name);
                continue;
            };
            if self.books.used.contains(name) {
                continue;
            }
            let wrong = if key.split('.').next() == Some("tenants") {
                Wrong::new(
                    "tenants are not set by environment",
                    "write them in the file; secret_key_env names a variable with the secret",
                )
            } else {
                let known = self.books.variables.iter().filter_map(|name| key_of(name));
                Wrong::new("is not known", meant_variable(&key, &known.collect()))
            };
            self.books.mistakes.push(Mistake::new("", place, wrong));
        }
    }

    /// `CALLVAULT_BROKER_URL`: does nothing, and nobody would notice.
    fn near_miss(&mut self, name: &str) {
        let flat = |name: &str| name.to_ascii_uppercase().replace("__", "_");
        if !self.books.used.contains(name)
            && let Some(meant) = self.books.variables.iter().find(|known| flat(known) == flat(name))
        {
            let warning = format!("{name} has no effect; did you mean {meant}?");
            self.books.warnings.push(warning);
        }
    }
}

/// The key that a variable of ours stands for: `CALLVAULT__STORE__BUCKET` for `store.bucket`.
fn key_of(variable: &str) -> Option<String> {
    let path = variable.strip_prefix(PREFIX)?;
    Some(path.to_ascii_lowercase().replace("__", "."))
}

fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// What to do about a variable whose key is not known.
fn meant_variable(key: &str, known: &BTreeSet<String>) -> String {
    if let Some(nearest) = nearest::key(key, known) {
        return format!("did you mean {}?", variable_of(nearest));
    }
    let (section, names) = nearest::choices(key, known);
    let prefix = if section.is_empty() { PREFIX.to_owned() } else { variable_of(section) + "__" };
    format!("after {prefix} can stand {}", names.to_ascii_uppercase())
}
