//! What a process has used, as the kernel counts it.

use std::fs;
use std::time::Duration;

/// Ticks of `/proc/PID/stat` a second: `USER_HZ`, 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// CPU seconds of a process so far, user and system, all its threads.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    // The program's name, in brackets, may itself hold spaces and brackets.
    let (_, fields) = stat.rsplit_once(") ").expect("stat has a name in brackets");
    // From the state on: utime and stime are the 12th and the 13th.
    let ticks = fields.split(' ').skip(11).take(2).map(|n| n.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / TICKS
}

/// What the threads that it has now have been on a CPU so far, to the nanosecond: for one that does
/// little, and ends no thread meanwhile.
pub fn on_cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let on_cpu = threads.flatten().filter_map(|thread| {
        let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse().ok()
    });
    on_cpu.map(Duration::from_nanos).sum()
}

/// The most memory that a process has had resident, in bytes.
pub fn peak_rss(pid: u32) -> u64 {
    status(pid, "VmHWM") * 1024
}

/// The same of one that may have ended by now, and tells nothing any more.
pub fn peak_rss_unless_ended(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(number(&status, "VmHWM")? * 1024)
}

/// The memory that it has resident now, in bytes.
pub fn rss(pid: u32) -> u64 {
    status(pid, "VmRSS") * 1024
}

pub fn threads(pid: u32) -> u64 {
    status(pid, "Threads")
}

/// Open file descriptors.
pub fn descriptors(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives and is ours").count() as u64
}

/// A number of `/proc/PID/status`; sizes are in kB.
fn status(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    number(&status, name).unwrap_or_else(|| panic!("{name} is a number"))
}

fn number(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}
