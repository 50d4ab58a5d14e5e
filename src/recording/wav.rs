//! RIFF/WAVE, walked by hand as it goes by: where it ends, and what its header says of the sound.
//!
//! No library reads what CC-FS sends (A-law, GSM) from a stream of unknown length, and none tells
//! a cut file from a whole one.

mod sound;

#[cfg(test)]
mod tests;

use self::sound::Sound;
use super::framing::{Framing, protocol, truncated};
use crate::failure::Failure;

pub use self::sound::Audio;

/// `RIFF`, size, `WAVE`.
const RIFF_HEADER: usize = 12;
const CHUNK_HEADER: usize = 8;
/// What the size of the RIFF does not count: `RIFF`, and itself.
const RIFF_FROM: u64 = 8;

/// Walks the chunks of a WAV; keeps the fields it needs and none of the sound.
#[derive(Debug)]
pub struct WavWalk {
    /// Bytes seen.
    total: u64,
    step: Step,
    /// What the current step has collected.
    field: [u8; sound::MAX_FORMAT],
    filled: usize,
    riff_size: Option<Size>,
    /// The first `fmt ` chunk: how much of it is in `sound`.
    format: Option<Sound>,
    /// The first `fact` chunk: samples per channel.
    fact: Option<u32>,
    data: Option<Data>,
}

/// The least of the sizes that writers to a pipe put where they cannot know: 0x7FFFF000 (SoX),
/// 0x7FFFFFFF and the sum of that and a header (arecord), and whatever lies between those and
/// 0xFFFFFFFF (FFmpeg).
const PIPED: u64 = 0x7FFF_F000;

/// A size in a header: a writer that cannot seek back leaves 0 or 0xFFFFFFFF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Known(u64),
    Unsized,
}

impl Size {
    fn of(field: u32) -> Self {
        match field {
            0 | u32::MAX => Self::Unsized,
            bytes => Self::Known(u64::from(bytes)),
        }
    }

    /// What it means where it counts from `from` in a body of `total` bytes, all that there are.
    /// Of more than that it may be a placeholder, or count from a place where it should not.
    fn meant(self, from: u64, total: u64) -> Self {
        match self {
            Self::Known(bytes)
                if from + bytes > total
                    && (bytes >= PIPED || bytes == total || bytes + RIFF_FROM == total) =>
            {
                Self::Unsized
            }
            size => size,
        }
    }

