//! What spreadsheets, and those who help them, leave in a cell. Pure.
//!
//! A long number is rounded by a spreadsheet unless something makes a text of it: a tab or a blank
//! beside it, an apostrophe, a formula (`="1777093663"`). None of that is part of any name or time.

use std::borrow::Cow;

/// The text of a cell, without what only a spreadsheet needs.
pub(super) fn text(cell: &str) -> Cow<'_, str> {
    let cell = cell.trim_matches(is_blank);
    let cell = cell.strip_prefix('\'').unwrap_or(cell);
    let quoted = cell.strip_prefix('=').unwrap_or(cell);
    match quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) => text.replace("\"\"", "\"").trim_matches(is_blank).to_owned().into(),
        None => cell.trim_matches(is_blank).into(),
    }
}

/// Whether it is a long number as a spreadsheet shows it, `1.77709E+20`: the digits are lost.
pub(super) fn is_rounded(text: &str) -> bool {
    let Some((digits, exponent)) = text.split_once(['E', 'e']) else { return false };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = digits.split_once(['.', ',']).unwrap_or((digits, "0"));
    number(whole) && number(fraction) && exponent.strip_prefix('+').is_some_and(number)
}

/// Blanks of every script, and what is copied along with a text without being seen: byte order
/// marks, zero-width blanks, marks of the writing direction.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_needs_is_taken_off() {
        let cells = [
            "1777093663-0",
            "1777093663-0\t",
            " 1777093663-0 ",
            "\u{a0}1777093663-0\u{3000}",
            "\u{feff}1777093663-0",
            "\u{202a}1777093663-0\u{200b}",
            "=\"1777093663-0\"",
            "\t=\"1777093663-0 \"",
            "\"1777093663-0\"",
            "'1777093663-0",
            "' 1777093663-0",
        ];
        for cell in cells {
            assert_eq!(text(cell), "1777093663-0", "{cell:?}");
        }
        assert_eq!(text("=\"say \"\"a\"\"\""), "say \"a\"");
        for whole in ["a b", "=A1", "it's", "\"", "=", "a\"b"] {
            assert_eq!(text(whole), whole);
        }
        assert_eq!(text(" \t"), "");
    }

    #[test]
    fn a_rounded_number_is_known() {
        for rounded in ["1.77709E+09", "1,77709E+24", "1E+20", "1.2e+20"] {
            assert!(is_rounded(rounded), "{rounded}");
        }
        let names = ["1777093663-0", "1E20", "E+20", "1.E+20", "1.2.3E+4", "a1E+20", "1E+", ""];
        for name in names {
            assert!(!is_rounded(name), "{name}");
        }
    }
}
