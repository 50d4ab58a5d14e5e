//! A recording that is not there as it should, as scripts read of it.

use serde::Serialize;

use crate::index::Position;
use crate::recording::KeyPattern;
use crate::request::{CallId, FileName, Wanted};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed<'a> {
    state: &'static str,
    /// Where the index has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<&'a CallId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_name: Option<&'a FileName>,
    /// Where it would be.
    key: &'a str,
}

impl<'a> Listed<'a> {
    pub fn new(
        state: &'static str,
        at: &'a Position,
        wanted: &'a Wanted,
        key: &'a KeyPattern,
    ) -> Self {
        Self {
            state,
            file: at.file.as_deref(),
            line: at.line,
            call_id: wanted.call_id.as_ref(),
            file_name: wanted.file_name.as_ref(),
            key: key.as_str(),
        }
    }
}
