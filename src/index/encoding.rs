//! UTF-8 or GBK: nothing in the index says which, and different releases write either.
//!
//! A byte order mark decides for the file. Without one the first row that is not ASCII decides:
//! UTF-8 if it is that, else GBK; text in GBK is hardly ever good UTF-8 by chance. A later row that
//! is not in the file's encoding is a bad one rather than a reason to think again.

use std::borrow::Cow;

use encoding_rs::GBK;

use super::BadRow;

/// What a file of that encoding may begin with.
pub(super) const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
pub(super) const UTF16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// What a file is written in, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// ASCII so far.
    Undecided,
    Utf8,
    Gbk,
}

impl Encoding {
    /// Neither encoding has bytes of ASCII in its other characters, so that rows and fields can be
    /// told apart before they are decoded; a comma or quote at least never is half of a character.
    pub(super) fn decode(&mut self, fields: Vec<Vec<u8>>) -> Result<Vec<String>, BadRow> {
        if *self == Self::Undecided && !fields.iter().all(|field| field.is_ascii()) {
            let utf8 = fields.iter().all(|field| std::str::from_utf8(field).is_ok());
            *self = if utf8 { Self::Utf8 } else { Self::Gbk };
        }
        let wrong = |encoding: &str| {
            BadRow(format!("is not {encoding}, which the file is in as far as could be told"))
        };
        let decoded = fields.into_iter().map(|field| match self {
            Self::Undecided | Self::Utf8 => String::from_utf8(field).map_err(|_| wrong("UTF-8")),
            Self::Gbk => GBK
                .decode_without_bom_handling_and_without_replacement(&field)
                .map(Cow::into_owned)
                .ok_or_else(|| wrong("GBK")),
        });
        decoded.collect()
    }
}
