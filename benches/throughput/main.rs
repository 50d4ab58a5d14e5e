//! `make bench`: what the worker costs, beside a bare loop that costs the least (docs/BENCHMARKS.md).
//!
//! The worker is the real release binary as a child process, and its CPU and memory alone are
//! measured: broker, simulator and store run beside it on the same cores, so recordings a second
//! are those of the whole machine. What it prints is a line of JSON for machines as each case ends,
//! and a table for people at the end; exit 1 if something in it is not as it is wanted.

#[path = "../../tests/support/mod.rs"]
mod support;

mod by_hand;
mod case;
mod count;
mod figure;
mod floor;
mod flood;
mod idle;
mod mix;
mod mover;
mod one;
mod options;
mod report;
mod stage;

use std::process::ExitCode;

use options::Options;
use report::Report;
use stage::Stage;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
    if let [floor::COMMAND, work] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        runtime.block_on(mover::run(work));
        return ExitCode::SUCCESS;
    }
    let Some(options) = Options::parse(&arguments) else {
        eprintln!("{}", options::USAGE);
        return ExitCode::from(2);
    };
    let report = runtime.block_on(bench(&options));
    println!("\n{report}");
    if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn bench(options: &Options) -> Report {
    let stage = Stage::set(options).await;
    let mut report = Report::of(&stage, options);
    for round in 1..=options.rounds {
        // Who comes first finds other caches than who comes second.
        let worker_first = round % 2 == 1;
        for case in &options.cases {
            let case = case.counted_by(options.counter);
            report.add(round, flood::measure(&stage, &case, worker_first).await);
        }
        if options.one {
            report.add(round, one::measure(&stage, worker_first).await);
        }
        if options.idle {
            report.add(round, idle::measure(&stage).await);
        }
    }
    report
}
