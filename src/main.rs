//! The `callvault` command: parses the command line, runs the command, answers with an exit code.

use std::process::ExitCode;

use callvault::cli::{Cli, run, tell};
use clap::Parser;
use tikv_jemallocator::Jemalloc;

/// Its settings are compiled in, from `.cargo/config.toml`.
#[global_allocator]
static HEAP: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            tell(format_args!("callvault: {error}"));
            error.exit_code()
        }
    }
}
