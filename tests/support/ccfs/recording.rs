//! Recordings made from a seed: never held whole, and cheap, since the bench measures other
//! processes on the same cores.

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

/// The sound repeats after this many bytes: a prime, so that no two parts of an upload are equal
/// and parts in the wrong order show in the hash.
const PERIOD: usize = 65_521;

/// The period many times over, so that a write takes about a MiB without a copy.
static TILE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let period: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(PERIOD)
    .collect();
    period.repeat(16).into()
});

/// How the sound of a WAV is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Alaw,
    Mulaw,
    Pcm16,
}

/// What a WAV's header says of its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    True,
    /// Both sizes 0: written by a recorder that could not go back.
    Zero,
    /// Both sizes 0xFFFFFFFF.
    Max,
    /// More sound than there is, by this many bytes.
    More(u32),
}

/// What is wrong with a ZIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZipFault {
    /// No central directory and no end record.
    NoEnd,
    /// The central directory's signature is overwritten.
    BadDirectory,
}

/// A recording, described.
#[derive(Clone, Debug)]
pub struct Recording {
    kind: Kind,
    seed: Option<u64>,
}

#[derive(Clone, Debug)]
enum Kind {
    Wav { bytes: u64, codec: Codec, sizes: Sizes },
    Zip { entries: Vec<u64>, fault: Option<ZipFault> },
    Raw { bytes: u64 },
    Given(Bytes),
}

impl Recording {
    /// A WAV of about `bytes` in all: whole samples, at least its header.
    pub fn wav(bytes: u64) -> Self {
        Self::of(Kind::Wav { bytes, codec: Codec::Alaw, sizes: Sizes::True })
    }

    /// A ZIP of stored WAVs of the given sizes, `1.wav`, `2.wav`, …
    pub fn zip(entries: impl IntoIterator<Item = u64>) -> Self {
        Self::of(Kind::Zip { entries: entries.into_iter().collect(), fault: None })
    }

    /// Bytes of no known format.
    pub fn raw(bytes: u64) -> Self {
        Self::of(Kind::Raw { bytes })
    }

    /// These bytes, whatever they are.
    pub fn given(bytes: impl Into<Bytes>) -> Self {
        Self::of(Kind::Given(bytes.into()))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, seed: None }
    }

    /// Other sound; without this the key of the request is the seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    #[must_use]
    pub fn codec(mut self, new: Codec) -> Self {
        if let Kind::Wav { codec, .. } = &mut self.kind {
            *codec = new;
        }
        self
    }

    #[must_use]
    pub fn sizes(mut self, new: Sizes) -> Self {
        if let Kind::Wav { sizes, .. } = &mut self.kind {
            *sizes = new;
        }
        self
    }

    #[must_use]
    pub fn fault(mut self, new: ZipFault) -> Self {
        if let Kind::Zip { fault, .. } = &mut self.kind {
            *fault = Some(new);
        }
        self
    }

    /// The bytes as they are answered for `key` (the call id, else the file name).
    pub fn content(&self, key: &str) -> Content {
        let seed = self.seed.unwrap_or_else(|| fnv(key));
        match &self.kind {
            Kind::Wav { bytes, codec, sizes } => wav(*bytes, *codec, *sizes, seed),
            Kind::Zip { entries, fault } => zip(entries, *fault, seed),
            Kind::Raw { bytes } => raw(*bytes, seed),
            Kind::Given(bytes) => bytes.clone().into(),
        }
    }
}

/// The bytes of a recording, made as they are asked for.
#[derive(Clone, Debug, Default)]
pub struct Content {
    segments: Vec<Segment>,
    length: u64,
}

#[derive(Clone, Debug)]
enum Segment {
    Bytes(Bytes),
    Sound { offset: usize, length: u64 },
}

impl Segment {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Sound { length, .. } => *length,
        }
    }

    fn at(&self, at: u64, most: usize) -> Bytes {
        let left = usize::try_from(self.length() - at).unwrap_or(usize::MAX).min(most);
        match self {
            Self::Bytes(bytes) => {
                let at = usize::try_from(at).expect("a segment that is held fits memory");
                bytes.slice(at..at + left)
            }
            Self::Sound { offset, .. } => {
                let period = PERIOD as u64;
                let start = ((*offset as u64 + at) % period) as usize;
                TILE.slice(start..TILE.len().min(start + left))
            }
        }
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        let mut content = Self::default();
        content.push(Segment::Bytes(bytes));
        content
    }
}

impl Content {
    fn push(&mut self, segment: Segment) {
        self.length += segment.length();
        self.segments.push(segment);
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// At most `most` bytes from `at` on; empty only at the end.
    pub fn piece(&self, mut at: u64, most: usize) -> Bytes {
        for segment in &self.segments {
            if at < segment.length() {
                return segment.at(at, most);
            }
            at -= segment.length();
        }
        Bytes::new()
    }

    fn pieces(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let piece = self.piece(at, usize::MAX);
            at += piece.len() as u64;
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// SHA-256 in lower-case hex.
    pub fn sha256(&self) -> String {
        let mut sha = Sha256::new();
        self.pieces().for_each(|piece| sha.update(&piece));
        hex::encode(sha.finalize())
    }

    /// All of it; for small ones.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces().fold(Vec::new(), |mut all, piece| {
            all.extend_from_slice(&piece);
            all
        })
    }
}

