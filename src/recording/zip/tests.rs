use proptest::prelude::*;

use super::*;
use crate::recording::{Format, Proof};

/// A ZIP by hand, entries stored.
#[derive(Clone, Debug, Default)]
struct Zip {
    entries: Vec<(String, Vec<u8>)>,
    comment: Vec<u8>,
    zip64: bool,
    signature: bool,
}

impl Zip {
    fn of(entries: &[(&str, &[u8])]) -> Self {
        let entries = entries.iter().map(|(name, body)| ((*name).to_owned(), body.to_vec()));
        Self { entries: entries.collect(), ..Self::default() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut zip = Vec::new();
        let mut directory = Vec::new();
        for (name, body) in &self.entries {
            let (offset, size) = (long(zip.len()), long(body.len()));
            let name_length = short(name.len());
            zip.extend(
                [b"PK\x03\x04".as_slice(), &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0; 4]].concat(),
            );
            zip.extend([&size[..], &size, &name_length, &[0; 2], name.as_bytes(), body].concat());
            directory
                .extend([b"PK\x01\x02".as_slice(), &[20, 0, 20, 0], &[0; 8], &[0; 4]].concat());
            directory.extend([&size[..], &size, &name_length, &[0; 12], &offset].concat());
            directory.extend(name.as_bytes());
        }
        if self.signature {
            directory.extend(b"PK\x05\x05\x02\0xx");
        }
        let at = zip.len();
        zip.extend(&directory);
        let (count, size, offset) = (self.entries.len(), directory.len(), at);
        if self.zip64 {
            let record = zip.len() as u64;
            zip.extend(
                [b"PK\x06\x06".as_slice(), &44_u64.to_le_bytes(), &[45, 0, 45, 0], &[0; 8]]
                    .concat(),
            );
            for number in [count, count, size, offset] {
                zip.extend((number as u64).to_le_bytes());
            }
            zip.extend(
                [b"PK\x06\x07".as_slice(), &[0; 4], &record.to_le_bytes(), &[1, 0, 0, 0]].concat(),
            );
            zip.extend([b"PK\x05\x06".as_slice(), &[0; 4], &[0xFF; 12]].concat());
        } else {
            zip.extend([b"PK\x05\x06".as_slice(), &[0; 4], &short(count), &short(count)].concat());
            zip.extend([long(size), long(offset)].concat());
        }
        zip.extend(short(self.comment.len()));
        zip.extend(&self.comment);
        zip
    }
}

fn short(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap().to_le_bytes()
}

fn long(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_le_bytes()
}

fn verdict(body: &[u8], portion: usize) -> Result<(), String> {
    told(body, portion, Framing::Close).map(drop)
}

fn told(body: &[u8], portion: usize, framing: Framing) -> Result<Option<Packed>, String> {
    let mut proof = Proof::new(Format::Zip, framing);
    body.chunks(portion).for_each(|bytes| proof.update(bytes));
    let told = proof.finish().map_err(|failure| failure.reason.to_string())?;
    assert_eq!(told.audio, None);
    Ok(told.packed)
}

fn err(reason: &str) -> Result<(), String> {
    Err(reason.to_owned())
}

#[test]
fn whole_archives_pass() {
    let two: &[(&str, &[u8])] = &[("a.V3", b"RIFF...."), ("b.V3", b"")];
    let plain = Zip::of(two);
    let inner = plain.bytes();
    let cases = [
        plain.clone(),
        Zip { comment: b"by CC-FS".to_vec(), ..plain.clone() },
        // The longest comment there is; one that looks like an end record.
        Zip { comment: vec![b'x'; 65_535], ..plain.clone() },
        Zip { comment: [b"PK\x05\x06".as_slice(), &[0; 18]].concat(), ..plain.clone() },
        Zip { zip64: true, ..plain.clone() },
        Zip { zip64: true, comment: vec![b'x'; 65_535], ..plain.clone() },
        Zip { signature: true, ..plain },
        Zip::of(&[("inner.zip", &inner)]),
        Zip::of(&[("large", &vec![7; 200_000])]),
    ];
    for zip in cases {
        let bytes = zip.bytes();
        for portion in [1, 4096, usize::MAX] {
            assert_eq!(verdict(&bytes, portion), Ok(()), "{} bytes", bytes.len());
        }
    }
}

