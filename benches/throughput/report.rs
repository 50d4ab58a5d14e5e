//! What was measured, for people and for machines.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::figure::{Figure, Measured};
use crate::options::Options;
use crate::stage::Stage;

/// All rounds of all cases.
pub struct Report {
    /// Of RabbitMQ.
    version: String,
    tls: bool,
    rounds: usize,
    all: Vec<Measured>,
}

impl Report {
    pub fn of(stage: &Stage, options: &Options) -> Self {
        let version = stage.version.clone();
        Self { version, tls: options.tls, rounds: options.rounds, all: Vec::new() }
    }

    /// Takes what a case has come to, and prints it for machines.
    pub fn add(&mut self, round: usize, measured: Measured) {
        let of = |figure: fn(&Figure) -> Option<f64>| -> Map<String, Value> {
            let named = |one: &Figure| Some((one.key.to_owned(), json!(rounded(figure(one)?))));
            measured.figures.iter().filter_map(named).collect()
        };
        let line = json!({
            "case": measured.case,
            "round": round,
            "rabbitmq": self.version,
            "tls": self.tls,
            "recordings": measured.recordings,
            "bytes": measured.bytes,
            "worker": of(|figure| Some(figure.worker)),
            "bare_loop": of(|figure| figure.floor),
            "ratio": of(|figure| figure.ratio),
        });
        println!("{line}");
        self.all.push(measured);
    }

    /// Whether all is as it is wanted.
    pub fn holds(&self) -> bool {
        self.rows().iter().all(|(_, figure)| figure.holds() != Some(false))
    }

    /// Each figure of each case, with the medians of the rounds.
    fn rows(&self) -> Vec<(String, Figure)> {
        let first = self.all.iter().enumerate().filter(|(at, measured)| {
            !self.all[..*at].iter().any(|before| before.case == measured.case)
        });
        let of_case = |measured: &Measured| {
            let case = match measured.recordings {
                0 => measured.case.to_owned(),
                count => format!("{} × {count}", measured.case),
            };
            let figures = measured.figures.iter();
            figures.map(|figure| (case.clone(), self.median(measured.case, figure))).collect()
        };
        first.flat_map(|(_, measured)| -> Vec<_> { of_case(measured) }).collect()
    }

    fn median(&self, case: &str, figure: &Figure) -> Figure {
        let rounds = self.all.iter().filter(|measured| measured.case == case);
        let same: Vec<_> = rounds
            .flat_map(|measured| &measured.figures)
            .filter(|other| other.key == figure.key)
            .collect();
        let median = |value: fn(&Figure) -> Option<f64>| {
            let mut values: Vec<_> = same.iter().filter_map(|figure| value(figure)).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Figure {
            worker: median(|figure| Some(figure.worker)).unwrap_or(f64::NAN),
            floor: median(|figure| figure.floor),
            ratio: median(|figure| figure.ratio),
            ..*figure
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { "HTTPS on both sides" } else { "plain HTTP on both sides" };
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        writeln!(f, "RabbitMQ {}, {tls}, {cores} cores", self.version)?;
        let [floor, worker, ratio, wanted] = ["bare loop", "callvault", "ratio", "wanted"];
        writeln!(f, "{:36} {floor:>10} {worker:>10} {ratio:>7}  {wanted}", "")?;
        let mut last = String::new();
        for (case, figure) in self.rows() {
            let shown = if case == last { "" } else { &*case };
            let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), short);
            let ratio = figure.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
            let wanted = figure.wanted.map_or_else(|| "–".to_owned(), |bound| bound.to_string());
            let verdict = match figure.holds() {
                None => "",
                Some(true) => "pass",
                Some(false) => "FAIL",
            };
            let (floor, worker) = (number(figure.floor), number(Some(figure.worker)));
            let line = format!(
                "{shown:14} {:21} {floor:>10} {worker:>10} {ratio:>7}  {wanted:<9} {verdict}",
                figure.label
            );
            writeln!(f, "{}", line.trim_end())?;
            last = case;
        }
        write!(f, "×: of the bare loop's.")?;
        if self.rounds > 1 {
            write!(f, " Each figure is the median of {} rounds, the ratio too.", self.rounds)?;
        }
        Ok(())
    }
}

/// With as many digits as say something.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
