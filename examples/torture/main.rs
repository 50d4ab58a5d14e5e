//! `make torture`: every trouble of the table, one after the other, on parts of its own.
//!
//! The driver is `tests/torture`; this is its command line. The seed of a run that has found
//! something finds it again: `make torture ARGS="--seed 7 --only duplicates"`. Troubles of a cluster
//! are apart, on three nodes: `make torture ARGS=--cluster`.

#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../../tests/torture/mod.rs"]
mod driver;

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use driver::{Ground, Scale, Scenario, report, troubles};
use support::broker::Node;
use support::broker::cluster::Cluster;

/// Makes trouble for workers, and counts what came of it.
#[derive(Parser)]
#[command(name = "torture")]
struct Arguments {
    /// What all randomness comes from; another one each time unless it is given.
    #[arg(long)]
    seed: Option<u64>,
    /// Only scenarios whose name contains this; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Says what there is, and ends.
    #[arg(long)]
    list: bool,
    /// How much of everything: 0.1 is a tenth.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Those of the suite's short form.
    #[arg(long)]
    short: bool,
    /// Those of a cluster of three nodes, instead of those of one.
    #[arg(long)]
    cluster: bool,
}

impl Arguments {
    fn picks(&self, scenario: &Scenario) -> bool {
        let named = self.only.iter().any(|name| scenario.name.contains(name.as_str()));
        (named || self.only.is_empty()) && (scenario.short || !self.short)
    }

    fn picked(&self) -> Vec<&'static Scenario> {
        let picks = |scenario: &&Scenario| self.picks(scenario);
        if self.cluster {
            troubles::of_a_cluster().filter(picks).collect()
        } else {
            troubles::all().filter(picks).collect()
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let picked = arguments.picked();
    if arguments.list {
        picked.iter().for_each(|scenario| println!("{:<24} {}", scenario.name, scenario.about));
        return ExitCode::SUCCESS;
    }
    if picked.is_empty() {
        eprintln!("no scenario is named so; --list shows what there is, --cluster --list the rest");
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("the machine has threads and sockets");
    runtime.block_on(async {
        tokio::select! {
            code = torture(&arguments, &picked) => code,
            // What was started ends with its owners.
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        }
    })
}

async fn torture(arguments: &Arguments, scenarios: &[&Scenario]) -> ExitCode {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let ground = if arguments.cluster {
        Ground::Cluster(Arc::new(Cluster::start().await))
    } else {
        Ground::Node(Arc::new(Node::start_private().await))
    };
    let versions = report::versions(ground.node()).await;
    println!("torture, seed {seed}, scale {}: {versions}", arguments.scale);
    let mut verdicts = Vec::new();
    for scenario in scenarios {
        let shown = progress(scenario);
        let verdict = driver::run(scenario, &ground, seed, Scale(arguments.scale)).await;
        shown.finish_and_clear();
        println!("{}", report::line(scenario, &verdict));
        print!("{}", report::details(&verdict));
        verdicts.push(verdict);
    }
    println!("seed {seed}: {versions}");
    println!("{}", report::sum(&verdicts));
    if verdicts.iter().all(|verdict| verdict.findings.is_empty()) {
        ExitCode::SUCCESS
    } else {
        let cluster = if arguments.cluster { "--cluster " } else { "" };
        eprintln!("again: make torture ARGS=\"{cluster}--seed {seed} --only NAME\"");
        ExitCode::FAILURE
    }
}

/// What is under way, on a terminal.
fn progress(scenario: &Scenario) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}");
    let bar = ProgressBar::new_spinner().with_style(style.expect("a template of ours"));
    bar.set_message(format!("{}: {}", scenario.name, scenario.about));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
