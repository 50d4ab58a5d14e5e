//! The ZIP that an index comes in: made row by row when it is first asked for, so that a million rows
//! are never held.

use std::fmt;
use std::io::{BufWriter, Cursor, Write};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use encoding_rs::GBK;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::row::IndexRow;

/// How packages are made, and named.
#[derive(Clone, Debug)]
pub struct Packages {
    columns: usize,
    gbk: bool,
    files: u64,
    calls: bool,
    empty_file: bool,
    pub(super) not_ready: usize,
    pub(super) zone: TimeZone,
}

impl Default for Packages {
    /// 18 columns in UTF-8 in one file, there at once, named by the day in UTC; a day without
    /// recordings has no file of them.
    fn default() -> Self {
        Self {
            columns: 18,
            gbk: false,
            files: 1,
            calls: false,
            empty_file: false,
            not_ready: 0,
            zone: TimeZone::UTC,
        }
    }
}

impl Packages {
    /// 13 before release 22.100; later ones may have more than 18.
    #[must_use]
    pub fn columns(self, columns: usize) -> Self {
        Self { columns, ..self }
    }

    #[must_use]
    pub fn gbk(self) -> Self {
        Self { gbk: true, ..self }
    }

    /// The rows are dealt out to so many files.
    #[must_use]
    pub fn files(self, files: u64) -> Self {
        Self { files: files.max(1), ..self }
    }

    /// With a file of call details beside.
    #[must_use]
    pub fn with_calls(self) -> Self {
        Self { calls: true, ..self }
    }

    /// A day without recordings has a file without rows.
    #[must_use]
    pub fn empty_file(self) -> Self {
        Self { empty_file: true, ..self }
    }

    /// 0300011 to the first so many that ask for a package.
    #[must_use]
    pub fn not_ready(self, looks: usize) -> Self {
        Self { not_ready: looks, ..self }
    }

    /// Whose day is in the names.
    #[must_use]
    pub fn named_in(self, zone: TimeZone) -> Self {
        Self { zone, ..self }
    }
}

/// Rows, however many: each is made when it is asked for.
#[derive(Clone)]
pub(super) struct Rows {
    pub count: u64,
    pub row: Arc<dyn Fn(u64) -> IndexRow + Send + Sync>,
}

/// A package, from when it was ordered.
pub(super) struct Package {
    pub name: String,
    pub begin: DateTime,
    pub end: DateTime,
    pub rows: Vec<Rows>,
    pub shape: Packages,
    pub made: OnceLock<Bytes>,
}

impl fmt::Debug for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Package").field(&self.name).finish()
    }
}

impl Package {
    /// All of it; takes a while for many rows.
    pub fn bytes(&self) -> Bytes {
        self.made.get_or_init(|| self.make()).clone()
    }

    fn make(&self) -> Bytes {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        // The fastest level.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1));
        let stem = self.name.trim_end_matches(".zip");
        let known = || self.rows.iter().flat_map(|rows| (0..rows.count).map(&*rows.row));
        // CC-FS may take the end in: a call that begins there is in the next day's index, too.
        let asked = |row: &IndexRow| (self.begin..=self.end).contains(&row.begin());
        let empty = !known().any(|row| asked(&row));
        let files = if empty { u64::from(self.shape.empty_file) } else { self.shape.files };
        for file in 0..files {
            let name = format!("{stem}_record_{}.csv", file + 1);
            zip.start_file(name, options).expect("a ZIP in memory");
            let mut lines = BufWriter::new(&mut zip);
            let dealt = (0..self.shape.files).cycle();
            for (row, _) in known().filter(asked).zip(dealt).filter(|(_, to)| *to == file) {
                let line = row.line(self.shape.columns) + "\r\n";
                let line =
                    if self.shape.gbk { GBK.encode(&line).0 } else { line.as_bytes().into() };
                lines.write_all(&line).expect("a ZIP in memory");
            }
            lines.flush().expect("a ZIP in memory");
        }
        if self.shape.calls {
            zip.start_file(format!("{stem}_call_1.csv"), options).expect("a ZIP in memory");
            zip.write_all(b"dev,7,1,not,a,recording\r\n").expect("a ZIP in memory");
        }
        zip.finish().expect("a ZIP in memory").into_inner().into()
    }
}

/// `package` with one wrong byte in the middle of its first file, if it has one.
pub(super) fn rotten(package: &Bytes) -> Bytes {
    let mut bytes = package.to_vec();
    if !bytes.starts_with(b"PK\x03\x04") {
        return package.clone();
    }
    let size = u32::from_le_bytes([bytes[18], bytes[19], bytes[20], bytes[21]]) as usize;
    let short = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let begin = 30 + short(26) + short(28);
    bytes[begin + size / 2] ^= 0x55;
    bytes.into()
}
