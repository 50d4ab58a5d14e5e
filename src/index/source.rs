//! Where an index comes from: a CSV, a package, standard input.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use zip::ZipArchive;

use super::encoding::{Encoding, UTF8_MARK, UTF16_MARKS};
use super::error::IndexError;
use super::row::{COLUMNS, Row};
use super::table::Table;
use super::{Entry, Position, list};

/// What a ZIP begins with (PKWARE APPNOTE 4.3.7); an index begins with letters.
const ZIP: &[u8] = b"PK\x03\x04";

trait Seekable: Read + Seek + Send {}
impl<T: Read + Seek + Send> Seekable for T {}

/// An index that is open.
pub struct Index {
    source: Source,
    size: Option<u64>,
}

enum Source {
    Table(Box<dyn Read + Send>),
    /// Of call ids alone.
    List(Box<dyn Read + Send>),
    /// With the places in it of what is to be read.
    Package(ZipArchive<Box<dyn Seekable>>, Vec<usize>),
}

impl Index {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// It cannot be opened, or is a ZIP without a recording index.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        if path == Path::new("-") {
            return Self::stream(io::stdin());
        }
        match open(path)? {
            (file, Some(_)) => Self::seekable(file),
            // A pipe; and who reads a folder is told that it is one.
            (file, None) => Self::stream(file),
        }
    }

    /// Opens a plain list of call ids, or one on standard input for `-`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_list(path: &Path) -> Result<Self, IndexError> {
        if path == Path::new("-") {
            return Ok(Self { source: Source::List(Box::new(io::stdin())), size: None });
        }
        let (file, size) = open(path)?;
        Ok(Self { source: Source::List(Box::new(file)), size })
    }

    /// An index that can be read once only. A ZIP has its table of contents at its end, so that one
    /// is kept in a temporary file, which has no name and is gone with this process.
    ///
    /// # Errors
    /// As of [`Index::open`], or there is no room for the temporary file.
    pub fn stream(mut source: impl Read + Send + 'static) -> Result<Self, IndexError> {
        let head = head(&mut source).map_err(IndexError::Open)?;
        let mut whole = io::Cursor::new(head.clone()).chain(source);
        if head != ZIP {
            return Ok(Self { source: Source::Table(Box::new(whole)), size: None });
        }
        let mut spool = tempfile::tempfile().map_err(IndexError::Spool)?;
        io::copy(&mut whole, &mut spool).map_err(IndexError::Spool)?;
        Self::seekable(spool)
    }

    /// An index whose kind is told by its first bytes, not by a name.
    ///
    /// # Errors
    /// As of [`Index::open`].
    pub fn seekable(mut source: impl Read + Seek + Send + 'static) -> Result<Self, IndexError> {
        let start = source.rewind();
        let head = start.and_then(|()| head(&mut source)).map_err(IndexError::Open)?;
        let size = source.seek(SeekFrom::End(0)).map_err(IndexError::Open)?;
        source.rewind().map_err(IndexError::Open)?;
        if head != ZIP {
            return Ok(Self { source: Source::Table(Box::new(source)), size: Some(size) });
        }
        let index = Self::package(source)?;
        match &index.source {
            Source::Package(_, files) if files.is_empty() => Err(IndexError::NoRecords),
            _ => Ok(index),
        }
    }

    /// A package as CC-FS makes it: without a recording index it is that of days without recordings.
    ///
    /// # Errors
    /// It is no ZIP, or one that contradicts itself.
    pub fn package(source: impl Read + Seek + Send + 'static) -> Result<Self, IndexError> {
        let source: Box<dyn Seekable> = Box::new(source);
        let mut package = ZipArchive::new(source).map_err(IndexError::Package)?;
        // Off by default: that an entry is what the table of contents says.
        package.validate_header_consistency().map_err(IndexError::Package)?;
        let (mut files, mut size) = (Vec::new(), 0);
        for at in 0..package.len() {
            let file = package.by_index_raw(at).map_err(IndexError::Package)?;
            if holds_recordings(&file.name().map_err(IndexError::Package)?) {
                files.push(at);
                size += file.size();
            }
        }
        Ok(Self { source: Source::Package(package, files), size: Some(size) })
    }

    /// Bytes of CSV, where they are known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Hands every row to `visit`, until it has had enough; their times are those of `zone`.
    ///
    /// # Errors
    /// The source cannot be read to its end. What was handed out until then is good.
    pub fn read(
        self,
        zone: &TimeZone,
        mut visit: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        let (mut package, files) = match self.source {
            Source::Table(table) => return read_table(table, None, 0, zone, &mut visit).map(drop),
            Source::List(list) => return list::read(list, &mut visit),
            Source::Package(package, files) => (package, files),
        };
        let mut before = 0;
        for at in files {
            let file = package.by_index(at).map_err(IndexError::Package)?;
            // Names in an archive are anybody's; what a terminal would obey is not shown to it.
            let name = file.name().map_err(IndexError::Package)?.escape_debug().to_string();
            let size = file.size();
            if read_table(file, Some(name.into()), before, zone, &mut visit)?.is_break() {
                break;
            }
            before += size;
        }
        Ok(())
    }
}

/// A file, and its size if it has one.
fn open(path: &Path) -> Result<(File, Option<u64>), IndexError> {
    let file = File::open(path).map_err(IndexError::Open)?;
    let metadata = file.metadata().map_err(IndexError::Open)?;
    Ok((file, metadata.is_file().then_some(metadata.len())))
}

/// `…_record_N.csv`; `…_call_N.csv` beside it is of calls.
pub(super) fn holds_recordings(path: &str) -> bool {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let Some(stem) = name.strip_suffix(".csv") else { return false };
    let stem = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    let stem = stem.strip_suffix('_').unwrap_or(stem);
    stem == "record" || stem.ends_with("_record")
}

fn read_table(
    source: impl Read,
    file: Option<Arc<str>>,
    before: u64,
    zone: &TimeZone,
    visit: &mut impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, IndexError> {
    let at = |line| Position { file: file.clone(), line };
    let broken = |line, error| IndexError::Read(at(line), error);
    let mut table = Table::new(source, COLUMNS);
    for mark in UTF16_MARKS {
        if table.skip(mark).map_err(|error| broken(1, error))? {
            return Err(IndexError::Utf16(at(1)));
        }
    }
    let marked = table.skip(UTF8_MARK).map_err(|error| broken(1, error))?;
    let mut encoding = if marked { Encoding::Utf8 } else { Encoding::Undecided };
    loop {
        let next = table.next().map_err(|error| broken(table.line(), error))?;
        let Some(found) = next else { return Ok(ControlFlow::Continue(())) };
        let fields = found.fields.and_then(|fields| encoding.decode(fields));
        let row = fields.and_then(|fields| Row::read(&fields, zone));
        let entry = Entry { at: at(found.line), row, read: before + table.taken() };
        if visit(entry).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
}

/// Up to four bytes.
fn head(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    source.take(ZIP.len() as u64).read_to_end(&mut head)?;
    Ok(head)
}
