//! RIFF/WAVE, walked by hand as it goes by: where it ends, and what its header says of the sound.
//!
//! No library reads what CC-FS sends (A-law, GSM) from a stream of unknown length, and none tells
//! a cut file from a whole one.

mod sound;

#[cfg(test)]
mod tests;

use self::sound::Sound;
use super::proof::{Framing, protocol, truncated};
use crate::failure::Failure;

pub use self::sound::Audio;

/// `RIFF`, size, `WAVE`.
const RIFF_HEADER: usize = 12;
const CHUNK_HEADER: usize = 8;

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
        let riff_end = match self.riff_size {
            None => return Err(truncated("the WAV ends within its first 12 bytes")),
            Some(Size::Known(bytes)) => Some(8 + bytes),
            Some(Size::Unsized) => None,
        };
        if let Some(end) = riff_end
            && self.total < end
        {
            return Err(truncated(format!("{} of {end} bytes of the WAV arrived", self.total)));
        }
        match self.data {
            Some(Data { start, size: Size::Known(bytes) }) => {
                if self.total < start + bytes {
                    let arrived = self.total - start;
                    return Err(truncated(format!("{arrived} of {bytes} bytes of sound arrived")));
                }
                if riff_end.is_none() {
                    self.check_boundary(framing)?;
                }
                self.audio(bytes)
            }
            Some(Data { start, size: Size::Unsized }) => {
                let bytes = self.unsized_sound(start, riff_end, framing)?;
                self.audio(bytes)
            }
            None => {
                if riff_end.is_none() {
                    self.check_boundary(framing)?;
                    if framing == Framing::Close {
                        return Err(unprovable());
                    }
                }
                Err(protocol("the WAV has no data chunk"))
            }
        }
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

    /// Sound without a size reaches to the end of the RIFF, or of the body where the RIFF has no
    /// size either or was never told of the sound (a header written before the call).
    fn unsized_sound(
        &self,
        start: u64,
        riff_end: Option<u64>,
        framing: Framing,
    ) -> Result<u64, Failure> {
        match riff_end {
            Some(end) if end > start => Ok(end - start),
            // A RIFF that ends where the sound begins is one without sound, or has such a header
            // and was cut right behind it.
            _ if framing == Framing::Close => Err(unprovable()),
            Some(end) if end == self.total => Ok(0),
            _ => Ok(self.total - start),
        }
    }

    fn audio(&self, data_bytes: u64) -> Result<Audio, Failure> {
        let sound = self.format.as_ref().filter(|sound| sound.is_complete());
        let sound = sound.ok_or_else(|| protocol("the WAV has no usable fmt chunk"))?;
        Ok(sound.audio(data_bytes, self.fact))
    }
}

fn unprovable() -> Failure {
    truncated("a WAV without sizes that ends with the connection cannot be proven whole")
}

/// How much of `bytes` lies within the next `most` bytes.
fn shorter(bytes: &[u8], most: u64) -> usize {
    usize::try_from(most).map_or(bytes.len(), |most| bytes.len().min(most))
}
