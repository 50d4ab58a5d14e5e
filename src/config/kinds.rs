//! The kinds of value a key can have, and how each is checked and shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::effective::{self, MASK, Row, Source, quoted};
use super::layers::{Kind, Node, Value};
use super::mistake::{Place, Wrong};
use super::section::{Present, Section};
use super::units::{parse_duration, parse_size, show_duration, show_size};

const QUOTE: &str = "put it in quotes";
const TIMED: &str = "write it as \"30s\", \"2m\" or \"1h30m\" (ms, s, m, h, d)";
const SIZED: &str = "write it as \"512KiB\", \"8MiB\" or \"5GiB\"";

/// What a value is and how it is shown.
type Read<T> = Result<(T, String), Wrong>;

/// Every getter gives `None` where it recorded a mistake, so a section reads all of its keys
/// first and is put together with `?` after.
impl Section<'_, '_> {
    pub fn flag(&mut self, key: &str, default: bool) -> Option<bool> {
        self.value(key, Kind::Flag, Some(Value::Flag(default)), |value| match value {
            Value::Flag(flag) => Ok((*flag, flag.to_string())),
            other => Err(expected("true or false", other, "write it without quotes")),
        })
    }

    pub fn integer<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        default: i64,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        self.value(key, Kind::Integer, Some(Value::Integer(default)), |value| {
            let Value::Integer(number) = value else {
                return Err(expected("a whole number", value, "write it without quotes"));
            };
            let fitting = T::try_from(*number).ok().filter(|_| range.contains(number));
            let read = fitting.map(|fitting| (fitting, number.to_string()));
            read.ok_or_else(|| out_of(&range, number, i64::to_string))
        })
    }

    /// A share in (0, 1].
    pub fn share(&mut self, key: &str, default: f64) -> Option<f64> {
        self.value(key, Kind::Float, Some(Value::Float(default)), |value| {
            let share = match value {
                Value::Float(share) => *share,
                Value::Integer(share) => *share as f64,
                other => return Err(expected("a number", other, "write it such as 0.5")),
            };
            if share > 0.0 && share <= 1.0 {
                return Ok((share, format!("{share:?}")));
            }
            Err(Wrong::new(
                format!("must be above 0 and at most 1, is {share}"),
                "write it such as 0.5",
            ))
        })
    }

    /// Text with a check of its own; without a default it is required.
    pub fn text<T>(
        &mut self,
        key: &str,
        default: Option<&str>,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.shown(key, default, QUOTE, |text| parse(text).map(|value| (value, quoted(text))))
    }

    /// Text whose empty form, the default, stands for 'none'.
    pub fn optional<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Option<T>> {
        self.text(key, Some(""), |text| none_if_empty(text, &parse))
    }

    /// A duration above zero.
    pub fn duration(&mut self, key: &str, default: &str, longest: Duration) -> Option<Duration> {
        self.shown(key, Some(default), TIMED, |text| {
            duration(text, longest).map(show_as(show_duration))
        })
    }

    pub fn size(&mut self, key: &str, default: &str, range: RangeInclusive<u64>) -> Option<u64> {
        self.shown(key, Some(default), SIZED, |text| {
            let hint = || Wrong::new(format!("{} is no size", quoted(text)), SIZED);
            let bytes = parse_size(text).ok_or_else(hint)?;
            if !range.contains(&bytes) {
                return Err(out_of(&range, &bytes, |bytes| show_size(*bytes)));
            }
            Ok((bytes, quoted(&show_size(bytes))))
        })
    }

    /// One of a closed set of words.
    pub fn choice<T: Copy>(&mut self, key: &str, default: &str, of: &[(&str, T)]) -> Option<T> {
        self.text(key, Some(default), |text| {
            let chosen = of.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
            chosen.ok_or_else(|| {
                let words: Vec<_> = of.iter().map(|(word, _)| quoted(word)).collect();
                let what = format!("{} is not one of its values", quoted(text));
                Wrong::new(what, format!("write {}", words.join(" or ")))
            })
        })
    }

    /// A file that can be read; empty: none.
    pub fn file(&mut self, key: &str) -> Option<Option<PathBuf>> {
        self.optional(key, |path| {
            std::fs::read(path).map(|_| PathBuf::from(path)).map_err(|error| {
                let what = format!("cannot read {}: {error}", quoted(path));
                Wrong::new(what, "name a file that callvault may read")
            })
        })
    }

    /// An `http` or `https` URL, its password never shown; empty: none.
    pub fn http_url(
        &mut self,
        key: &str,
        check: impl Fn(&Url) -> Result<(), Wrong>,
    ) -> Option<Option<Url>> {
        self.shown(key, Some(""), QUOTE, |text| {
            let url = none_if_empty(text, |text| http_url(text, &check))?;
            let shown = quoted(&url.as_ref().map(masked).unwrap_or_default());
            Ok((url, shown))
        })
    }

    /// A list with at least one element; without a default it is required.
    pub fn list<T>(
        &mut self,
        key: &str,
        default: Option<&[&str]>,
        read: impl Fn(&str) -> Read<T>,
    ) -> Option<Vec<T>> {
        let node = |text: &&str| Node {
            value: Value::Text((*text).to_owned()),
            place: Place::Environment(String::new()),
        };
        let default = default.map(|texts| Value::List(texts.iter().map(node).collect()));
        self.value(key, Kind::List, default, |value| {
            let (values, wrong) = apart(strings(value)?.map(|text| text.and_then(&read)));
            if let Some(wrong) = Wrong::all(wrong) {
                return Err(wrong);
            }
            let (values, shown): (Vec<_>, Vec<_>) = values.into_iter().unzip();
            if values.is_empty() {
                return Err(Wrong::new("must not be empty", "name at least one"));
            }
            Ok((values, format!("[{}]", shown.join(", "))))
        })
    }

    /// A table of strings, merged entry by entry: a tenant's entries lie over the global ones,
    /// those of the environment over those of the file.
    pub fn table<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str, &str) -> Result<T, Wrong>,
    ) -> Option<BTreeMap<String, T>> {
        self.know(key);
        let mut merged: BTreeMap<String, Present> = BTreeMap::new();
        let mut whole = true;
        for scope in self.scopes() {
            let mut entries = self.entry_variables(scope, key);
            for layer in self.layers(scope) {
                let Ok(node) = self.at(scope, layer, key, Kind::Table) else {
                    whole = false;
                    continue;
                };
                match node.map(|node| (node.value, node.place)) {
                    None => {}
                    Some((Value::Table(table), _)) => entries.extend(table),
                    Some((other, place)) => {
                        let wrong = expected("a table", &other, "write { name = \"value\" }");
                        self.wrong(scope, key, Some(place), wrong);
                        whole = false;
                    }
                }
            }
            for (entry, node) in entries {
                merged.entry(entry).or_insert(Present { scope, node });
            }
        }
        if merged.is_empty() {
            let row = Row::of(key, "{}".into(), Source::Default, Some("{}".into()));
            self.show(0, row);
        }
        if let Some(Present { scope, node }) = merged.values().next_back() {
            self.remember(key, *scope, Some(node.place.clone()));
        }
        let values = merged.into_iter().map(|(entry, Present { scope, node })| {
            let name = format!("{key}.{}", effective::key(&entry));
            let value = match &node.value {
                Value::Text(text) => parse(&entry, text).map(|value| (value, quoted(text))),
                other => Err(expected("a string", other, "put it in quotes")),
            };
            match value {
                Ok((value, shown)) => {
                    self.show(scope, Row::of(&name, shown, Source::Set(node.place), None));
                    Some((entry, value))
                }
                Err(wrong) => {
                    self.wrong(scope, &name, Some(node.place), wrong);
                    None
                }
            }
        });
        let values: Vec<_> = values.collect();
        whole.then_some(values)?.into_iter().collect()
    }

    /// Text that is shown in another form than it is written.
    fn shown<T>(
        &mut self,
        key: &str,
        default: Option<&str>,
        fix: &str,
        read: impl Fn(&str) -> Read<T>,
    ) -> Option<T> {
        let default = default.map(|text| Value::Text(text.to_owned()));
        self.value(key, Kind::Text, default, |value| match value {
            Value::Text(text) => read(text),
            other => Err(expected("a string", other, fix)),
        })
    }

    fn value<T>(
        &mut self,
        key: &str,
        kind: Kind,
        default: Option<Value>,
        read: impl Fn(&Value) -> Read<T>,
    ) -> Option<T> {
        let found = self.find(key, kind).ok()?;
        let (value, scope, place) = match (found, &default) {
            (Some(Present { scope, node }), _) => (node.value, scope, Some(node.place)),
            (None, Some(default)) => (default.clone(), 0, None),
            (None, None) => {
                self.absent(key);
                return None;
            }
        };
        let default = default.and_then(|default| read(&default).ok()).map(|(_, shown)| shown);
        match read(&value) {
            Ok((value, shown)) => {
                let source = place.clone().map_or(Source::Default, Source::Set);
                self.record(key, scope, place, Row::of(key, shown, source, default));
                Some(value)
            }
            Err(wrong) => {
                self.wrong(scope, key, place, wrong);
                None
            }
        }
    }
}

