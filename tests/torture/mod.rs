//! `make torture`: nothing is lost, proven under fire.
//!
//! A driver with a ledger. A scenario publishes messages and writes down what has to come of each;
//! then it makes trouble, everything drawn from one seed. When all is quiet again the judge reads
//! queues, bucket, events, CC-FS and the order of frames on the wire, and counts what is not as
//! the ledger has it. `examples/torture` is the command, `tests/it/all_troubles.rs` the short form that
//! is part of the suite.
//!
//! In the order of a run: [`field`] (the parts that play), [`fleet`] (the workers), [`ledger`]
//! (what is asked for), [`troubles`] (what goes wrong), [`acks`] (the order of frames), [`judge`]
//! (what came of it), [`report`].
//!
//! # A scenario more
//!
//! A function `async fn name(field: &Field, rng: Rng) -> String` in the file of its theme, and a
//! line in that file's table: [`Scenario`] says the rest. In it: start workers
//! (`field.fleet.start(0)`), ask for recordings (`field.ask(calls)`, with `field.mixed(…)` or calls
//! of its own), make trouble between two points of that, and return what it did, for the report
//! ("31 kills"). It waits for nothing at its end and looks at nothing itself: `run` restores links
//! and workers, waits until all is quiet, stops the workers, and has the whole judged.
//!
//! | file | troubles |
//! | --- | --- |
//! | `troubles/processes.rs` | workers killed, at random and at each step; SIGTERM; duplicates |
//! | `troubles/broker.rs` | the broker killed, its links cut, torn, slow, half open; memory alarm; a subscriber full |
//! | `troubles/cluster.rs` | of three nodes one is killed, frozen, cut off, stopped, short of disk |
//! | `troubles/store.rs` | S3 errors, resets, silence, conditions ignored, an outage |
//! | `troubles/ccfs.rs` | recordings cut, wrong, damaged at the source; every code; an outage |
//! | `troubles/mixed.rs` | all of it at once |
#![allow(
    dead_code,
    unused_imports,
    clippy::allow_attributes,
    reason = "shared by a test and an example, neither uses all"
)]

pub mod acks;
pub mod field;
pub mod fleet;
pub mod judge;
pub mod ledger;
pub mod report;
pub mod troubles;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use crate::support::broker::Node;
use crate::support::broker::cluster::Cluster;
use field::Field;
use judge::{Finding, Kind, Verdict};

/// One kind of trouble.
pub struct Scenario {
    /// What `--only` picks it by: words joined with dashes.
    pub name: &'static str,
    /// What happens, for people, in a few words.
    pub about: &'static str,
    /// Part of the short form, in `make test`.
    pub short: bool,
    pub run: for<'a> fn(&'a Field, Rng) -> LocalBoxFuture<'a, String>,
}

/// The broker that a scenario plays on.
pub enum Ground {
    Node(Arc<Node>),
    Cluster(Arc<Cluster>),
}

impl Ground {
    /// A node that is there.
    pub fn node(&self) -> &Arc<Node> {
        match self {
            Self::Node(node) => node,
            Self::Cluster(cluster) => &cluster.nodes()[0],
        }
    }
}

/// How much of everything: 1 is what `make torture` does.
#[derive(Clone, Copy, Debug)]
pub struct Scale(pub f64);

impl Scale {
    /// A count of the full run, as many as this run has; at least one.
    pub fn of(self, full: usize) -> usize {
        ((full as f64 * self.0).round() as usize).max(1)
    }

    /// A time of the full run, as long as this run has it.
    pub fn lasting(self, full: Duration) -> Duration {
        full.mul_f64(self.0)
    }
}

/// Everything is over by then, or something hangs.
const QUIET: Duration = Duration::from_secs(150);
/// After a partition RabbitMQ needs a minute to find together.
const QUIET_CLUSTER: Duration = Duration::from_secs(300);

/// The scenario's own randomness: the same whether it runs alone or among all.
fn rng(seed: u64, name: &str) -> Rng {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    Rng::with_seed(name.bytes().fold(seed ^ 0xCBF2_9CE4_8422_2325, mix))
}

/// Runs one scenario from nothing to its verdict.
pub async fn run(scenario: &Scenario, ground: &Ground, seed: u64, scale: Scale) -> Verdict {
    let started = Instant::now();
    let quiet = match ground {
        Ground::Node(_) => QUIET,
        Ground::Cluster(_) => QUIET_CLUSTER,
    };
    let field = Field::new(scenario.name, ground, scale).await;
    let trouble = (scenario.run)(&field, rng(seed, scenario.name));
    let mut findings = Vec::new();
    let note = match AssertUnwindSafe(trouble).catch_unwind().await {
        Ok(note) => note,
        Err(panic) => {
            findings.push(Finding::new(Kind::Unexpected, said(&*panic)));
            "stopped by a panic".to_owned()
        }
    };
    let ending = async {
        field.restore().await;
        field.quiet(quiet).await;
        field.settle_workers().await;
        judge::judge(&field).await
    };
    let mut verdict = match AssertUnwindSafe(ending).catch_unwind().await {
        Ok(verdict) => verdict,
        Err(panic) => {
            findings.push(Finding::new(Kind::Unexpected, said(&*panic)));
            Verdict::default()
        }
    };
    verdict.findings.extend(findings);
    verdict.note = note;
    verdict.took = started.elapsed();
    if verdict.findings.is_empty() {
        field.fleet.forget_logs();
    } else {
        verdict.logs = Some(field.fleet.keep_logs(&verdict.findings));
    }
    verdict
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
    format!("the driver could not go on: {text}")
}