#[test]
fn a_directory_longer_than_the_window_passes_by_its_place() {
    let name = "n".repeat(200);
    let entries: Vec<(&str, &[u8])> = vec![(&name, b"x"); 1000];
    let bytes = Zip::of(&entries).bytes();
    assert_eq!(verdict(&bytes, 4096), Ok(()));
    let mut cut = bytes;
    cut.drain(30_000..30_001);
    assert_eq!(verdict(&cut, 4096), err("ccfs.truncated"));
}

#[test]
fn broken_archives_do_not() {
    let good = Zip::of(&[("a", b"xyz"), ("b", b"")]).bytes();
    let end = good.len() - 22;
    let edit = |at: usize, bytes: &[u8]| {
        let mut zip = good.clone();
        zip[at..at + bytes.len()].copy_from_slice(bytes);
        zip
    };
    let truncated = "ccfs.truncated";
    let directory = end - 2 * 47;
    let cases = [
        (edit(end, b"PK\x05\x07"), truncated),
        (edit(end + 20, &[1, 0]), truncated),
        (edit(end + 8, &[1, 0, 1, 0]), truncated),
        (edit(end + 8, &[3, 0, 3, 0]), truncated),
        (edit(end + 16, &[1, 0]), truncated),
        (edit(directory, b"XX"), truncated),
        (edit(directory + 28, &[200, 0]), truncated),
        (edit(end + 4, &[1, 0]), "ccfs.protocol"),
        (edit(end + 8, &[1, 0]), "ccfs.protocol"),
        // Nothing else shows that nothing is missing.
        ([&good[..], b"\n"].concat(), truncated),
        ([b"PK", &good[..]].concat(), truncated),
        (b"PK".to_vec(), truncated),
        (Zip::default().bytes(), "ccfs.empty"),
        (Zip { zip64: true, ..Zip::default() }.bytes(), "ccfs.empty"),
    ];
    for (index, (body, reason)) in cases.into_iter().enumerate() {
        assert_eq!(verdict(&body, 7), err(reason), "case {index}");
    }
}

#[test]
fn a_broken_zip64_end_does_not_pass() {
    let good = Zip { zip64: true, ..Zip::of(&[("a", b"xyz")]) }.bytes();
    let (locator, record) = (good.len() - 42, good.len() - 98);
    let cases = [
        (locator + 8, 1, "ccfs.truncated"),
        (locator + 16, 2, "ccfs.protocol"),
        (locator, 0, "ccfs.truncated"),
        (record, 0, "ccfs.truncated"),
        (record + 4, 45, "ccfs.truncated"),
        (record + 24, 9, "ccfs.protocol"),
        (record + 40, 1, "ccfs.truncated"),
    ];
    for (at, byte, reason) in cases {
        let mut zip = good.clone();
        zip[at] = byte;
        assert_eq!(verdict(&zip, 100), err(reason), "byte {at}");
    }
}

#[test]
fn bytes_may_follow_the_end_where_the_framing_shows_that_of_the_body() {
    let good = Zip::of(&[("a", b"xyz"), ("b", b"")]);
    let zip = good.bytes();
    let comment = |length: u16, bytes: &[u8]| {
        let mut zip = zip.clone();
        let at = zip.len() - 2;
        zip[at..].copy_from_slice(&length.to_le_bytes());
        [&zip[..], bytes].concat()
    };
    let cases = [
        ("a line's end", [&zip[..], b"\r\n"].concat()),
        ("zeros", [&zip[..], &[0; 512]].concat()),
        ("zeros up to a block", [&zip[..], &[0; 60_000]].concat()),
        ("a comment longer than said", comment(3, b"by CC-FS")),
        ("a comment shorter than said", comment(300, b"by CC-FS")),
        ("no comment", comment(8, b"")),
        ("zip64", [&Zip { zip64: true, ..good.clone() }.bytes()[..], &[0; 7]].concat()),
        ("something like an end", [&zip[..], b"PK\x05\x06", &[0; 30]].concat()),
    ];
    for (name, body) in cases {
        for framing in [Framing::Chunked, Framing::Length(body.len() as u64)] {
            assert!(told(&body, 100, framing).is_ok(), "{name}, {framing:?}");
        }
        assert_eq!(verdict(&body, 100), err("ccfs.truncated"), "{name}");
    }
    for cut in 1..zip.len() {
        let prefix = told(&zip[..cut], 100, Framing::Chunked);
        assert!(prefix.is_err(), "{cut} of {} bytes", zip.len());
    }
}

