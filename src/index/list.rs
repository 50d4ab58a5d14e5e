//! A plain list of call ids, one a line: what people have who know which calls they miss.
//!
//! Blanks, empty lines and what a spreadsheet leaves around a cell are nobody's; every other line is
//! a call id or a bad row.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;

use super::encoding::{UTF8_MARK, UTF16_MARKS};
use super::error::IndexError;
use super::row::Row;
use super::{BadRow, Entry, Position, cell};
use crate::request::{BadName, CallId};

/// The longest line, in bytes. A good one has some twenty.
const MAX_LINE: u64 = 4096;

/// Hands every line that is not empty to `visit`, until it has had enough.
///
/// # Errors
/// The source cannot be read to its end.
pub(super) fn read(
    source: impl Read,
    visit: &mut impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), IndexError> {
    let mut source = BufReader::new(source);
    let (mut number, mut read) = (0, 0);
    loop {
        number += 1;
        let at = Position { file: None, line: number };
        let line = match line(&mut source) {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(()),
            Err(error) => return Err(IndexError::Read(at, error)),
        };
        read += line.len() as u64;
        let text = match number {
            1 if UTF16_MARKS.iter().any(|mark| line.starts_with(mark)) => {
                return Err(IndexError::Utf16(at));
            }
            1 => line.strip_prefix(UTF8_MARK).unwrap_or(&line),
            _ => &line,
        };
        let Some(row) = row(text).transpose() else { continue };
        if visit(Entry { at, row, read }).is_break() {
            return Ok(());
        }
    }
}

/// The next line with its end; of one that is too long only so much that it shows.
fn line(source: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let most = MAX_LINE + 1;
    if source.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let mut rest = line.len() as u64 == most && !line.ends_with(b"\n");
    while rest {
        let mut more = Vec::new();
        let read = source.by_ref().take(most).read_until(b'\n', &mut more)?;
        rest = read > 0 && !more.ends_with(b"\n");
    }
    Ok(Some(line))
}

fn row(line: &[u8]) -> Result<Option<Row>, BadRow> {
    let bad = |why: &str| BadRow(why.to_owned());
    if line.len() as u64 > MAX_LINE {
        return Err(bad("is longer than any call id"));
    }
    let text = std::str::from_utf8(line).map_err(|_| bad("is not UTF-8"))?;
    let text = cell::text(text);
    if text.is_empty() {
        return Ok(None);
    }
    if text.contains(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '"')) {
        return Err(bad("holds more than a call id; give one a line"));
    }
    if cell::is_rounded(&text) {
        return Err(bad("was rounded by a spreadsheet; the digits are lost"));
    }
    let call_id = CallId::new(text).map_err(|rule| BadRow(format!("call id {rule}")))?;
    let file_name = Err(BadName("is not in a list of call ids".to_owned()));
    let call_id = Ok(call_id);
    Ok(Some(Row { call_id, file_name, cc_id: None, call_begin: None, call_end: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> Result<Vec<String>, IndexError> {
        let mut told = Vec::new();
        read(bytes, &mut |Entry { at, row, .. }| {
            let what = match row {
                Ok(row) => row.call_id.expect("a list has no other").to_string(),
                Err(bad) => bad.0,
            };
            told.push(format!("{at}: {what}"));
            ControlFlow::Continue(())
        })?;
        Ok(told)
    }

    #[test]
    fn what_stands_around_a_call_id_is_none_of_it() {
        let list = "\u{feff}1-1\r\n\r\n  1-2 \t\n\n\"1-3\"\n'1-4\n=\"1-5\"\n\u{a0}\n1-1";
        let found = told(list.as_bytes()).unwrap();
        let due = ["1: 1-1", "3: 1-2", "5: 1-3", "6: 1-4", "7: 1-5", "9: 1-1"];
        assert_eq!(found, due.map(|line| format!("line {line}")));
        for empty in ["", "\n", "\u{feff}\r\n \t\n"] {
            assert_eq!(told(empty.as_bytes()).unwrap(), Vec::<String>::new(), "{empty:?}");
        }
    }

    #[test]
    fn a_line_that_is_no_call_id_is_refused_and_not_quoted() {
        let lines = [
            (b"1-1,5550123".to_vec(), "holds more than a call id; give one a line"),
            (b"1-1 5550123".to_vec(), "holds more than a call id; give one a line"),
            (b"1.77709E+20".to_vec(), "was rounded by a spreadsheet; the digits are lost"),
            (b"5550123\xff".to_vec(), "is not UTF-8"),
            (
                b"12345678901234567890123456".to_vec(),
                "call id must have 1 to 25 characters, has 26",
            ),
            (b"1\x1b1".to_vec(), "call id must not contain control characters"),
            (b"5".repeat(10_000), "is longer than any call id"),
            (b"5".repeat(4097), "is longer than any call id"),
        ];
        for (line, why) in lines {
            let list = [b"before\n".to_vec(), line, b"\nafter".to_vec()].concat();
            let due =
                ["line 1: before".to_owned(), format!("line 2: {why}"), "line 3: after".into()];
            assert_eq!(told(&list).unwrap(), due);
        }
        assert!(matches!(told(b"\xff\xfe1\0"), Err(IndexError::Utf16(_))));
    }
}
