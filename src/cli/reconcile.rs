//! `callvault reconcile`: an index against the bucket.
//!
//! The rows are sorted by day first, so that each day is listed once, however the index is ordered.

mod day;
mod report;
mod spool;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Error;
use super::ask::{Asker, Order, any_request_id};
use super::keys::Keys;
use super::progress::Progress;
use super::rows::Rows;
use crate::config::Config;
use crate::failure::Failure;
use crate::index::{By, Entry};
use crate::metrics::Metrics;
use crate::request::{TenantId, Wanted};
use crate::store::Store;
use day::{Day, State};
use report::{Counts, Report};
use spool::{Sorted, Spool, Waiting};

/// Rows of a day that are in memory at once; a day of more is listed more than once.
const ROWS: usize = 20_000;

#[derive(Debug, Args)]
pub struct Reconcile {
    /// Whose recordings; a tenant of the configuration.
    #[arg(long, value_name = "ID", value_parser = |text: &str| TenantId::new(text))]
    tenant: TenantId,
    /// A recording index: its CSV, the ZIP package it comes in, or - for either on standard input.
    #[arg(long, value_name = "FILE")]
    index: PathBuf,
    /// Ask for what is missing, as callvault dump does.
    #[arg(long)]
    enqueue: bool,
    /// The name that missing recordings are asked for by.
    #[arg(long, value_enum, default_value_t, requires = "enqueue")]
    by: By,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

/// Compares, reports, and asks for what is missing if told to; 1 if not all is there.
///
/// # Errors
/// The tenant or the index are none, or the store or the broker do not answer.
pub async fn run(config: &Config, told: Reconcile) -> Result<ExitCode, Error> {
    let keys = Keys::of(config, &told.tenant)?;
    let settings = &keys.tenant.store;
    let store = Store::new(settings, Metrics::new(&[], &[], &[]));
    let store = store.map_err(|error| Error::Setup(error.to_string()))?;
    let asker = match told.enqueue {
        true => Some(Asker::connect(config, order(&told)).await?),
        false => None,
    };
    let rows = Rows::open(&told.index, keys.zone())?;

    let (sorted, counts) = sort(rows, &keys).await?;
    let report = Report::begin(told.json, &told.tenant, store.bucket())?;
    let comparison = Comparison { keys, store, asker, by: told.by, report, counts };
    let counts = comparison.run(sorted).await?;
    Ok(if counts.all_there() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn order(told: &Reconcile) -> Order {
    Order { tenant: told.tenant.clone(), request_id: any_request_id("reconcile"), force: false }
}

/// Reads the index to its end: what is bad is reported, the rest is put in the order of days.
async fn sort(mut rows: Rows, keys: &Keys<'_>) -> Result<(Sorted, Counts), Error> {
    let mut progress = Progress::new("rows", rows.size());
    let mut counts = Counts::default();
    let mut spool = Spool::new().map_err(Error::Spool)?;
    while let Some(Entry { at, row, read }) = rows.next().await {
        counts.rows += 1;
        progress.at(counts.rows, read);
        let whole = row.and_then(|row| {
            let wanted = row.whole();
            keys.patterns(&wanted)?;
            Ok(Waiting::new(keys.day_prefix(&wanted)?, &at, wanted))
        });
        match whole {
            // A write of some MiB now and then; nothing else runs here that would have to wait.
            Ok(row) => spool.push(row).map_err(Error::Spool)?,
            Err(why) => {
                counts.bad += 1;
                progress.say(&format!("{at}: {why}"));
            }
        }
    }
    rows.end().await?;
    progress.end();
    Ok((spool.sorted().map_err(Error::Spool)?, counts))
}

/// A day after the other, against the bucket.
struct Comparison<'a> {
    keys: Keys<'a>,
    store: Store,
    /// Only with `--enqueue`.
    asker: Option<Asker>,
    by: By,
    report: Report,
    counts: Counts,
}

impl Comparison<'_> {
    async fn run(mut self, mut sorted: Sorted) -> Result<Counts, Error> {
        let rows = self.counts.rows - self.counts.bad;
        let mut progress = Progress::new("rows", Some(rows));
        let mut done = 0;
        loop {
            let batch = sorted.batch(ROWS).map_err(Error::Spool)?;
            let Some(first) = batch.first() else { break };
            let day = self.look(&first.prefix, &batch).await.map_err(Error::Store)?;
            for (row, state) in batch.iter().zip(day.states()) {
                self.judge(row, state).await?;
            }
            done += batch.len() as u64;
            progress.at(done, done);
        }
        progress.end();
        let asked = match self.asker {
            Some(asker) => Some(asker.finish().await?),
            None => None,
        };
        self.report.end(self.counts, asked)?;
        Ok(self.counts)
    }

    /// Lists a day and marks the rows that are found.
    async fn look(&self, prefix: &str, rows: &[Waiting]) -> Result<Day, Failure> {
        let mut day = Day::new(rows.iter().map(|row| {
            let wanted = row.wanted();
            let patterns = self.keys.patterns(&wanted).expect("the row had them when it was read");
            (wanted, patterns)
        }));
        let mut page = None;
        loop {
            let (objects, next) = self.store.list(prefix, page).await?;
            for object in objects {
                day.saw(&object.key, object.size);
            }
            page = next;
            if page.is_none() {
                return Ok(day);
            }
        }
    }

    /// Counts a row, lists it unless it is there, and asks for it if it is missing.
    async fn judge(&mut self, row: &Waiting, state: State) -> Result<(), Error> {
        match state {
            State::Present => {
                self.counts.present += 1;
                return Ok(());
            }
            State::Missing => self.counts.missing += 1,
            State::Empty => self.counts.empty += 1,
        }
        let whole = row.wanted();
        let patterns = self.keys.patterns(&whole).expect("the row had them when it was read");
        self.report.recording(&row.at(), &whole, &patterns[0], state)?;
        match &mut self.asker {
            Some(asker) if state == State::Missing => Ok(asker.ask(named(whole, self.by)).await?),
            _ => Ok(()),
        }
    }
}

/// By the one name, if it has that, else by the other.
fn named(whole: Wanted, by: By) -> Wanted {
    match by {
        By::CallId if whole.call_id.is_some() => Wanted { file_name: None, ..whole },
        By::FileName if whole.file_name.is_some() => Wanted { call_id: None, ..whole },
        _ => whole,
    }
}