#[test]
fn the_same_entries_are_the_same_whenever_they_were_packed() {
    const FIRST: &[u8] = include_bytes!("../../../tests/fixtures/zip-made-anew/first.zip");
    const SECOND: &[u8] = include_bytes!("../../../tests/fixtures/zip-made-anew/second.zip");
    let listed = |zip: &[u8]| told(zip, 1000, Framing::Close).unwrap();
    assert_ne!(FIRST, SECOND);
    assert!(listed(FIRST).is_some());
    assert_eq!(listed(FIRST), listed(SECOND));
    // The end of it tells as much.
    let ending = |tail| directory(FIRST.len() as u64, tail).unwrap().packed;
    assert_eq!(ending(&FIRST[9000..]), listed(SECOND));
    assert_eq!(ending(&FIRST[FIRST.len() - 40..]), None);

    let at_directory = SECOND.len() - 22 - 2 * 51;
    for (what, at) in [("checksum", 16), ("size", 24), ("name", 46)] {
        let mut other = SECOND.to_vec();
        other[at_directory + at] ^= 1;
        assert_ne!(listed(&other), listed(FIRST), "another {what}");
    }
    // So does the directory alone, however long it is.
    let Directory { offset, size, entries, .. } = directory(FIRST.len() as u64, FIRST).unwrap();
    let mut went_by = Listing::default();
    went_by.update(&FIRST[usize::try_from(offset).unwrap()..]);
    assert_eq!(went_by.packed(0, size, entries), listed(SECOND));
    // Without checksums nothing says what is in it.
    assert_eq!(listed(&Zip::of(&[("a", b"xyz")]).bytes()), None);
    assert!(listed(&Zip::of(&[("a", b"")]).bytes()).is_some());
}

proptest! {
    #[test]
    fn no_strict_prefix_is_whole(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..4),
        nested in any::<bool>(),
        comment in prop::collection::vec(any::<u8>(), 0..30),
        zip64 in any::<bool>(),
        portion in 1..100_usize,
    ) {
        let entries = bodies.into_iter().map(|body| ("n".to_owned(), body)).collect();
        let mut zip = Zip { entries, comment, zip64, signature: false };
        if nested {
            let inner = zip.bytes();
            zip.entries.push(("inner.zip".into(), inner));
        }
        let bytes = zip.bytes();
        prop_assert_eq!(verdict(&bytes, portion), Ok(()));
        for cut in 1..bytes.len() {
            prop_assert!(verdict(&bytes[..cut], portion).is_err(), "{} of {}", cut, bytes.len());
        }
    }

    #[test]
    fn a_directory_that_says_something_else_is_never_whole(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..4),
        comment in prop::collection::vec(b'a'..=b'z', 0..30),
        at in 0..20_usize,
        bit in 0..8,
        portion in 1..100_usize,
    ) {
        let entries = bodies.into_iter().map(|body| ("n".to_owned(), body)).collect();
        let zip = Zip { entries, comment, ..Zip::default() };
        let mut bytes = zip.bytes();
        // Every bit of the end record is one that counts.
        let end = bytes.len() - 22 - zip.comment.len();
        bytes[end + at] ^= 1_u8 << bit;
        prop_assert!(verdict(&bytes, portion).is_err());
        bytes[end + at] ^= 1_u8 << bit;
        // So are the signature and the length of the name of its last entry.
        let last = end - 47;
        bytes[last + [0, 1, 2, 3, 28, 29][at % 6]] ^= 1_u8 << bit;
        prop_assert!(verdict(&bytes, portion).is_err());
    }

    #[test]
    fn portions_do_not_matter(
        body in prop::collection::vec(any::<u8>(), 0..60),
        zip64 in any::<bool>(),
        overwritten in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        portion in 1..100_usize,
    ) {
        let mut bytes = Zip { zip64, ..Zip::of(&[("n", &body)]) }.bytes();
        for (at, byte) in overwritten {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert_eq!(verdict(&bytes, portion), verdict(&bytes, usize::MAX));
    }

    #[test]
    fn arbitrary_ends_are_refused(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let body = [b"PK\x03\x04".as_slice(), &tail, b"PK\x05\x06", &tail, &[0; 18]].concat();
        prop_assert!(verdict(&body, 50).is_err());
    }
}
