//! What a ZIP lists: its central directory (PKWARE APPNOTE 4.3.12), followed as it goes by. Takes
//! one of any length, and holds no more of it than an entry.

#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};

use crate::failure::Came;

/// Central directory header, without name, extra field and comment.
pub(super) const ENTRY: usize = 46;
/// What it begins with. No byte of it comes twice, which is what makes looking for it simple.
pub(super) const SIGNATURE: &[u8; 4] = b"PK\x01\x02";

/// What a ZIP lists: names, sizes and checksums of its entries. CC-FS makes a ZIP anew at each
/// download, with other times in it and hence other bytes; these stay the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    entries: u64,
    /// Bytes of all of them, unpacked.
    size: u64,
    /// The sum of a hash of each, in four numbers: in which order they stand does not matter.
    sum: [u64; 4],
}

impl Packed {
    /// Adds an entry, of which this is the header with all that belongs to it; `None` for one whose
    /// checksum or size is not there: it says nothing of what is in it.
    pub(super) fn with(mut self, header: &[u8]) -> Option<Self> {
        let (crc, size) = (long(header, 16)?, long(header, 24)?);
        let [name, extra, _] = lengths(header);
        let size = match size {
            u32::MAX => wide_size(header.get(ENTRY + name..)?.get(..extra)?)?,
            size => u64::from(size),
        };
        if crc == 0 && size > 0 {
            return None;
        }
        let mut hash = Sha256::new();
        hash.update(size.to_be_bytes());
        hash.update(crc.to_be_bytes());
        hash.update(header.get(ENTRY..ENTRY + name)?);
        let hash: [u8; 32] = hash.finalize().into();
        for (sum, part) in self.sum.iter_mut().zip(hash.as_chunks().0) {
            *sum = sum.wrapping_add(u64::from_be_bytes(*part));
        }
        self.entries += 1;
        self.size = self.size.saturating_add(size);
        Some(self)
    }

    /// The sum of the sizes, and a hash of all that is listed.
    pub fn came(&self) -> Came {
        let mut sha256 = [0; 32];
        let parts = sha256.as_chunks_mut().0.iter_mut();
        parts.zip(self.sum).for_each(|(part, sum)| *part = sum.to_be_bytes());
        Came { size: self.size, sha256 }
    }
}

/// Of name, extra field and comment behind a header.
pub(super) fn lengths(header: &[u8]) -> [usize; 3] {
    [28, 30, 32].map(|at| short(header, at).map_or(0, usize::from))
}

/// The size of an entry in its zip64 extra field (APPNOTE 4.5.3), where it comes first.
fn wide_size(mut extra: &[u8]) -> Option<u64> {
    loop {
        let (id, length) = (short(extra, 0)?, usize::from(short(extra, 2)?));
        if id == 1 && length >= 8 {
            return wide(extra, 4);
        }
        extra = extra.get(4 + length..)?;
    }
}

pub(super) fn short(bytes: &[u8], at: usize) -> Option<u16> {
    number(bytes, at).map(u16::from_le_bytes)
}

pub(super) fn long(bytes: &[u8], at: usize) -> Option<u32> {
    number(bytes, at).map(u32::from_le_bytes)
}

pub(super) fn wide(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at).map(u64::from_le_bytes)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Follows a directory as it goes by. Where it begins shows at the end of the file alone, so
/// whatever looks like one is followed, as that of a ZIP in a ZIP, and the last one is kept.
#[derive(Debug, Default)]
pub struct Listing {
    /// Bytes that went by.
    seen: u64,
    step: Step,
    /// The last one that began.
    run: Run,
}

#[derive(Debug)]
enum Step {
    /// With so many bytes of a signature the last portion ended.
    Looking { matched: usize },
    /// What there is of an entry, or of what follows the last one.
    Reading { header: Vec<u8> },
}

impl Default for Step {
    fn default() -> Self {
        Self::Looking { matched: 0 }
    }
}

