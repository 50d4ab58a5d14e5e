use proptest::prelude::*;

use super::*;

/// Name, size and checksum.
type Entry = (String, u32, u32);

/// An entry's header: without times, with a name.
fn header(name: &str, size: u32, crc: u32) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap().to_le_bytes();
    let sums = [crc.to_le_bytes(), size.to_le_bytes(), size.to_le_bytes()].concat();
    [b"PK\x01\x02".as_slice(), &[0; 12], &sums, &length, &[0; 16], name.as_bytes()].concat()
}

fn directory(entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(|(name, size, crc)| header(name, *size, *crc)).collect()
}

fn listing(bytes: &[u8], portion: usize) -> Listing {
    let mut listing = Listing::default();
    bytes.chunks(portion).for_each(|bytes| listing.update(bytes));
    listing
}

/// What it lists behind `before`.
fn listed(before: &[u8], entries: &[Entry], portion: usize) -> Option<Packed> {
    let directory = directory(entries);
    let body = [before, &directory, b"PK\x05\x06"].concat();
    let (start, size) = (before.len() as u64, directory.len() as u64);
    listing(&body, portion).packed(start, size, entries.len() as u64)
}

fn many() -> Vec<Entry> {
    (1..=10_000).map(|number| (format!("recording-{number:060}.V3"), number, number)).collect()
}

#[test]
fn a_directory_of_any_length_is_listed_and_its_order_does_not_matter() {
    let entries = many();
    let told = listed(b"sound", &entries, 4096).unwrap();
    assert_eq!(told.came().size, 50_005_000);
    let mut other = entries.clone();
    other.reverse();
    assert_eq!(listed(b"other sound", &other, 1000), Some(told.clone()));
    let changes: [fn(&mut Entry); 3] =
        [|entry| entry.0.push('x'), |entry| entry.1 += 1, |entry| entry.2 += 1];
    for change in changes {
        let mut other = entries.clone();
        change(&mut other[7000]);
        assert_ne!(listed(b"sound", &other, 4096).unwrap(), told);
    }
    // The same twice is not the same as none of it.
    let twice = [&entries[..], &entries[..2], &entries[..2]].concat();
    assert_ne!(listed(b"", &twice, 4096).unwrap().came(), told.came());
    assert_eq!(listed(b"", &[("a".to_owned(), 1, 0)], 9), None, "one without a checksum");
}

#[test]
fn only_the_directory_that_the_end_names_is_listed() {
    let entries = &many()[..3];
    let inner = [&directory(&entries[..1])[..], b"PK\x05\x06", &[0; 18]].concat();
    let whole = listed(b"", entries, 10);
    assert!(whole.is_some());
    assert_eq!(listed(&inner, entries, 10), whole, "behind a ZIP that is stored in it");
    let body = directory(entries);
    let told = |start, size, entries| listing(&body, 10).packed(start, size, entries);
    assert_eq!(told(0, body.len() as u64, 3), whole);
    for (start, size, entries) in [(1, body.len() as u64, 3), (0, 200, 3), (0, 900, 2)] {
        assert_eq!(told(start, size, entries), None);
    }
}

#[test]
fn a_size_of_four_gibibytes_and_more_is_in_the_extra_field() {
    let wide = |size: u64, fields: &[u8]| {
        let mut header = header("a", u32::MAX, 7);
        let extra = [fields, &[1, 0, 8, 0], &size.to_le_bytes()].concat();
        header[30..32].copy_from_slice(&u16::try_from(extra.len()).unwrap().to_le_bytes());
        let body = [&header[..], &extra].concat();
        listing(&body, 5).packed(0, body.len() as u64, 1).map(|packed| packed.came().size)
    };
    assert_eq!(wide(5 << 30, &[]), Some(5 << 30));
    assert_eq!(wide(5 << 30, &[9, 9, 2, 0, 1, 0]), Some(5 << 30));
    assert_eq!(wide(5 << 30, &[9, 9, 200, 0]), None);
}

proptest! {
    #[test]
    fn portions_do_not_matter(
        before in prop::collection::vec(prop::sample::select(&b"PK\x01\x02\x05x"[..]), 0..40),
        entries in prop::collection::vec(("[PK\x01\x02a]{0,9}", 1_u32..9, 1_u32..9), 1..5),
        portion in 1..20_usize,
    ) {
        let told = listed(&before, &entries, portion);
        prop_assert_eq!(&told, &listed(&before, &entries, usize::MAX));
        let begins = before.windows(4).any(|four| four == SIGNATURE);
        prop_assert!(told.is_some() || begins);
    }
}
