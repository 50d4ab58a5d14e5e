//! An archive that is unpacked: what is handed out is what was proven, within the limits, under
//! names that are one part of a key each; and one that is cut or changed gives nothing else.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::ops::ControlFlow;

use callvault::recording::{Archive, MAX_ENTRIES, Unfit};

use crate::{cuts, is_within};

/// Far below what is allowed in any case, so that no bytes take long.
const MOST: u64 = 1 << 20;

/// Name and content of each entry.
type Entries = Vec<(String, Vec<u8>)>;

pub fn check(bytes: &[u8]) {
    match unpacked(bytes) {
        Ok(entries) => {
            assert_eq!(unpacked(bytes).ok().as_ref(), Some(&entries));
            within_the_limits(&entries);
            let names: BTreeSet<_> = entries.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), entries.len(), "names are distinct");
            names.into_iter().for_each(|name| one_part_of_a_key(name));
        }
        Err(unfit) => tells_nothing_of(bytes, &unfit),
    }
    // A file can be two archives if somebody wants it to be; one that is made of the bytes is one.
    if !bytes.windows(2).any(|two| two == b"PK") {
        nothing_else_comes_of(&Made::of(bytes));
    }
}

fn unpacked(bytes: &[u8]) -> Result<Entries, Unfit> {
    let mut archive = Archive::open(Cursor::new(bytes), MOST)?;
    let mut entries = Vec::new();
    for entry in archive.prove(|| false)? {
        let mut content = Vec::new();
        let read = archive.read(&entry, |bytes| {
            content.extend_from_slice(bytes);
            ControlFlow::Continue(())
        });
        read.expect("what is proven can be read");
        assert_eq!(content.len() as u64, entry.size);
        entries.push((entry.name, content));
    }
    Ok(entries)
}

fn within_the_limits(entries: &Entries) {
    assert!((1..=MAX_ENTRIES).contains(&(entries.len() as u64)));
    assert!(entries.iter().all(|(_, content)| !content.is_empty()));
    let size: usize = entries.iter().map(|(_, content)| content.len()).sum();
    assert!(size as u64 <= MOST, "{size} bytes");
}

fn one_part_of_a_key(name: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-%".contains(&byte);
    assert!(!["", ".", ".."].contains(&name) && name.bytes().all(plain), "{name}");
}

/// What an archive holds, names above all, is not told.
fn tells_nothing_of(bytes: &[u8], unfit: &Unfit) {
    let detail = match unfit {
        Unfit::Whole(why) => why,
        Unfit::Broken(failure) => &failure.detail,
    };
    assert!(detail.is_ascii(), "{detail}");
    for part in bytes.windows(12).take(1024) {
        assert!(!is_within(part, detail), "{detail}");
    }
}

fn nothing_else_comes_of(made: &Made) {
    let right = unpacked(&made.zip).ok();
    assert_eq!(right.as_ref(), Some(&made.entries));
    for cut in cuts(made.zip.len()) {
        assert!(unpacked(&made.zip[..cut]).is_err(), "{cut} of {} bytes", made.zip.len());
    }
    // A few of them: what the bytes are decides which.
    for at in (made.zip.len() % 8..made.zip.len()).step_by(8) {
        let mut changed = made.zip.clone();
        changed[at] ^= 1 << (at / 8 % 8);
        let found = unpacked(&changed).ok();
        assert!(found.is_none() || found == right, "byte {at} of {}", changed.len());
    }
}

/// A ZIP of stored entries, some of them with their sums behind them.
struct Made {
    zip: Vec<u8>,
    entries: Entries,
}

impl Made {
    /// The first byte decides the form, the rest is what is in the entries.
    fn of(bytes: &[u8]) -> Self {
        let (form, bytes) = bytes.split_first().unwrap_or((&0, bytes));
        let bytes = &bytes[..bytes.len().min(64)];
        let (mut zip, mut directory, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for (n, part) in bytes.chunks(1 + usize::from(form >> 3)).take(4).enumerate() {
            // No format begins with this byte.
            let content = [b"\x01", part].concat();
            let described = form >> n & 1 == 1;
            let size = (content.len() as u32).to_le_bytes();
            let sums = [crc(&content).to_le_bytes(), size, size].concat();
            let unknown = [0; 12];
            let common = |sums: &[u8]| {
                let flags = if described { 8 } else { 0 };
                let head = [20, 0, flags, 0, 0, 0, 0, 0, 0x21, 0];
                [&head[..], sums, &[1, 0, 0, 0]].concat()
            };
            let name = [b'a' + n as u8];
            let at = (zip.len() as u32).to_le_bytes();
            let told: &[u8] = if described { &unknown } else { &sums };
            zip.extend([b"PK\x03\x04", &common(told)[..], &name, &content].concat());
            zip.extend(if described { &sums[..] } else { &[] });
            directory.extend([b"PK\x01\x02\x14\x00", &common(&sums)[..], &[0; 10]].concat());
            directory.extend([&at[..], &name].concat());
            entries.push((String::from_utf8_lossy(&name).into_owned(), content));
        }
        if entries.is_empty() {
            return Self::of(&[*form, 0]);
        }
        let count = (entries.len() as u16).to_le_bytes();
        let places = [directory.len(), zip.len()].map(|number| (number as u32).to_le_bytes());
        zip.extend(directory);
        zip.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &places.concat(), &[0; 2]].concat());
        Self { zip, entries }
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}
