//! A row of the recording index, as CC-FS writes it.

use jiff::civil::DateTime;

/// A recording that CC-FS knows of; times are those of the tenant's clocks.
#[derive(Clone, Debug)]
pub struct IndexRow {
    begin: DateTime,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Whole {
        end: DateTime,
        call_id: String,
        cc_id: String,
        agent: String,
        file_name: Option<String>,
    },
    Raw(String),
}

/// That must never be shown by anything that reads an index.
const PHONES: [&str; 2] = ["+4915550123", "13800138000"];

impl IndexRow {
    /// A call with a recording of its own.
    pub fn new(call_id: impl Into<String>, begin: DateTime, end: DateTime) -> Self {
        let kind = Kind::Whole {
            end,
            call_id: call_id.into(),
            cc_id: "1".to_owned(),
            agent: "512".to_owned(),
            file_name: None,
        };
        Self { begin, kind }
    }

    /// A line as it is, good or bad; `begin` says which spans it is in.
    pub fn raw(begin: DateTime, line: impl Into<String>) -> Self {
        Self { begin, kind: Kind::Raw(line.into()) }
    }

    /// Another `original_file_name` than `X:/4/0/{day of the end}/512/{call id}.V3`.
    #[must_use]
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        if let Kind::Whole { file_name, .. } = &mut self.kind {
            *file_name = Some(name.into());
        }
        self
    }

    #[must_use]
    pub fn cc_id(mut self, new: impl Into<String>) -> Self {
        if let Kind::Whole { cc_id, .. } = &mut self.kind {
            *cc_id = new.into();
        }
        self
    }

    /// Any text: the index has names of people in it.
    #[must_use]
    pub fn agent(mut self, new: impl Into<String>) -> Self {
        if let Kind::Whole { agent, .. } = &mut self.kind {
            *agent = new.into();
        }
        self
    }

    /// Which of its moments says the spans that it is in.
    pub(super) fn begin(&self) -> DateTime {
        self.begin
    }

    /// Its line, without an end, with so many columns.
    pub(super) fn line(&self, columns: usize) -> String {
        let (end, call_id, cc_id, agent, file_name) = match &self.kind {
            Kind::Raw(line) => return line.clone(),
            Kind::Whole { end, call_id, cc_id, agent, file_name } => {
                (end, call_id, cc_id, agent, file_name)
            }
        };
        let day = end.strftime("%Y%m%d");
        let own = || format!("X:/4/0/{day}/512/{call_id}.V3");
        let file_name = file_name.clone().unwrap_or_else(own);
        let time = |at: &DateTime| at.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let (begin, end) = (time(&self.begin), time(end));
        let known = [
            "dev", "7", cc_id, agent, call_id, PHONES[0], PHONES[1], &begin, &end, "", "0", "0",
            &file_name, "4", "0", "5", "", "17",
        ];
        let later = std::iter::repeat("later");
        let fields: Vec<_> = known.into_iter().chain(later).take(columns).map(cell).collect();
        fields.join(",")
    }
}

/// As RFC 4180 has it.
fn cell(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