/// The sound of `seed`: the seed itself, so that no two are equal, then the tile from somewhere.
fn sound(content: &mut Content, seed: u64, length: u64) {
    let mark = Bytes::copy_from_slice(&seed.to_le_bytes());
    let marked = length.min(mark.len() as u64);
    content.push(Segment::Bytes(mark.slice(..marked as usize)));
    let offset = (seed % PERIOD as u64) as usize;
    content.push(Segment::Sound { offset, length: length - marked });
}

fn wav(bytes: u64, codec: Codec, sizes: Sizes, seed: u64) -> Content {
    let (tag, width) = match codec {
        Codec::Alaw => (6_u16, 1_u16),
        Codec::Mulaw => (7, 1),
        Codec::Pcm16 => (1, 2),
    };
    let mut format = BytesMut::new();
    format.put_slice(b"fmt ");
    // PCM has the short form; the others have an (empty) extension and a `fact` chunk.
    format.put_u32_le(if tag == 1 { 16 } else { 18 });
    format.put_u16_le(tag);
    format.put_u16_le(1);
    format.put_u32_le(8000);
    format.put_u32_le(8000 * u32::from(width));
    format.put_u16_le(width);
    format.put_u16_le(width * 8);
    let fact = if tag == 1 { 0 } else { 14 };
    let header = 12 + format.len() as u64 + fact + 8;
    let data = bytes.saturating_sub(header) & !1;
    let short = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
    if tag != 1 {
        format.put_u16_le(0);
        format.put_slice(b"fact");
        format.put_u32_le(4);
        format.put_u32_le(short(data));
    }
    let (riff_size, data_size) = match sizes {
        Sizes::True => (short(header + data - 8), short(data)),
        Sizes::Zero => (0, 0),
        Sizes::Max => (u32::MAX, u32::MAX),
        Sizes::More(more) => {
            (short(header + data - 8 + u64::from(more)), short(data + u64::from(more)))
        }
    };
    let mut head = BytesMut::new();
    head.put_slice(b"RIFF");
    head.put_u32_le(riff_size);
    head.put_slice(b"WAVE");
    head.put_slice(&format);
    head.put_slice(b"data");
    head.put_u32_le(data_size);
    let mut content = Content::from(head.freeze());
    sound(&mut content, seed, data);
    content
}

fn raw(bytes: u64, seed: u64) -> Content {
    // No format begins with this byte, and no text does.
    let mut content = Content::from(Bytes::from_static(b"\x01"));
    sound(&mut content, seed, bytes.saturating_sub(1));
    content
}

/// Stored entries with their sizes and CRCs in the local headers.
fn zip(entries: &[u64], fault: Option<ZipFault>, seed: u64) -> Content {
    let mut content = Content::default();
    let mut directory = BytesMut::new();
    for (number, bytes) in (1_u64..).zip(entries) {
        let entry = wav(*bytes, Codec::Alaw, Sizes::True, seed.wrapping_add(number));
        let name = format!("{number}.wav");
        let size = u32::try_from(entry.length()).expect("an entry is under 4 GiB");
        let mut common = BytesMut::new();
        common.put_u16_le(20); // version needed
        common.put_u16_le(0); // flags
        common.put_u16_le(0); // stored
        common.put_u16_le(0x2800); // 05:00:00
        common.put_u16_le(0x5C99); // 2026-04-25
        common.put_u32_le(crc32(&entry));
        common.put_u32_le(size);
        common.put_u32_le(size);
        common.put_u16_le(name.len() as u16);
        common.put_u16_le(0); // extra field
        directory.put_slice(b"PK\x01\x02");
        directory.put_u16_le(20); // made by
        directory.put_slice(&common);
        directory.put_slice(&[0; 10]); // comment, disk, attributes
        directory.put_u32_le(u32::try_from(content.length()).expect("a ZIP is under 4 GiB"));
        directory.put_slice(name.as_bytes());
        let local = [b"PK\x03\x04", &common[..], name.as_bytes()].concat();
        content.push(Segment::Bytes(local.into()));
        entry.segments.into_iter().for_each(|segment| content.push(segment));
    }
    let (offset, size) = (content.length() as u32, directory.len() as u32);
    match fault {
        Some(ZipFault::NoEnd) => return content,
        Some(ZipFault::BadDirectory) => directory[..4].fill(b'x'),
        None => {}
    }
    directory.put_slice(b"PK\x05\x06\0\0\0\0");
    directory.put_u16_le(entries.len() as u16);
    directory.put_u16_le(entries.len() as u16);
    directory.put_u32_le(size);
    directory.put_u32_le(offset);
    directory.put_u16_le(0);
    content.push(Segment::Bytes(directory.freeze()));
    content
}

fn crc32(content: &Content) -> u32 {
    static TABLE: LazyLock<[u32; 256]> =
        LazyLock::new(|| {
            std::array::from_fn(|byte| {
                (0..8).fold(byte as u32, |crc, _| {
                    if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 }
                })
            })
        });
    let table = &*TABLE;
    let step = |crc: u32, byte: &u8| table[((crc ^ u32::from(*byte)) & 0xFF) as usize] ^ (crc >> 8);
    !content.pieces().fold(u32::MAX, |crc, piece| piece.iter().fold(crc, step))
}

/// FNV-1a.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
