//! The recording index of CC-FS: what there is to archive, a row a recording.
//!
//! One CSV of 13 columns or more without a header, or the ZIP package it comes in, of any size: a row is in
//! memory, never the file. A row that cannot be used is handed out with its line and the reason,
//! never skipped; the reason quotes nothing of the row, which holds phone numbers. A plain list of
//! call ids is read as an index that says no more. What becomes of the rows is not known here.

mod cell;
mod encoding;
mod error;
mod list;
mod package;
mod row;
mod source;
mod table;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use error::IndexError;
pub use package::{Proven, join, prove};
pub use row::{By, Row};
pub use source::Index;

/// A row, or why it is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: Position,
    pub row: Result<Row, BadRow>,
    /// How much of [`Index::size`] has been read.
    pub read: u64,
}

/// Where in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file in its package.
    pub file: Option<Arc<str>>,
    /// The line that the row begins in, from 1.
    pub line: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}, line {}", self.line),
            None => write!(f, "line {}", self.line),
        }
    }
}

/// Why a row cannot be used; never quotes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRow(pub String);
