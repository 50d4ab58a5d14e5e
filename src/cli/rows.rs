//! The rows of an index or of a list of call ids, read beside the runtime that works on them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Error;
use crate::index::{Entry, Index, IndexError};

/// Rows that are read and not yet worked on.
const AHEAD: usize = 1024;

/// Where a command has its rows from.
#[derive(Debug, Args)]
pub struct From {
    /// A recording index: its CSV, the ZIP package it comes in, or - for either on standard input.
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
    /// A plain list of call ids, one a line, or - for one on standard input; the epoch seconds that
    /// an id begins with give the day.
    #[arg(long = "call-ids", value_name = "FILE", conflicts_with = "index")]
    list: Option<PathBuf>,
    /// Take an index or a list without a row for an answer: there was nothing to archive.
    #[arg(long)]
    allow_empty: bool,
}

impl From {
    /// Opens what is named, if anything is, and begins to read it, its times as those of `zone`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self, zone: &TimeZone) -> Result<Option<Rows>, Error> {
        let (kind, path) = match (&self.index, &self.list) {
            (Some(path), _) => (Kind::Index, path),
            (None, Some(path)) => (Kind::List, path),
            (None, None) => return Ok(None),
        };
        Rows::open(kind, path, zone, self.allow_empty).map(Some)
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
        let size = index.size();
        let (send, entries) = mpsc::channel(AHEAD);
        let zone = zone.clone();
        let reading = tokio::task::spawn_blocking(move || {
            index.read(&zone, |entry| match send.blocking_send(entry) {
                Ok(()) => ControlFlow::Continue(()),
                // Whoever wanted them has had enough.
                Err(_) => ControlFlow::Break(()),
            })
        });
        Ok(Self { kind, argument, size, entries, reading, allow_empty, is_empty: true })
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
