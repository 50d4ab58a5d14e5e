//! `make limits`: what the worker must not exceed, measured, each with its verdict
//! (docs/BENCHMARKS.md). Exit 1 if one is exceeded.
//!
//! The worker is the real release binary as a child process, and its own memory, descriptors and
//! threads alone are measured (those of the audit in its part): simulator and store are this process,
//! the broker is another.

#[path = "../../tests/support/mod.rs"]
mod support;

#[path = "../../examples/scaling/model.rs"]
#[expect(dead_code, reason = "the day of the model is the example's")]
mod model;

mod audit;
mod dumps;
mod faults;
mod files;
mod flow;
mod isolation;
mod limit;
mod many;
mod memory;
mod neighbours;
mod page;
mod scale;
mod watching;

use std::process::ExitCode;

use limit::Limit;

const USAGE: &str = "usage: make limits ARGS='[memory] [faults] [isolation] [many] [neighbours] [dumps] [files] \
                     [scale] [page] [watching] [audit] [--long 1g] [--jobs 200000] [--seconds 40] [--rounds 3] \
                     [--backlog 5000] [--behind 100000]'";

const PARTS: [&str; 11] = [
    "memory",
    "faults",
    "isolation",
    "many",
    "neighbours",
    "dumps",
    "files",
    "scale",
    "page",
    "watching",
    "audit",
];

/// What the command line asks for.
struct Options {
    parts: Vec<String>,
    /// A long recording of the memory part, as the simulator reads it: `1g`.
    long: String,
    jobs: usize,
    isolation: isolation::Sizes,
    /// Messages of a limited tenant before another's call.
    behind: usize,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let isolation = isolation::Sizes { seconds: 40, rounds: 3, backlog: 5000 };
        let (parts, long) = (Vec::new(), "1g".to_owned());
        let mut options = Self { parts, long, jobs: 200_000, isolation, behind: 100_000 };
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next()?.parse().ok().filter(|&n: &usize| n > 0);
            match &*argument {
                "--bench" => {} // cargo's own
                "--long" => options.long = arguments.next()?,
                "--jobs" => options.jobs = number()?,
                "--seconds" => options.isolation.seconds = number()? as u64,
                "--rounds" => options.isolation.rounds = number()?,
                "--backlog" => options.isolation.backlog = number()?,
                "--behind" => options.behind = number()?,
                part if PARTS.contains(&part) => options.parts.push(argument),
                _ => return None,
            }
        }
        Some(options)
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
    let limits = runtime.block_on(measure(&options));
    println!();
    limits.iter().for_each(|limit| println!("{limit}"));
    if limits.iter().all(Limit::holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(options: &Options) -> Vec<Limit> {
    let mut limits = Vec::new();
    if options.wants("memory") {
        limits.extend(memory::measure(&options.long).await);
    }
    if options.wants("faults") {
        limits.extend(faults::measure(options.jobs).await);
    }
    if options.wants("isolation") {
        limits.push(isolation::measure(&options.isolation).await);
    }
    if options.wants("many") {
        limits.extend(many::measure().await);
    }
    if options.wants("neighbours") {
        limits.extend(neighbours::measure(options.behind).await);
    }
    if options.wants("dumps") {
        limits.extend(dumps::measure().await);
    }
    if options.wants("files") {
        limits.extend(files::measure().await);
    }
    if options.wants("scale") {
        limits.extend(scale::measure().await);
    }
    if options.wants("page") {
        limits.extend(page::measure().await);
    }
    if options.wants("watching") {
        limits.push(watching::measure().await);
    }
    if options.wants("audit") {
        limits.extend(audit::measure().await);
    }
    limits
}
