//! The rows of an index in another order, in memory that does not grow with the index: call by call,
//! so that it is known how many each has, or day by day.
//!
//! An external merge sort: rows go to a temporary file in sorted runs, which are merged when they
//! are read back. The file has no name and is gone with this process.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::index::{By, Position};
use crate::request::{BadName, CallId, CcId, FileName, MAX_EXPECTED, Wanted};

/// What is sorted in memory before it goes to the file, in bytes.
const RUN: usize = 8 * 1024 * 1024;
/// What of a run is in memory while runs are merged.
const AHEAD: usize = 32 * 1024;

/// A row as it waits for its turn. Rows are sorted by the fields in their order here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Waiting {
    /// What the keys of its day begin with; empty where calls come one after the other.
    pub prefix: String,
    call_id: Option<String>,
    cc_id: Option<String>,
    file: Option<String>,
    line: u64,
    file_name: Option<String>,
    call_begin: Option<i64>,
    call_end: Option<i64>,
    call: Call,
}

/// What the rows of a call say together, each of which has a recording of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Call {
    rows: u16,
    /// The first of them.
    begin: Option<i64>,
    /// The last of them.
    end: Option<i64>,
}

impl Waiting {
    pub fn new(at: &Position, wanted: Wanted) -> Self {
        let seconds = |time: Option<Timestamp>| time.map(Timestamp::as_second);
        Self {
            prefix: String::new(),
            file: at.file.as_deref().map(str::to_owned),
            line: at.line,
            call_id: wanted.call_id.map(|id| id.to_string()),
            file_name: wanted.file_name.map(|name| name.to_string()),
            cc_id: wanted.cc_id.map(|id| id.to_string()),
            call_begin: seconds(wanted.call_begin),
            call_end: seconds(wanted.call_end),
            call: Call::default(),
        }
    }

    pub fn at(&self) -> Position {
        Position { file: self.file.as_deref().map(Arc::from), line: self.line }
    }

    /// The recording with all that the row says of it.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            call_id: again(&self.call_id, CallId::new),
            file_name: again(&self.file_name, FileName::new),
            cc_id: again(&self.cc_id, CcId::new),
            call_begin: time(self.call_begin),
            call_end: time(self.call_end),
            ..Wanted::default()
        }
    }

    /// All recordings of its call as one request; `None` where the row names no call.
    pub fn call(&self) -> Option<Wanted> {
        Some(Wanted {
            call_id: Some(again(&self.call_id, CallId::new)?),
            cc_id: again(&self.cc_id, CcId::new),
            call_begin: time(self.call.begin),
            call_end: time(self.call.end),
            expected: self.has_siblings().then_some(self.call.rows),
            ..Wanted::default()
        })
    }

    /// The recording by the one name, if it has that, else by the other.
    pub fn named(&self, by: By) -> Wanted {
        let whole = self.wanted();
        match (by, self.call()) {
            (By::CallId, Some(call)) => call,
            (By::FileName, _) if whole.file_name.is_some() => Wanted { call_id: None, ..whole },
            _ => whole,
        }
    }

    /// Whether its call has other rows, too.
    pub fn has_siblings(&self) -> bool {
        self.call.rows > 1
    }

    fn is_sibling(&self, other: &Self) -> bool {
        self.call_id.is_some() && (&self.call_id, &self.cc_id) == (&other.call_id, &other.cc_id)
    }

    fn bytes(&self) -> usize {
        let texts = [&self.file, &self.call_id, &self.file_name, &self.cc_id];
        let texts = texts.into_iter().flatten().map(String::len);
        size_of::<Self>() + self.prefix.len() + texts.sum::<usize>()
    }
}

fn again<T>(text: &Option<String>, new: fn(String) -> Result<T, BadName>) -> Option<T> {
    text.as_ref().map(|text| new(text.clone()).expect("it was good in the row"))
}

fn time(seconds: Option<i64>) -> Option<Timestamp> {
    let time = |seconds| Timestamp::from_second(seconds).expect("it was a time in the row");
    seconds.map(time)
}

/// Takes rows in any order.
pub struct Spool {
    file: BufWriter<File>,
    /// Where each run ends in the file.
    ends: Vec<u64>,
    written: u64,
    run: Vec<Waiting>,
    bytes: usize,
}

impl Spool {
    /// # Errors
    /// There can be no temporary file.
    pub fn new() -> io::Result<Self> {
        let file = BufWriter::new(tempfile::tempfile()?);
        Ok(Self { file, ends: Vec::new(), written: 0, run: Vec::new(), bytes: 0 })
    }

