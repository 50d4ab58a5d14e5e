//! The rows of an index against the bucket: what `callvault reconcile` and `callvault audit` have in
//! common. What comes of it, and whether anything is asked for, is not known here.
//!
//! The rows are sorted first, by call, so that it is known how many recordings each has, and then by
//! day, so that each day is listed once, however the index is ordered. Of a day that has more rows
//! than are held at once, each lot of them is looked for among the keys that are near its own.

mod day;
mod listed;

use std::collections::BTreeSet;
use std::io;

use super::keys::Keys;
use super::progress::Progress;
use super::rows::Rows;
use super::spool::{Sorted, Spool, Waiting, repeated};
use super::{Error, tell};
use crate::failure::Failure;
use crate::index::Entry;
use crate::recording::KeyPattern;
use crate::store::{NextPage, Store};
use day::{Ahead, Day, Sought};

pub use day::State;
pub use listed::Listed;

/// Rows of a day that are in memory at once.
const ROWS: usize = 20_000;

/// An index that was read, and is held against the bucket a day after the other.
pub struct Comparison<'a> {
    keys: &'a Keys<'a>,
    store: &'a Store,
    sorted: Sorted,
    counts: Counts,
    progress: Progress,
    done: u64,
    /// The day of the rows that came last.
    last: String,
    /// Whether the store lists keys in their order, as far as is known.
    is_ordered: bool,
}

/// Rows of an index as it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub rows: u64,
    /// Which could not be used.
    pub bad: u64,
}

