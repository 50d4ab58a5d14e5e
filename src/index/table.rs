//! Bytes → the fields of a row: CSV (RFC 4180) with a bound on every row. It must not know what the
//! columns mean.
//!
//! Spreadsheets write other separators, by where they are used: the first row shows which.
//!
//! Stricter than the usual readers, to which a quote that is never closed is one long field and
//! takes the lines after it along in silence. Here a row over several lines that does not come out
//! right costs its first line alone: reading goes on at the next.

use std::io::{self, Read};

use super::BadRow;

/// The longest row, in bytes. A good one has some hundred.
const MAX_ROW: usize = 64 * 1024;

/// What is read at a time.
const READ_BYTES: u64 = 64 * 1024;

/// What stands between two fields.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

/// The rows of one file.
pub(super) struct Table<R> {
    source: R,
    /// That a row has at least.
    columns: usize,
    /// `None` before the first row is known.
    separator: Option<u8>,
    /// What the narrowest row on one line has; releases differ in how many columns they write.
    narrowest: Option<usize>,
    read_bytes: u64,
    /// What has been read; a row is taken from its front.
    buffer: Vec<u8>,
    /// Where in the buffer the next row begins.
    start: usize,
    /// Nothing comes after what is in the buffer.
    ended: bool,
    /// That the next row begins in, from 1.
    line: u64,
    taken: u64,
}

/// A row as it was found.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub line: u64,
    pub fields: Result<Vec<Vec<u8>>, BadRow>,
}

impl<R: Read> Table<R> {
    /// Bytes before the next row.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The line that the next row begins in.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn new(source: R, columns: usize) -> Self {
        Self {
            source,
            columns,
            separator: None,
            narrowest: None,
            read_bytes: READ_BYTES,
            buffer: Vec::new(),
            start: 0,
            ended: false,
            line: 1,
            taken: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn reading(self, read_bytes: u64) -> Self {
        Self { read_bytes, ..self }
    }

    /// Takes `head` away, should the file begin with it.
    pub(super) fn skip(&mut self, head: &[u8]) -> io::Result<bool> {
        while self.rest().len() < head.len() && !self.ended {
            self.read_more()?;
        }
        let there = self.rest().starts_with(head);
        if there {
            self.start += head.len();
        }
        Ok(there)
    }

    /// The next row that is not empty; `None` at the end.
    ///
    /// # Errors
    /// The source cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        loop {
            let Some(separator) = self.separator() else {
                self.read_more()?;
                continue;
            };
            match split(self.rest(), self.ended, separator) {
                Split::NeedMore if self.rest().len() <= MAX_ROW => self.read_more()?,
                Split::NeedMore => return self.refuse_line(too_long()).map(Some),
                Split::End => return Ok(None),
                Split::Blank { bytes } => self.take(bytes),
                Split::Row { bytes, .. } if bytes > MAX_ROW => {
                    return self.refuse_line(too_long()).map(Some);
                }
                Split::Row { bytes, fields } if fields.len() >= self.columns => {
                    if self.swallows_a_row(bytes) {
                        return self.refuse_line(swallowing()).map(Some);
                    }
                    let (line, columns) = (self.line, fields.len());
                    self.take(bytes);
                    if self.line <= line + 1 {
                        let least = self.narrowest.map_or(columns, |least| least.min(columns));
                        self.narrowest = Some(least);
                    }
                    return Ok(Some(Found { line, fields: Ok(fields) }));
                }
                Split::Row { fields, .. } => {
                    let (found, least) = (fields.len(), self.columns);
                    let what = format!("has {found} columns, fewer than {least}");
                    return self.refuse_line(what).map(Some);
                }
                Split::Misquoted(what) => return self.refuse_line(what.to_owned()).map(Some),
            }
        }
    }

    /// What separates the fields of the file: by what its first row has enough columns, and by
    /// nothing else. `None`: more of it has to be read.
    fn separator(&mut self) -> Option<u8> {
        if self.separator.is_some() {
            return self.separator;
        }
        let split = |separator| (separator, split(self.rest(), self.ended, separator));
        let splits = SEPARATORS.map(split);
        let open = |(_, split): &(u8, Split)| matches!(split, Split::NeedMore);
        if splits.iter().any(open) && self.rest().len() <= MAX_ROW {
            return None;
        }
        let comma = Some(SEPARATORS[0]);
        if matches!(splits[0].1, Split::Blank { .. } | Split::End) {
            return comma;
        }
        let fits = |(_, split): &&(u8, Split)| matches!(split, Split::Row { fields, .. } if fields.len() >= self.columns);
        let mut fitting = splits.iter().filter(fits).map(|(separator, _)| *separator);
        let only = fitting.next().filter(|_| fitting.next().is_none());
        self.separator = only.or(comma);
        self.separator
    }

    /// Refuses the first line of what is to be read, to its end, however long.
    fn refuse_line(&mut self, why: String) -> io::Result<Found> {
        let found = Found { line: self.line, fields: Err(BadRow(why)) };
        loop {
            if let Some(end) = self.rest().iter().position(|byte| *byte == b'\n') {
                self.take(end + 1);
                return Ok(found);
            }
            self.take(self.rest().len());
            if self.ended {
                return Ok(found);
            }
            self.read_more()?;
        }
    }

    /// Two quotes that are never closed can meet to one good field, with all that is between. No
    /// text in an index has lines that look like its rows.
    fn swallows_a_row(&self, bytes: usize) -> bool {
        let lines = self.rest()[..bytes].split(|byte| *byte == b'\n');
        let separator = self.separator.unwrap_or(b',');
        let marks = lines.map(|line| line.iter().filter(|byte| **byte == separator).count());
        let least = self.narrowest.unwrap_or(self.columns);
        marks.skip(1).any(|marks| marks + 1 >= least)
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn take(&mut self, bytes: usize) {
        let lines = self.rest()[..bytes].iter().filter(|byte| **byte == b'\n').count();
        self.line += lines as u64;
        self.taken += bytes as u64;
        self.start += bytes;
    }

    fn read_more(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let most = self.read_bytes;
        let read = self.source.by_ref().take(most).read_to_end(&mut self.buffer)?;
        self.ended = (read as u64) < most;
        Ok(())
    }
}

