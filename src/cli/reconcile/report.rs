//! What a reconciliation has found, for people or for scripts; written as it is found.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use crate::cli::Out;
use crate::cli::ask::Asked;
use crate::cli::compare::{Listed, State};
use crate::index::Position;
use crate::recording::KeyPattern;
use crate::request::{TenantId, Wanted};

/// Rows, by what became of them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    pub rows: u64,
    pub present: u64,
    /// Of a call of several rows, with a single file in the bucket.
    pub partial: u64,
    pub missing: u64,
    pub empty: u64,
    /// Which could not be used.
    pub bad: u64,
}

impl Counts {
    /// Whether all that the index lists is in the bucket.
    pub fn all_there(&self) -> bool {
        self.partial + self.missing + self.empty + self.bad == 0
    }
}

pub struct Report {
    out: BufWriter<Out>,
    json: bool,
    /// Recordings in it so far.
    listed: u64,
}

impl Report {
    /// # Errors
    /// stdout cannot be written; here and below.
    pub fn begin(json: bool, tenant: &TenantId, bucket: &str) -> io::Result<Self> {
        let mut out = BufWriter::new(Out::new());
        if json {
            let head = (serde_json::to_string(tenant)?, serde_json::to_string(bucket)?);
            write!(out, "{{\"tenant\":{},\"bucket\":{},\"recordings\":[", head.0, head.1)?;
        }
        Ok(Self { out, json, listed: 0 })
    }

    /// Lists a recording that is not there as it should.
    pub fn recording(
        &mut self,
        at: &Position,
        wanted: &Wanted,
        key: &KeyPattern,
        state: State,
    ) -> io::Result<()> {
        let state = state.as_str();
        if self.json {
            let listed = Listed::new(state, at, wanted, key);
            let comma = if self.listed == 0 { "" } else { "," };
            write!(self.out, "{comma}\n  {}", serde_json::to_string(&listed)?)?;
        } else {
            writeln!(self.out, "{state:7}  {key}  ({at})")?;
        }
        self.listed += 1;
        Ok(())
    }

    /// The counts, and what was asked for.
    pub fn end(mut self, counts: Counts, asked: Option<Asked>) -> io::Result<()> {
        let Counts { rows, present, partial, missing, empty, bad } = counts;
        if self.json {
            let end = if self.listed == 0 { "" } else { "\n" };
            let tail = serde_json::to_string(&Tail { counts, asked })?;
            writeln!(self.out, "{end}],{}", &tail[1..])?;
        } else {
            writeln!(
                self.out,
                "{rows} rows: {present} present, {partial} partial, {missing} missing, \
                 {empty} empty, {bad} not usable"
            )?;
            if let Some(asked) = asked {
                writeln!(self.out, "{asked}")?;
            }
        }
        self.out.flush()
    }
}

/// The end of the JSON.
#[derive(Serialize)]
struct Tail {
    #[serde(flatten)]
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
}
