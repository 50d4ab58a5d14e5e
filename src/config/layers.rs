//! The layers a value can come from, as trees that remember places: the file and the environment.
//!
//! Knows no key: what a value must be is the reader's business.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::mistake::{Mistake, Mistakes, Place, Wrong};
use super::secret::trimmed;

/// What the variables of ours begin with.
pub(super) const PREFIX: &str = "CALLVAULT__";

/// A value with the place it came from.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub value: Value,
    pub place: Place,
}

pub(super) type Table = BTreeMap<String, Node>;

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    List(Vec<Node>),
    Table(Table),
    /// Nothing that any key takes, by its name for people.
    Other(&'static str),
}

impl Value {
    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Flag(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// What a key takes: decides how the text of an environment variable is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Float,
    Flag,
    List,
    Table,
}

/// Nobody said which file to read.
pub(super) fn no_file() -> Mistake {
    let fix = "name it with --config FILE or CALLVAULT_CONFIG";
    Mistake::new("", None, Wrong::new("no configuration file was named", fix))
}

/// Reads the configuration file.
///
/// # Errors
/// Unreadable, not UTF-8, or not TOML: then every syntax error with its line and column.
pub(super) fn read_file(path: &Path) -> Result<Table, Mistakes> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let fix = match error.kind() {
            io::ErrorKind::InvalidData => "save it as UTF-8",
            _ => "name a readable file with --config or CALLVAULT_CONFIG",
        };
        Mistake::new("", None, Wrong::new(format!("cannot read {}: {error}", path.display()), fix))
    })?;
    parse(&path.display().to_string(), &text)
}

/// Reads the text of a file; `file` is how places name it.
///
/// # Errors
/// Not TOML.
pub(super) fn parse(file: &str, text: &str) -> Result<Table, Mistakes> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(lines.table(document.get_ref()));
    }
    let mistake = |error: &toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let place = lines.place(at);
        // The message alone: the error's Display would quote the line, which may hold a secret.
        let (what, fix) = match bare_value(lines.line(at)) {
            Some(fix) => ("this value is not valid TOML", fix),
            None => (error.message(), "the file must be valid TOML".to_owned()),
        };
        let what = format!("column {}: {what}", lines.column(at));
        Mistake::new("", Some(place), Wrong::new(what, fix))
    };
    Err(Mistakes::new(errors.iter().map(mistake).collect()))
}

/// What to do about a line whose value has no quotes, or is none; `None` where that is not what is
/// wrong.
///
/// TOML's own words are of no help there: `nc-recordings` is a float to it that should be `nan`.
fn bare_value(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.split('#').next()?.trim());
    if value.is_empty() {
        return Some(format!("write a value after {key} ="));
    }
    if ["true", "false"].iter().any(|flag| value.eq_ignore_ascii_case(flag)) {
        return Some("write true or false in small letters".to_owned());
    }
    match value.strip_prefix('[') {
        Some(list) => bare(list.trim()).then(|| format!("put each in quotes: {key} = [\"…\"]")),
        None => bare(value).then(|| format!("put text in quotes: {key} = \"…\"")),
    }
}

/// Whether a value begins with what begins neither text nor a list or table.
fn bare(value: &str) -> bool {
    value.starts_with(|first: char| !"\"'[]{},".contains(first))
}

/// Turns byte offsets of a file into places.
struct Lines<'t> {
    file: Arc<str>,
    text: &'t str,
    /// Where each line ends: a file of a thousand tenants is not counted anew for each of its keys.
    ends: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(file: &str, text: &'t str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { file: file.into(), text, ends }
    }
}

