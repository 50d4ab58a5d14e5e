//! Archives, good and bad, made by hand, by the `zip` crate and by Java.

mod changed;
mod made;

use std::collections::BTreeSet;
use std::io::{Cursor, Write};

use zip::write::{SimpleFileOptions, ZipWriter};

use self::made::{Made, Raw, directory_at, wav, zip_of};
use super::*;

const MOST: u64 = 1 << 30;

/// In the place of a reason: a good ZIP that is no archive for us.
const KEPT: &str = "kept";

/// Name and content of each entry, or reason and detail.
type Outcome = Result<Vec<(String, Vec<u8>)>, (String, String)>;

fn unpacked(bytes: &[u8], max_size: u64) -> Result<Vec<(Entry, Vec<u8>)>, Unfit> {
    let mut archive = Archive::open(Cursor::new(bytes), max_size)?;
    let entries = archive.prove(|| false)?;
    let mut all = Vec::new();
    for entry in entries {
        let mut content = Vec::new();
        archive.read(&entry, |bytes| {
            content.extend_from_slice(bytes);
            ControlFlow::Continue(())
        })?;
        assert_eq!(content.len() as u64, entry.size);
        all.push((entry, content));
    }
    Ok(all)
}

fn outcome_within(bytes: &[u8], max_size: u64) -> Outcome {
    let entries = unpacked(bytes, max_size);
    let named = |(entry, content): (Entry, Vec<u8>)| (entry.name, content);
    entries.map(|all| all.into_iter().map(named).collect()).map_err(|unfit| match unfit {
        Unfit::Whole(why) => (KEPT.to_owned(), why),
        Unfit::Broken(failure) => (failure.reason.to_string(), failure.detail),
    })
}

fn outcome(bytes: &[u8]) -> Outcome {
    outcome_within(bytes, MOST)
}

/// A name that must not be told to anybody.
const NAME: &str = "13800138000.wav";

/// Reason and detail of an archive whose entries may be called [`NAME`].
fn refusal(bytes: &[u8]) -> (String, String) {
    let (reason, detail) = outcome(bytes).unwrap_err();
    assert!(!detail.contains("138"), "{detail}");
    (reason, detail)
}

fn assert_refused(what: &str, bytes: &[u8], reason: &str, says: &str) {
    let (code, detail) = refusal(bytes);
    assert_eq!(code, reason, "{what}: {detail}");
    assert!(detail.contains(says), "{what}: {detail}");
}

fn entries(all: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    all.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect()
}

