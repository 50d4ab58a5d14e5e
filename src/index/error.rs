//! Why an index is none, or not all of it. Pure.

use std::io;

use zip::result::ZipError;

use super::Position;

/// Why an index cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("cannot be opened: {0}; name a readable file, or - for standard input")]
    Open(io::Error),
    #[error("cannot be kept in a temporary file: {0}; make room, or set TMPDIR to where there is")]
    Spool(io::Error),
    #[error("{0}: cannot be read on: {1}")]
    Read(Position, io::Error),
    #[error("is no good ZIP: {0}; fetch the package anew")]
    Package(ZipError),
    #[error("has no …_record_N.csv in it; give the package as CC-FS made it, or the CSV itself")]
    NoRecords,
    #[error("{0}: is UTF-16; save it as UTF-8")]
    Utf16(Position),
}
