//! The recording index: every row is handed out or refused, in the order of its lines, and what is
//! said of it shows nothing of it; a bad row costs none but itself.

use std::io::{self, Cursor, Read};
use std::ops::ControlFlow;

use callvault::index::{By, Entry, Index, IndexError};
use callvault::request::{MessageType, RecordingRequest, Request, TenantId, Wanted};
use jiff::tz::{Offset, TimeZone};

use crate::{message, portions, says_nothing_of};

const GOOD: &str = "dev,7,1,512,1777093663-792075,+49155501,5550199,2026-04-25 05:07:43,\
                    2026-04-25 05:12:44,,0,0,X:/4/0/20260425/512/1629533.V3,4,0,5,,17";

pub fn check(bytes: &[u8]) {
    let told = read(Index::seekable(Cursor::new(bytes.to_vec())), bytes);
    // A package is spooled to a file when it is streamed, and then read as from one.
    if bytes.starts_with(b"PK\x03\x04") {
        return;
    }
    assert_eq!(told, read(Index::stream(Portioned::of(bytes)), bytes));
    if told.is_ok() {
        costs_none_but_itself(bytes);
    }
}

/// The rows, or what of the source was wrong.
fn read(index: Result<Index, IndexError>, bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let zone = TimeZone::fixed(Offset::constant(8));
    let mut entries: Vec<Entry> = Vec::new();
    let read = index.and_then(|index| {
        index.read(&zone, |entry| {
            is_usable_or_refused(&entry, bytes);
            if let Some(last) = entries.last().filter(|last| last.at.file == entry.at.file) {
                assert!(last.at.line < entry.at.line, "{} twice", entry.at);
            }
            entries.push(entry);
            ControlFlow::Continue(())
        })
    });
    read.map(|()| entries).map_err(|error| error.to_string())
}

fn is_usable_or_refused(entry: &Entry, bytes: &[u8]) {
    let row = match &entry.row {
        Ok(row) => row,
        Err(bad) => return says_nothing_of(bytes.split(is_mark), &bad.0),
    };
    let mut usable = 0;
    for by in [By::CallId, By::FileName] {
        match row.clone().wanted(by) {
            Ok(wanted) => {
                usable += 1;
                is_a_good_message(wanted);
            }
            Err(bad) => says_nothing_of(bytes.split(is_mark), &bad.0),
        }
    }
    assert!(usable > 0, "{row:?}");
}

fn is_mark(byte: &u8) -> bool {
    b",\n\r\"".contains(byte)
}

/// What is asked for from an index is asked for by a dump.
fn is_a_good_message(wanted: Wanted) {
    let request = RecordingRequest {
        tenant: TenantId::new("acme").expect("a good id"),
        wanted,
        request_id: None,
        force: false,
        message_type: MessageType::CallCompleted,
    };
    message::comes_back_from_a_dump(&Request::Recording(request));
}

/// Whatever stands before it, a good row is read.
fn costs_none_but_itself(bytes: &[u8]) {
    let longer = [bytes, b"\n", GOOD.as_bytes()].concat();
    let entries = read(Index::seekable(Cursor::new(longer.clone())), &longer);
    let alone = read(Index::seekable(Cursor::new(GOOD.as_bytes())), GOOD.as_bytes());
    let [entries, alone] = [entries, alone].map(|told| told.expect("a table can be read"));
    let last = entries.last().map(|entry| &entry.row);
    assert!(last == Some(&alone[0].row), "{last:?}");
}

/// A source that gives what it has a portion at a time.
struct Portioned(Vec<Vec<u8>>);

impl Portioned {
    fn of(bytes: &[u8]) -> Self {
        let mut portions: Vec<_> = portions(bytes).map(<[u8]>::to_vec).collect();
        portions.reverse();
        Self(portions)
    }
}

impl Read for Portioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut portion) = self.0.pop() else { return Ok(0) };
        let taken = portion.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&portion[..taken]);
        if taken < portion.len() {
            self.0.push(portion.split_off(taken));
        }
        Ok(taken)
    }
}
