//! Which messages are meant.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::view::Whose;
use crate::broker::HeldMessage;
use crate::clock;
use crate::config::{Config, nearest_name};
use crate::failure::Reason;
use crate::request::TenantId;

/// Which messages are meant: those that fit all of it.
#[derive(Debug, Default, Args)]
pub struct Filter {
    /// Only of this tenant, whether it is configured or not.
    #[arg(long, value_name = "ID", value_parser = |text: &str| TenantId::new(text))]
    tenant: Option<TenantId>,
    /// Only with this reason code, or one of its family: store is every store.….
    #[arg(long, value_name = "CODE", value_parser = reason)]
    reason: Option<String>,
    /// Only with this text somewhere in its ID, message_id, tenant, call, file, request, reason or
    /// detail; capitals do not matter.
    #[arg(long)]
    text: Option<String>,
    /// At most so many, those nearest to the head of the queue.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

impl Filter {
    /// What whoever names a tenant that is not configured is told: it may be gone, or mistyped.
    pub fn stranger(&self, config: &Config) -> Option<String> {
        let tenant = self.tenant.as_ref()?;
        let known: Vec<_> = config.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
        if known.contains(&tenant.as_str()) {
            return None;
        }
        let hint = nearest_name(tenant.as_str(), known.iter().copied());
        let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        let known = known.join(", ");
        Some(format!("--tenant {tenant}: is not in the configuration, which has {known}{hint}"))
    }
}

fn reason(text: &str) -> Result<String, String> {
    if Reason::is_code_or_family(text) {
        return Ok(text.to_owned());
    }
    let families: Vec<_> = Reason::families().collect();
    // A slip in the family alone, whatever the code.
    let other = text.split_once('.').and_then(|(family, code)| {
        let family = nearest_name(family, families.iter().copied())?;
        Some(format!("{family}.{code}")).filter(|code| Reason::is_code_or_family(code))
    });
    let known = Reason::FIXED.iter().map(Reason::as_str).chain(families.iter().copied());
    let near = other.or_else(|| nearest_name(text, known).map(str::to_owned));
    Err(match near {
        Some(near) => format!("there is no such reason; did you mean {near}?"),
        None => format!(
            "there is no such reason; it is a code as `list` shows it, or what codes begin with: {}",
            families.join(", ")
        ),
    })
}

/// A filter at work.
pub struct Selection {
    pub ids: BTreeSet<String>,
    filter: Filter,
    /// What came later than this is not meant.
    until: Timestamp,
    /// Whether that alone leaves some out, that are there now.
    by_age: bool,
}

impl Selection {
    /// What is there now, and fits.
    pub fn new(ids: Vec<String>, mut filter: Filter) -> Self {
        filter.text = filter.text.map(|text| text.to_lowercase());
        Self { ids: ids.into_iter().collect(), filter, until: clock::now(), by_age: false }
    }

    /// The same, and only what came longer ago.
    #[must_use]
    pub fn older_than(self, age: Option<Duration>) -> Self {
        let by_age = age.is_some();
        let age = SignedDuration::try_from(age.unwrap_or_default()).unwrap_or(SignedDuration::MAX);
        Self { until: self.until.checked_sub(age).unwrap_or(Timestamp::MIN), by_age, ..self }
    }

    pub fn fits(&self, message: &HeldMessage, whose: &Whose) -> bool {
        let named = |name: &str| self.ids.contains(name);
        let Filter { tenant, reason, text, .. } = &self.filter;
        let of = message.past.reason.as_deref().unwrap_or_default();
        let of_family = |wanted: &str| {
            of.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        // What tells no time has been there since nobody knows when.
        message.past.at.is_none_or(|at| at <= self.until)
            && (self.ids.is_empty() || named(&message.id) || named(&message.message_id))
            && tenant.as_ref().is_none_or(|wanted| whose.tenant.as_ref() == Some(wanted))
            && reason.as_deref().is_none_or(of_family)
            && text.as_deref().is_none_or(|text| whose.names(message).any(|name| holds(name, text)))
    }

    /// The same, and no more than so many.
    #[must_use]
    pub fn at_most(mut self, count: u64) -> Self {
        self.filter.limit = Some(count);
        self
    }

    /// How many they are at most, of `all` that are there; `None` where only a look at each tells.
    pub fn most(&self, all: u64) -> Option<u64> {
        let Filter { tenant, reason, text, limit } = &self.filter;
        let by_look = tenant.is_some() || reason.is_some() || text.is_some() || self.by_age;
        let named = if self.ids.is_empty() { all } else { self.ids.len() as u64 };
        (!by_look).then(|| all.min(named).min(limit.unwrap_or(u64::MAX)))
    }

    /// Whether so many are too few: each that was named is wanted.
    pub fn misses_some(&self, count: u64) -> bool {
        let named = u64::try_from(self.ids.len()).unwrap_or(u64::MAX);
        count < named.min(self.filter.limit.unwrap_or(u64::MAX))
    }

    /// Whether there may be more after so many.
    pub fn wants_more_than(&self, count: u64) -> bool {
        self.filter.limit.is_none_or(|limit| count < limit)
    }
}

fn holds(name: &str, text: &str) -> bool {
    name.to_lowercase().contains(text)
}