    /// # Errors
    /// The temporary file cannot be written.
    pub fn push(&mut self, row: Waiting) -> io::Result<()> {
        self.bytes += row.bytes();
        self.run.push(row);
        if self.bytes < RUN { Ok(()) } else { self.write_run() }
    }

    /// The rows, by prefix, then by call, then by line.
    ///
    /// # Errors
    /// The temporary file cannot be written, or be read again.
    pub fn sorted(mut self) -> io::Result<Sorted> {
        self.write_run()?;
        let file = Arc::new(self.file.into_inner().map_err(|error| error.into_error())?);
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let mut runs: Vec<_> = starts
            .zip(&self.ends)
            .map(|(at, end)| Run { file: Arc::clone(&file), at, end: *end })
            .map(|run| BufReader::with_capacity(AHEAD, run))
            .collect();
        let mut next = BinaryHeap::new();
        for (number, run) in runs.iter_mut().enumerate() {
            next.extend(read_row(run)?.map(|row| Reverse((row, number))));
        }
        Ok(Sorted { runs, next })
    }

    fn write_run(&mut self) -> io::Result<()> {
        self.run.sort_unstable();
        for row in self.run.drain(..) {
            let line = serde_json::to_vec(&row).map_err(io::Error::other)?;
            self.file.write_all(&line)?;
            self.file.write_all(b"\n")?;
            self.written += line.len() as u64 + 1;
        }
        self.ends.push(self.written);
        self.bytes = 0;
        Ok(())
    }
}

/// A part of the file that is sorted.
struct Run {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Run {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Gives rows back in order.
pub struct Sorted {
    runs: Vec<BufReader<Run>>,
    /// The first row of each run that has one left.
    next: BinaryHeap<Reverse<(Waiting, usize)>>,
}

impl Sorted {
    /// The next rows of one day, at most `most`; none at the end.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn day(&mut self, most: usize) -> io::Result<Vec<Waiting>> {
        self.batch(most, |first, row| first.prefix == row.prefix)
    }

    /// The next rows of one call, or one that names none; none at the end. Each knows then what they
    /// say together.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn call(&mut self) -> io::Result<Vec<Waiting>> {
        let mut rows = self.batch(MAX_EXPECTED.into(), Waiting::is_sibling)?;
        let call = Call {
            rows: u16::try_from(rows.len()).unwrap_or(MAX_EXPECTED),
            begin: rows.iter().filter_map(|row| row.call_begin).min(),
            end: rows.iter().filter_map(|row| row.call_end).max(),
        };
        rows.iter_mut().for_each(|row| row.call = call.clone());
        Ok(rows)
    }

    /// The next call, of which the list says no more than its id, and how often it stands there;
    /// none at the end.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn once(&mut self) -> io::Result<Option<(Waiting, u64)>> {
        let rows = self.call()?;
        let mut times = rows.len() as u64;
        let Some(first) = rows.into_iter().next() else { return Ok(None) };
        // One that stands there too often to come at once.
        while self.next.peek().is_some_and(|Reverse((row, _))| row.is_sibling(&first)) {
            times += self.call()?.len() as u64;
        }
        let call = Call { rows: 1, ..first.call };
        Ok(Some((Waiting { call, ..first }, times)))
    }

    /// The next rows that belong to the first of them, at most `most`.
    fn batch(
        &mut self,
        most: usize,
        belongs: impl Fn(&Waiting, &Waiting) -> bool,
    ) -> io::Result<Vec<Waiting>> {
        let mut batch: Vec<Waiting> = Vec::new();
        while let Some(Reverse((row, run))) = self.next.pop() {
            let other = batch.first().is_some_and(|first| !belongs(first, &row));
            if other || batch.len() == most {
                self.next.push(Reverse((row, run)));
                break;
            }
            batch.push(row);
            self.next.extend(read_row(&mut self.runs[run])?.map(|row| Reverse((row, run))));
        }
        Ok(batch)
    }
}

/// What is said of calls that stand in a list more than once.
pub fn repeated(repeats: u64) -> String {
    let (lines, repeat) = if repeats == 1 { ("line", "repeats") } else { ("lines", "repeat") };
    format!("{repeats} {lines} {repeat} a call id; it counts once")
}

