//! The end of a ZIP (PKWARE APPNOTE 4.3): a file is whole when its last record ends with it and
//! the central directory stands where that record says.
//!
//! Where the end of the body shows by itself, bytes may follow the last record, as writers leave
//! them: padding, zeros, a comment of another length than it says.

mod listing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::listing::{ENTRY, SIGNATURE, lengths, long, short, wide};
use super::framing::{Framing, empty, protocol, truncated};
use crate::failure::Failure;

pub use self::listing::{Listing, Packed};

/// End of central directory record, without its comment.
const END: usize = 22;
/// Zip64 end of central directory locator.
const LOCATOR: usize = 20;
/// Zip64 end of central directory record, without extensions.
const END64: usize = 56;
/// What is kept: all records at the end, with the longest comment.
pub(super) const WINDOW: usize = END + u16::MAX as usize + LOCATOR + END64;
/// How much of a ZIP's end tells what it lists, in bytes.
pub const TAIL_BYTES: u64 = WINDOW as u64;

/// Keeps the last bytes of a ZIP as it goes by, and what its directory lists, however long.
#[derive(Debug)]
pub struct ZipTail {
    total: u64,
    tail: VecDeque<u8>,
    listing: Listing,
}

impl ZipTail {
    pub fn new() -> Self {
        Self { total: 0, tail: VecDeque::new(), listing: Listing::default() }
    }

    /// A ZIP of `total` bytes of which the last [`WINDOW`] are known, or all.
    pub fn ending(total: u64, tail: &[u8]) -> Self {
        Self { total, tail: tail.to_vec().into(), listing: Listing::default() }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.listing.update(bytes);
        let bytes = &bytes[bytes.len().saturating_sub(WINDOW)..];
        let surplus = (self.tail.len() + bytes.len()).saturating_sub(WINDOW);
        self.tail.drain(..surplus);
        self.tail.extend(bytes);
    }

    /// The verdict at the end of the body: where its directory is, and what it lists.
    ///
    /// # Errors
    /// `ccfs.truncated` where the end or its directory is missing, `ccfs.empty` for an archive of
    /// nothing, `ccfs.protocol` for a part of a split archive.
    pub fn finish(mut self, framing: Framing) -> Result<Directory, Failure> {
        let tail = self.tail.make_contiguous();
        let window = &Window { start: self.total - tail.len() as u64, bytes: tail };
        let mut fault = truncated("the ZIP has no end record");
        // The record's signature may also stand in its own comment: the last candidate that holds
        // together is the end.
        let last = window.records().filter(|at| window.ends_at(*at));
        let followed = window.records().filter(|_| framing.shows_the_end());
        for at in last.chain(followed) {
            match window.check(at) {
                Ok(directory) if directory.entries == 0 => {
                    return Err(empty("the ZIP has no entries"));
                }
                Ok(directory) => {
                    let Directory { offset, size, entries, .. } = directory;
                    let went_by = || self.listing.packed(offset, size, entries);
                    let packed = directory.packed.or_else(went_by);
                    return Ok(Directory { packed, ..directory });
                }
                Err(refused) => fault = refused,
            }
        }
        Err(fault)
    }
}

/// Where the directory is of a ZIP of `total` bytes of which the last [`TAIL_BYTES`] are known, or
/// all, and what it lists if those tell; `None` where they do not even tell where it is.
pub fn directory(total: u64, tail: &[u8]) -> Option<Directory> {
    ZipTail::ending(total, tail).finish(Framing::Length(total)).ok()
}

/// The last bytes of the file, and where in it they begin.
struct Window<'a> {
    start: u64,
    bytes: &'a [u8],
}

/// What an end record says of the central directory.
#[derive(Debug)]
pub struct Directory {
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    pub entries: u64,
    /// What it lists, where all of it went by or is within the window, and says something.
    pub packed: Option<Packed>,
    /// Where the directory must end: at the record that describes it.
    end: u64,
}

