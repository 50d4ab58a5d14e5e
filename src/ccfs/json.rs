//! The result code in a JSON answer, however unclean the rest of it is. Pure.

use std::borrow::Cow;

use encoding_rs::{Encoding, GB18030, UTF_8};
use serde_json::{Deserializer, Map, Value};

use crate::failure::Reason;
use crate::request::surrogates;

/// The most bytes of a JSON answer that are gathered; the vendor's own have a few hundred.
pub(super) const MOST: usize = 64 * 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// What a body is that begins as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Object {
    /// An answer with this code: digits alone.
    Code(String),
    /// An answer with a code that is none.
    OddCode,
    /// An answer without a code, or one that nobody can read; JSON that is no object.
    NoCode,
    /// JSON as far as it goes.
    Open,
    /// No JSON.
    Other,
}

/// Reads `body`, which begins as JSON.
///
/// What an answer says in words comes in any encoding, and is not looked at. serde_json's own error
/// is dropped on purpose: it quotes the offending value.
pub(super) fn read(body: &[u8]) -> Object {
    if let Some(words) = utf16(body) {
        return unless_named(parse(&words), &words);
    }
    let body = body.strip_prefix(BOM).unwrap_or(body);
    let words = String::from_utf8_lossy(body);
    let object = match parse(&words) {
        // The second byte of a character of GBK may be a backslash, which hides the quote behind it.
        Object::Open | Object::Other if matches!(words, Cow::Owned(_)) => {
            parse(&GB18030.decode_without_bom_handling(body).0)
        }
        object => object,
    };
    unless_named(object, &words)
}

/// What a success calls that which it has CC-FS make, `resultData.responseId`.
pub(super) fn response_id(body: &[u8]) -> Option<String> {
    let words = utf16(body)
        .unwrap_or_else(|| String::from_utf8_lossy(body.strip_prefix(BOM).unwrap_or(body)));
    // As above.
    let gbk = || GB18030.decode_without_bom_handling(body).0;
    let fields = object(&words).or_else(|| object(&gbk()))?;
    let id = fields.get("resultData")?.get("responseId")?;
    id.as_str().map(str::to_owned)
}

/// The words of a body that says to be UTF-16.
fn utf16(body: &[u8]) -> Option<Cow<'_, str>> {
    let (encoding, _) = Encoding::for_bom(body).filter(|(encoding, _)| *encoding != UTF_8)?;
    Some(encoding.decode_with_bom_removal(body).0)
}

/// The object that `words` begin with.
fn object(words: &str) -> Option<Map<String, Value>> {
    match Deserializer::from_str(&plain(words)).into_iter().next() {
        Some(Ok(Value::Object(fields))) => Some(fields),
        _ => None,
    }
}

/// Nothing that names a result code is a recording.
fn unless_named(object: Object, words: &str) -> Object {
    match object {
        Object::Other if words.contains("\"resultCode\"") => Object::NoCode,
        object => object,
    }
}

fn parse(words: &str) -> Object {
    let is_binary = |c: char| c.is_control() && !c.is_whitespace();
    let text = plain(words);
    let mut values = Deserializer::from_str(&text).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => match value.as_object().map_or(Object::NoCode, code_in) {
            Object::NoCode if !text[values.byte_offset()..].trim_ascii().is_empty() => {
                Object::Other
            }
            object => object,
        },
        Some(Err(error)) if error.is_eof() && !words.contains(is_binary) => Object::Open,
        _ => Object::Other,
    }
}

/// The outer code, or that of the inner `response`, which is all that older releases fill.
fn code_in(fields: &Map<String, Value>) -> Object {
    let inner = fields.get("response").and_then(|response| response.get("resultCode"));
    let codes = [fields.get("resultCode").and_then(code), inner.and_then(code)];
    let usable = |code: &&String| Reason::ccfs(code).is_result_code();
    let mut codes = codes.iter().flatten();
    match (codes.clone().find(usable), codes.next()) {
        (Some(code), _) => Object::Code(code.clone()),
        (None, Some(_)) => Object::OddCode,
        (None, None) => Object::NoCode,
    }
}

fn code(value: &Value) -> Option<String> {
    match value {
        Value::String(code) => Some(code.trim().to_owned()).filter(|code| !code.is_empty()),
        Value::Number(number) if number.as_u64() == Some(0) => Some("0".to_owned()),
        // A number has lost the leading zeros of the vendor's seven digits.
        Value::Number(number) => Some(format!("{:0>7}", number.to_string())),
        _ => None,
    }
}

