//! What CC-FS was asked to make, kept beside the file that it is for until that is there: whoever is
//! killed meanwhile and runs again goes on waiting, and asks for nothing twice.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ccfs::{ResponseId, Span};
use crate::cli::Error;
use crate::cli::whole::write_whole;
use crate::request::TenantId;

/// How long CC-FS keeps what it made is not known; what is older is asked for anew.
const KEPT: Duration = Duration::from_hours(24);

/// What was asked for, of one tenant.
pub struct Orders {
    tenant: TenantId,
    /// `None`: nothing is kept.
    file: Option<PathBuf>,
    orders: Vec<Order>,
}

/// An index that CC-FS said it would make.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub span: Span,
    pub response_id: ResponseId,
    pub asked_at: Timestamp,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Kept {
    tenant: String,
    orders: Vec<Line>,
}

/// An order in it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    first: String,
    last: String,
    response_id: ResponseId,
    asked_at: String,
}

impl Line {
    fn of(order: &Order) -> Self {
        let Order { span, response_id, asked_at } = order;
        Self {
            first: span.first().to_string(),
            last: span.last().to_string(),
            response_id: response_id.clone(),
            asked_at: asked_at.to_string(),
        }
    }

    /// `None`: it is none of ours.
    fn order(self) -> Option<Order> {
        let span = Span::days(self.first.parse().ok()?, self.last.parse().ok()?)?;
        let asked_at = self.asked_at.parse().ok()?;
        Some(Order { span, response_id: self.response_id, asked_at })
    }
}

impl Orders {
    /// Nothing is known of what was asked for before, and nothing is kept.
    pub fn unkept(tenant: &TenantId) -> Self {
        Self { tenant: tenant.clone(), file: None, orders: Vec::new() }
    }

    /// Those that are kept beside this file. What is kept of another tenant, or is long ago, is as
    /// if it were not there.
    ///
    /// # Errors
    /// [`Error::Setup`]: what is there cannot be read, or is none of ours, or cannot be replaced.
    pub fn beside(out: &Path, tenant: &TenantId, now: Timestamp) -> Result<Self, Error> {
        let file = name_beside(out);
        let wrong = |why: &str| Error::Setup(format!("{}: {why}", file.display()));
        let mut orders = match fs::read(&file) {
            // Its own words would quote what is there.
            Ok(bytes) => read(&bytes, tenant).ok_or_else(|| wrong(NOT_OURS))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(wrong(&format!("cannot be read: {error}"))),
        };
        orders.retain(|order| now.duration_since(order.asked_at).unsigned_abs() < KEPT);
        let orders = Self { tenant: tenant.clone(), file: Some(file), orders };
        // Whether it can be written shows before anything is asked for.
        orders.keep().map_err(|error| Error::Setup(error.to_string()))?;
        Ok(orders)
    }

    /// The order of this span, if there is one.
    pub fn of(&self, span: &Span) -> Option<&Order> {
        self.orders.iter().find(|order| order.span == *span)
    }

    /// # Errors
    /// It cannot be written.
    pub fn remember(&mut self, order: Order) -> Result<(), Error> {
        self.orders.push(order);
        self.keep()
    }

    /// # Errors
    /// It cannot be written.
    pub fn forget(&mut self, span: &Span) -> Result<(), Error> {
        self.orders.retain(|order| order.span != *span);
        self.keep()
    }

    /// Takes what is kept away: all of it was had.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn done(self) -> Result<(), Error> {
        let Some(path) = self.file else { return Ok(()) };
        fs::remove_file(&path).map_err(|error| Error::Unwritten { path, error })
    }

    /// Leaves nothing behind where nothing is waited for.
    pub fn tidy(&self) {
        if let Some(file) = self.file.as_ref().filter(|_| self.orders.is_empty()) {
            // It says nothing; whatever is wrong with it shows at the next run.
            let _ = fs::remove_file(file);
        }
    }

    /// Whether another run will know of them.
    pub fn are_kept(&self) -> bool {
        self.file.is_some()
    }

    fn keep(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let kept = Kept {
            tenant: self.tenant.to_string(),
            orders: self.orders.iter().map(Line::of).collect(),
        };
        let text = serde_json::to_string(&kept).expect("strings alone always serialise");
        write_whole(file, 0o600, |file| writeln!(file, "{text}"))
            .map_err(|error| Error::Unwritten { path: file.clone(), error })
    }
}

const NOT_OURS: &str = "is not what callvault index keeps there; remove it, or name another --out";

/// What is kept of this tenant; `None`: it is no such file.
fn read(bytes: &[u8], tenant: &TenantId) -> Option<Vec<Order>> {
    let Kept { tenant: of, orders } = serde_json::from_slice(bytes).ok()?;
    let orders: Vec<_> = orders.into_iter().map(Line::order).collect::<Option<_>>()?;
    Some(if of == tenant.as_str() { orders } else { Vec::new() })
}

/// `FILE.asked`.
fn name_beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".asked");
    name.into()
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;
    use crate::clock;

    #[test]
    fn who_runs_again_knows_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("april.zip");
        let [acme, globex] = ["acme", "globex"].map(|id| TenantId::new(id).unwrap());
        let day = |day: &str| Span::days(day.parse().unwrap(), day.parse().unwrap()).unwrap();
        let now = clock::now();
        let asked = |span, id: &str| {
            let response_id = ResponseId::new(id).unwrap();
            Order { span, response_id, asked_at: now }
        };
        let first = asked(day("2026-04-25"), "9239cb50-a838-4bb0-ab50-3441bf089446");
        let mut orders = Orders::beside(&out, &acme, now).unwrap();
        orders.remember(first.clone()).unwrap();
        orders.remember(asked(day("2026-04-26"), "2")).unwrap();
        orders.forget(&day("2026-04-26")).unwrap();

        let again = |tenant, now| Orders::beside(&out, tenant, now).unwrap();
        let orders = again(&acme, now + 23.hours());
        assert_eq!(orders.of(&first.span), Some(&first));
        assert_eq!(orders.of(&day("2026-04-26")), None);
        let another = Span::days("2026-04-25".parse().unwrap(), "2026-04-26".parse().unwrap());
        assert_eq!(orders.of(&another.unwrap()), None, "it is not the same");
        orders.done().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "it is gone when all is had");

        for (tenant, hours) in [(&acme, 25), (&globex, 1)] {
            again(&acme, now).remember(first.clone()).unwrap();
            assert_eq!(again(tenant, now + hours.hours()).of(&first.span), None);
        }
        fs::write(name_beside(&out), "5550123").unwrap();
        let refused = Orders::beside(&out, &acme, now).err().unwrap().to_string();
        assert!(refused.ends_with(NOT_OURS) && !refused.contains("5550123"), "{refused}");
    }
}