impl<'a> Comparison<'a> {
    /// Reads the rows to their end: what is bad is told on stderr, as of `whose`; the rest is put in
    /// the order of days.
    ///
    /// # Errors
    /// They cannot be read to their end, or there is no room for a temporary file.
    pub async fn begin(
        keys: &'a Keys<'a>,
        store: &'a Store,
        rows: Rows,
        whose: &str,
    ) -> Result<Self, Error> {
        let (sorted, counts) = sort(rows, keys, whose).await?;
        let progress = Progress::new("rows", Some(counts.rows - counts.bad));
        let last = String::new();
        Ok(Self { keys, store, sorted, counts, progress, done: 0, last, is_ordered: true })
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The next rows of one day, each with what the bucket has of it; none at the end. The rows of a
    /// call follow each other.
    ///
    /// # Errors
    /// The bucket is not listed, or the temporary file cannot be read.
    pub async fn next(&mut self) -> Result<Vec<(Waiting, State)>, Error> {
        let rows = self.sorted.day(ROWS).map_err(Error::Spool)?;
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let prefix = first.prefix.clone();
        let is_whole = rows.len() < ROWS && prefix != self.last;
        let day = self.look(&prefix, &rows, is_whole).await.map_err(Error::Store)?;
        let states = day.into_states();
        self.last = prefix;
        self.done += rows.len() as u64;
        self.progress.at(self.done, self.done);
        Ok(rows.into_iter().zip(states).collect())
    }

    /// The likeliest key of a row.
    pub fn key(&self, row: &Waiting) -> KeyPattern {
        let first = sought(self.keys, row).candidates.into_iter().next();
        first.expect("there is one at least").pattern
    }

    /// Lists a day and marks the rows that are found; then the days before and after it, where
    /// rows that are not all there may be, too. `is_whole`: they are all of that day.
    async fn look(
        &mut self,
        prefix: &str,
        rows: &[Waiting],
        is_whole: bool,
    ) -> Result<Day, Failure> {
        let sought = || Day::new(rows.iter().map(|row| sought(self.keys, row)));
        let mut day = sought();
        if is_whole || !self.is_ordered {
            self.list(prefix, &mut day).await?;
        } else if !self.leap(prefix, &mut day).await? {
            day = sought();
            self.list(prefix, &mut day).await?;
            self.is_ordered = false;
        }
        let found = rows.iter().zip(day.states());
        let wanting = found.filter(|(_, state)| **state != State::Present);
        let others = wanting.flat_map(|(row, _)| prefixes(self.keys, row));
        let others: BTreeSet<_> = others.filter(|other| !other.starts_with(prefix)).collect();
        for other in others {
            self.list(&other, &mut day).await?;
        }
        Ok(day)
    }

    /// Lists a day, but passes over keys that no row is known by. False where the store does not list
    /// in the order of keys, or not from where it is told to: what was seen is then of no use.
    async fn leap(&self, prefix: &str, day: &mut Day) -> Result<bool, Failure> {
        let (mut last, mut page) = (String::new(), None);
        loop {
            match day.ahead(prefix, &last) {
                Ahead::Nothing => return Ok(true),
                Ahead::Next => {}
                Ahead::After(key) => {
                    page = Some(NextPage::after(key));
                    key.clone_into(&mut last);
                }
            }
            let (objects, next) = self.store.list(prefix, page).await?;
            for object in objects {
                if object.key <= last {
                    return Ok(false);
                }
                day.saw(&object.key, object.size);
                last = object.key;
            }
            page = next;
            if page.is_none() {
                return Ok(true);
            }
        }
    }

    async fn list(&self, prefix: &str, day: &mut Day) -> Result<(), Failure> {
        let mut page = None;
        loop {
            let (objects, next) = self.store.list(prefix, page).await?;
            for object in objects {
                day.saw(&object.key, object.size);
            }
            page = next;
            if page.is_none() {
                return Ok(());
            }
        }
    }
}

/// The rows in the order of days, and how many there are.
async fn sort(mut rows: Rows, keys: &Keys<'_>, whose: &str) -> Result<(Sorted, Counts), Error> {
    let mut progress = Progress::new("rows", rows.size());
    let mut counts = Counts::default();
    let mut spool = Spool::new().map_err(Error::Spool)?;
    while let Some(Entry { at, row, read }) = rows.next().await {
        counts.rows += 1;
        progress.at(counts.rows, read);
        let whole = row.and_then(|row| {
            let wanted = row.whole();
            keys.candidates(&wanted, None)?;
            Ok(wanted)
        });
        match whole {
            // A write of some MiB now and then; nothing else runs here that would have to wait.
            Ok(wanted) => spool.push(Waiting::new(&at, wanted)).map_err(Error::Spool)?,
            Err(why) => {
                counts.bad += 1;
                progress.say(&format!("{whose}{at}: {why}"));
            }
        }
    }
    let is_list = rows.is_list();
    rows.end().await?;
    progress.end();
    let calls = spool.sorted().map_err(Error::Spool)?;
    if is_list {
        let (sorted, repeats) = by_day_once(calls, keys).map_err(Error::Spool)?;
        counts.rows -= repeats;
        if repeats > 0 {
            tell(repeated(repeats));
        }
        return Ok((sorted, counts));
    }
    Ok((by_day(calls, keys).map_err(Error::Spool)?, counts))
}

/// Rows that know their calls, in the order of days.
fn by_day(mut calls: Sorted, keys: &Keys<'_>) -> io::Result<Sorted> {
    let mut days = Spool::new()?;
    loop {
        let call = calls.call()?;
        if call.is_empty() {
            return days.sorted();
        }
        for row in call {
            days.push(on_its_day(row, keys))?;
        }
    }
}

/// The calls of a list in the same order, once each, and how many lines repeated one.
fn by_day_once(mut calls: Sorted, keys: &Keys<'_>) -> io::Result<(Sorted, u64)> {
    let (mut days, mut repeats) = (Spool::new()?, 0);
    while let Some((row, times)) = calls.once()? {
        days.push(on_its_day(row, keys))?;
        repeats += times - 1;
    }
    Ok((days.sorted()?, repeats))
}

fn on_its_day(mut row: Waiting, keys: &Keys<'_>) -> Waiting {
    let prefixes = prefixes(keys, &row);
    row.prefix = prefixes.into_iter().next().expect("a row has one day at least");
    row
}

/// What the keys of a row's days begin with.
fn prefixes(keys: &Keys<'_>, row: &Waiting) -> Vec<String> {
    let prefixes = keys.day_prefixes(&row.wanted(), row.call().as_ref());
    prefixes.expect("its day was told when it was read")
}

fn sought(keys: &Keys<'_>, row: &Waiting) -> Sought {
    let (wanted, call) = (row.wanted(), row.call());
    let candidates = keys.candidates(&wanted, call.as_ref());
    let candidates = candidates.expect("the row had them when it was read");
    Sought { wanted, candidates, has_siblings: row.has_siblings() }
}
