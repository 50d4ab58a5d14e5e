//! Numbers that no f64 holds (`1e400`): what a sender leaves who counts in decimals or big integers.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// Shorter than any number that is too large: `1e309` has five characters.
const HALF: &[u8; 3] = b"0.5";

/// The text with each number that is too large as `0.5` and zeros: a number all the same, and none
/// that any field takes.
///
/// RFC 8259, section 6, allows them and leaves open what they mean; serde_json refuses the whole
/// text, wherever in it they stand. Nothing changes its place, so that what else is wrong is told
/// where it is.
pub fn replaced(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => string(&bytes[at..]),
            b'-' | b'0'..=b'9' => {
                let length = bytes[at..].iter().take_while(|byte| is_of_number(**byte)).count();
                let number = &text[at..at + length];
                if is_too_large(number) {
                    let mended = mended.get_or_insert_with(|| bytes.to_vec());
                    let (half, zeros) = mended[at..at + length].split_at_mut(HALF.len());
                    half.copy_from_slice(HALF);
                    zeros.fill(b'0');
                }
                length
            }
            _ => 1,
        };
    }
    match mended {
        Some(mended) => String::from_utf8(mended).expect("ASCII took the place of ASCII").into(),
        None => text.into(),
    }
}

/// A number as RFC 8259 writes it, of which serde_json makes none.
fn is_too_large(number: &str) -> bool {
    serde_json::from_str::<f64>(number).is_err()
        && serde_json::from_str::<IgnoredAny>(number).is_ok()
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || b"+-.eE".contains(&byte)
}

/// The length of the string that some bytes begin with, its quotes included, or what is there of it.
fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_what_is_too_large_is_replaced() {
        let long = "7".repeat(400);
        let half = format!("0.5{}", "0".repeat(397));
        let cases = [
            ("[1e400]", "[0.500]"),
            ("[-1E+400,2]", "[0.50000,2]"),
            ("{\"a\":1e309}", "{\"a\":0.500}"),
            ("[1e-400,0e999,1e307,-0.0]", "[1e-400,0e999,1e307,-0.0]"),
            (&long, &half),
            // Where it is no number.
            (r#"["1e400",1e400]"#, r#"["1e400",0.500]"#),
            (r#"["\"1e400",1e400]"#, r#"["\"1e400",0.500]"#),
            (r#"["\\",1e400,"1e400"#, r#"["\\",0.500,"1e400"#),
            ("[1e400e,01e400,1.e400]", "[1e400e,01e400,1.e400]"),
            ("\"\\", "\"\\"),
        ];
        for (text, expected) in cases {
            assert_eq!(replaced(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_read(number in r"-?(0|[1-9][0-9]{0,330})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,6})?") {
            let text = format!("{{\"a\":[{number}]}}");
            let read = serde_json::from_str::<Value>(&replaced(&text));
            prop_assert!(read.is_ok_and(|read| read["a"][0].is_number()), "{number}");
        }

        #[test]
        fn what_is_no_json_is_none_afterwards(text in r#"[\[\],:"e0-9+.\\ -]{0,30}"#) {
            let replaced = replaced(&text);
            prop_assert_eq!(replaced.len(), text.len());
            prop_assert_eq!(
                serde_json::from_str::<IgnoredAny>(&text).is_ok(),
                serde_json::from_str::<Value>(&replaced).is_ok()
            );
        }
    }
}