impl Row {
    pub(super) fn of(key: &str, value: String, source: Source, default: Option<String>) -> Self {
        Self { key: key.to_owned(), value: Some(value), source, default }
    }
}

/// What was read, and what could not be.
fn apart<T>(results: impl Iterator<Item = Result<T, Wrong>>) -> (Vec<T>, Vec<Wrong>) {
    let (mut values, mut wrong) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(error) => wrong.push(error),
        }
    }
    (values, wrong)
}

fn none_if_empty<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Result<Option<T>, Wrong> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

fn show_as<T>(show: fn(T) -> String) -> impl Fn(T) -> (T, String)
where
    T: Copy,
{
    move |value| (value, quoted(&show(value)))
}

/// A duration above zero and at most `longest`.
pub(super) fn duration(text: &str, longest: Duration) -> Result<Duration, Wrong> {
    let duration = parse_duration(text)
        .ok_or_else(|| Wrong::new(format!("{} is no duration", quoted(text)), TIMED))?;
    if duration.is_zero() || duration > longest {
        let what = format!(
            "must be above zero and at most {}, is {}",
            show_duration(longest),
            show_duration(duration)
        );
        return Err(Wrong::new(what, "write a duration in that range"));
    }
    Ok(duration)
}

/// An `http` or `https` URL with a host. A text that is no URL is not quoted: it may hold a
/// password.
pub(super) fn http_url(
    text: &str,
    check: impl Fn(&Url) -> Result<(), Wrong>,
) -> Result<Url, Wrong> {
    let fix = "write it as https://host:port";
    let url = Url::parse(text).map_err(|error| Wrong::new(format!("is no URL: {error}"), fix))?;
    hides_its_password(&url)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Wrong::new("must begin with http:// or https://", fix));
    }
    check(&url)?;
    Ok(url)
}

