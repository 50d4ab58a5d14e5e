//! The end of a ZIP (PKWARE APPNOTE 4.3): a file is whole when its last record ends with it and
//! the central directory stands where that record says.
//!
//! Where the end of the body shows by itself, bytes may follow the last record, as writers leave
//! them: padding, zeros, a comment of another length than it says.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use sha2::{Digest, Sha256};

use super::framing::{Framing, empty, protocol, truncated};
use crate::failure::{Came, Failure};

/// End of central directory record, without its comment.
const END: usize = 22;
/// Zip64 end of central directory locator.
const LOCATOR: usize = 20;
/// Zip64 end of central directory record, without extensions.
const END64: usize = 56;
/// Central directory header, without name, extra field and comment.
const ENTRY: usize = 46;
/// What is kept: all records at the end, with the longest comment.
pub(super) const WINDOW: usize = END + u16::MAX as usize + LOCATOR + END64;
/// How much of a ZIP's end tells what it lists, in bytes.
pub const TAIL_BYTES: u64 = WINDOW as u64;

/// Keeps the last bytes of a ZIP as it goes by.
#[derive(Debug)]
pub struct ZipTail {
    total: u64,
    tail: VecDeque<u8>,
}

impl ZipTail {
    pub fn new() -> Self {
        Self { total: 0, tail: VecDeque::new() }
    }

    /// A ZIP of `total` bytes of which the last [`WINDOW`] are known, or all.
    pub fn ending(total: u64, tail: &[u8]) -> Self {
        Self { total, tail: tail.to_vec().into() }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
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
                Ok(directory) => return Ok(directory),
                Err(refused) => fault = refused,
            }
        }
        Err(fault)
    }
}

/// What a ZIP lists: names, sizes and checksums of its entries. CC-FS makes a ZIP anew at each
/// download, with other times in it and hence other bytes; these stay the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed(Vec<Listed>);

/// Of an entry: its name, its size in bytes, its CRC-32.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    name: Vec<u8>,
    size: u64,
    crc: u32,
}

impl Packed {
    /// The sum of the sizes, and a hash of all that is listed.
    pub fn came(&self) -> Came {
        let mut hash = Sha256::new();
        let mut all = 0;
        for Listed { name, size, crc } in &self.0 {
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name);
            hash.update(size.to_be_bytes());
            hash.update(crc.to_be_bytes());
            all = u64::saturating_add(all, *size);
        }
        Came { size: all, sha256: hash.finalize().into() }
    }
}

/// What a ZIP of `total` bytes lists of which the last [`TAIL_BYTES`] are known, or all; `None`
/// where those do not tell.
pub fn packed(total: u64, tail: &[u8]) -> Option<Packed> {
    ZipTail::ending(total, tail).finish(Framing::Length(total)).ok()?.packed
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
    /// What it lists, where all of it is within the window and says something.
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
        let mut listed = Some(Vec::new());
        for _ in 0..entries {
            let lengths = [28, 30, 32].map(|offset| self.short(at + offset).map_or(0, usize::from));
            let next = at + ENTRY + lengths.iter().sum::<usize>();
            if !self.has(at, b"PK\x01\x02") || next > stop {
                return Err(wrong());
            }
            listed = listed.zip(self.entry(at, lengths)).map(|(mut listed, entry)| {
                listed.push(entry);
                listed
            });
            at = next;
        }
        // A digital signature may follow the entries (APPNOTE 4.3.13).
        if at != stop && !self.has(at, b"PK\x05\x05") {
            return Err(wrong());
        }
        Ok(listed.map(|mut listed| {
            listed.sort_unstable();
            Packed(listed)
        }))
    }

    /// `None` for one whose checksum or size is not there: it says nothing of what is in it.
    fn entry(&self, at: usize, [name, extra, _]: [usize; 3]) -> Option<Listed> {
        let (crc, size) = (self.long(at + 16)?, self.long(at + 24)?);
        let name_at = at + ENTRY;
        let size = match size {
            u32::MAX => self.wide_size(name_at + name, extra)?,
            size => u64::from(size),
        };
        let name = self.bytes.get(name_at..name_at + name)?.to_vec();
        (crc != 0 || size == 0).then_some(Listed { name, size, crc })
    }

    /// The size of an entry in its zip64 extra field (APPNOTE 4.5.3), where it comes first.
    fn wide_size(&self, mut at: usize, extra: usize) -> Option<u64> {
        let stop = at + extra;
        while at + 4 <= stop {
            let length = usize::from(self.short(at + 2)?);
            if self.short(at)? == 1 && length >= 8 {
                return self.wide(at + 4);
            }
            at += 4 + length;
        }
        None
    }

    fn has(&self, at: usize, signature: &[u8; 4]) -> bool {
        self.bytes.get(at..).is_some_and(|bytes| bytes.starts_with(signature))
    }

    fn short(&self, at: usize) -> Option<u16> {
        self.number(at).map(u16::from_le_bytes)
    }

    fn long(&self, at: usize) -> Option<u32> {
        self.number(at).map(u32::from_le_bytes)
    }

    fn wide(&self, at: usize) -> Option<u64> {
        self.number(at).map(u64::from_le_bytes)
    }

    fn number<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }
}

fn split() -> Failure {
    protocol("the ZIP is a part of a split archive")
}
