//! `callvault reconcile`: an index against the bucket, and what is to be said of it.

mod report;

use std::process::ExitCode;

use clap::{ArgGroup, Args};

use super::Error;
use super::ask::{Asker, Order, any_request_id};
use super::compare::{Comparison, State};
use super::keys::Keys;
use super::rows::From;
use super::spool::Waiting;
use crate::config::Config;
use crate::index::By;
use crate::metrics::Metrics;
use crate::recording::KeyPattern;
use crate::request::TenantId;
use crate::store::Store;
use report::{Counts, Report};

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

    let mut comparison = Comparison::begin(&keys, &store, rows, "").await?;
    let report = Report::begin(told.json, &told.tenant, store.bucket())?;
    let read = comparison.counts();
    let counts = Counts { rows: read.rows, bad: read.bad, ..Counts::default() };
    let mut judge = Judge { asker, by: told.by, report, counts };
    loop {
        let rows = comparison.next().await?;
        if rows.is_empty() {
            break;
        }
        for (row, state) in &rows {
            judge.judge(row, *state, || comparison.key(row)).await?;
        }
    }
    drop(comparison);
    let counts = judge.end().await?;
    Ok(if counts.all_there() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn order(told: &Reconcile) -> Order {
    Order { tenant: told.tenant.clone(), request_id: any_request_id("reconcile"), force: false }
}

/// Says what becomes of each row.
struct Judge {
    /// Only with `--enqueue`.
    asker: Option<Asker>,
    by: By,
    report: Report,
    counts: Counts,
}

impl Judge {
    /// Counts a row, lists it unless it is there, and asks for it if it is missing or partial.
    async fn judge(
        &mut self,
        row: &Waiting,
        state: State,
        key: impl FnOnce() -> KeyPattern,
    ) -> Result<(), Error> {
        match state {
            State::Present => {
                self.counts.present += 1;
                return Ok(());
            }
            State::Partial => self.counts.partial += 1,
            State::Missing => self.counts.missing += 1,
            State::Empty => self.counts.empty += 1,
        }
        self.report.recording(&row.at(), &row.wanted(), &key(), state)?;
        match &mut self.asker {
            Some(asker) if state != State::Empty => Ok(asker.ask_for(row, self.by).await?),
            _ => Ok(()),
        }
    }

    async fn end(self) -> Result<Counts, Error> {
        let asked = match self.asker {
            Some(asker) => Some(asker.finish().await?),
            None => None,
        };
        self.report.end(self.counts, asked)?;
        Ok(self.counts)
    }
}
