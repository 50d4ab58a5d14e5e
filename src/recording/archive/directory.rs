//! The directory of a ZIP: found and measured before it is read into memory.

use std::io::{self, Read, Seek, SeekFrom};

use zip::ZipArchive;

use super::{MAX_ENTRIES, Unfit, unusable};
use crate::recording::framing::{Framing, protocol};
use crate::recording::zip::{Directory, WINDOW, ZipTail};

/// The most bytes of it: 1 KiB an entry, and no name may be longer in a key.
pub(super) const MAX_DIRECTORY: u64 = MAX_ENTRIES << 10;

/// Opens an archive whose directory is within the limits, and the one that its end names.
pub(super) fn open<R: Read + Seek>(mut reader: R) -> Result<ZipArchive<R>, Unfit> {
    let directory = find(&mut reader)?;
    // Who looks for the end in another way may find another one. It is read a few times over, and
    // no more than that: what a lie would put into memory is bounded.
    let left = 4 * (MAX_DIRECTORY + WINDOW as u64);
    let seen = ZipArchive::new(Frugal { reader: &mut reader, left }).map_err(unusable)?;
    if seen.central_directory_start() != directory.offset || seen.offset() != 0 {
        return Err(protocol("no good ZIP: it has two directories").into());
    }
    ZipArchive::new(reader).map_err(unusable)
}

fn find(reader: &mut (impl Read + Seek)) -> Result<Directory, Unfit> {
    let broken = |error: io::Error| unusable(error.into());
    let end = reader.seek(SeekFrom::End(0)).map_err(broken)?;
    let window = end.min(WINDOW as u64);
    reader.seek(SeekFrom::Start(end - window)).map_err(broken)?;
    let mut tail = Vec::new();
    reader.take(window).read_to_end(&mut tail).map_err(broken)?;
    let directory = ZipTail::ending(end, &tail).finish(Framing::Length(end))?;
    if directory.entries > MAX_ENTRIES || directory.size > MAX_DIRECTORY {
        let (entries, size) = (directory.entries, directory.size);
        return Err(Unfit::Whole(format!(
            "the ZIP has {entries} entries in a directory of {size} bytes, the most are \
             {MAX_ENTRIES} in {MAX_DIRECTORY}"
        )));
    }
    Ok(directory)
}

/// A reader of so many bytes in all.
struct Frugal<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Frugal<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let some = self.reader.read(buffer)?;
        let left = self.left.checked_sub(some as u64);
        self.left = left.ok_or_else(|| io::Error::other("its directory is too long"))?;
        Ok(some)
    }
}

impl<R: Seek> Seek for Frugal<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}