fn swallowing() -> String {
    "runs on over what looks like another row: a quote that is not closed?".to_owned()
}

fn too_long() -> String {
    format!("is longer than {MAX_ROW} bytes: a quote that is not closed?")
}

/// What stands at the front of some bytes.
enum Split {
    Row {
        bytes: usize,
        fields: Vec<Vec<u8>>,
    },
    Blank {
        bytes: usize,
    },
    /// The row does not end in these bytes.
    NeedMore,
    End,
    Misquoted(&'static str),
}

fn split(bytes: &[u8], ended: bool, separator: u8) -> Split {
    match bytes {
        [] if ended => return Split::End,
        [b'\n', ..] => return Split::Blank { bytes: 1 },
        [b'\r', b'\n', ..] => return Split::Blank { bytes: 2 },
        [b'\r'] if ended => return Split::Blank { bytes: 1 },
        _ => {}
    }
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let quoted = bytes.get(at) == Some(&b'"');
        let field =
            if quoted { quoted_field(bytes, at) } else { plain_field(bytes, at, separator) };
        let (field, end) = match field {
            Some(found) => found,
            None if quoted && ended => return Split::Misquoted("has a quote that is not closed"),
            None if ended => (line(&bytes[at..]).to_vec(), bytes.len()),
            None => return Split::NeedMore,
        };
        fields.push(field);
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t') && *byte != separator;
        let blanks = bytes[end..].iter().copied().take_while(|byte| is_blank(byte)).count();
        // A tab behind the quotes tells a spreadsheet that it is text.
        let end = if quoted { end + blanks } else { end };
        match &bytes[end..] {
            [next, ..] if *next == separator => at = end + 1,
            [b'\n', ..] => return Split::Row { bytes: end + 1, fields },
            [b'\r', b'\n', ..] => return Split::Row { bytes: end + 2, fields },
            [] | [b'\r'] if ended => return Split::Row { bytes: bytes.len(), fields },
            [] | [b'\r'] => return Split::NeedMore,
            _ => return Split::Misquoted("has text after a closing quote"),
        }
    }
}

/// A field without quotes around it, and where it ends.
fn plain_field(bytes: &[u8], at: usize, separator: u8) -> Option<(Vec<u8>, usize)> {
    let is_end = |byte: &u8| *byte == separator || *byte == b'\n';
    let end = at + bytes[at..].iter().position(is_end)?;
    let field = &bytes[at..end];
    let field = if bytes[end] == b'\n' { line(field) } else { field };
    Some((field.to_vec(), at + field.len()))
}

/// A line without the first half of a CRLF.
fn line(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// A field in quotes, in which two stand for one, and where it ends.
fn quoted_field(bytes: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut field = Vec::new();
    let mut at = at + 1;
    loop {
        let end = at + bytes[at..].iter().position(|byte| *byte == b'"')?;
        field.extend_from_slice(&bytes[at..end]);
        // Whether it is the closing one shows what follows, or that nothing does.
        if bytes.get(end + 1) != Some(&b'"') {
            return Some((field, end + 1));
        }
        field.push(b'"');
        at = end + 2;
    }
}
