//! `callvault check`: every part tried as the worker would, and what to do about what fails.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::Error;
use super::run::{install_crypto, runtime};
use super::terminal::wants_colours;
use crate::broker;
use crate::ccfs::Checked;
use crate::config::{self, Config, Loaded};
use crate::finding::{Finding, Verdict};
use crate::metrics::Metrics;
use crate::recording::KeyTemplate;
use crate::worker::{self, Roster, Tenant, Tenants};

/// Room for the name of a check in the text.
const CHECK: usize = 18;

/// How the findings are shown.
#[derive(Debug, Default, clap::Args)]
pub struct Options {
    /// Print one JSON object: {"well": …, "parts": [{"part", "target", "findings": […]}]}.
    #[arg(long)]
    json: bool,
}

/// One thing that was tried from several sides.
#[derive(Serialize)]
struct Part {
    /// `broker`, `ccfs`, `store`, `worker`.
    part: &'static str,
    /// Which one, for people.
    target: String,
    findings: Vec<Finding>,
}

/// Tries everything; 0 where nothing failed.
///
/// # Errors
/// The configuration cannot be used, or the output not written.
pub fn run(loaded: Loaded, options: &Options) -> Result<ExitCode, Error> {
    install_crypto();
    let runtime = runtime()?;
    let code = runtime.block_on(check(&loaded, options));
    runtime.shutdown_background();
    code
}

async fn check(loaded: &Loaded, options: &Options) -> Result<ExitCode, Error> {
    let config = &loaded.config;
    let metrics = Metrics::new();
    let tenants = Tenants::connect(config, &metrics, &Arc::default())?.now();
    metrics.adopt(&tenants.configured(config));
    let mut report = Report::new(options.json);
    for warning in &loaded.warnings {
        report.warn(warning)?;
    }
    let findings = broker::check(&config.broker, &config.retry.delays).await;
    report.add(Part { part: "broker", target: config.broker.queue_prefix.clone(), findings })?;
    for (settings, tenant) in config.tenants.iter().zip(tenants.iter()) {
        let checked = tenant.ccfs.check(&settings.ccfs, &tenant.cc_id).await;
        for Checked { endpoint, findings } in checked {
            let target = format!("{}, {endpoint}", tenant.id);
            report.add(Part { part: "ccfs", target, findings })?;
        }
    }
    for (names, tenant) in stores(config, &tenants) {
        let findings = tenant.store.check(&probe(tenant)).await;
        let target = format!("{}, {}", tenant.store.bucket(), names.join(", "));
        report.add(Part { part: "store", target, findings })?;
    }
    let unpacking = tenants.iter().filter(|tenant| tenant.unpack).map(|tenant| tenant.id.as_str());
    let unpacking: Vec<&str> = unpacking.collect();
    if !unpacking.is_empty() {
        let findings = vec![worker::check_folder()];
        let target = format!("zip = \"unpack\" of {}", unpacking.join(", "));
        report.add(Part { part: "worker", target, findings })?;
    }
    let paused = config.tenants.iter().filter(|tenant| tenant.paused);
    let paused: Vec<&str> = paused.map(|tenant| tenant.id.as_str()).collect();
    if !paused.is_empty() {
        let advice =
            "take paused off, or set it to false, when their recordings are to be archived";
        let findings = vec![Finding::note("paused", "their messages are parked", advice)];
        report.add(Part { part: "worker", target: paused.join(", "), findings })?;
    }
    Ok(report.end()?)
}

/// Each store once, with the tenants that use it so and the first of them.
fn stores<'a>(config: &'a Config, tenants: &'a Roster) -> Vec<(Vec<&'a str>, &'a Tenant)> {
    let mut stores: Vec<(&config::Store, Vec<&str>, &Tenant)> = Vec::new();
    for (settings, tenant) in config.tenants.iter().zip(tenants.iter()) {
        match stores.iter_mut().find(|(known, ..)| **known == settings.store) {
            Some((_, names, _)) => names.push(settings.id.as_str()),
            None => stores.push((&settings.store, vec![settings.id.as_str()], tenant)),
        }
    }
    stores.into_iter().map(|(_, names, tenant)| (names, tenant)).collect()
}

/// Beside the tenant's recordings, since a key may be allowed there alone.
fn probe(tenant: &Tenant) -> String {
    let prefix = KeyTemplate::prefix(&tenant.keys, &tenant.id).unwrap_or_default();
    format!("{prefix}.callvault-check-{:016x}", fastrand::u64(..))
}

/// What was found so far, shown part by part.
struct Report {
    json: bool,
    colours: bool,
    parts: Vec<Part>,
}

impl Report {
    fn new(json: bool) -> Self {
        let colours = !json && wants_colours();
        Self { json, colours, parts: Vec::new() }
    }

    fn warn(&self, warning: &str) -> io::Result<()> {
        writeln!(io::stderr(), "callvault: warning: {warning}")
    }

    fn add(&mut self, part: Part) -> io::Result<()> {
        if !self.json {
            super::say(&self.text(&part))?;
        }
        self.parts.push(part);
        Ok(())
    }

    fn text(&self, part: &Part) -> String {
        let mut text = format!("{}: {}\n", part.part, part.target);
        for Finding { check, verdict, seen, advice, commands } in &part.findings {
            let mark = self.mark(*verdict);
            text += &format!("  {mark} {check:CHECK$}  {seen}\n");
            if let Some(advice) = advice {
                text += &format!("  {:7} {:CHECK$}  → {advice}\n", "", "");
            }
            // At the line's beginning, to be copied as they are.
            text.extend(commands.iter().map(|command| format!("{command}\n")));
        }
        text.push('\n');
        text
    }

    /// Seven wide, coloured on a terminal.
    fn mark(&self, verdict: Verdict) -> String {
        let (word, colour) = match verdict {
            Verdict::Well => ("ok", 32),
            Verdict::Note => ("note", 33),
            Verdict::Failed => ("FAILED", 31),
            Verdict::Skipped => ("skipped", 90),
        };
        if self.colours { format!("\x1b[{colour}m{word:7}\x1b[0m") } else { format!("{word:7}") }
    }

    /// The last line, and the exit code.
    fn end(self) -> io::Result<ExitCode> {
        let verdicts = || self.parts.iter().flat_map(|part| &part.findings);
        let count = |verdict| verdicts().filter(|finding| finding.verdict == verdict).count();
        let failed = count(Verdict::Failed);
        if self.json {
            let all = serde_json::json!({ "well": failed == 0, "parts": self.parts });
            super::say(&format!("{all:#}\n"))?;
        } else {
            let (well, notes) = (count(Verdict::Well), count(Verdict::Note));
            let skipped = count(Verdict::Skipped);
            super::say(&format!(
                "{well} well, {notes} notes, {failed} failed, {skipped} skipped\n"
            ))?;
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
