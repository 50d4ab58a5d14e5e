//! The last act: CC-FS is asked what it knows of the afternoon, and that is held against the bucket. Of one
//! call no message was ever sent: it is found, asked for, and archived.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use tokio::time::timeout;

use crate::parts::{Parts, shown};
use crate::screen::{Screen, Tone};
use crate::script::{Afternoon, Listed, TENANTS};
use crate::support::ccfs::IndexRow;
use crate::support::worker::binary;
use crate::support::world::{access_key, zone};
use crate::watch;

/// What was asked for is archived within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The last line of an audit that has found nothing missing ends so.
const COMPLETE: &str = "; complete";

impl Listed {
    /// An instant on the clocks of its tenant.
    fn here(&self, instant: Timestamp) -> DateTime {
        instant.to_zoned(zone(self.tenant)).datetime()
    }

    fn row(&self) -> IndexRow {
        IndexRow::new(&*self.call, self.here(self.began), self.here(self.ended))
    }
}

/// From now on CC-FS lists what it has of the afternoon.
pub fn prepare(parts: &Parts, afternoon: &Afternoon) {
    for tenant in TENANTS {
        let own = afternoon.listed.iter().filter(|listed| listed.tenant == tenant);
        parts.ccfs.knows(&access_key(tenant), own.map(Listed::row));
    }
}

/// The days of the afternoon, as an audit is told of them: one for both tenants, unless midnight is near or
/// lies between them.
fn days(afternoon: &Afternoon) -> Vec<String> {
    let mut days: BTreeMap<Date, BTreeSet<&str>> = BTreeMap::new();
    for listed in &afternoon.listed {
        for instant in [listed.began, listed.ended] {
            days.entry(listed.here(instant).date()).or_default().insert(listed.tenant);
        }
    }
    let told = |(day, tenants): (Date, BTreeSet<&str>)| match tenants.first() {
        Some(tenant) if tenants.len() < TENANTS.len() => format!("--day {day} --tenant {tenant}"),
        _ => format!("--day {day}"),
    };
    days.into_iter().map(told).collect()
}

/// Audits, waits until what was missing is archived, and audits again. Says what is not as it should be.
pub async fn play(screen: &Screen, parts: &mut Parts, afternoon: &Afternoon) -> Vec<String> {
    screen.heading("Is all of it there? CC-FS lists what it has, and callvault audit looks for it");
    let days = days(afternoon);
    let mut mistakes = Vec::new();
    let mut asked = 0;
    for day in &days {
        let (output, text) = audit(screen, parts, &format!("{day} --enqueue")).await;
        asked += usize::from(text.contains("; asked for 1 recording"));
        if !output.status.success() && output.status.code() != Some(1) {
            mistakes.push(failed(&output));
        }
    }
    if asked != 1 {
        mistakes.push("the audit was to ask for the one call without a message".into());
        return mistakes;
    }
    let call = &afternoon.unsent().call;
    let text = format!("One was missing: of {call} no message was ever sent. It is asked for …");
    println!("  {}", screen.paint(Tone::Warn, text));
    let archived = async {
        loop {
            let event = watch::next_event(&mut parts.events).await.json;
            if event["type"] == "recording.archived" && event["data"]["callId"] == **call {
                return event["data"]["objects"][0]["key"].as_str().unwrap_or_default().to_owned();
            }
        }
    };
    match timeout(PATIENCE, archived).await {
        Ok(key) => {
            let text = format!("… and is archived: {key}");
            println!("  {}", screen.paint(Tone::Good, text));
        }
        Err(_) => mistakes.push(format!("{call} was asked for, and is not archived")),
    }
    for day in &days {
        let (output, text) = audit(screen, parts, day).await;
        let last = text.lines().last().unwrap_or_default();
        if !output.status.success() || !last.ends_with(COMPLETE) {
            mistakes.push(failed(&output));
        }
    }
    mistakes
}

/// Runs it as a person would, and shows what it says.
async fn audit(screen: &Screen, parts: &Parts, words: &str) -> (Output, String) {
    let config = parts.folder.join("callvault.toml");
    let line = format!("callvault audit {words} --config {}", shown(&config));
    println!("\n  {}", screen.paint(Tone::Bold, format!("$ {line}")));
    let mut command = Command::new(binary());
    command.arg("audit").args(words.split(' ')).arg("--config").arg(config);
    command.env("CALLVAULT__LOG__LEVEL", "error");
    let ended = tokio::task::spawn_blocking(move || command.output());
    let output = ended.await.expect("it does not panic").expect("the binary can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().for_each(|line| println!("  {line}"));
    (output, text)
}

fn failed(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    format!("callvault audit: {}: {}", output.status, told.trim_end())
}
