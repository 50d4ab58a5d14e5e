//! The three forms of a secret: inline, `_file`, `_env`; for several at once a list.

use std::path::PathBuf;

use super::effective::{MASK, Row, Source, quoted};
use super::kinds::sent;
use super::layers::{Kind, Node, Value};
use super::mistake::Wrong;
use super::secret::{GARBLED, Secret, SecretError, is_garbled, said};
use super::section::{Layer, Origin, Section};

/// A key that holds secrets.
pub(super) struct SecretKey<'k> {
    pub name: &'k str,
    /// The key of the list form, for a secret that can be several.
    pub list: Option<&'k str>,
    /// In effect where no form is set; empty: none. `None`: it is required.
    pub default: Option<&'k str>,
    /// Checks a value that is there. Its complaint must not quote the value.
    pub check: fn(&str) -> Result<(), Wrong>,
    /// What may be shown of a value.
    pub show: fn(&str) -> String,
}

impl<'k> SecretKey<'k> {
    /// A secret of which nothing is shown or checked but that it is there.
    pub fn opaque(name: &'k str) -> Self {
        Self { name, list: None, default: Some(""), check: |_| Ok(()), show: |_| MASK.into() }
    }

    /// The same of one that is sent as it is, in a header.
    pub fn sent(name: &'k str) -> Self {
        Self { check: sent, ..Self::opaque(name) }
    }
}

/// The forms a secret can be written in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Inline,
    File,
    Variable,
    List,
}

/// A form that a layer holds.
struct Written {
    form: Form,
    key: String,
    node: Node,
}

impl Written {
    /// An empty form is as good as none, so that a line left at its default does no harm.
    fn is_empty(&self) -> bool {
        match &self.node.value {
            Value::Text(text) => text.is_empty(),
            Value::List(items) => items.is_empty(),
            _ => false,
        }
    }
}

impl Section<'_, '_> {
    /// The secrets of a key, none if it is empty. `None`: a mistake was recorded.
    ///
    /// A layer that holds any form hides all forms of the layers below it.
    pub fn secrets(&mut self, key: &SecretKey<'_>) -> Option<Vec<Secret>> {
        let forms = forms(key);
        for (_, name) in &forms {
            self.know(name);
        }
        for scope in self.scopes() {
            for layer in self.layers(scope) {
                let written = self.written(scope, layer, &forms)?;
                let (empty, set): (Vec<_>, Vec<_>) =
                    written.into_iter().partition(Written::is_empty);
                match (&set[..], empty.first()) {
                    ([], None) => {}
                    ([], Some(empty)) => return self.emptied(key, scope, empty),
                    ([one], _) => return self.resolve(scope, key, one),
                    ([first, second, ..], _) => {
                        let what = format!("is set together with {}", first.key);
                        let wrong = Wrong::new(what, "keep one of the two");
                        self.wrong(scope, &second.key, Some(second.node.place.clone()), wrong);
                        return None;
                    }
                }
            }
        }
        self.by_default(key)
    }

    /// No layer holds any form.
    fn by_default(&mut self, key: &SecretKey<'_>) -> Option<Vec<Secret>> {
        let Some(default) = key.default else {
            self.absent(key.name);
            return None;
        };
        self.record_secret(key, 0, key.name, shown(key, default), Source::Default);
        let set = (!default.is_empty()).then(|| Secret::fixed(default));
        Some(set.into_iter().collect())
    }

    /// The highest layer that holds a form holds an empty one: none is wanted.
    fn emptied(
        &mut self,
        key: &SecretKey<'_>,
        scope: usize,
        empty: &Written,
    ) -> Option<Vec<Secret>> {
        let place = empty.node.place.clone();
        if key.default == Some("") {
            self.record_secret(key, scope, key.name, quoted(""), Source::Set(place));
            return Some(Vec::new());
        }
        let wrong = Wrong::new("must not be empty", "set it, or remove the line or variable");
        self.wrong(scope, &empty.key, Some(place), wrong);
        None
    }

    /// One secret, if it is set.
    pub fn secret(&mut self, name: &str) -> Option<Option<Secret>> {
        self.secrets(&SecretKey::opaque(name)).map(|mut secrets| secrets.pop())
    }

    /// One secret, if it is set, that is sent as it is.
    pub fn sent_secret(&mut self, name: &str) -> Option<Option<Secret>> {
        self.secrets(&SecretKey::sent(name)).map(|mut secrets| secrets.pop())
    }

    /// One secret that must be set.
    pub fn required_secret(&mut self, name: &str) -> Option<Secret> {
        self.secrets(&SecretKey { default: None, ..SecretKey::opaque(name) })?.pop()
    }

    /// The forms that one layer holds.
    fn written(
        &mut self,
        scope: usize,
        layer: &Layer,
        forms: &[(Form, String)],
    ) -> Option<Vec<Written>> {
        let mut written = Vec::new();
        let mut whole = true;
        for (form, key) in forms {
            let kind = if *form == Form::List { Kind::List } else { Kind::Text };
            match self.at(scope, layer, key, kind) {
                Ok(Some(node)) => written.push(Written { form: *form, key: key.clone(), node }),
                Ok(None) => {}
                Err(()) => whole = false,
            }
        }
        whole.then_some(written)
    }

