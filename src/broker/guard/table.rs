//! Short strings, and tables of them: what lapin could not read of them is mended. Pure.

use std::ops::Range;

use super::flaws::{Flaw, Flaws};

/// Tables and arrays are read to this depth. lapin calls itself for each level; a stack ends at
/// some thousands.
const DEEPEST: usize = 32;
/// The length of a table, an array or a long string.
const LENGTH: usize = 4;
const LONG_STRING: u8 = b'S';

/// Makes UTF-8 of the short string at `at`, byte for byte; where it ends.
pub(super) fn short(
    bytes: &mut [u8],
    at: usize,
    name: &'static str,
    flaws: &mut Flaws,
) -> Option<usize> {
    let length = usize::from(*bytes.get(at)?);
    let end = at + 1 + length;
    if make_utf8(bytes.get_mut(at + 1..end)?) {
        flaws.add(name, Flaw::NotUtf8);
    }
    Some(end)
}

/// Puts `?` in the place of each byte that is none of UTF-8's; whether there was one.
fn make_utf8(text: &mut [u8]) -> bool {
    let mut changed = false;
    let mut good = 0;
    while let Err(error) = std::str::from_utf8(&text[good..]) {
        let bad = good + error.valid_up_to();
        good = error.error_len().map_or(text.len(), |length| bad + length);
        text[bad..good].fill(b'?');
        changed = true;
    }
    changed
}

/// Mends the table at `at`, and takes out of `bytes` what of it cannot be read; the length that is
/// left of them.
pub(super) fn mend(bytes: &mut [u8], at: usize, name: &'static str, flaws: &mut Flaws) -> usize {
    let Some(end) = claimed_end(bytes, at) else { return bytes.len() };
    let within = end.min(bytes.len());
    let good = Walk { bytes: &mut bytes[..within], name, flaws }.entries(at + LENGTH, 0);
    if good == end {
        return bytes.len();
    }
    flaws.add(name, Flaw::Broken);
    set_length(bytes, at, good - at - LENGTH);
    bytes.copy_within(within.., good);
    bytes.len() - (within - good)
}

/// Where the table, array or long string at `at` ends, if that is within the bytes.
pub(super) fn end(bytes: &[u8], at: usize) -> Option<usize> {
    claimed_end(bytes, at).filter(|end| *end <= bytes.len())
}

fn claimed_end(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..)?.first_chunk::<LENGTH>()?;
    Some(at + LENGTH + u32::from_be_bytes(*length) as usize)
}

fn set_length(bytes: &mut [u8], at: usize, length: usize) {
    let length = u32::try_from(length).expect("it was shorter than its length said");
    bytes[at..at + LENGTH].copy_from_slice(&length.to_be_bytes());
}

/// Leaves out of a mended table as few entries as save `excess` bytes, the largest first; the
/// length that is left of `bytes`.
pub(super) fn shorten(bytes: &mut [u8], table: Range<usize>, excess: usize) -> usize {
    let mut entries = Vec::new();
    let mut flaws = Flaws::default();
    let mut walk = Walk { bytes: &mut bytes[..table.end], name: "", flaws: &mut flaws };
    let mut at = table.start + LENGTH;
    while let Some(next) = walk.entry(at, 0) {
        entries.push(at..next);
        at = next;
    }
    entries.sort_by_key(|entry| entry.len());
    let mut saved = 0;
    while saved < excess {
        let Some(largest) = entries.pop() else { break };
        saved += largest.len();
    }
    entries.sort_by_key(|entry| entry.start);
    let mut end = table.start + LENGTH;
    for entry in entries {
        let length = entry.len();
        bytes.copy_within(entry, end);
        end += length;
    }
    set_length(bytes, table.start, end - table.start - LENGTH);
    bytes.copy_within(table.end.., end);
    bytes.len() - (table.end - end)
}

/// A walk through the fields of a table, which ends with its bytes.
struct Walk<'a> {
    bytes: &'a mut [u8],
    /// Of the property that they belong to.
    name: &'static str,
    flaws: &'a mut Flaws,
}

impl Walk<'_> {
    /// Names and values, up to the end or to what cannot be read.
    fn entries(&mut self, mut at: usize, depth: usize) -> usize {
        while let Some(next) = self.entry(at, depth) {
            at = next;
        }
        at
    }

    fn entry(&mut self, at: usize, depth: usize) -> Option<usize> {
        let value = short(self.bytes, at, self.name, self.flaws)?;
        self.value(value, depth)
    }

    fn values(&mut self, mut at: usize, depth: usize) -> usize {
        while let Some(next) = self.value(at, depth) {
            at = next;
        }
        at
    }

    /// The types of RabbitMQ's own table, which differ from those of the standard.
    fn value(&mut self, at: usize, depth: usize) -> Option<usize> {
        let kind = *self.bytes.get(at)?;
        let begin = at + 1;
        let length = match kind {
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'U' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'l' | b'L' | b'd' | b'T' => 8,
            LONG_STRING | b'x' => return end(self.bytes, begin),
            b'A' | b'F' => {
                let end = end(self.bytes, begin)?;
                if let Some(flaw) = self.flaw_within(kind, begin..end, depth + 1) {
                    self.flaws.add(self.name, flaw);
                    // Of the same form, and nobody looks into it.
                    self.bytes[at] = LONG_STRING;
                }
                return Some(end);
            }
            _ => return None,
        };
        Some(begin + length).filter(|next| *next <= self.bytes.len())
    }

    fn flaw_within(&mut self, kind: u8, place: Range<usize>, depth: usize) -> Option<Flaw> {
        if depth > DEEPEST {
            return Some(Flaw::TooDeep);
        }
        let Range { start, end } = place;
        let mut inner =
            Walk { bytes: &mut self.bytes[..end], name: self.name, flaws: &mut *self.flaws };
        let start = start + LENGTH;
        let good =
            if kind == b'A' { inner.values(start, depth) } else { inner.entries(start, depth) };
        (good != end).then_some(Flaw::Broken)
    }
}
