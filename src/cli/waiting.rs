//! `callvault waiting`: to look at what waits for a retry, and put it back at once.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use super::held::{self, Deed, Desk, Filter, Selection, View};
use super::{Error, tell};
use crate::broker::Shelf;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum Waiting {
    /// List what waits for a retry: until when, since when it is known, whose it is, why.
    ///
    /// The messages stay where they are, and come back when their time is over; a listing keeps none
    /// for longer than it takes to read its queue. SINCE is when a worker first saw the message; UNTIL
    /// counts from when it was last sent to wait. The queues are those of retry.delays.
    #[command(after_help = "Examples:
  callvault waiting list --config callvault.toml
  callvault waiting list --tenant acme --reason store.AccessDenied
  callvault waiting list --json | jq -r .dueAt")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// An object a line, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Put what waits back at once, for when the cause is mended.
    ///
    /// As if its time were over: to the queue that it came from, with the attempts and the place on
    /// the ladder that it has. Only what waits when it begins; what fails again waits again. It can be
    /// stopped or killed and started again at any time: nothing is lost, and nothing doubled.
    #[command(after_help = "Examples:
  callvault waiting now --reason store.AccessDenied --dry-run
  callvault waiting now --reason store.AccessDenied
  callvault waiting now --tenant acme --rate 10")]
    Now {
        /// Only these: IDs of `callvault waiting list`, or AMQP message_ids.
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
}

/// Does what is asked.
///
/// # Errors
/// The broker does not let it, or a message that is named does not wait.
pub fn run(config: &Config, waiting: Waiting) -> Result<ExitCode, Error> {
    let (Waiting::List { filter, .. } | Waiting::Now { filter, .. }) = &waiting;
    if let Some(told) = filter.stranger(config) {
        tell(told);
    }
    let mut delays: Vec<Duration> = config.retry.delays.clone();
    delays.sort_unstable();
    delays.dedup();
    held::run(async |lifecycle| {
        let shelves = delays.iter().map(|delay| Shelf::retry(&config.broker, *delay)).collect();
        work(&Desk { shelves, lifecycle, command: "waiting" }, waiting).await
    })
}

async fn work(desk: &Desk<'_>, waiting: Waiting) -> Result<ExitCode, Error> {
    let (selection, tally) = match waiting {
        Waiting::List { filter, json } => {
            let view = if json { View::Json } else { View::Waiting };
            let selection = Selection::new(Vec::new(), filter);
            let tally = desk.list(&selection, view, false).await?;
            (selection, tally)
        }
        Waiting::Now { ids, filter, dry_run: true, .. } => {
            let selection = Selection::new(ids, filter);
            let tally = desk.list(&selection, View::Waiting, true).await?;
            (selection, tally)
        }
        Waiting::Now { ids, filter, rate, .. } => {
            let selection = Selection::new(ids, filter);
            let tally = desk.act(Deed::SendOn, &selection, Some(rate)).await?;
            (selection, tally)
        }
    };
    desk.found(&selection, &tally)
}