    fn resolve(
        &mut self,
        scope: usize,
        key: &SecretKey<'_>,
        written: &Written,
    ) -> Option<Vec<Secret>> {
        let checked = self.values(written).and_then(|(values, origin)| {
            values
                .iter()
                .try_for_each(|value| whole(value).and_then(|()| (key.check)(value)))
                .map_err(|wrong| match origin {
                    Origin::Inline => wrong,
                    _ => Wrong::new(format!("the value it names {}", wrong.what), wrong.fix),
                })?;
            Ok((values, origin))
        });
        match checked {
            Ok((values, origin)) => {
                let name = if written.form == Form::List { &written.key } else { key.name };
                let mut texts: Vec<_> = values.iter().map(|value| shown(key, value)).collect();
                let text = match written.form {
                    Form::List => format!("[{}]", texts.join(", ")),
                    _ => texts.pop().unwrap_or_default(),
                };
                let source = Self::secret_source(&written.node.place, &origin);
                self.record_secret(key, scope, name, text, source);
                Some(match origin {
                    Origin::File(path) => vec![Secret::file(path)],
                    Origin::Inline | Origin::Variable(_) => {
                        values.into_iter().map(Secret::fixed).collect()
                    }
                })
            }
            Err(wrong) => {
                self.wrong(scope, &written.key, Some(written.node.place.clone()), wrong);
                None
            }
        }
    }

    /// The values a form stands for, as they are now.
    fn values(&mut self, written: &Written) -> Result<(Vec<String>, Origin), Wrong> {
        let texts = match &written.node.value {
            Value::Text(text) => vec![text.clone()],
            Value::List(items) if written.form == Form::List => {
                items.iter().map(text).collect::<Result<_, _>>()?
            }
            other => {
                let what = format!("must be a string, is {}", other.kind());
                return Err(Wrong::new(what, "put it in quotes"));
            }
        };
        match (written.form, &texts[..]) {
            (Form::File, [path]) => {
                let path = PathBuf::from(path);
                let value = super::secret::read_file(&path).map_err(|error| not_in_file(&error))?;
                Ok((vec![value], Origin::File(path)))
            }
            (Form::Variable, [name]) => {
                let named = |what: &str| format!("the environment variable it names {what}");
                let value = self.named_variable(name).transpose();
                let value = value.map_err(|wrong| Wrong { what: named(&wrong.what), ..wrong })?;
                let value = value.map(super::secret::trimmed).filter(|value| !value.is_empty());
                let value = value.ok_or_else(|| {
                    Wrong::new(named("is not set"), "set the variable, or name another")
                })?;
                Ok((vec![value.to_owned()], Origin::Variable(name.clone())))
            }
            _ => Ok((texts, Origin::Inline)),
        }
    }

    fn record_secret(
        &mut self,
        key: &SecretKey<'_>,
        scope: usize,
        name: &str,
        value: String,
        source: Source,
    ) {
        let default = key.default.map(|default| shown(key, default));
        let place = match &source {
            Source::Set(place)
            | Source::SecretFile { by: place, .. }
            | Source::SecretVariable { by: place, .. } => Some(place.clone()),
            Source::Default | Source::Tenants => None,
        };
        let row = Row::of(name, value, source, default);
        self.record(key.name, scope, place, row);
    }
}

/// Names no path: where a form is mistaken for another, that is the secret itself.
fn not_in_file(error: &SecretError) -> Wrong {
    let what = match error {
        SecretError::Unreadable { kind, .. } => {
            format!("the file it names cannot be read: {}", said(*kind))
        }
        SecretError::Empty { .. } => "the file it names is empty".into(),
        SecretError::Garbled { .. } => format!("the file it names {GARBLED}"),
    };
    Wrong::new(what, "name a file that holds the secret")
}

/// A secret alone, as files are known to hold.
fn whole(value: &str) -> Result<(), Wrong> {
    if is_garbled(value) {
        return Err(Wrong::new(GARBLED, "write the secret alone, in one line"));
    }
    Ok(())
}

/// What may be shown of a value; of an empty one, that it is empty.
fn shown(key: &SecretKey<'_>, value: &str) -> String {
    if value.is_empty() { quoted("") } else { quoted(&(key.show)(value)) }
}

fn forms(key: &SecretKey<'_>) -> Vec<(Form, String)> {
    let mut forms = vec![
        (Form::Inline, key.name.to_owned()),
        (Form::File, format!("{}_file", key.name)),
        (Form::Variable, format!("{}_env", key.name)),
    ];
    forms.extend(key.list.map(|list| (Form::List, list.to_owned())));
    forms
}

fn text(item: &Node) -> Result<String, Wrong> {
    match &item.value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        Value::Text(_) => Err(Wrong::new("has an empty element", "remove it")),
        other => {
            let what = format!("must be a list of strings, has {}", other.kind());
            Err(Wrong::new(what, "put each in quotes"))
        }
    }
}
