//! One heap for all threads, which glibc takes from the environment alone, at a process's start.
//!
//! By default each thread has a heap of its own, and a part buffer that one has freed does not
//! serve another: 100 MiB instead of 60 for a worker, 89 instead of 55 for an audit of a million
//! recordings, as measured in docs/BENCHMARKS.md.

use std::os::unix::process::CommandExt;
use std::process::Command;

const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Starts this program again in its own place, with the variable set; returns if somebody has set
/// it already, whatever to, or if it cannot be done, which costs memory and nothing else.
pub fn share() {
    if std::env::var_os(ARENAS).is_some() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // The same process: only its image changes. It returns only if it fails.
        let _ = Command::new(program).args(std::env::args_os().skip(1)).env(ARENAS, "1").exec();
    }
}