/// Refuses a URL whose password is not one to who reads it (RFC 3986, 3.2): a `/`, `?` or `#` in it ends
/// the host, and what follows would be shown. An `@` beyond the host tells it.
pub(super) fn hides_its_password(url: &Url) -> Result<(), Wrong> {
    let beyond = [Some(url.path()), url.query(), url.fragment()];
    if beyond.into_iter().flatten().any(|part| part.contains('@')) {
        let what = "has an @ after the host, as where a password is not percent-encoded";
        let fix = "write / ? # and @ of user and password as %2F %3F %23 and %40, and an @ elsewhere as %40";
        return Err(Wrong::new(what, fix));
    }
    Ok(())
}

/// Refuses credentials, a query and a fragment, which an endpoint has no use for.
pub(super) fn plain_url(url: &Url) -> Result<(), Wrong> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::new("must not hold a user or password", "give the URL without them"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Wrong::new("must not hold a query or fragment", "end the URL before them"));
    }
    Ok(())
}

/// A URL without its password.
pub(super) fn masked(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        // Fails only for URLs that cannot hold a password, and this one does.
        let _ = url.set_password(Some(MASK));
    }
    url.to_string()
}

/// An address and port to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, Wrong> {
    let fix = "write it as 127.0.0.1:9464, or 0.0.0.0:9464 for all interfaces";
    text.parse().map_err(|_| Wrong::new(format!("{} is no address and port", quoted(text)), fix))
}

/// Text that must not be empty.
pub(super) fn filled(text: &str) -> Result<String, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("must not be empty", "set it"));
    }
    Ok(text.to_owned())
}

/// Whether a header takes it as it is, blanks apart: visible ASCII (RFC 9110, 5.5).
pub fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Text that is sent as it is, in a header. What is wrong is not quoted: it may be a secret.
pub(super) fn sent(text: &str) -> Result<(), Wrong> {
    if is_visible(text) {
        return Ok(());
    }
    let what = "holds a blank, a control character or a letter that is not ASCII";
    Err(Wrong::new(what, "write it as who gave it does"))
}

/// A name that is sent so.
pub(super) fn sent_name(text: &str) -> Result<String, Wrong> {
    sent(text)?;
    filled(text)
}

/// The strings of a list.
fn strings(value: &Value) -> Result<impl Iterator<Item = Result<&str, Wrong>>, Wrong> {
    let Value::List(items) = value else {
        return Err(expected("a list", value, "put it in brackets: [\"…\"]"));
    };
    Ok(items.iter().map(|item| match &item.value {
        Value::Text(text) => Ok(text.as_str()),
        other => Err(expected("a list of strings", other, "put each in quotes")),
    }))
}

pub(super) fn expected(what: &str, value: &Value, fix: &str) -> Wrong {
    Wrong::new(format!("must be {what}, is {}", value.kind()), fix)
}

fn out_of<T>(range: &RangeInclusive<T>, value: &T, show: impl Fn(&T) -> String) -> Wrong {
    let (low, high) = (show(range.start()), show(range.end()));
    let what = format!("must be between {low} and {high}, is {}", show(value));
    Wrong::new(what, "write a value in that range")
}