impl Window<'_> {
    /// Where end records may stand, the last one first.
    fn records(&self) -> impl Iterator<Item = usize> {
        let places = (0..=self.bytes.len().saturating_sub(END)).rev();
        places.filter(|at| self.has(*at, b"PK\x05\x06"))
    }

    /// Whether the end record that stands here ends with the file, its comment included.
    fn ends_at(&self, at: usize) -> bool {
        self.short(at + 20)
            .is_some_and(|comment| at + END + usize::from(comment) == self.bytes.len())
    }

    fn check(&self, at: usize) -> Result<Directory, Failure> {
        let plain = self.directory(at);
        let plain = plain.and_then(|directory| self.check_directory(directory));
        match plain {
            // The signature of a locator may be the end of a comment by chance: the plain record
            // has the first word.
            Err(_) if self.has_locator(at) => {
                let directory = self.directory64(at)?;
                self.check_directory(directory)
            }
            plain => plain,
        }
    }

    fn directory(&self, at: usize) -> Result<Directory, Failure> {
        let short = |offset| self.short(at + offset).map(u64::from);
        let long = |offset| self.long(at + offset).map(u64::from);
        let fields = (short(4), short(6), short(8), short(10), long(12), long(16));
        let (Some(disk), Some(first), Some(here), Some(entries), Some(size), Some(offset)) = fields
        else {
            return Err(truncated("the ZIP's end record is cut"));
        };
        if disk != 0 || first != 0 || here != entries {
            return Err(split());
        }
        Ok(Directory { offset, size, entries, packed: None, end: self.start + at as u64 })
    }

    fn has_locator(&self, at: usize) -> bool {
        at.checked_sub(LOCATOR).is_some_and(|at| self.has(at, b"PK\x06\x07"))
    }

    fn directory64(&self, end_at: usize) -> Result<Directory, Failure> {
        let cut = || truncated("the ZIP's zip64 end record is missing or cut");
        let locator = end_at.checked_sub(LOCATOR).ok_or_else(cut)?;
        let record = self.wide(locator + 8).ok_or_else(cut)?;
        if self.long(locator + 4) != Some(0) || self.long(locator + 16).is_none_or(|n| n > 1) {
            return Err(split());
        }
        let at = record.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| self.has(*at, b"PK\x06\x06")).ok_or_else(cut)?;
        // The record ends where its locator begins; its size leaves out its first 12 bytes.
        let size = self.wide(at + 4).ok_or_else(cut)?;
        let ends = (at as u64).checked_add(12).and_then(|at| at.checked_add(size));
        if ends != Some(locator as u64) || size < (END64 - 12) as u64 {
            return Err(cut());
        }
        let wide = |offset| self.wide(at + offset);
        let fields = (wide(24), wide(32), wide(40), wide(48));
        let (Some(here), Some(entries), Some(size), Some(offset)) = fields else {
            return Err(cut());
        };
        if self.long(at + 16) != Some(0) || self.long(at + 20) != Some(0) || here != entries {
            return Err(split());
        }
        Ok(Directory { offset, size, entries, packed: None, end: record })
    }

    fn check_directory(&self, mut directory: Directory) -> Result<Directory, Failure> {
        let Directory { offset, size, entries, end, .. } = directory;
        if offset.checked_add(size) != Some(end) {
            return Err(truncated("the ZIP's central directory is not where its end says"));
        }
        // A directory that begins before the window was seen to end where it should.
        let at = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        if let Some(at) = at {
            let stop = at + usize::try_from(size).unwrap_or(usize::MAX);
            directory.packed = self.read_entries(at, stop, entries)?;
        }
        Ok(directory)
    }

    /// What the entries say; `None` where one of them has no checksum.
    fn read_entries(
        &self,
        mut at: usize,
        stop: usize,
        entries: u64,
    ) -> Result<Option<Packed>, Failure> {
        let wrong = || truncated("the ZIP's central directory has not the entries it should");
        let mut packed = Some(Packed::default());
        for _ in 0..entries {
            let header = self.bytes.get(at..stop).unwrap_or_default();
            let next = ENTRY + lengths(header).iter().sum::<usize>();
            if !header.starts_with(SIGNATURE) || next > header.len() {
                return Err(wrong());
            }
            packed = packed.and_then(|packed| packed.with(&header[..next]));
            at += next;
        }
        // A digital signature may follow the entries (APPNOTE 4.3.13).
        if at != stop && !self.has(at, b"PK\x05\x05") {
            return Err(wrong());
        }
        Ok(packed)
    }

    fn has(&self, at: usize, signature: &[u8; 4]) -> bool {
        self.bytes.get(at..).is_some_and(|bytes| bytes.starts_with(signature))
    }

    fn short(&self, at: usize) -> Option<u16> {
        short(self.bytes, at)
    }

    fn long(&self, at: usize) -> Option<u32> {
        long(self.bytes, at)
    }

    fn wide(&self, at: usize) -> Option<u64> {
        wide(self.bytes, at)
    }
}

fn split() -> Failure {
    protocol("the ZIP is a part of a split archive")
}