/// Entries that follow each other.
#[derive(Debug)]
struct Run {
    /// Where the first begins, and the last ends.
    start: u64,
    end: u64,
    entries: u64,
    packed: Option<Packed>,
}

impl Default for Run {
    fn default() -> Self {
        Self { start: 0, end: 0, entries: 0, packed: Some(Packed::default()) }
    }
}

impl Listing {
    /// The next bytes, in any portions.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match &mut self.step {
                Step::Looking { matched } => look(bytes, matched),
                Step::Reading { header } => read(bytes, header),
            };
            self.seen += taken as u64;
            bytes = &bytes[taken..];
            self.advance();
        }
    }

    /// Moves on when the current step has all it waits for.
    fn advance(&mut self) {
        match &mut self.step {
            Step::Looking { matched } if *matched == SIGNATURE.len() => {
                self.run = Run { start: self.seen - SIGNATURE.len() as u64, ..Run::default() };
                self.step = Step::Reading { header: SIGNATURE.to_vec() };
            }
            Step::Reading { header }
                if header.len() == SIGNATURE.len() && !header.starts_with(SIGNATURE) =>
            {
                let mut matched = 0;
                look(header, &mut matched);
                self.step = Step::Looking { matched };
            }
            Step::Reading { header } if header.len() == wanted(header) => {
                self.run.packed = self.run.packed.take().and_then(|packed| packed.with(header));
                self.run.entries += 1;
                self.run.end = self.seen;
                header.clear();
            }
            Step::Looking { .. } | Step::Reading { .. } => {}
        }
    }

    /// What the directory lists that was found to begin at `start`, to have `size` bytes and so many
    /// `entries`; `None` if another one went by last, or one that says nothing.
    pub fn packed(&self, start: u64, size: u64, entries: u64) -> Option<Packed> {
        let run = &self.run;
        let same =
            run.start == start && run.entries == entries && run.end <= start.saturating_add(size);
        run.packed.clone().filter(|_| same)
    }
}

/// Takes bytes up to the end of a signature, or all; `matched` of one the bytes before ended with.
fn look(bytes: &[u8], matched: &mut usize) -> usize {
    let mut at = 0;
    while *matched > 0 && at < bytes.len() {
        *matched = follow(*matched, bytes[at]);
        at += 1;
        if *matched == SIGNATURE.len() {
            return at;
        }
    }
    // Boyer, Moore and Horspool: the last byte of four tells how far the next may be, mostly four.
    let mut last = at + SIGNATURE.len() - 1;
    while let Some(byte) = bytes.get(last) {
        last += match byte {
            b'P' => 3,
            b'K' => 2,
            1 => 1,
            2 if bytes[..=last].ends_with(SIGNATURE) => {
                *matched = SIGNATURE.len();
                return last + 1;
            }
            _ => 4,
        };
    }
    // What is left is shorter than a signature.
    let left = bytes.len().saturating_sub(SIGNATURE.len() - 1).max(at);
    *matched = bytes[left..].iter().fold(*matched, |matched, byte| follow(matched, *byte));
    bytes.len()
}

/// How much of a signature there is with one `byte` more.
fn follow(matched: usize, byte: u8) -> usize {
    match byte {
        byte if byte == SIGNATURE[matched] => matched + 1,
        b'P' => 1,
        _ => 0,
    }
}

/// Takes what an entry lacks to its next known length.
fn read(bytes: &[u8], header: &mut Vec<u8>) -> usize {
    let taken = bytes.len().min(wanted(header) - header.len());
    header.extend_from_slice(&bytes[..taken]);
    taken
}

/// How many bytes of an entry are known to belong to it, from those that there are.
fn wanted(header: &[u8]) -> usize {
    match header.len() {
        0..4 => SIGNATURE.len(),
        4..ENTRY => ENTRY,
        _ => ENTRY + lengths(header).iter().sum::<usize>(),
    }
}
