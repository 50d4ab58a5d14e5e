//! A ZIP: the same verdict however it arrives, and neither a strict prefix nor a wrong directory
//! is whole.

use callvault::recording::{Format, Framing, Proof};

use crate::{cuts, portions};

const END: &[u8] = b"PK\x05\x06";

pub fn check(bytes: &[u8]) {
    let told = verdict(bytes);
    assert_eq!(told, in_portions(bytes));
    if told.is_ok() {
        assert!(bytes.windows(4).any(|four| four == END), "no end record");
        assert!(bytes.windows(4).any(|four| four == b"PK\x01\x02"), "no directory");
    }
    // What holds of every ZIP is asked of one that is made of the bytes, since a file can be two
    // ZIPs, one of them its own prefix, if somebody wants it to be.
    if !bytes.windows(4).any(|four| four == END) {
        let made = Made::of(bytes);
        no_strict_prefix_is_whole(&made.zip);
        no_wrong_directory_passes(&made);
    }
}

fn verdict(zip: &[u8]) -> Result<(), String> {
    judged(std::iter::once(zip))
}

fn in_portions(zip: &[u8]) -> Result<(), String> {
    judged(portions(zip))
}

fn judged<'a>(portions: impl Iterator<Item = &'a [u8]>) -> Result<(), String> {
    let mut proof = Proof::new(Format::Zip, Framing::Close);
    portions.for_each(|portion| proof.update(portion));
    proof.finish().map(drop).map_err(|failure| failure.reason.to_string())
}

fn no_strict_prefix_is_whole(zip: &[u8]) {
    assert_eq!(verdict(zip), Ok(()));
    for cut in cuts(zip.len()) {
        assert!(verdict(&zip[..cut]).is_err(), "{cut} of {} bytes", zip.len());
    }
}

fn no_wrong_directory_passes(made: &Made) {
    // A few of them: what the bytes are decides which.
    for &at in made.told.iter().skip(made.zip.len() % 8).step_by(8) {
        let mut wrong = made.zip.clone();
        wrong[at] ^= 1 << (at % 8);
        assert!(verdict(&wrong).is_err(), "byte {at} of {}", wrong.len());
    }
}

/// A ZIP of stored entries.
struct Made {
    zip: Vec<u8>,
    /// The bytes that say where the directory is and what it holds.
    told: Vec<usize>,
}

impl Made {
    /// The first byte decides the form, the rest are the entries and the comment.
    fn of(bytes: &[u8]) -> Self {
        let (form, bytes) = bytes.split_first().unwrap_or((&0, bytes));
        let bytes = &bytes[..bytes.len().min(64)];
        let bodies: Vec<&[u8]> = bytes.chunks(1 + usize::from(form >> 4) * 8).take(5).collect();
        let comment = if form & 1 == 1 { bytes } else { b"" };
        let zip64 = form & 2 == 2;
        let made = Self::new(&bodies, comment, zip64);
        if form & 4 == 0 {
            return made;
        }
        Self::new(&[&bodies[..], &[&made.zip]].concat(), comment, zip64)
    }

    fn new(bodies: &[&[u8]], comment: &[u8], zip64: bool) -> Self {
        let bodies = if bodies.is_empty() { &[&b""[..]] } else { bodies };
        let (mut zip, mut directory, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let mut headers = Vec::new();
        for body in bodies {
            let (offset, size) = (long(zip.len()), long(body.len()));
            zip.extend([b"PK\x03\x04\x14\0".as_slice(), &[0; 12], &size, &size].concat());
            zip.extend([&[1, 0, 0, 0], b"n".as_slice(), body].concat());
            headers.push(directory.len());
            directory.extend([b"PK\x01\x02\x14\0\x14\0".as_slice(), &[0; 12], &size].concat());
            directory.extend([&size[..], &[1, 0], &[0; 12], &offset, b"n"].concat());
        }
        let start = zip.len();
        zip.extend(&directory);
        // The signatures of the entries, and the lengths of their names.
        told.extend(headers.iter().flat_map(|at| [0, 1, 2, 3, 28, 29].map(|n| start + at + n)));
        let (count, size) = (bodies.len(), directory.len());
        if zip64 {
            let record = zip.len();
            told.extend((0..12).chain(24..56).chain(56 + 8..56 + 16).map(|n| record + n));
            zip.extend([b"PK\x06\x06".as_slice(), &wide(44), &[45, 0, 45, 0], &[0; 8]].concat());
            zip.extend([wide(count), wide(count), wide(size), wide(start)].concat());
            zip.extend([b"PK\x06\x07".as_slice(), &[0; 4], &wide(record), &long(1)].concat());
            zip.extend([END, &[0; 4], &[0xFF; 12]].concat());
        } else {
            told.extend((0..20).map(|n| zip.len() + n));
            zip.extend([END, &[0; 4], &short(count), &short(count)].concat());
            zip.extend([long(size), long(start)].concat());
        }
        zip.extend(short(comment.len()));
        zip.extend(comment);
        Self { zip, told }
    }
}

fn short(number: usize) -> [u8; 2] {
    u16::try_from(number).expect("a small one").to_le_bytes()
}

fn long(number: usize) -> [u8; 4] {
    u32::try_from(number).expect("a small one").to_le_bytes()
}

fn wide(number: usize) -> [u8; 8] {
    (number as u64).to_le_bytes()
}
