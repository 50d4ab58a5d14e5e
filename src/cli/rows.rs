//! The rows of an index or of a list of call ids, read beside the runtime that works on them: of a
//! file, or of what CC-FS is asked for.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Error;
use super::indexes::{Asked, Indexes, Orders, Package};
use super::keys::Keys;
use super::progress::Waits;
use crate::ccfs::Ways;
use crate::index::{Entry, Index, IndexError, Row};

/// Rows that are read and not yet worked on.
const AHEAD: usize = 1024;

/// Where a command has its rows from.
#[derive(Debug, Args)]
pub struct From {
    /// A recording index: its CSV, the ZIP package it comes in, or - for either on standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["day", "from", "to"])]
    index: Option<PathBuf>,
    /// A plain list of call ids, one a line, or - for one on standard input; the epoch seconds that
    /// an id begins with give the day.
    #[arg(long = "call-ids", value_name = "FILE", conflicts_with_all = ["index", "day", "from", "to"])]
    list: Option<PathBuf>,
    #[command(flatten)]
    asked: Asked,
    /// Take an index or a list without a row for an answer: there was nothing to archive.
    #[arg(long)]
    allow_empty: bool,
}

impl From {
    /// Opens the file that is named, if one is, and begins to read it, its times as those of `zone`;
    /// days that are named are looked at, and no more.
    ///
    /// # Errors
    /// It cannot be opened, or the days are none.
    pub fn at_hand(&self, zone: &TimeZone) -> Result<Option<Rows>, Error> {
        let (kind, path) = match (&self.index, &self.list) {
            (Some(path), _) => (Kind::Index, path),
            (None, Some(path)) => (Kind::List, path),
            (None, None) => return self.asked.days(zone).map(|_| None),
        };
        Rows::open(kind, path, zone, self.allow_empty).map(Some)
    }

    /// Has CC-FS make the index of the days that are named, if any are, and waits for it.
    ///
    /// # Errors
    /// The days are none, or there is no index.
    pub async fn asked_for(&self, keys: &Keys<'_>) -> Result<Option<Rows>, Error> {
        let Some(days) = self.asked.days(keys.zone())? else { return Ok(None) };
        let indexes = Indexes::of(keys.tenant, &Ways::new(1), self.asked.wait)?;
        let mut orders = Orders::unkept(&keys.tenant.id);
        let waits = Waits::new();
        let package = indexes.days(days, &mut orders, &|line| waits.say(line)).await?;
        waits.end();
        Rows::of(package, days.argument(), keys.zone()).map(Some)
    }

    /// Either of them.
    ///
    /// # Errors
    /// As of both.
    pub async fn open(&self, keys: &Keys<'_>) -> Result<Option<Rows>, Error> {
        match self.at_hand(keys.zone())? {
            Some(rows) => Ok(Some(rows)),
            None => self.asked_for(keys).await,
        }
    }
}

/// What rows are of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Index,
    List,
}

impl Kind {
    /// The argument that names it.
    fn argument(self, path: &Path) -> String {
        let name = match self {
            Self::Index => "--index",
            Self::List => "--call-ids",
        };
        format!("{name} {}", path.display())
    }
}

/// Rows that are being read.
pub struct Rows {
    kind: Kind,
    argument: String,
    size: Option<u64>,
    entries: mpsc::Receiver<Entry>,
    reading: JoinHandle<Result<(), IndexError>>,
    /// Whether there may be none.
    allow_empty: bool,
    is_empty: bool,
}

impl Rows {
    fn open(kind: Kind, path: &Path, zone: &TimeZone, allow_empty: bool) -> Result<Self, Error> {
        let argument = kind.argument(path);
        let opened = match kind {
            Kind::Index => Index::open(path),
            Kind::List => Index::open_list(path),
        };
        let index = opened.map_err(|error| Error::Setup(format!("{argument}: {error}")))?;
        Ok(Self::read(kind, argument, index, zone, Borders::none(), allow_empty))
    }

    /// The rows of an index that CC-FS made; that there are none is an answer. `argument` is what
    /// errors begin with.
    ///
    /// # Errors
    /// The temporary file can no longer be read.
    pub fn of(package: Package, argument: String, zone: &TimeZone) -> Result<Self, Error> {
        let (file, borders) = package.into_parts();
        match Index::package(file) {
            Ok(index) => {
                let borders = Borders::at(borders);
                Ok(Self::read(Kind::Index, argument, index, zone, borders, true))
            }
            Err(error) => Err(Error::Index(argument, error)),
        }
    }

