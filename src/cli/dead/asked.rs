//! What `callvault dead` is asked to do, and which messages are meant.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::view::Whose;
use crate::broker::DeadMessage;
use crate::clock;
use crate::config::parse_duration;
use crate::request::TenantId;

#[derive(Debug, Subcommand)]
pub enum Dead {
    /// List dead messages: when they died, whose they are, why.
    ///
    /// The messages stay where they are. IDs are good for show, redrive and drop; they stay the same
    /// until the message dies again.
    #[command(after_help = "Examples:
  callvault dead list --config callvault.toml
  callvault dead list --tenant acme --reason store --older-than 1d
  callvault dead list --json | jq -r .callId")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// An object a line, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Show one dead message with its properties, headers and body.
    ///
    /// The body is what the sender wrote, personal data included.
    #[command(after_help = "Example:\n  callvault dead show 3c0fe91b22d4")]
    Show {
        /// An ID that `callvault dead list` shows, or the AMQP message_id.
        id: String,
        /// As JSON, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Put dead messages back to the queue they came from, with fresh attempts.
    ///
    /// Only those that are dead when it begins. It can be stopped or killed and started again at any
    /// time: nothing is lost, and nothing doubled. One that is killed may leave a message in a queue
    /// of its own ({queue}.redrive); the next one lets it go on first.
    #[command(after_help = "Examples:
  callvault dead redrive --reason ccfs.unreachable --dry-run
  callvault dead redrive --reason ccfs.unreachable --rate 10
  callvault dead redrive 3c0fe91b22d4")]
    Redrive {
        /// Only these: IDs of `callvault dead list`, or AMQP message_ids.
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        filter: Filter,
        /// At most so many a second.
        #[arg(long, value_name = "N", default_value_t = 50,
              value_parser = clap::value_parser!(u32).range(1..=100_000))]
        rate: u32,
        /// List what would be put back, and leave it where it is.
        #[arg(long)]
        dry_run: bool,
    },
    /// Drop dead messages for good.
    ///
    /// Asks first; without a terminal to ask on it wants --yes, and ends with 2 otherwise.
    #[command(after_help = "Examples:
  callvault dead drop --reason message.invalid --older-than 30d --dry-run
  callvault dead drop --reason message.invalid --older-than 30d --yes")]
    Drop {
        /// Only these: IDs of `callvault dead list`, or AMQP message_ids.
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        filter: Filter,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// List what would be dropped, and leave it where it is.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which messages are meant: those that fit all of it.
#[derive(Debug, Default, Args)]
pub struct Filter {
    /// Only of this tenant, whether it is configured or not.
    #[arg(long)]
    tenant: Option<String>,
    /// Only with this reason code, or one of its family: store is every store.….
    #[arg(long)]
    reason: Option<String>,
    /// Only what died longer ago, such as 90m or 7d.
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
    /// At most so many, those nearest to the head of the queue.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

fn age(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write it as 30s, 90m, 12h or 7d".to_owned())
}

/// A filter at work.
pub(super) struct Selection {
    pub ids: BTreeSet<String>,
    limit: Option<u64>,
    filter: Filter,
    /// What dies later than this is not meant.
    dead_by: Timestamp,
}

impl Selection {
    pub fn new(ids: Vec<String>, filter: Filter) -> Self {
        let age = filter.older_than.unwrap_or_default();
        let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        let dead_by = clock::now().checked_sub(age).unwrap_or(Timestamp::MIN);
        Self { ids: ids.into_iter().collect(), limit: filter.limit, filter, dead_by }
    }

    pub fn fits(&self, message: &DeadMessage, whose: &Whose) -> bool {
        let named = |name: &str| self.ids.contains(name);
        let tenant = whose.tenant.as_ref().map(TenantId::as_str);
        let reason = message.death.reason.as_deref().unwrap_or_default();
        let of_family = |wanted: &str| {
            reason.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        // What tells no time has been there since nobody knows when.
        message.death.at.is_none_or(|at| at <= self.dead_by)
            && (self.ids.is_empty() || named(&message.id) || named(&message.message_id))
            && self.filter.tenant.as_deref().is_none_or(|wanted| tenant == Some(wanted))
            && self.filter.reason.as_deref().is_none_or(of_family)
    }

    /// The same, and no more than so many.
    #[must_use]
    pub fn at_most(self, count: u64) -> Self {
        Self { limit: Some(count), ..self }
    }

    /// How many they are at most, of `all` that are there; `None` where only a look at each tells.
    pub fn most(&self, all: u64) -> Option<u64> {
        let Filter { tenant, reason, older_than, limit } = &self.filter;
        let by_look = tenant.is_some() || reason.is_some() || older_than.is_some();
        let named = if self.ids.is_empty() { all } else { self.ids.len() as u64 };
        (!by_look).then(|| all.min(named).min(limit.unwrap_or(u64::MAX)))
    }

    /// Whether so many are too few: each that was named is wanted.
    pub fn misses_some(&self, count: u64) -> bool {
        let named = u64::try_from(self.ids.len()).unwrap_or(u64::MAX);
        count < named.min(self.limit.unwrap_or(u64::MAX))
    }

    /// Whether there may be more after so many.
    pub fn wants_more_than(&self, count: u64) -> bool {
        self.limit.is_none_or(|limit| count < limit)
    }
}
