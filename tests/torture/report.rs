//! The lines that a run prints.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use super::judge::{Kind, Verdict};
use super::{Scenario, fleet};
use crate::support::broker::Node;
use crate::support::worker::binary;

/// `lost 0, acked early 0, …, duplicated 12`.
fn counts<'a>(verdicts: impl Iterator<Item = &'a Verdict> + Clone) -> String {
    let sum = |kind| verdicts.clone().map(|verdict| verdict.count(kind)).sum::<usize>();
    let kinds = Kind::ALL.map(|kind| format!("{} {}", kind.word(), sum(kind)));
    let duplicated: usize = verdicts.clone().map(|verdict| verdict.duplicated).sum();
    format!("{}, duplicated {duplicated}", kinds.join(", "))
}

/// One line a scenario.
pub fn line(scenario: &Scenario, verdict: &Verdict) -> String {
    format!(
        "{:<24} {:>5} recordings, {:>5} messages, {:>5} acks, {:>4} s  {}  ({})",
        scenario.name,
        verdict.recordings,
        verdict.messages,
        verdict.acknowledged,
        verdict.took.as_secs(),
        counts([verdict].into_iter()),
        verdict.note
    )
}

/// What was found, and where the logs are.
pub fn details(verdict: &Verdict) -> String {
    /// More of them say nothing more.
    const MOST: usize = 20;
    let mut text = String::new();
    for finding in verdict.findings.iter().take(MOST) {
        text += &format!("    {finding}\n");
    }
    if let Some(rest) = verdict.findings.len().checked_sub(MOST).filter(|rest| *rest > 0) {
        text += &format!("    … and {rest} more\n");
    }
    if let Some(logs) = &verdict.logs {
        text += &format!("    logs: {}\n", logs.display());
    }
    text
}

/// The last line: what all of them came to.
pub fn sum(verdicts: &[Verdict]) -> String {
    counts(verdicts.iter())
}

/// What has played, in which version.
pub async fn versions(node: &Arc<Node>) -> String {
    let rabbit = node.ctl(&["version"]).await;
    let lock = include_str!("../../Cargo.lock");
    let s3s = lock.split("name = \"s3s\"\nversion = \"").nth(1);
    let s3s = s3s.and_then(|rest| rest.split('"').next()).unwrap_or("unknown");
    let builds = std::iter::once(binary()).chain(fleet::beside());
    let builds: Vec<_> = builds.map(|build| said(&build.display().to_string())).collect();
    let callvault = builds.join(" beside ");
    let rustc = said("rustc");
    format!("{callvault}, RabbitMQ {}, s3s {s3s}, {rustc}", rabbit.trim())
}

/// The first line of `program --version`.
fn said(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let first = |text: String| text.lines().next().map(str::to_owned);
    text.ok().and_then(first).unwrap_or_else(|| format!("{program}: unknown version"))
}
