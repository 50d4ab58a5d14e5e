//! `make bench`: what the worker costs, beside a bare loop that costs the least (docs/BENCHMARKS.md).
//!
//! The worker is the real release binary as a child process, and its CPU and memory alone are
//! measured: broker, simulator and store run beside it on the same cores, so recordings a second
//! are those of the whole machine. What it prints is for people, and a line of JSON for machines.

#[path = "../../tests/support/mod.rs"]
mod support;

mod case;
mod floor;
mod report;
mod stage;

use std::process::ExitCode;

use case::{CASES, Case};
use report::Measured;
use stage::Stage;

const USAGE: &str =
    "usage: make bench ARGS='[64KiB] [2MiB] [64MiB] [--rounds N] [--verify] [--tls]'";

/// What the command line asks for.
struct Options {
    cases: Vec<Case>,
    rounds: usize,
    /// The sink hashes every body and holds it against what was signed.
    verify: bool,
    /// CC-FS is asked over TLS.
    tls: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Option<Self> {
        let mut options = Self { cases: Vec::new(), rounds: 1, verify: false, tls: false };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            match argument {
                "--bench" => {} // cargo's own
                "--verify" => options.verify = true,
                "--tls" => options.tls = true,
                "--rounds" => options.rounds = arguments.next()?.parse().ok().filter(|&n| n > 0)?,
                name => options.cases.push(*CASES.iter().find(|case| case.name == name)?),
            }
        }
        if options.cases.is_empty() {
            options.cases = CASES.to_vec();
        }
        Some(options)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
    if let Some((floor::COMMAND, rest)) = arguments.split_first().map(|(a, b)| (a.as_str(), b)) {
        println!("{}", runtime.block_on(floor::run(rest)));
        return ExitCode::SUCCESS;
    }
    let Some(options) = Options::parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    runtime.block_on(bench(&options));
    ExitCode::SUCCESS
}

async fn bench(options: &Options) {
    let stage = Stage::set(options.verify, options.tls).await;
    let mut all: Vec<Measured> = Vec::new();
    for round in 1..=options.rounds {
        for case in &options.cases {
            eprintln!("round {round} of {}: {} × {}", options.rounds, case.name, case.count);
            let measured = stage.measure(case).await;
            println!("{}", measured.json(round));
            all.push(measured);
        }
    }
    println!("\n{}", report::table(&all, &options.cases));
}