impl Lines<'_> {
    fn before(&self, offset: usize) -> &str {
        self.text.get(..offset).unwrap_or(self.text)
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.ends.partition_point(|end| *end < offset) + 1;
        Place::File { file: Arc::clone(&self.file), line }
    }

    /// The whole line that an offset is in.
    fn line(&self, offset: usize) -> &str {
        let start = self.before(offset).rfind('\n').map_or(0, |end| end + 1);
        self.text[start..].lines().next().unwrap_or_default()
    }

    fn column(&self, offset: usize) -> usize {
        let before = self.before(offset);
        before[before.rfind('\n').map_or(0, |end| end + 1)..].chars().count() + 1
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let node =
                Node { value: self.value(value.get_ref()), place: self.place(key.span().start) };
            (std::borrow::Cow::into_owned(std::borrow::Cow::clone(key.get_ref())), node)
        };
        table.iter().map(entry).collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .map_or(Value::Other("an integer beyond 64 bits"), Value::Integer),
            DeValue::Float(text) => {
                text.as_str().parse().map_or(Value::Other("no float"), Value::Float)
            }
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Datetime(_) => Value::Other("a date or time"),
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Array(items) => Value::List(
                items
                    .iter()
                    .map(|item| Node {
                        value: self.value(item.get_ref()),
                        place: self.place(item.span().start),
                    })
                    .collect(),
            ),
        }
    }
}

/// The environment, as it was handed in: nothing here asks the process for it.
pub(super) struct Environment(BTreeMap<String, OsString>);

impl Environment {
    pub fn new(variables: impl Iterator<Item = (String, OsString)>) -> Self {
        Self(variables.collect())
    }

    /// # Errors
    /// It is set, and no text.
    pub fn get(&self, name: &str) -> Option<Result<&str, Wrong>> {
        let value = self.0.get(name)?;
        Some(value.to_str().ok_or_else(|| Wrong::new("is not UTF-8", "set it again, in UTF-8")))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The value of a variable, read as what its key takes; lists and tables are JSON. The line end
    /// that `echo` left in it, as in a secret of Kubernetes, is none of it.
    pub fn node(&self, name: &str, kind: Kind) -> Option<Result<Node, Wrong>> {
        let place = Place::Environment(name.to_owned());
        let value = self.get(name)?.and_then(|text| text_as(kind, trimmed(text), &place));
        Some(value.map(|value| Node { value, place }))
    }

    /// The variables that set single entries of a table key, by entry.
    pub fn entries(&self, name: &str) -> impl Iterator<Item = (&str, Node)> {
        let prefix = format!("{name}__");
        self.0.iter().filter_map(move |(variable, value)| {
            let entry = variable.strip_prefix(&prefix).filter(|entry| !entry.is_empty())?;
            let place = Place::Environment(variable.clone());
            let text = value.to_str().map(|text| Value::Text(trimmed(text).to_owned()));
            Some((entry, Node { value: text.unwrap_or(Value::Other("not UTF-8")), place }))
        })
    }
}

/// The variable that sets a key; one that stands in no section has none in its variable.
pub(super) fn variable(section: &str, key: &str) -> String {
    let key = key.to_ascii_uppercase();
    match section {
        "" => format!("{PREFIX}{key}"),
        section => format!("{PREFIX}{}__{key}", section.to_ascii_uppercase()),
    }
}

fn text_as(kind: Kind, text: &str, place: &Place) -> Result<Value, Wrong> {
    let no_json = |fix| Wrong::new("is not valid JSON", fix);
    match kind {
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Integer => text
            .parse()
            .map(Value::Integer)
            .map_err(|_| Wrong::new("must be a whole number", "write digits only, such as 64")),
        Kind::Float => text
            .parse()
            .map(Value::Float)
            .map_err(|_| Wrong::new("must be a number", "write it such as 0.5")),
        Kind::Flag => text
            .parse()
            .map(Value::Flag)
            .map_err(|_| Wrong::new("must be true or false", "write one of the two")),
        Kind::List => serde_json::from_str(text)
            .map(|json| from_json(json, place))
            .map_err(|_| no_json("write a list such as [\"a\", \"b\"]")),
        Kind::Table => serde_json::from_str(text)
            .map(|json| from_json(json, place))
            .map_err(|_| no_json("write a table such as {\"a\": \"b\"}")),
    }
}

fn from_json(json: serde_json::Value, place: &Place) -> Value {
    let node = |json| Node { value: from_json(json, place), place: place.clone() };
    match json {
        serde_json::Value::Null => Value::Other("null"),
        serde_json::Value::Bool(flag) => Value::Flag(flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Integer(integer),
            (None, Some(float)) => Value::Float(float),
            (None, None) => Value::Other("no number of 64 bits"),
        },
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(node).collect()),
        serde_json::Value::Object(entries) => {
            Value::Table(entries.into_iter().map(|(key, json)| (key, node(json))).collect())
        }
    }
}