    fn end(self, from: u64) -> Option<u64> {
        match self {
            Self::Known(bytes) => Some(from + bytes),
            Self::Unsized => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Data {
    start: u64,
    size: Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    RiffHeader,
    ChunkHeader,
    /// The first bytes of a chunk that is read, `wanted` of them, `after` more follow.
    Field {
        chunk: Chunk,
        wanted: usize,
        after: u64,
    },
    /// Bytes that do not matter.
    Skip {
        left: u64,
        padding: bool,
    },
    /// The byte that fills a chunk of odd size up.
    Pad,
    /// Sound up to the end of the body.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Format,
    Fact,
}

impl WavWalk {
    pub fn new() -> Self {
        Self {
            total: 0,
            step: Step::RiffHeader,
            field: [0; sound::MAX_FORMAT],
            filled: 0,
            riff_size: None,
            format: None,
            fact: None,
            data: None,
        }
    }

    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match self.step {
                Step::RiffHeader => self.collect(bytes, RIFF_HEADER),
                Step::ChunkHeader => self.collect(bytes, CHUNK_HEADER),
                Step::Field { wanted, .. } => self.collect(bytes, wanted),
                Step::Skip { left, .. } => shorter(bytes, left),
                Step::Pad => 1,
                Step::Rest => bytes.len(),
            };
            self.total += taken as u64;
            bytes = &bytes[taken..];
            self.advance(taken as u64);
        }
    }

    fn collect(&mut self, bytes: &[u8], wanted: usize) -> usize {
        let taken = bytes.len().min(wanted - self.filled);
        self.field[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        taken
    }

    /// Moves on when the current step has all it waits for.
    fn advance(&mut self, taken: u64) {
        match self.step {
            Step::RiffHeader if self.filled == RIFF_HEADER => {
                self.riff_size = Some(Size::of(self.number_at(4)));
                self.enter(Step::ChunkHeader);
            }
            Step::ChunkHeader if self.filled == CHUNK_HEADER => self.open_chunk(),
            Step::Field { chunk, wanted, after } if self.filled == wanted => {
                self.keep(chunk, wanted);
                self.skip(after, after % 2 != wanted as u64 % 2);
            }
            Step::Skip { left, padding } => self.skip(left - taken, padding),
            Step::Pad => self.enter(Step::ChunkHeader),
            Step::RiffHeader | Step::ChunkHeader | Step::Field { .. } | Step::Rest => {}
        }
    }

    fn open_chunk(&mut self) {
        let size = self.number_at(4);
        let bytes = u64::from(size);
        match &self.field[..4] {
            b"data" if self.data.is_none() => {
                let size = Size::of(size);
                self.data = Some(Data { start: self.total, size });
                match size {
                    Size::Known(bytes) => self.skip(bytes, bytes % 2 == 1),
                    Size::Unsized => self.enter(Step::Rest),
                }
            }
            b"fmt " if self.format.is_none() && size > 0 => {
                self.read(Chunk::Format, bytes, sound::MAX_FORMAT);
            }
            b"fact" if self.fact.is_none() && size >= 4 => self.read(Chunk::Fact, bytes, 4),
            _ => self.skip(bytes, bytes % 2 == 1),
        }
    }

    fn read(&mut self, chunk: Chunk, size: u64, most: usize) {
        let wanted = shorter(&self.field[..most], size);
        self.enter(Step::Field { chunk, wanted, after: size - wanted as u64 });
    }

    fn keep(&mut self, chunk: Chunk, size: usize) {
        match chunk {
            Chunk::Format => self.format = Some(Sound::read(&self.field[..size])),
            Chunk::Fact => self.fact = Some(self.number_at(0)),
        }
    }

    fn skip(&mut self, left: u64, padding: bool) {
        self.enter(match (left, padding) {
            (0, false) => Step::ChunkHeader,
            (0, true) => Step::Pad,
            _ => Step::Skip { left, padding },
        });
    }

    fn enter(&mut self, step: Step) {
        self.step = step;
        self.filled = 0;
    }

    fn number_at(&self, at: usize) -> u32 {
        u32::from_le_bytes([
            self.field[at],
            self.field[at + 1],
            self.field[at + 2],
            self.field[at + 3],
        ])
    }

    /// The verdict at the end of the body.
    ///
    /// # Errors
    /// `ccfs.truncated` where the end is missing or cannot be known, `ccfs.protocol` for a whole
    /// file without a usable header or without sound.
    pub fn finish(self, framing: Framing) -> Result<Audio, Failure> {
        let total = self.total;
        let size = |size: Size, from| match framing {
            Framing::Length(_) | Framing::Chunked => size.meant(from, total),
            Framing::Close => size,
        };
        let riff =
            self.riff_size.ok_or_else(|| truncated("the WAV ends within its first 12 bytes"))?;
        let riff_end = size(riff, RIFF_FROM).end(RIFF_FROM);
        if let Some(end) = riff_end.filter(|end| total < *end) {
            return Err(truncated(format!("{total} of {end} bytes of the WAV arrived")));
        }
        let Some(Data { start, size: sound }) = self.data else {
            if riff_end.is_none() {
                self.check_boundary(framing)?;
                if framing == Framing::Close {
                    return Err(unprovable());
                }
            }
            return Err(protocol("the WAV has no data chunk"));
        };
        match size(sound, start) {
            Size::Known(bytes) if total < start + bytes => {
                let arrived = total - start;
                return Err(truncated(format!("{arrived} of {bytes} bytes of sound arrived")));
            }
            Size::Known(_) if riff_end.is_none() => self.check_boundary(framing)?,
            // A RIFF that ends where the sound begins is one without sound, or has a header that
            // was written before the call, and was cut right behind it.
            Size::Unsized
                if framing == Framing::Close && riff_end.is_none_or(|end| end <= start) =>
            {
                return Err(unprovable());
            }
            Size::Known(_) | Size::Unsized => {}
        }
        self.heard(Some(total)).ok_or_else(|| protocol("the WAV has no usable fmt chunk"))
    }

    /// A RIFF without a size must end where a chunk does. Writers forget the pad byte of the last
    /// chunk; it is missed only where nothing but the content can show the end.
    fn check_boundary(&self, framing: Framing) -> Result<(), Failure> {
        let at_pad = self.step == Step::Pad;
        let at_boundary = self.step == Step::ChunkHeader && self.filled == 0;
        if at_boundary || (at_pad && framing != Framing::Close) {
            Ok(())
        } else {
            Err(truncated("the WAV does not end where one of its chunks does"))
        }
    }

    /// What is heard in it, as far as what went by tells, and the `length` of the body: also where
    /// its end is still to come, or contradicts its header. `None` without a usable header.
    pub fn heard(&self, length: Option<u64>) -> Option<Audio> {
        let sound = self.format.as_ref().filter(|sound| sound.is_complete())?;
        Some(sound.audio(self.sound_bytes(length), self.fact))
    }

    /// Sound without a size reaches to the end of the RIFF, or of the body where the RIFF has no
    /// size either or was never told of the sound (a header written before the call).
    fn sound_bytes(&self, length: Option<u64>) -> Option<u64> {
        let Data { start, size } = self.data?;
        // A size that may be a placeholder means nothing before the end.
        let total = length.unwrap_or(PIPED);
        let end = size.meant(start, total).end(start).or_else(|| {
            let riff = self.riff_size?.meant(RIFF_FROM, total).end(RIFF_FROM);
            riff.filter(|end| *end > start)
        });
        let end = match (end, length) {
            (Some(end), Some(length)) => Some(end.min(length)),
            (end, length) => end.or(length),
        };
        end?.checked_sub(start)
    }
}

/// What is heard in a WAV of `length` bytes that begins with `head`.
pub fn heard(head: &[u8], length: u64) -> Option<Audio> {
    let mut walk = WavWalk::new();
    walk.update(head);
    walk.heard(Some(length)).filter(|_| head.starts_with(b"RIFF") && head[8..].starts_with(b"WAVE"))
}

fn unprovable() -> Failure {
    truncated("a WAV without sizes that ends with the connection cannot be proven whole")
}

/// How much of `bytes` lies within the next `most` bytes.
fn shorter(bytes: &[u8], most: u64) -> usize {
    usize::try_from(most).map_or(bytes.len(), |most| bytes.len().min(most))
}
