//! `callvault reconcile`: an index against the bucket.
//!
//! The rows are sorted first, by call, so that it is known how many recordings each has, and then by
//! day, so that each day is listed once, however the index is ordered.

mod day;
mod report;

use std::collections::BTreeSet;
use std::io;
use std::process::ExitCode;

use clap::{ArgGroup, Args};

use super::Error;
use super::ask::{Asker, Order, any_request_id};
use super::keys::Keys;
use super::progress::Progress;
use super::rows::{From, Rows};
use super::spool::{Sorted, Spool, Waiting, repeated};
use crate::config::Config;
use crate::failure::Failure;
use crate::index::{By, Entry};
use crate::metrics::Metrics;
use crate::request::{TenantId, Wanted};
use crate::store::Store;
use day::{Day, Sought, State};
use report::{Counts, Report};

/// Rows of a day that are in memory at once; a day of more is listed more than once.
const ROWS: usize = 20_000;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").args(["index", "list", "day", "from"]).required(true)))]
pub struct Reconcile {
    /// Whose recordings; a tenant of the configuration.
    #[arg(long, value_name = "ID", value_parser = |text: &str| TenantId::new(text))]
    tenant: TenantId,
    #[command(flatten)]
    from: From,
    /// Ask for what is missing or partial, as callvault dump does.
    #[arg(long)]
    enqueue: bool,
    /// The name that missing recordings are asked for by.
    #[arg(long, value_enum, default_value_t, requires = "enqueue", conflicts_with = "list")]
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
    let store = Store::new(settings, Metrics::new());
    let store = store.map_err(|error| Error::Setup(error.to_string()))?;
    let asker = match told.enqueue {
        true => Some(Asker::connect(config, order(&told)).await?),
        false => None,
    };
    let rows = told.from.open(&keys).await?.expect("clap wants the one or the other");

    let (sorted, counts) = sort(rows, &keys).await?;
    let report = Report::begin(told.json, &told.tenant, store.bucket())?;
    let by = told.by;
    let comparison = Comparison { keys, store, asker, by, report, counts, asked: None };
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
            keys.candidates(&wanted, None)?;
            Ok(wanted)
        });
        match whole {
            // A write of some MiB now and then; nothing else runs here that would have to wait.
            Ok(wanted) => spool.push(Waiting::new(&at, wanted)).map_err(Error::Spool)?,
            Err(why) => {
                counts.bad += 1;
                progress.say(&format!("{at}: {why}"));
            }
        }
    }
    let is_list = rows.is_list();
    rows.end().await?;
    progress.end();
    let calls = spool.sorted().map_err(Error::Spool)?;
    if is_list {
        let (sorted, repeats) = by_day_once(calls, keys).map_err(Error::Spool)?;
        counts.rows -= repeats;
        if repeats > 0 {
            eprintln!("{}", repeated(repeats));
        }
        return Ok((sorted, counts));
    }
    Ok((by_day(calls, keys).map_err(Error::Spool)?, counts))
}

/// Rows that know their calls, in the order of days.
fn by_day(mut calls: Sorted, keys: &Keys<'_>) -> io::Result<Sorted> {
    let mut days = Spool::new()?;
    loop {
        let call = calls.call()?;
        if call.is_empty() {
            return days.sorted();
        }
        for row in call {
            days.push(on_its_day(row, keys))?;
        }
    }
}

/// The calls of a list in the same order, once each, and how many lines repeated one.
fn by_day_once(mut calls: Sorted, keys: &Keys<'_>) -> io::Result<(Sorted, u64)> {
    let (mut days, mut repeats) = (Spool::new()?, 0);
    while let Some((row, times)) = calls.once()? {
        days.push(on_its_day(row, keys))?;
        repeats += times - 1;
    }
    Ok((days.sorted()?, repeats))
}

fn on_its_day(mut row: Waiting, keys: &Keys<'_>) -> Waiting {
    let prefixes = prefixes(keys, &row);
    row.prefix = prefixes.into_iter().next().expect("a row has one day at least");
    row
}

/// What the keys of a row's days begin with.
fn prefixes(keys: &Keys<'_>, row: &Waiting) -> Vec<String> {
    let prefixes = keys.day_prefixes(&row.wanted(), row.call().as_ref());
    prefixes.expect("its day was told when it was read")
}

fn sought(keys: &Keys<'_>, row: &Waiting) -> Sought {
    let (wanted, call) = (row.wanted(), row.call());
    let candidates = keys.candidates(&wanted, call.as_ref());
    let candidates = candidates.expect("the row had them when it was read");
    Sought { wanted, candidates, has_siblings: row.has_siblings() }
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
    /// The last call that was asked for; its other rows come next.
    asked: Option<Wanted>,
}

impl Comparison<'_> {
    async fn run(mut self, mut sorted: Sorted) -> Result<Counts, Error> {
        let rows = self.counts.rows - self.counts.bad;
        let mut progress = Progress::new("rows", Some(rows));
        let mut done = 0;
        loop {
            let batch = sorted.day(ROWS).map_err(Error::Spool)?;
            let Some(first) = batch.first() else { break };
            let day = self.look(&first.prefix, &batch).await.map_err(Error::Store)?;
            for (row, state) in batch.iter().zip(day.states()) {
                self.judge(row, *state).await?;
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

    /// Lists a day and marks the rows that are found; then the days before and after it, where
    /// rows that are not all there may be, too.
    async fn look(&self, prefix: &str, rows: &[Waiting]) -> Result<Day, Failure> {
        let mut day = Day::new(rows.iter().map(|row| sought(&self.keys, row)));
        self.list(prefix, &mut day).await?;
        let found = rows.iter().zip(day.states());
        let wanting = found.filter(|(_, state)| **state != State::Present);
        let others = wanting.flat_map(|(row, _)| prefixes(&self.keys, row));
        let others: BTreeSet<_> = others.filter(|other| !other.starts_with(prefix)).collect();
        for other in others {
            self.list(&other, &mut day).await?;
        }
        Ok(day)
    }

    async fn list(&self, prefix: &str, day: &mut Day) -> Result<(), Failure> {
        let mut page = None;
        loop {
            let (objects, next) = self.store.list(prefix, page).await?;
            for object in objects {
                day.saw(&object.key, object.size);
            }
            page = next;
            if page.is_none() {
                return Ok(());
            }
        }
    }

    /// Counts a row, lists it unless it is there, and asks for it if it is missing or partial.
    async fn judge(&mut self, row: &Waiting, state: State) -> Result<(), Error> {
        match state {
            State::Present => {
                self.counts.present += 1;
                return Ok(());
            }
            State::Partial => self.counts.partial += 1,
            State::Missing => self.counts.missing += 1,
            State::Empty => self.counts.empty += 1,
        }
        let Sought { wanted, candidates, .. } = sought(&self.keys, row);
        self.report.recording(&row.at(), &wanted, &candidates[0].pattern, state)?;
        match &mut self.asker {
            Some(asker) if state != State::Empty => {
                let wanted = named(row, self.by);
                // All rows of a call are one request.
                if self.asked.as_ref() != Some(&wanted) {
                    asker.ask(wanted.clone()).await?;
                    self.asked = Some(wanted);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// By the one name, if it has that, else by the other.
fn named(row: &Waiting, by: By) -> Wanted {
    let whole = row.wanted();
    match (by, row.call()) {
        (By::CallId, Some(call)) => call,
        (By::FileName, _) if whole.file_name.is_some() => Wanted { call_id: None, ..whole },
        _ => whole,
    }
}