/// As the `zip` crate writes it; into a stream, and so with data descriptors, or not.
fn written(entries: &[(&str, &[u8])], options: SimpleFileOptions, streamed: bool) -> Vec<u8> {
    fn all<W: Write + Seek>(
        mut zip: ZipWriter<W>,
        entries: &[(&str, &[u8])],
        options: SimpleFileOptions,
    ) -> W {
        for (name, content) in entries {
            zip.start_file(*name, options).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap()
    }
    if streamed {
        all(ZipWriter::new_stream(Vec::new()), entries, options).into_inner()
    } else {
        all(ZipWriter::new(Cursor::new(Vec::new())), entries, options).into_inner()
    }
}

#[test]
fn good_archives_are_all_there() {
    let (one, other) = (wav(200), wav(7000));
    let all: &[(&str, &[u8])] = &[("1.wav", &one), ("2.wav", &other), ("note.txt", b"hello")];
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let deflated = stored.compression_method(zip::CompressionMethod::Deflated);
    let zip64 = stored.large_file(true);
    for (what, options) in [("stored", stored), ("deflated", deflated), ("zip64", zip64)] {
        for streamed in [false, true] {
            let bytes = written(all, options, streamed);
            assert_eq!(outcome(&bytes), Ok(entries(all)), "{what}, streamed: {streamed}");
        }
    }
    // By hand: without a time, in front of a comment, with a descriptor that has no signature.
    let by_hand = [Raw::stored("1.wav", &one), Raw::stored("2.wav", &other)];
    assert_eq!(outcome(&zip_of(&by_hand)), Ok(entries(&all[..2])));
    let comment = Made { comment: b"by CC-FS".to_vec(), ..Made::of(&by_hand) };
    assert_eq!(outcome(&comment.bytes()), Ok(entries(&all[..2])));
    let described = by_hand.map(Raw::described);
    assert_eq!(outcome(&zip_of(&described)), Ok(entries(&all[..2])));
}

#[test]
fn what_is_heard_and_what_it_is_stand_with_each_entry() {
    let inner = zip_of(&[Raw::stored("inner.wav", &wav(20))]);
    let bytes = zip_of(&[
        Raw::stored("1.wav", &wav(8000)),
        Raw::stored("2.zip", &inner),
        Raw::stored("3.txt", b"<html>"),
    ]);
    let found = unpacked(&bytes, MOST).unwrap();
    let formats: Vec<_> = found.iter().map(|(entry, _)| entry.format).collect();
    assert_eq!(formats, [Format::Wav, Format::Zip, Format::Other]);
    let audio = found[0].0.audio.as_ref().unwrap();
    assert_eq!((audio.codec.as_ref(), audio.duration_ms), ("pcm_alaw", Some(1000)));
    assert_eq!(found[1].0.audio, None);
}

/// `java.util.zip.ZipOutputStream` of OpenJDK 17: descriptors, a folder with content of its own
/// kind, a name in Chinese, a stored entry, extra fields that differ in both headers.
#[test]
fn an_archive_of_java_is_all_there() {
    let java = include_bytes!("../../../fuzz/corpus/archive/java.zip");
    let sound = wav(200);
    let all: &[(&str, &[u8])] =
        &[("calls%2F%E5%BD%95%E9%9F%B3.wav", &sound), ("note.txt", b"hello"), ("left.wav", &sound)];
    assert_eq!(outcome(java), Ok(entries(all)));
}

#[test]
fn names_are_one_segment_of_a_key_each_and_distinct() {
    let names: [(&[u8], &str); 14] = [
        (b"../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"),
        (b"/etc/passwd", "%2Fetc%2Fpasswd"),
        (b"a/b.wav", "a%2Fb.wav"),
        (b"a%2Fb.wav", "a%252Fb.wav"),
        (b"a\\b.wav", "a%5Cb.wav"),
        (b".", "%2E"),
        (b"..", "%2E%2E"),
        (b"%2E", "%252E"),
        (b"...", "..."),
        (b"C:\\x", "C%3A%5Cx"),
        (b"\xc2\xbc\xd2\xf4.wav", "%C2%BC%D2%F4.wav"), // GBK
        (b"\xff\xfe", "%FF%FE"),
        ("录音.wav".as_bytes(), "%E5%BD%95%E9%9F%B3.wav"),
        (b"a\0b c*?.WAV", "a%00b%20c%2A%3F.WAV"),
    ];
    let raw = names.map(|(name, _)| Raw::stored(name, b"x"));
    let found: Vec<String> =
        outcome(&zip_of(&raw)).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, names.map(|(_, wanted)| wanted));
    assert!(!found.iter().any(|name| name.contains('/')));
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn folders_are_passed_over() {
    let sound = wav(20);
    let folders = ["a/", "a\\b\\"].map(|name| Raw::stored(name, b""));
    let mut all = folders.to_vec();
    assert_refused("folders", &zip_of(&folders), "ccfs.empty", "folders only");
    all.push(Raw::stored("a/1.wav", &sound));
    assert_eq!(outcome(&zip_of(&all)), Ok(entries(&[("a%2F1.wav", &sound)])));
    let full = zip_of(&[Raw::stored("138/", b"x")]);
    assert_refused("a folder with content", &full, KEPT, "folder with content");
}

#[test]
fn entries_that_cannot_be_used_are_kept_or_refused() {
    let sound = wav(200);
    let good = || Raw::stored(NAME, &sound);
    let not_whole = &sound[..100];
    let cases: [(&str, Raw, &str, &str); 13] = [
        ("no name", Raw::stored("", &sound), KEPT, "entry 2 of the ZIP: it has no name"),
        ("empty", Raw::stored(NAME, b""), KEPT, "entry 2 of the ZIP: it has no bytes"),
        ("encrypted", Raw { flags: 1, ..good() }, KEPT, "entry 2 of the ZIP: it is enc"),
        ("a link", Raw { mode: 0o120_777, ..good() }, KEPT, "symbolic link"),
        ("bzip2", Raw { method: 12, ..good() }, KEPT, "it is packed by a method"),
        ("unknown", Raw { method: 77, ..good() }, KEPT, "it is packed by a method"),
        ("wrong CRC", Raw { crc: 1, ..good() }, "ccfs.protocol", "entry 2 of the ZIP: "),
        ("no deflate", Raw { method: 8, ..good() }, "ccfs.protocol", "entry 2 of the ZIP: "),
        ("less than it says", good().sized(300), "ccfs.protocol", "entry 2 of the ZIP: "),
        ("more than it says", good().sized(100), "ccfs.protocol", "entry 2 of the ZIP: "),
        ("a cut WAV", Raw::stored(NAME, not_whole), "ccfs.truncated", "entry 2 of the ZIP: "),
        ("a cut ZIP", Raw::stored(NAME, b"PK\x03\x04"), "ccfs.truncated", "entry 2 of the ZIP: "),
        ("a RIFF of 3 bytes", Raw::stored(NAME, b"RIF"), "ccfs.truncated", "entry 2 of the ZIP: "),
    ];
    for (what, entry, reason, says) in cases {
        let bytes = zip_of(&[Raw::stored("138.wav", &sound), entry.clone()]);
        assert_refused(what, &bytes, reason, says);
        let bytes = zip_of(&[Raw::stored("138.wav", &sound), entry.described()]);
        assert_refused(&format!("{what}, described"), &bytes, reason, says);
    }
}

#[test]
fn a_deflated_entry_is_as_long_as_it_says() {
    let sound = wav(100_000);
    let good = Raw::deflated(NAME, &sound);
    assert!(outcome(&zip_of(std::slice::from_ref(&good))).is_ok());
    for size in [1, 99_000, 101_000] {
        let lie = zip_of(&[good.clone().sized(size)]);
        assert_refused("a lie", &lie, "ccfs.protocol", "entry 1 of the ZIP: ");
    }
}

#[test]
fn an_archive_that_contradicts_itself_is_refused() {
    let good = || [Raw::stored(NAME, &wav(200)), Raw::stored("138.txt", b"138 and 138")];
    let twice = [Raw::stored(NAME, b"1"), Raw::stored(NAME, b"2")];
    assert_refused("twice", &zip_of(&twice), "ccfs.protocol", "no good ZIP");
    // The second entry of the directory is the first one over again, under another name.
    let [first, second] = good();
    let shared = Made::of(&[first, Raw { at: Some(0), ..second }]).bytes();
    assert_refused("shared", &shared, "ccfs.protocol", "no good ZIP");
    // An entry whose bytes hold another one, header and all.
    let inner = Raw::stored("138.txt", b"138");
    let outer = Raw::stored(NAME, &inner.local());
    let at = Raw::stored(NAME, b"").local().len() as u32;
    let nested = Made::of(&[outer, Raw { at: Some(at), hidden: true, ..inner.clone() }]).bytes();
    assert_refused("one in the other", &nested, "ccfs.protocol", "no good ZIP");
    // The names differ; a local header is in no directory.
    let mut renamed = zip_of(&good());
    let name = directory_at(&renamed) + 46;
    renamed[name] = b'2';
    assert_refused("another name", &renamed, "ccfs.protocol", "no good ZIP");
    let unlisted = Made { front: inner.local(), ..Made::of(&good()) };
    assert_refused("unlisted", &unlisted.bytes(), "ccfs.protocol", "no good ZIP");
}

/// Its end is the one with a comment up to the end of the file. Others look for the last signature
/// of one, find that in the comment, and with it a directory that we have not measured.
#[test]
fn an_archive_with_two_directories_is_refused() {
    let two = |hidden: &[Raw]| {
        let hidden = Made::of(hidden);
        let mut front = hidden.bytes();
        let end = hidden.end(directory_at(&front));
        front.truncate(front.len() - end.len());
        let shown = Made::of(&[Raw::stored(NAME, &wav(200))]);
        Made { front, comment: [&end[..], b"."].concat(), ..shown }.bytes()
    };
    let small = two(&[Raw::stored("138.txt", b"138")]);
    assert_refused("small", &small, "ccfs.protocol", "it has two directories");
    let many: Vec<Raw> = (10..90).map(|n| Raw::stored(format!("{n:060000}"), b"x")).collect();
    assert_refused("large", &two(&many), "ccfs.protocol", "its directory is too long");
}

#[test]
fn entries_are_counted_before_they_are_read() {
    let some = |count: u64| -> Vec<u8> {
        zip_of(&(0..count).map(|n| Raw::stored(format!("{n}"), b"x")).collect::<Vec<_>>())
    };
    assert_eq!(outcome(&some(MAX_ENTRIES)).unwrap().len(), 1000);
    let (reason, detail) = refusal(&some(MAX_ENTRIES + 1));
    assert_eq!(reason, KEPT);
    assert!(detail.starts_with("the ZIP has 1001 entries"), "{detail}");

    let long = |length| Raw::stored("n".repeat(length), b"x");
    let (reason, detail) = refusal(&zip_of(&[0; 17].map(|_: i32| long(65_000))));
    assert_eq!(reason, KEPT);
    assert!(detail.contains("17 entries in a directory of 1105782 bytes"), "{detail}");
}

#[test]
fn what_comes_of_it_is_bounded() {
    let two = zip_of(&[Raw::stored(NAME, &wav(200)), Raw::stored("138.wav", &wav(100))]);
    let size = (wav(200).len() + wav(100).len()) as u64;
    assert!(outcome_within(&two, size).is_ok());
    let (reason, detail) = outcome_within(&two, size - 1).unwrap_err();
    assert_eq!(reason, KEPT);
    assert_eq!(detail, format!("the ZIP unpacks to {size} bytes, ccfs.max_size is {}", size - 1));
}

#[test]
fn silence_passes_and_a_bomb_does_not() {
    // Five minutes of it.
    let silence = wav(8000 * 300);
    let silent = zip_of(&[Raw::deflated("1.wav", &silence)]);
    assert!(silence.len() as u64 > 500 * silent.len() as u64, "{}", silent.len());
    let mut archive = Archive::open(Cursor::new(&silent), MOST).unwrap();
    assert_eq!(archive.prove(|| false).unwrap().len(), 1);

    // Refused by what it says of itself: there are not as many bytes in it.
    let packed = vec![0; 10_000];
    let bomb = |size: u32| zip_of(&[Raw { method: 8, size, ..Raw::stored(NAME, &packed) }]);
    let (reason, detail) = refusal(&bomb((64 << 20) + 1));
    assert_eq!(reason, KEPT);
    assert!(detail.contains("10000 bytes to 67108865, over 100 times"), "{detail}");
    // What is allowed is looked into.
    assert_eq!(refusal(&bomb(64 << 20)).0, "ccfs.protocol");
    let large = vec![0; 1 << 20];
    let large = zip_of(&[Raw { method: 8, size: 100 << 20, ..Raw::stored(NAME, &large) }]);
    assert_eq!(refusal(&large).0, "ccfs.protocol");
}

#[test]
fn who_wants_no_more_gets_no_more() {
    let sound = wav(200_000);
    let bytes = zip_of(&[Raw::deflated("1.wav", &sound)]);
    let mut archive = Archive::open(Cursor::new(&bytes), MOST).unwrap();
    assert!(archive.prove(|| true).is_err(), "stopped is not proven");
    let small = zip_of(&[Raw { crc: 1, ..Raw::stored(NAME, b"one piece") }]);
    let mut small = Archive::open(Cursor::new(&small), MOST).unwrap();
    assert!(small.prove(|| true).is_err(), "its checksum was not compared");
    let entry = archive.prove(|| false).unwrap().remove(0);
    let mut pieces = 0;
    let read = archive.read(&entry, |_| {
        pieces += 1;
        ControlFlow::Break(())
    });
    assert!(read.is_ok());
    assert_eq!(pieces, 1);
    // It can be read again, and after it was held by another reader.
    let bytes = archive.into_inner();
    assert_eq!(outcome(bytes.get_ref()), Ok(entries(&[("1.wav", &sound)])));
}
