//! The index side of the simulator: what an account has in its index, which packages it has ordered,
//! and what else a test has scripted.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use jiff::civil::DateTime;
use tokio::time::Instant;

use super::package::{Package, Packages, Rows};
use super::reply::{Reply, Wrong};

/// What the simulator knows of an account's index.
#[derive(Default)]
pub(super) struct Index {
    pub rows: Vec<Rows>,
    pub packages: Packages,
    /// What the next orders are answered.
    pub orders: VecDeque<Reply>,
    /// What the next fetches are answered.
    pub fetches: VecDeque<Fault>,
    /// What all are answered.
    pub none: Option<Reply>,
    made: Vec<Made>,
}

/// Something that was ordered.
struct Made {
    at: Instant,
    looks: usize,
    had: bool,
    package: Arc<Package>,
}

/// An answer to downloadBillFile that is not as it should be.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Whatever is asked for.
    Reply(Box<Reply>),
    /// The first half of a package, framed as if it were all of it. This and the following wait for a
    /// request that names a package.
    Half,
    /// The connection ends in the middle of a package.
    Cut,
    /// A package with a wrong byte in a file, whose checksum says so.
    Rotten,
}

impl From<Reply> for Fault {
    fn from(reply: Reply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

/// What was ordered, and what became of it.
#[derive(Clone, Debug)]
pub struct Order {
    pub at: Instant,
    pub begin: DateTime,
    pub end: DateTime,
    /// What the package is called.
    pub name: String,
    /// Requests for it under that name.
    pub looks: usize,
    /// It was sent, and whole as far as CC-FS knows.
    pub had: bool,
}

impl Index {
    pub fn ordered(&self) -> Vec<Order> {
        let order = |made: &Made| {
            let Package { begin, end, name, .. } = &*made.package;
            let (begin, end, name) = (*begin, *end, name.clone());
            Order { at: made.at, begin, end, name, looks: made.looks, had: made.had }
        };
        self.made.iter().map(order).collect()
    }

    /// Has a package made.
    pub fn order(&mut self, begin: DateTime, end: DateTime, now: Timestamp) -> Reply {
        if let Some(reply) = self.none.clone().or_else(|| self.orders.pop_front()) {
            return reply;
        }
        let id = format!("{:032x}", fastrand::u128(..));
        let day = now.to_zoned(self.packages.zone.clone()).strftime("%Y%m%d").to_string();
        let package = Package {
            name: format!("{day}_{id}.zip"),
            begin,
            end,
            rows: self.rows.clone(),
            shape: self.packages.clone(),
            made: OnceLock::new(),
        };
        let package = Arc::new(package);
        self.made.push(Made { at: Instant::now(), looks: 0, had: false, package });
        let dashed = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
        Reply::ordered(&dashed)
    }

    /// Sends one, if it is this account's and there.
    pub fn fetch(&mut self, name: &str) -> Reply {
        if let Some(reply) = self.none.clone() {
            return reply;
        }
        let scripted = self.fetches.pop_front_if(|fault| matches!(fault, Fault::Reply(_)));
        if let Some(Fault::Reply(reply)) = scripted {
            return *reply;
        }
        let made = self.made.iter_mut().find(|made| made.package.name == name);
        let Some(made) = made else { return Reply::code("0300011") };
        made.looks += 1;
        if made.looks <= made.package.shape.not_ready {
            return Reply::code("0300011");
        }
        let wrong = match self.fetches.pop_front() {
            Some(Fault::Half) => Some(Wrong::Half),
            Some(Fault::Rotten) => Some(Wrong::Rotten),
            Some(Fault::Cut) => return Reply::package(&made.package, None).cut_in_the_middle(),
            Some(Fault::Reply(_)) | None => None,
        };
        made.had = wrong.is_none();
        Reply::package(&made.package, wrong)
    }
}