fn read_row(run: &mut BufReader<Run>) -> io::Result<Option<Waiting>> {
    let mut line = Vec::new();
    match run.read_until(b'\n', &mut line)? {
        0 => Ok(None),
        _ => serde_json::from_slice(&line).map(Some).map_err(io::Error::other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_by_day_and_call_in_batches() {
        let mut spool = Spool::new().unwrap();
        let day = |n: u64| format!("acme/2026/01/{:02}/", n % 31 + 1);
        let rows = 90_000;
        for line in 0..rows {
            let row = Wanted {
                call_id: CallId::new(format!("1777093663-{line:05}")).ok(),
                file_name: FileName::new(format!("X:/{}/{line}.V3", "long/".repeat(30))).ok(),
                cc_id: CcId::new("1").ok(),
                call_end: Timestamp::from_second(1_777_093_663).ok(),
                ..Wanted::default()
            };
            let at = Position { file: Some("r".into()), line: rows - line };
            let row = Waiting { prefix: day(rows - line), ..Waiting::new(&at, row) };
            spool.push(row).unwrap();
        }
        assert!(spool.ends.len() > 1, "more than one run");
        let mut sorted = spool.sorted().unwrap();
        let (mut last, mut seen, mut batches) = ((String::new(), 0), 0, 0);
        loop {
            let batch = sorted.day(1000).unwrap();
            let Some(first) = batch.first() else { break };
            assert!(batch.len() <= 1000 && batch.iter().all(|row| row.prefix == first.prefix));
            for row in &batch {
                assert_eq!(row.prefix, day(row.line));
                let wanted = row.wanted();
                let call = format!("1777093663-{:05}", rows - row.line);
                assert_eq!(wanted.call_id.unwrap().as_str(), call);
                assert_eq!(wanted.call_end.unwrap().as_second(), 1_777_093_663);
                let now = (row.prefix.clone(), rows - row.line);
                assert!(now > last, "{now:?} after {last:?}");
                last = now;
                seen += 1;
            }
            batches += 1;
        }
        assert_eq!((seen, batches), (rows, 93));
    }

    #[test]
    fn a_call_has_all_its_rows_and_a_bound() {
        let mut spool = Spool::new().unwrap();
        let mut line = 0;
        let mut push = |call: &str, cc_id: &str, times: Option<(i64, i64)>| {
            line += 1;
            let time = |seconds| Timestamp::from_second(seconds).unwrap();
            let row = Wanted {
                call_id: CallId::new(call).ok(),
                cc_id: CcId::new(cc_id).ok(),
                call_begin: times.map(|(begin, _)| time(begin)),
                call_end: times.map(|(_, end)| time(end)),
                ..Wanted::default()
            };
            spool.push(Waiting::new(&Position { file: None, line }, row)).unwrap();
        };
        push("b", "1", Some((200, 300)));
        push("a", "1", None);
        push("", "1", None);
        push("b", "2", None);
        push("b", "1", Some((100, 200)));
        push("", "1", None);
        for _ in 0..1001 {
            push("c", "1", None);
        }
        let mut sorted = spool.sorted().unwrap();
        let mut told = Vec::new();
        loop {
            let rows = sorted.call().unwrap();
            let Some(first) = rows.first() else { break };
            let of = first.call().map(|call| {
                let seconds = |time: Option<Timestamp>| time.map(Timestamp::as_second);
                (
                    call.call_id.unwrap().to_string() + call.cc_id.unwrap().as_str(),
                    call.expected,
                    seconds(call.call_begin).zip(seconds(call.call_end)),
                )
            });
            told.push((rows.iter().map(|row| row.line).collect::<Vec<_>>(), of));
        }
        let of = |name: &str, expected, times| Some((name.to_owned(), expected, times));
        let expected = [
            (vec![3], None),
            (vec![6], None),
            (vec![2], of("a1", None, None)),
            (vec![1, 5], of("b1", Some(2), Some((100, 300)))),
            (vec![4], of("b2", None, None)),
            ((7..1007).collect(), of("c1", Some(1000), None)),
            (vec![1007], of("c1", None, None)),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_call_of_a_list_comes_once_however_often_it_stands_there() {
        let mut spool = Spool::new().unwrap();
        let calls = ["b", "a", "b"].into_iter().chain(std::iter::repeat_n("c", 2500));
        for (line, call) in calls.enumerate() {
            let row = Wanted { call_id: CallId::new(call).ok(), ..Wanted::default() };
            spool.push(Waiting::new(&Position { file: None, line: line as u64 }, row)).unwrap();
        }
        let mut sorted = spool.sorted().unwrap();
        let once = std::iter::from_fn(|| sorted.once().unwrap());
        let told: Vec<_> = once.map(|(row, times)| (row.line, times, row.has_siblings())).collect();
        assert_eq!(told, [(1, 1, false), (0, 2, false), (3, 2500, false)]);
    }
}
