//! The rules of deploy/prometheus agree with the program, with the runbook and with their own tests.
//! What they say of made-up series is the matter of `make alerts`; of real workers, of `dashboards`.

use std::collections::BTreeSet;
use std::path::Path;

use callvault::failure::Reason;
use callvault::metrics::{Configured, Metrics};
use callvault::request::TenantId;

use crate::metrics::{OF_AUDIT, every_series};

/// What Prometheus itself says of a scrape.
pub const OF_A_SCRAPE: [&str; 3] = ["up", "scrape_samples_scraped", "scrape_duration_seconds"];

pub fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn alerts() -> String {
    file("deploy/prometheus/alerts.yml")
}

fn recording() -> String {
    file("deploy/prometheus/recording.yml")
}

/// Every series name of the text format, `_bucket`, `_sum` and `_count` included, and what the rules
/// make of them.
pub fn known_series() -> BTreeSet<String> {
    let text = every_series() + OF_AUDIT;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let shown = lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned);
    shown.chain(OF_A_SCRAPE.map(str::to_owned)).chain(recorded()).collect()
}

pub fn recorded() -> BTreeSet<String> {
    let names = recording();
    let names = names.lines().filter_map(|line| line.trim().strip_prefix("- record: "));
    names.map(str::to_owned).collect()
}

/// The `expr` of each rule: the rest of its line, or the lines that are indented deeper.
fn expressions(rules: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<_> = rules.lines().collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| line.trim().starts_with("expr:"));
    starts
        .map(|(at, first)| {
            let more = lines[at + 1..].iter().take_while(|line| indent(line) > indent(first));
            let inline = first.trim().trim_start_matches("expr:").trim().trim_start_matches('|');
            more.fold(inline.to_owned(), |all, line| all + "\n" + line.trim())
        })
        .collect()
}

/// The names an expression selects, outside of strings: those of ours, and what stands before `{`
/// or `[`.
pub fn selected(expression: &str) -> BTreeSet<String> {
    let outside: String = expression.split('"').step_by(2).collect();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let before = |at: usize| {
        let start = outside[..at].rfind(|c| !word(c)).map_or(0, |start| start + 1);
        outside[start..at].to_owned()
    };
    let chosen = outside.match_indices(['{', '[']).map(|(at, _)| before(at));
    let ours = |name: &&str| {
        let recorded = name.contains(":callvault") || name.starts_with("callvault:");
        recorded || name.starts_with("callvault_") || name.starts_with("process_")
    };
    let named = outside.split(|c| !word(c)).filter(ours).map(str::to_owned);
    chosen.chain(named).filter(|name| !name.is_empty()).collect()
}

#[test]
fn rules_name_only_series_that_exist() {
    let known = known_series();
    let expressions = expressions(&(recording() + &alerts()));
    assert!(expressions.len() > 25, "{expressions:?}");
    for expression in expressions {
        let names = selected(&expression);
        assert!(!names.is_empty() || expression.starts_with("vector("), "none in: {expression}");
        for name in names {
            assert!(known.contains(&name), "no series {name}, in: {expression}");
        }
    }
}

#[test]
fn buckets_are_named_as_prometheus_2_and_3_write_them_and_are_there() {
    let shown = every_series();
    for rules in [recording(), alerts()] {
        for (_, rest) in rules.match_indices("le=").map(|(at, _)| rules.split_at(at)) {
            let value = rest.split('"').nth(1).unwrap_or_default();
            let bound = value.strip_suffix("([.]0)?").unwrap_or_else(|| panic!("le={value}"));
            assert!(
                rest.starts_with("le=~") && shown.contains(&format!("le=\"{bound}\"")),
                "{bound}"
            );
        }
    }
}

#[test]
fn what_refuses_everything_is_a_value_of_the_label() {
    let rules = alerts();
    let (_, from) = rules.split_once("store[.](").expect("the alert lists the store's codes");
    let (codes, _) = from.split_once(')').expect("the list ends");
    for code in codes.split('|') {
        let acme = TenantId::new("acme").expect("a well-formed id");
        let metrics = Metrics::new();
        metrics.adopt(&Configured { tenants: vec![(1, acme.clone())], ..Configured::default() });
        let status = code.strip_prefix("http_").map_or(400, |status| status.parse().unwrap());
        let reason = Reason::store(code, status);
        metrics.retried(metrics.tenant(Some(&acme)), &reason);
        let series =
            format!("callvault_retries_total{{reason=\"store.{code}\",tenant=\"acme\"}} 1");
        assert!(metrics.render().contains(&series), "no {series}");
    }
    assert!(rules.contains(&format!("reason=~\"ccfs[.]unauthorized|store[.]({codes})\"")));
    assert_eq!(Reason::CCFS_UNAUTHORIZED.as_str(), "ccfs.unauthorized");
}

#[test]
fn every_alert_says_what_it_means_and_has_an_entry_in_the_runbook() {
    let rules = alerts();
    let runbook = file("docs/OPERATIONS.md");
    let tests = ["alerts_test.yml", "alerts_absent_test.yml"]
        .map(|name| file(&format!("deploy/prometheus/{name}")))
        .concat();
    // One command of the runbook puts another address in its place, in all of them.
    let (_, command) = runbook.split_once("sed -i 's|").expect("the runbook has the command");
    let base = command.split('|').next().unwrap_or_default();
    assert!(base.starts_with("https://") && base.ends_with("/docs/OPERATIONS.md"), "{base}");
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 16);
    let mut names = BTreeSet::new();
    for alert in alerts {
        let name = alert.lines().next().unwrap_or_default().trim();
        for part in ["summary: ", "description: ", "severity: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        let severity = ["severity: critical\n", "severity: warning\n"];
        assert!(severity.iter().any(|severity| alert.contains(severity)), "{name}");
        let link = format!("runbook_url: {base}#{}\n", name.to_lowercase());
        assert!(alert.contains(&link), "{name} does not link to its entry");
        // It was seen to fire, and not to.
        let silent = format!("alertname: {name}, exp_alerts: [] }}");
        assert!(tests.contains(&silent), "{name} is not seen to be silent");
        let fires = tests.contains(&format!("alertname: {name}\n        exp_alerts:\n"));
        assert!(fires, "{name} is not seen to fire");
        names.insert(name);
    }
    let (_, entries) = runbook.split_once("\n## Alerts\n").expect("the alerts have a section");
    let entries = entries.split("\n## ").next().unwrap_or_default();
    let entries: BTreeSet<_> =
        entries.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(entries, names, "an entry for each alert, and no others");
    for other in [&rules, &tests] {
        let links = other.matches("runbook_url: ").count();
        assert_eq!(links, other.matches(&format!("runbook_url: {base}#")).count());
    }
}

#[test]
fn rules_do_not_care_how_the_job_is_named() {
    for expression in expressions(&(recording() + &alerts())) {
        assert!(!expression.contains("job="), "{expression}");
    }
}

#[test]
fn whoever_loads_the_alerts_loads_what_they_count_with() {
    for path in [
        "Makefile",
        "deploy/compose/compose.yaml",
        "deploy/kubernetes/README.md",
        "deploy/prometheus/alerts_test.yml",
        "deploy/prometheus/prometheus.yml",
        "docs/OPERATIONS.md",
    ] {
        let text = file(path);
        assert!(text.contains("alerts") && text.contains("recording"), "{path}");
    }
}
