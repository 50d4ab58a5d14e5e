//! Cut or changed, an archive gives what it gave or nothing.

use proptest::prelude::*;

use super::made::{Raw, wav, zip_of};
use super::{Outcome, outcome};

/// An archive of any small entries.
fn any_archive() -> impl Strategy<Value = Vec<u8>> {
    let content = prop::collection::vec(any::<u8>(), 1..40).prop_map(|mut bytes| {
        bytes[0] |= 0x80; // No format begins so.
        bytes
    });
    let entry = (content, any::<bool>(), any::<bool>());
    prop::collection::vec(entry, 1..4).prop_map(|entries| {
        let entries = entries.into_iter().enumerate().map(|(n, (content, deflated, described))| {
            let name = format!("{n}.wav");
            let entry = match deflated {
                true => Raw::deflated(&name, &content),
                false => Raw::stored(&name, &content),
            };
            if described { entry.described() } else { entry }
        });
        zip_of(&entries.collect::<Vec<_>>())
    })
}

/// Other bytes of an archive give the same entries or none.
fn assert_same_or_none(bytes: &[u8], right: &Outcome, what: &str) {
    let found = outcome(bytes);
    assert!(found.is_err() || found == *right, "{what}: {found:?}");
}

proptest! {
    #[test]
    fn a_cut_or_changed_archive_gives_nothing_else(
        bytes in any_archive(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 40),
    ) {
        let right = outcome(&bytes);
        prop_assert!(right.is_ok(), "{right:?}");
        for cut in 0..bytes.len() {
            prop_assert!(outcome(&bytes[..cut]).is_err(), "{cut} of {}", bytes.len());
        }
        for (at, flip) in changes {
            let at = at.index(bytes.len());
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            assert_same_or_none(&changed, &right, &format!("byte {at} ^ {flip:#x}"));
        }
    }

    #[test]
    fn any_bytes_are_refused_in_order(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(outcome(&bytes).is_err());
    }
}

#[test]
fn each_bit_of_an_archive_counts_or_does_not() {
    for bytes in [
        include_bytes!("../../../../fuzz/corpus/archive/java.zip").to_vec(),
        zip_of(&[Raw::stored("1.wav", &wav(20)), Raw::deflated("2.wav", &wav(20))]),
    ] {
        let right = outcome(&bytes);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_same_or_none(&changed, &right, &format!("bit {bit} of byte {at}"));
            }
        }
    }
}
