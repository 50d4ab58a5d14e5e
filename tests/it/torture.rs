//! The short form of `make torture`: the driver and its judge on every run of the suite.

#[path = "../torture/mod.rs"]
pub mod driver;

use std::sync::Arc;

use driver::{Scale, report, troubles};

use crate::support::broker::Node;

/// `TORTURE_SEED` says another.
const SEED: u64 = 20_260_425;

/// A twentieth of everything that is in the short form; what it says is that the driver works and
/// that nothing is plainly broken. The proof is the long one.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_the_short_form() {
    let seed = std::env::var("TORTURE_SEED").ok().map_or(SEED, |seed| seed.parse().unwrap());
    let node = Arc::new(Node::start_private().await);
    let mut verdicts = Vec::new();
    for scenario in troubles::all().filter(|scenario| scenario.short) {
        let verdict = driver::run(scenario, &node, seed, Scale(0.05)).await;
        println!("{}\n{}", report::line(scenario, &verdict), report::details(&verdict));
        verdicts.push(verdict);
    }
    println!("seed {seed}: {}", report::sum(&verdicts));
    assert!(verdicts.iter().all(|verdict| verdict.findings.is_empty()), "see above");
}