    fn read(
        kind: Kind,
        argument: String,
        index: Index,
        zone: &TimeZone,
        mut borders: Borders,
        allow_empty: bool,
    ) -> Self {
        let size = index.size();
        let (send, entries) = mpsc::channel(AHEAD);
        let zone = zone.clone();
        let reading = tokio::task::spawn_blocking(move || {
            index.read(&zone, |entry| {
                if borders.repeats(&entry) {
                    return ControlFlow::Continue(());
                }
                match send.blocking_send(entry) {
                    Ok(()) => ControlFlow::Continue(()),
                    // Whoever wanted them has had enough.
                    Err(_) => ControlFlow::Break(()),
                }
            })
        });
        Self { kind, argument, size, entries, reading, allow_empty, is_empty: true }
    }

    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Whether they are call ids alone, of which a repeated one says nothing more.
    pub fn is_list(&self) -> bool {
        self.kind == Kind::List
    }

    /// The next row, good or bad.
    pub async fn next(&mut self) -> Option<Entry> {
        let entry = self.entries.recv().await;
        self.is_empty &= entry.is_none();
        entry
    }

    /// Whether there was no more.
    ///
    /// # Errors
    /// They could not be read to their end, or there was none.
    pub async fn end(self) -> Result<(), Error> {
        drop(self.entries);
        let argument = self.argument;
        match self.reading.await {
            Ok(Ok(())) if self.is_empty && !self.allow_empty => Err(Error::NoRows(argument)),
            Ok(read) => read.map_err(|error| Error::Index(argument, error)),
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
    }
}

/// Where two spans of an index meet: which of them has a call that crosses it, or whether both have,
/// CC-FS does not say. One that both have is one row.
struct Borders {
    at: Vec<Timestamp>,
    crossing: HashSet<Row>,
}

impl Borders {
    fn none() -> Self {
        Self::at(Vec::new())
    }

    fn at(at: Vec<Timestamp>) -> Self {
        Self { at, crossing: HashSet::new() }
    }

    /// Whether it is a row that was there before, on the other side. Only as many are remembered as
    /// calls were under way at those moments.
    fn repeats(&mut self, entry: &Entry) -> bool {
        let Ok(row) = &entry.row else { return false };
        let Some((begin, end)) =
            row.call_begin.or(row.call_end).zip(row.call_end.or(row.call_begin))
        else {
            return false;
        };
        let crosses = self.at.iter().any(|border| (begin..=end).contains(border));
        crosses && !self.crossing.insert(row.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[tokio::test]
    async fn a_call_that_both_spans_have_is_one_row() {
        let row = |call: &str, begin: &str, end: &str| {
            format!("dev,7,1,512,{call},1,2,2026-04-{begin},2026-04-{end},,0,0,X:/{call}.V3\n")
        };
        let crossing = row("1-1", "25 23:59:00", "26 00:01:00");
        let at_midnight = row("1-2", "26 00:00:00", "26 00:01:00");
        let csv = [
            row("1-0", "25 07:00:00", "25 07:01:00"),
            row("1-0", "25 07:00:00", "25 07:01:00"),
            crossing.clone(),
            at_midnight.clone(),
            crossing.replace("X:/1-1", "X:/1-1b"),
            crossing,
            at_midnight,
            "not,a,row\n".to_owned(),
            "not,a,row\n".to_owned(),
        ];
        let read = async |borders: &[&str]| {
            let index = Index::seekable(Cursor::new(csv.concat())).unwrap();
            let borders = borders.iter().map(|border| border.parse().unwrap()).collect();
            let (zone, name) = (TimeZone::UTC, "--day".to_owned());
            let mut rows = Rows::read(Kind::Index, name, index, &zone, Borders::at(borders), false);
            let mut lines = Vec::new();
            while let Some(entry) = rows.next().await {
                lines.push(entry.at.line);
            }
            rows.end().await.unwrap();
            lines
        };
        assert_eq!(read(&["2026-04-26T00:00:00Z"]).await, [1, 2, 3, 4, 5, 8, 9]);
        // All of one span is as CC-FS has it.
        assert_eq!(read(&[]).await, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
