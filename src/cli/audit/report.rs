//! What an audit has found, for people or for scripts.

use std::fmt::Write as _;

use serde::Serialize;

use super::Target;
use super::end::{Done, End, Undone};
use crate::cli::held::Lines;
use crate::cli::terminal::harmless;
use crate::cli::{Error, say};
use crate::event::Found;
use crate::request::{RequestId, TenantId};

/// The numbers of a line, by their names for people.
const COLUMNS: [&str; 8] =
    ["ROWS", "PRESENT", "PARTIAL", "MISSING", "EMPTY", "ON THE WAY", "BAD", "ASKED"];
/// What is left of a table's edge.
const GAP: &str = "  ";

pub struct Report<'a> {
    pub targets: &'a [Target<'a>],
    /// In the order in which they are shown.
    pub ends: &'a [End],
    /// Whether anything was to be asked for.
    pub asks: bool,
}

impl Report<'_> {
    /// `explained`: recordings that are not there; `well`: nothing else was wrong.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub fn write(&self, json: bool, explained: Option<Lines>, well: bool) -> Result<(), Error> {
        let complete = well && self.code() == 0;
        if json {
            return self.write_json(explained, complete);
        }
        say(&self.table(complete))?;
        let Some(mut lines) = explained else { return Ok(()) };
        if !lines.is_empty() {
            say("\n")?;
        }
        lines.show()
    }

    /// What the command ends with: 0 where all is there, 3 where it is not known for want of an index.
    pub fn code(&self) -> u8 {
        let fails = |end: &End| match &end.came {
            Ok(done) => !done.found.all_there(),
            Err(undone) => !undone.no_index,
        };
        if self.ends.iter().any(fails) {
            return 1;
        }
        if self.ends.iter().any(|end| end.came.is_err()) { 3 } else { 0 }
    }

    fn total(&self) -> Found {
        let mut total = Found::default();
        self.ends.iter().flat_map(|end| &end.came).for_each(|done| total.add(&done.found));
        total
    }

    fn undone(&self) -> usize {
        self.ends.iter().filter(|end| end.came.is_err()).count()
    }

    fn id(&self, end: &End) -> &TenantId {
        self.targets[end.whose].id()
    }

    fn table(&self, complete: bool) -> String {
        let cells: Vec<_> = self
            .ends
            .iter()
            .map(|end| end.came.as_ref().map(|done| cells(&done.found, self.asks)))
            .collect();
        let mut widths = COLUMNS.map(str::len);
        for cells in cells.iter().flatten() {
            widths.iter_mut().zip(cells).for_each(|(width, cell)| *width = cell.len().max(*width));
        }
        let ids = self.ends.iter().map(|end| self.id(end).as_str().len());
        let id_width = ids.max().unwrap_or_default().max("TENANT".len());
        let numbers = |cells: &[String; 8]| -> String {
            let cells = cells.iter().zip(widths);
            cells.map(|(cell, width)| format!("{GAP}{cell:>width$}")).collect()
        };
        let mut text = format!("{:id_width$}{GAP}{:10}", "TENANT", "DAY");
        text += &numbers(&COLUMNS.map(str::to_owned));
        text.push('\n');
        for (end, cells) in self.ends.iter().zip(&cells) {
            text += &format!("{:id_width$}{GAP}{}", self.id(end).as_str(), end.day);
            match cells {
                Ok(cells) => text += &numbers(cells),
                Err(undone) => text += &format!("{GAP}not audited: {}", harmless(&undone.told())),
            }
            text.push('\n');
        }
        text + &self.summary(complete)
    }

    fn summary(&self, complete: bool) -> String {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let (days, tenants) = (self.ends.len(), self.targets.len());
        let total = self.total();
        let Found { rows, present, partial, missing, empty, pending, bad, enqueued } = total;
        let mut text = format!(
            "{days} day{} of {tenants} tenant{}: {rows} rows, {present} present, {partial} partial, \
             {missing} missing, {empty} empty, {pending} on the way, {bad} bad",
            plural(days),
            plural(tenants)
        );
        // A string takes whatever is written.
        let _ = match self.asks {
            true if enqueued == 1 => write!(text, "; asked for 1 recording"),
            true => write!(text, "; asked for {enqueued} recordings"),
            false => Ok(()),
        };
        let _ = match self.undone() {
            0 => Ok(()),
            undone => write!(text, "; {undone} day{} not audited", plural(undone)),
        };
        if complete {
            text += "; complete";
        }
        text + "\n"
    }

    fn write_json(&self, explained: Option<Lines>, complete: bool) -> Result<(), Error> {
        let days = self.ends.iter().map(|end| Line::of(end, &self.targets[end.whose]));
        let days = days.map(|line| serde_json::to_string(&line).map(|line| format!("\n  {line}")));
        let days = days.collect::<Result<Vec<_>, _>>().map_err(std::io::Error::other)?.join(",");
        let tail = Tail {
            tenants: self.targets.len(),
            found: self.total(),
            failed: self.undone(),
            complete,
        };
        let tail = serde_json::to_string(&tail).map_err(std::io::Error::other)?;
        say(&format!("{{\"days\":[{days}\n],"))?;
        if let Some(lines) = explained {
            say("\"recordings\":[")?;
            lines.show()?;
            say("\n],")?;
        }
        Ok(say(&format!("{}\n", &tail[1..]))?)
    }
}

fn cells(found: &Found, asks: bool) -> [String; 8] {
    let Found { rows, present, partial, missing, empty, pending, bad, enqueued } = *found;
    let asked = if asks { enqueued.to_string() } else { "-".to_owned() };
    let [rows, present, partial, missing, empty, pending, bad] =
        [rows, present, partial, missing, empty, pending, bad].map(|count| count.to_string());
    [rows, present, partial, missing, empty, pending, bad, asked]
}

/// A day in JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    tenant: &'a TenantId,
    day: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<&'a str>,
    #[serde(flatten)]
    found: Option<Found>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Failed<'a>>,
}

#[derive(Serialize)]
struct Failed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    message: &'a str,
}

impl<'a> Line<'a> {
    fn of(end: &'a End, target: &'a Target<'_>) -> Self {
        let (tenant, day) = (target.id(), end.day.to_string());
        match &end.came {
            Ok(Done { found, request_id }) => {
                let bucket = Some(target.store.bucket());
                let (found, request_id) = (Some(*found), request_id.as_ref());
                Self { tenant, day, bucket, found, request_id, failed: None }
            }
            Err(Undone { code, why, .. }) => {
                let failed = Some(Failed { code: code.as_deref(), message: why });
                Self { tenant, day, bucket: None, found: None, request_id: None, failed }
            }
        }
    }
}

/// The end of the JSON.
#[derive(Serialize)]
struct Tail {
    tenants: usize,
    #[serde(flatten)]
    found: Found,
    failed: usize,
    complete: bool,
}
