//! Lone surrogates: what a sender leaves who cuts a text in the middle of an emoji.

use std::borrow::Cow;

/// The escape of U+FFFD, which stands for what no character can be made of.
const REPLACEMENT: &[u8; 6] = br"\ufffd";

/// The text with each lone surrogate (`\ud83d` without its `\ude00`) as an escaped U+FFFD.
///
/// RFC 8259, section 8.2, allows them and leaves open what they mean; serde_json refuses the whole
/// text, wherever in it they stand. Nothing changes its place, so that what else is wrong is told
/// where it is.
pub fn replaced(text: &str) -> Cow<'_, str> {
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    // Backslashes stand in strings alone; elsewhere the text is no JSON, whatever becomes of it.
    while let Some(next) = text.as_bytes()[at..].iter().position(|byte| *byte == b'\\') {
        at += next;
        let rest = &text.as_bytes()[at..];
        at += match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                let mended = mended.get_or_insert_with(|| text.as_bytes().to_vec());
                mended[at..at + 6].copy_from_slice(REPLACEMENT);
                6
            }
            (Some(_), _) => 6,
            // Another escape, `\\` say, or none at all.
            (None, _) => 2.min(rest.len()),
        };
    }
    match mended {
        Some(mended) => String::from_utf8(mended).expect("ASCII took the place of ASCII").into(),
        None => text.into(),
    }
}

/// The UTF-16 unit whose escape some bytes begin with.
fn unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(br"\u")?.get(..4)?;
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    digits.iter().try_fold(0, |unit, byte| Some(unit * 16 + digit(byte)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::replaced;

    #[test]
    fn only_what_is_alone_is_replaced() {
        let cases = [
            (r#""cut \ud83d""#, r#""cut \ufffd""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\uDE00\uD83D""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\uD83D\uDe00""#, r#""\ufffd\uD83D\uDe00""#),
            (r#""\ud83d\n\ude00""#, r#""\ufffd\n\ufffd""#),
            (r#""\ud83d\u0041""#, r#""\ufffd\u0041""#),
            // A backslash and five letters.
            (r#""\\ud83d \\\ud83d""#, r#""\\ud83d \\\ufffd""#),
            (r#""\ud83 é \ud8é""#, r#""\ud83 é \ud8é""#),
            ("\"\\", "\"\\"),
            ("\\é", "\\é"),
        ];
        for (text, expected) in cases {
            assert_eq!(replaced(text), expected, "{text}");
        }
    }

    proptest! {
        /// As the reader for UTF-16 does it, which every string in JSON was once made with.
        #[test]
        fn a_string_of_any_units_is_read(units in prop::collection::vec(0xd700_u16..0xe100, 0..9)) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let text = format!("\"{escaped}\"");
            let read: Value = serde_json::from_str(&replaced(&text)).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
        }

        #[test]
        fn nothing_changes_its_place(text in r#"[\\ud8cbe0-9"é]{0,40}"#) {
            prop_assert_eq!(replaced(&text).len(), text.len());
        }
    }
}
