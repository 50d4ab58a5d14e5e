//! ZIPs by hand, with whatever is wrong in them.

use std::io::{Cursor, Read, Write};

use zip::ZipArchive;
use zip::write::{SimpleFileOptions, ZipWriter};

/// An entry as it stands in the archive.
#[derive(Clone, Debug)]
pub struct Raw {
    pub name: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub size: u32,
    /// As of Unix; 0: not said.
    pub mode: u32,
    /// Where the directory says it is, if not where it is.
    pub at: Option<u32>,
    /// In the directory alone.
    pub hidden: bool,
    pub packed: Vec<u8>,
    pub described: bool,
}

impl Raw {
    pub fn stored(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            flags: 0,
            method: 0,
            crc: crc(content),
            size: content.len() as u32,
            mode: 0,
            at: None,
            hidden: false,
            packed: content.to_vec(),
            described: false,
        }
    }

    pub fn deflated(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("x", SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
        let mut zip = ZipArchive::new(zip.finish().unwrap()).unwrap();
        let mut packed = Vec::new();
        zip.by_index_raw(0).unwrap().read_to_end(&mut packed).unwrap();
        Self { method: 8, packed, ..Self::stored(name, content) }
    }

    /// Its sizes and checksum stand behind it, as where it is written to a stream.
    pub fn described(self) -> Self {
        Self { described: true, flags: self.flags | 8, ..self }
    }

    /// It says that it has so many bytes, unpacked.
    pub fn sized(self, size: u32) -> Self {
        Self { size, ..self }
    }

    fn sums(&self) -> Vec<u8> {
        let packed = self.packed.len() as u32;
        [self.crc, packed, self.size].iter().flat_map(|sum| sum.to_le_bytes()).collect()
    }

    /// What both headers have in common.
    fn common(&self, sums: &[u8]) -> Vec<u8> {
        let mut common = vec![20, 0];
        common.extend(self.flags.to_le_bytes());
        common.extend(self.method.to_le_bytes());
        common.extend([0, 0, 0x21, 0]); // 1980-01-01
        common.extend(sums);
        common.extend((self.name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        common
    }

    /// Header, content and descriptor.
    pub fn local(&self) -> Vec<u8> {
        let sums = if self.described { vec![0; 12] } else { self.sums() };
        let descriptor = if self.described { self.sums() } else { Vec::new() };
        [b"PK\x03\x04", &self.common(&sums)[..], &self.name, &self.packed, &descriptor].concat()
    }

    fn central(&self, at: u32) -> Vec<u8> {
        let mut central = b"PK\x01\x02\x14\x03".to_vec(); // made on Unix
        central.extend(self.common(&self.sums()));
        central.extend([0; 6]);
        central.extend((self.mode << 16).to_le_bytes());
        central.extend(self.at.unwrap_or(at).to_le_bytes());
        central.extend(&self.name);
        central
    }
}

/// An archive as its parts.
#[derive(Clone, Debug, Default)]
pub struct Made {
    pub front: Vec<u8>,
    pub entries: Vec<Raw>,
    pub comment: Vec<u8>,
}

impl Made {
    pub fn of(entries: &[Raw]) -> Self {
        Self { entries: entries.to_vec(), ..Self::default() }
    }

    fn body(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut zip, mut directory) = (self.front.clone(), Vec::new());
        for entry in &self.entries {
            directory.extend(entry.central(zip.len() as u32));
            if !entry.hidden {
                zip.extend(entry.local());
            }
        }
        (zip, directory)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (zip, directory) = self.body();
        let end = self.end(zip.len());
        [zip, directory, end, self.comment.clone()].concat()
    }

    /// The end record of a directory that begins at `at`.
    pub fn end(&self, at: usize) -> Vec<u8> {
        let (_, directory) = self.body();
        let count = (self.entries.len() as u16).to_le_bytes();
        let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
        end.extend([count, count].concat());
        end.extend((directory.len() as u32).to_le_bytes());
        end.extend((at as u32).to_le_bytes());
        end.extend((self.comment.len() as u16).to_le_bytes());
        end
    }
}

pub fn zip_of(entries: &[Raw]) -> Vec<u8> {
    Made::of(entries).bytes()
}

/// Where the directory of an archive without a comment begins.
pub fn directory_at(zip: &[u8]) -> usize {
    let at = zip[zip.len() - 6..][..4].try_into().unwrap();
    u32::from_le_bytes(at) as usize
}

/// An A-law WAV of so many samples of silence.
pub fn wav(samples: u32) -> Vec<u8> {
    let mut wav = b"RIFF".to_vec();
    wav.extend((4 + 26 + 8 + samples).to_le_bytes());
    wav.extend(b"WAVEfmt \x12\0\0\0\x06\0\x01\0");
    wav.extend([8000_u32, 8000].iter().flat_map(|rate| rate.to_le_bytes()));
    wav.extend(b"\x01\0\x08\0\0\0data");
    wav.extend(samples.to_le_bytes());
    wav.resize(wav.len() + samples as usize, 0xD5);
    wav
}

fn crc(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}
