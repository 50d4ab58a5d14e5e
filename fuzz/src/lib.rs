//! What must hold of the pure parts of callvault, whatever bytes they are given.
//!
//! A target is a function that panics where bytes break a promise. `tests/libfuzzer.rs` looks for
//! such bytes (`make fuzz`); `tests/corpus.rs` goes through those that are kept in `corpus/`, with
//! every `make test`. It sees of callvault what any other crate does.

mod answer;
mod archive;
mod guard;
mod index;
mod key;
mod message;
mod wav;
mod zip;

use std::hash::{DefaultHasher, Hasher};

use callvault::failure::{Failure, Reason};
use serde_json::Value;

/// A name, which is that of its corpus and dictionary, and what must hold.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("answer", answer::check),
    ("archive", archive::check),
    ("guard", guard::check),
    ("index", index::check),
    ("key", key::check),
    ("message", message::check),
    ("wav", wav::check),
    ("zip", zip::check),
];

/// A failure travels in headers, events and logs: its text is ours, nothing in it is from `bytes`.
fn quotes_nothing(failure: &Failure, bytes: &[u8]) {
    let Failure { reason, detail, .. } = failure;
    let (family, code) = reason.as_str().split_once('.').expect("a family and a code");
    assert!(["ccfs", "message"].contains(&family), "{reason}");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    assert!((1..=64).contains(&code.len()) && code.bytes().all(plain), "{reason}");

    if *reason != Reason::MESSAGE_TOO_LARGE {
        let mut texts = Vec::new();
        if let Ok(value) = serde_json::from_slice(bytes) {
            gather(value, &mut texts);
        }
        says_nothing_of(texts.iter().map(String::as_bytes), detail);
    }
}

fn gather(value: Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(values) => values.into_iter().for_each(|value| gather(value, texts)),
        Value::Object(fields) => fields.into_values().for_each(|value| gather(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Numbers of ours are lengths and places, of five digits at most. Short texts may be words of
/// ours, and so may the types of messages and the time that is an example of one.
fn says_nothing_of<'a>(texts: impl Iterator<Item = &'a [u8]>, detail: &str) {
    assert!(detail.is_ascii(), "{detail}");
    let mut numbers = detail.split(|c: char| !c.is_ascii_digit());
    assert!(numbers.all(|digits| digits.len() <= 5), "{detail}");
    let ours = "type must be call.completed, recording.dump-requested or recording.dump-item \
                2026-04-25 05:12:44";
    for text in texts.filter(|text| text.len() >= 12 && !is_within(text, ours)) {
        assert!(!is_within(text, detail), "{detail}");
    }
}

/// Compares digests: libFuzzer watches comparisons, and would learn our sentences from them only
/// to say that a value is one.
fn is_within(text: &[u8], detail: &str) -> bool {
    let digest = |bytes: &[u8]| {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        hasher.finish()
    };
    detail.as_bytes().windows(text.len()).any(|part| digest(part) == digest(text))
}

/// `bytes` in portions as a network might deliver them: of sizes that only `bytes` decide, so that
/// what was found is found again.
fn portions(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut state = bytes.iter().fold(0x9E37_79B9_u32, |state, byte| mixed(state, *byte));
    let mut rest = bytes;
    std::iter::from_fn(move || {
        state = mixed(state, 0);
        let (portion, tail) = rest.split_at_checked(1 + state as usize % 61).unwrap_or((rest, &[]));
        rest = tail;
        Some(portion).filter(|portion| !portion.is_empty())
    })
}

/// A step of FNV-1a, its high bits mixed into the low.
fn mixed(state: u32, byte: u8) -> u32 {
    let state = (state ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    state ^ state >> 15
}

/// Where to cut `length` bytes: everywhere if they are few, else at the ends and here and there.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let step = length / 16 + 1;
    (0..length).filter(move |cut| cut % step == 0 || *cut < 16 || cut + 32 > length)
}
