//! The rows of an index, read beside the runtime that works on them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Error;
use crate::index::{Entry, Index, IndexError};

/// Rows that are read and not yet worked on.
const AHEAD: usize = 1024;

/// An index that is being read.
pub struct Rows {
    path: PathBuf,
    size: Option<u64>,
    entries: mpsc::Receiver<Entry>,
    reading: JoinHandle<Result<(), IndexError>>,
}

impl Rows {
    /// Opens the index and begins to read it, its times as those of `zone`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path, zone: &TimeZone) -> Result<Self, Error> {
        let index = Index::open(path)
            .map_err(|error| Error::Setup(format!("--index {}: {error}", path.display())))?;
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
        Ok(Self { path: path.to_owned(), size, entries, reading })
    }

    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next row, good or bad.
    pub async fn next(&mut self) -> Option<Entry> {
        self.entries.recv().await
    }

    /// Whether there was no more.
    ///
    /// # Errors
    /// The index could not be read to its end.
    pub async fn end(self) -> Result<(), Error> {
        drop(self.entries);
        let path = self.path;
        match self.reading.await {
            Ok(read) => read.map_err(|error| Error::Index(path, error)),
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
    }
}
