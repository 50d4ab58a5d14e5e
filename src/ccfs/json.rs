//! The result code in a JSON answer. Pure.

use serde_json::Value;

/// The most bytes of a JSON answer that are gathered; the vendor's own have a few hundred.
pub(super) const MOST: usize = 64 * 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The result code of `body`: the outer one, or that of the inner `response`, which is all that
/// older releases fill. `None`: no JSON, or no code in it.
///
/// serde_json's own error is dropped on purpose: it quotes the offending value.
pub(super) fn result_code(body: &[u8]) -> Option<String> {
    let text = body.strip_prefix(BOM).unwrap_or(body);
    let answer: Value = serde_json::from_slice(text).ok()?;
    let outer = answer.get("resultCode").and_then(code);
    outer.or_else(|| answer.get("response")?.get("resultCode").and_then(code))
}

fn code(value: &Value) -> Option<String> {
    match value {
        Value::String(code) => Some(code.trim().to_owned()).filter(|code| !code.is_empty()),
        // A number has lost the leading zeros of the vendor's seven digits.
        Value::Number(number) => match number.as_u64()? {
            0 => Some("0".to_owned()),
            code => Some(format!("{code:07}")),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        result_code(text.as_bytes())
    }

    #[test]
    fn the_outer_code_counts_and_the_inner_one_stands_in() {
        let both = r#"{"resultCode":"0300012","response":{"resultCode":"0300001"}}"#;
        assert_eq!(read(both).as_deref(), Some("0300012"));
        let inner = r#"{"response":{"version":"2.0","resultCode":"0300008"}}"#;
        assert_eq!(read(inner).as_deref(), Some("0300008"));
        for empty in [r#""""#, "null", "{}"] {
            let text = format!(r#"{{"resultCode":{empty},"response":{{"resultCode":"0300008"}}}}"#);
            assert_eq!(read(&text).as_deref(), Some("0300008"));
        }
    }

    #[test]
    fn a_number_gets_its_zeros_back() {
        assert_eq!(read(r#"{"resultCode":300012}"#).as_deref(), Some("0300012"));
        assert_eq!(read(r#"{"resultCode":0}"#).as_deref(), Some("0"));
        assert_eq!(read(r#"{"resultCode":100000}"#).as_deref(), Some("0100000"));
        assert_eq!(read(r#"{"resultCode":-1}"#), None);
    }

    #[test]
    fn a_byte_order_mark_and_blanks_are_tolerated() {
        assert_eq!(
            read("\u{feff} \r\n{\"resultCode\": \" 0300012 \"} ").as_deref(),
            Some("0300012")
        );
    }

    #[test]
    fn what_is_no_answer_has_no_code() {
        for text in ["", "{", "{}", "[]", "\"0300012\"", "{\"resultCode\":\"03", "{\"response\":7}"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(result_code(b"{\"resultCode\":\"\xff\"}"), None);
    }
}
