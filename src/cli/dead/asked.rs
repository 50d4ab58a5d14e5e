//! What `callvault dead` is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::held;
use crate::config::parse_duration;

#[derive(Debug, Subcommand)]
pub enum Dead {
    /// List dead messages: when they died, whose they are, why.
    ///
    /// The messages stay where they are. IDs are good for show, redrive and drop; they stay the same
    /// until the message dies again.
    #[command(after_help = "Examples:
  callvault dead list --config callvault.toml
  callvault dead list --tenant acme --reason store --older-than 1d
  callvault dead list --text 1777093663-792075
  callvault dead list --json | jq -r .callId")]
    List {
        #[command(flatten)]
        filter: Choice,
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
        filter: Choice,
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
        filter: Choice,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// List what would be dropped, and leave it where it is.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write dead messages to a file, whole: properties, headers and body, a line of JSON each.
    ///
    /// The messages stay where they are. The file holds what the senders wrote, personal data
    /// included; only its owner may read it. It is there whole or not at all, and one that is there
    /// already is never replaced.
    #[command(after_help = "Examples:
  callvault dead export dead.jsonl
  callvault dead export --reason store.AccessDenied denied.jsonl
  callvault dead export - | gzip > dead.jsonl.gz")]
    Export {
        /// Where to: a file that is not there yet, or - for standard output.
        file: PathBuf,
        #[command(flatten)]
        filter: Choice,
    },
    /// Put messages of a file into the dead queue, as `callvault dead export` wrote them.
    ///
    /// Each with its message_id, its headers and its ID, and confirmed by the broker. What is in the
    /// queue already is passed over, so that it can be stopped or killed and run again. A line that
    /// is no message is reported with its number; the others are put in all the same, and it ends
    /// with 1. Run one at a time: two would put in the same twice. Nothing is worked on until
    /// `callvault dead redrive`.
    #[command(after_help = "Examples:
  callvault dead import dead.jsonl
  zcat dead.jsonl.gz | callvault dead import -")]
    Import {
        /// The file, or - for standard input.
        file: PathBuf,
    },
}

impl Dead {
    pub fn filter(&self) -> Option<&Choice> {
        match self {
            Self::List { filter, .. }
            | Self::Redrive { filter, .. }
            | Self::Drop { filter, .. }
            | Self::Export { filter, .. } => Some(filter),
            Self::Show { .. } | Self::Import { .. } => None,
        }
    }
}

/// Which messages are meant: those that fit all of it.
#[derive(Debug, Default, Args)]
pub struct Choice {
    #[command(flatten)]
    pub of: held::Filter,
    /// Only what died longer ago, such as 90m or 7d.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub older_than: Option<Duration>,
}

fn age(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write it as 30s, 90m, 12h or 7d".to_owned())
}
