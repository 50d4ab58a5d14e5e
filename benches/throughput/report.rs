//! What was measured, for people and for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::case::Case;
use crate::floor::Took;

const MEBIBYTE: f64 = 1_048_576.0;
const GIGABYTE: f64 = 1e9;

/// One case, by the worker and by the bare loop right after it.
pub struct Measured {
    pub case: Case,
    /// Of all recordings.
    pub bytes: u64,
    pub worker: Took,
    pub floor: Took,
}

impl Measured {
    /// The worker's CPU time over the bare loop's.
    fn ratio(&self) -> f64 {
        self.worker.cpu_seconds / self.floor.cpu_seconds
    }

    fn rate(&self, took: &Took) -> f64 {
        self.case.count as f64 / took.wall.as_secs_f64()
    }

    fn per_thousand(&self, took: &Took) -> f64 {
        took.cpu_seconds * 1000.0 / self.case.count as f64
    }

    fn per_gigabyte(&self, took: &Took) -> f64 {
        took.cpu_seconds * GIGABYTE / self.bytes as f64
    }

    fn figures(&self, took: &Took) -> Value {
        json!({
            "recordings_per_second": round(self.rate(took), 1),
            "cpu_seconds_per_1000": round(self.per_thousand(took), 3),
            "cpu_seconds_per_gb": round(self.per_gigabyte(took), 3),
            "peak_rss_mib": round(took.peak_rss as f64 / MEBIBYTE, 1),
        })
    }

    /// A line for machines.
    pub fn json(&self, round_number: usize) -> Value {
        json!({
            "case": self.case.name,
            "round": round_number,
            "recordings": self.case.count,
            "bytes": self.bytes,
            "worker": self.figures(&self.worker),
            "bare_loop": self.figures(&self.floor),
            "cpu_ratio": round(self.ratio(), 3),
        })
    }

    fn row(&self, who: &str, took: &Took, ratio: &str) -> String {
        let case = format!("{} × {}", self.case.name, self.case.count);
        format!(
            "{case:<14} {who:<9} {:>8.1} {:>12.3} {:>10.3} {:>9.1} {ratio:>6}\n",
            self.rate(took),
            self.per_thousand(took),
            self.per_gigabyte(took),
            took.peak_rss as f64 / MEBIBYTE,
        )
    }
}

/// A table for people: of every case the round with the median ratio.
pub fn table(all: &[Measured], cases: &[Case]) -> String {
    let mut table = format!(
        "{:<14} {:<9} {:>8} {:>12} {:>10} {:>9} {:>6}\n",
        "recordings", "by", "rec/s", "CPU s/1,000", "CPU s/GB", "RSS MiB", "ratio"
    );
    for case in cases {
        let mut rounds: Vec<_> = all.iter().filter(|one| one.case.name == case.name).collect();
        rounds.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        let Some(median) = rounds.get(rounds.len() / 2) else { continue };
        table += &median.row("worker", &median.worker, &format!("{:.2}", median.ratio()));
        table += &median.row("bare loop", &median.floor, "1.00");
    }
    let _ = write!(table, "Of several rounds, the one with the median ratio of CPU time.");
    table
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