/// `words` as a strict reader takes them: without control characters, and without surrogates that
/// stand alone.
fn plain(words: &str) -> String {
    let blank = |c: char| if c.is_ascii_control() { ' ' } else { c };
    let words: String = words.chars().map(blank).collect();
    surrogates::replaced(&words).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Object {
        read(text.as_bytes())
    }

    fn code(code: &str) -> Object {
        Object::Code(code.to_owned())
    }

    #[test]
    fn the_outer_code_counts_and_the_inner_one_stands_in() {
        let both = r#"{"resultCode":"0300012","response":{"resultCode":"0300001"}}"#;
        assert_eq!(of(both), code("0300012"));
        let inner = r#"{"response":{"version":"2.0","resultCode":"0300008"}}"#;
        assert_eq!(of(inner), code("0300008"));
        for none in [r#""""#, "null", "{}", r#""no such file""#, r#""491711234567""#] {
            let text = format!(r#"{{"resultCode":{none},"response":{{"resultCode":"0300008"}}}}"#);
            assert_eq!(of(&text), code("0300008"), "{text}");
        }
    }

    #[test]
    fn a_number_gets_its_zeros_back() {
        assert_eq!(of(r#"{"resultCode":300012}"#), code("0300012"));
        assert_eq!(of(r#"{"resultCode":0}"#), code("0"));
        assert_eq!(of(r#"{"resultCode":100000}"#), code("0100000"));
    }

    #[test]
    fn a_code_is_at_most_nine_digits() {
        assert_eq!(of(r#"{"resultCode":"123456789"}"#), code("123456789"));
        let odd = [
            "\"0123456789\"",
            "\"491711234567\"",
            "491711234567",
            "\"E300012\"",
            "\"no 13800138000\"",
            "-1",
            "3.5",
            "\"\u{663}\"",
        ];
        for odd in odd {
            assert_eq!(of(&format!(r#"{{"resultCode":{odd}}}"#)), Object::OddCode, "{odd}");
        }
    }

    #[test]
    fn a_byte_order_mark_and_blanks_are_tolerated() {
        assert_eq!(of("\u{feff} \r\n{\"resultCode\": \" 0300012 \"} \0\n"), code("0300012"));
    }

    #[test]
    fn a_byte_order_mark_tells_utf_16() {
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| {
            let marked = std::iter::once(0xfeff).chain(text.encode_utf16());
            marked.flat_map(bytes).collect::<Vec<_>>()
        };
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let answer = utf16(r#"{"resultDesc":"无","resultCode":"0300012"}"#, bytes);
            assert_eq!(read(&answer), code("0300012"));
            assert_eq!(read(&answer[..answer.len() - 5]), Object::Open);
            assert_eq!(read(&utf16("{oops", bytes)), Object::Other);
        }
    }

    #[test]
    fn an_id_is_found_whatever_the_words_around_it_are() {
        let id = Some("9239cb50-a838".to_owned());
        for words in [&b"ok"[..], b"\xce\xde", b"\x81\x5c", b"a\nb\x00", br"\ud83d"] {
            let parts = [
                br#"{"resultCode":"0","resultDesc":""#,
                words,
                br#"","resultData":{"responseId":"9239cb50-a838"}}"#,
            ];
            assert_eq!(response_id(&parts.concat()), id, "{}", words.escape_ascii());
        }
        let marked: Vec<u8> = std::iter::once(0xfeff)
            .chain(r#"{"resultData":{"responseId":"9239cb50-a838"}}"#.encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(response_id(&marked), id);
        for none in ["{", "{}", r#"{"resultData":""}"#, r#"{"resultData":{"responseId":7}}"#] {
            assert_eq!(response_id(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn what_an_answer_says_in_words_does_not_matter() {
        let unclean: [&[u8]; 8] = [
            b"\xce\xde\xca\xfd\xbe\xdd", // GBK
            b"\x81\x5c",                 // GBK, with the byte of a backslash
            b"keine Datens\xe4tze f\xfcr",
            b"a flow\nthat\x00 is \x1b broken",
            br"\ud83d and \uDE00",
            br"\ud83d\ude00",
            br"\\ud83d",
            b"\xff\xfe\x00",
        ];
        for words in unclean {
            let parts = [br#"{"resultDesc":""#, words, br#"","resultCode":"0300012"}"#];
            assert_eq!(read(&parts.concat()), code("0300012"), "{}", words.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_answer_has_no_code() {
        let no_objects =
            ["null", "7", "-0.5 ", "\"no such file\"\n", "[{\"resultCode\":\"0300012\"}]"];
        let objects = ["{}", "{\"response\":7}", "{\"a\":{\"resultCode\":\"0300012\"}} "];
        for text in objects.into_iter().chain(no_objects) {
            assert_eq!(of(text), Object::NoCode, "{text}");
        }
        assert_eq!(of(r#"{"resultDesc":"no "good" one","resultCode":"0300012"}"#), Object::NoCode);
    }

    #[test]
    fn json_that_is_torn_is_told_from_what_never_was_json() {
        let whole = r#"{"resultCode":"0300012","resultDesc":"\u65e0","response":{"a":[1,true]}}"#;
        for end in 1..whole.len() {
            assert_eq!(of(&whole[..end]), Object::Open, "{}", &whole[..end]);
        }
        let never = [&b"{\x00\x01"[..], b"{abc", b"{}\x01\x9b", b"{\"\x00\x9b\xf5", b"{{", b"{]"];
        let no_objects = [
            &b"[\x00"[..],
            b"\"\x00\x9b",
            b"null\x9b",
            b"0123",
            b"7z\xbc\xaf",
            b"fLaC\0\0",
            b"-\x01",
        ];
        for bytes in never.into_iter().chain(no_objects) {
            assert_eq!(read(bytes), Object::Other, "{}", bytes.escape_ascii());
        }
    }
}
