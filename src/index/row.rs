//! The columns of a row that tell which recording it is. Pure.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{BadRow, cell};
use crate::request::{BadName, CallId, CcId, FileName, Wanted};

/// developer, account_id, cc_id, agent_id, call_id, caller_no, callee_no, call_begin, call_end,
/// file_name, task_status, task_result, original_file_name: those of every release. Newer ones have
/// vdn_id, call_type, media_type, user_wanted_skill_id, current_skill_id and what else may come.
pub(super) const COLUMNS: usize = 13;

const CC_ID: usize = 2;
const CALL_ID: usize = 4;
const CALL_BEGIN: usize = 7;
const CALL_END: usize = 8;
const ORIGINAL_FILE_NAME: usize = 12;

/// A recording of the index.
///
/// A release whose call ids are longer than CC-FS takes can still be asked by file name, so that
/// one name that is unfit does not spoil the row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub call_id: Result<CallId, BadName>,
    /// `original_file_name`.
    pub file_name: Result<FileName, BadName>,
    pub cc_id: Option<CcId>,
    pub call_begin: Option<Timestamp>,
    pub call_end: Option<Timestamp>,
}

/// Which of its names a recording is asked for by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    #[default]
    CallId,
    FileName,
}

impl Row {
    /// Reads a row, its times as those of `zone`.
    pub(super) fn read(fields: &[String], zone: &TimeZone) -> Result<Self, BadRow> {
        let field = |column: usize| cell::text(fields.get(column).map_or("", String::as_str));
        let cc_id = Some(field(CC_ID)).filter(|text| !text.is_empty()).map(CcId::new).transpose();
        let call_id = field(CALL_ID);
        let row = Self {
            call_id: match cell::is_rounded(&call_id) {
                false => CallId::new(call_id),
                true => Err(BadName(
                    "was rounded by a spreadsheet; give the index as CC-FS made it".to_owned(),
                )),
            },
            file_name: FileName::new(field(ORIGINAL_FILE_NAME)),
            cc_id: cc_id.map_err(|rule| BadRow(format!("cc_id {rule}")))?,
            call_begin: time(&field(CALL_BEGIN), "call_begin", zone)?,
            call_end: time(&field(CALL_END), "call_end", zone)?,
        };
        match (&row.call_id, &row.file_name) {
            (Err(call_id), Err(file_name)) => {
                Err(BadRow(format!("call_id {call_id}, and original_file_name {file_name}")))
            }
            _ => Ok(row),
        }
    }

    /// The recording with all its names.
    pub fn whole(self) -> Wanted {
        let Self { call_id, file_name, cc_id, call_begin, call_end } = self;
        let (call_id, file_name) = (call_id.ok(), file_name.ok());
        Wanted { call_id, file_name, cc_id, call_begin, call_end, ..Wanted::default() }
    }

    /// The recording, asked for by one of its names.
    ///
    /// # Errors
    /// The row has no such name that CC-FS would take.
    pub fn wanted(self, by: By) -> Result<Wanted, BadRow> {
        let Self { call_id, file_name, cc_id, call_begin, call_end } = self;
        let (call_id, file_name) = match by {
            By::CallId => (Some(call_id.map_err(|rule| BadRow(format!("call_id {rule}")))?), None),
            By::FileName => {
                let bad = |rule| BadRow(format!("original_file_name {rule}"));
                (None, Some(file_name.map_err(bad)?))
            }
        };
        Ok(Wanted { call_id, file_name, cc_id, call_begin, call_end, ..Wanted::default() })
    }
}

/// `YYYY-MM-DD hh:mm:ss` on the clocks of `zone`; nothing, where the column is empty.
///
/// What a clock showed twice is taken for the first time, and what it skipped for as much later:
/// the day, which decides the key, is that of the row either way.
fn time(text: &str, column: &str, zone: &TimeZone) -> Result<Option<Timestamp>, BadRow> {
    if text.is_empty() {
        return Ok(None);
    }
    let shaped = text.len() == "YYYY-MM-DD hh:mm:ss".len();
    let civil = shaped.then(|| DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()).flatten();
    // The year 0 cannot be written in a message.
    let civil = civil.filter(|civil| civil.year() >= 1);
    let time = civil.and_then(|civil| zone.to_timestamp(civil).ok());
    let bad = || BadRow(format!("{column} is no time as in 2026-04-25 05:12:44"));
    time.map(Some).ok_or_else(bad)
}
