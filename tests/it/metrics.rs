//! docs/METRICS.md against the code: what the series are is made from it (of the nightly audit, from what
//! it writes), what a bad value means is written by hand. `UPDATE=1` writes the page anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use callvault::failure::Reason;
use callvault::metrics::{
    BreakerTarget, Configured, JobOutcome, Metrics, Reload, Settled, Stage, StageResult,
    StoreOperation,
};
use callvault::request::{MessageType, TenantId};

const PAGE: &str = "docs/METRICS.md";

/// What `/metrics` shows when everything has happened once.
pub fn every_series() -> String {
    let acme = TenantId::new("acme").expect("a well-formed id");
    let metrics = Metrics::new();
    metrics.adopt(&Configured {
        tenants: vec![(1, acme.clone())],
        servers: [BreakerTarget::Ccfs("ccfs.example.com").to_string()].into(),
        ..Configured::default()
    });
    let acme = metrics.tenant(Some(&acme));
    // They begin when there is something to tell.
    metrics.unproven(acme, &Reason::CCFS_TRUNCATED);
    metrics.retried(acme, &Reason::CCFS_TRUNCATED);
    metrics.dead(acme, &Reason::CCFS_TRUNCATED);
    metrics.ccfs_response(acme, "ok");
    metrics.archive_lag(acme, Duration::ZERO);
    metrics.queue_messages("callvault.dead", Some(1));
    metrics.render()
}

/// What `callvault audit --textfile` writes; `complete` holds it against what was written.
pub const OF_AUDIT: &str = include_str!("../fixtures/audit.prom");

/// A family as the text format tells it.
struct Told {
    kind: String,
    help: String,
    labels: Vec<String>,
}

fn told() -> BTreeMap<String, Told> {
    let text = every_series() + OF_AUDIT;
    let comment = |word: &str, name: &str| {
        let start = format!("# {word} {name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("{name} has no {word}")).to_owned()
    };
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let family = |name: &str| {
        let kind = comment("TYPE", name);
        let series = if kind == "histogram" { format!("{name}_count") } else { name.to_owned() };
        let own = |line: &&str| {
            line.strip_prefix(&series).is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let line = text.lines().find(own).unwrap_or_else(|| panic!("there is no {series}"));
        let within = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
        let pairs = within.map(|(labels, _)| labels).unwrap_or_default().split("\",");
        let mut labels: Vec<_> =
            pairs.filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())).collect();
        // Whose it is stands first.
        labels.sort_by_key(|label| (label != "tenant", label.clone()));
        Told { kind, help: comment("HELP", name), labels }
    };
    names.map(|name| (name.to_owned(), family(name))).collect()
}

/// The unit, which Prometheus wants at the end of a name.
fn unit(name: &str, help: &str) -> &'static str {
    let base = name.trim_end_matches("_total");
    match () {
        () if base.ends_with("_seconds") => "seconds",
        () if base.ends_with("_bytes") => "bytes",
        () if help.starts_with("1 while") || help.starts_with("1 if") => "0 or 1",
        () if base.ends_with("_info") => "1",
        () => "count",
    }
}

/// The row of a series; `bad` is what a person wrote.
fn row(name: &str, told: &Told, bad: &str) -> String {
    let Told { kind, help, labels } = told;
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    let (labels, unit) = (labels.join(", "), unit(name, help));
    format!("| `{name}` | {kind} | {unit} | {labels} | {help} | {bad} |")
}

/// The series that a row is of, and its last cell.
fn of_row(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
    let is_series = name.starts_with("callvault_") || name.starts_with("process_");
    let bad = rest.trim_end_matches(" |").rsplit(" | ").next()?;
    is_series.then_some((name, bad))
}

/// The page with each row as the code tells it, without those of series that there are none of.
fn made(page: &str, told: &BTreeMap<String, Told>) -> String {
    let mut left: BTreeSet<_> = told.keys().map(String::as_str).collect();
    let mut made = String::new();
    for line in page.lines() {
        let line = match of_row(line) {
            None => line.to_owned(),
            Some((name, _)) if !left.remove(name) => continue,
            Some((name, bad)) => row(name, &told[name], bad),
        };
        made += &(line + "\n");
    }
    let new = left.iter().map(|name| row(name, &told[*name], "") + "\n");
    made + &new.collect::<String>()
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)
}

fn page() -> String {
    std::fs::read_to_string(path()).unwrap_or_else(|error| panic!("{PAGE}: {error}"))
}

#[test]
fn the_page_says_of_each_series_what_the_code_says() {
    let told = told();
    let mut page = page();
    let made = made(&page, &told);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path(), &made).expect("the page can be written");
        page.clone_from(&made);
    }
    for (line, wanted) in page.lines().zip(made.lines()) {
        assert_eq!(line, wanted, "{PAGE} is not what the code says: UPDATE=1 writes it anew");
    }
    assert_eq!(page, made, "rows are missing or too many: UPDATE=1 writes {PAGE} anew");
    let rows: Vec<_> = page.lines().filter_map(of_row).collect();
    for (name, bad) in &rows {
        assert!(bad.len() > 10, "{name}: what does a bad value mean?");
        assert!(told[*name].help.ends_with('.'), "{name}: its help is a sentence");
    }
    assert_eq!(rows.len(), told.len(), "each once");
}

#[test]
fn the_values_of_each_label_are_those_of_the_code() {
    let page = page();
    let (_, table) = page.split_once("\n| label | values |\n").expect("the table of labels");
    let spans = |cell: &str| -> BTreeSet<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let rows = table.lines().map_while(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows: BTreeMap<_, _> = rows.map(|(label, values)| (label, spans(values))).collect();
    let set = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    for (label, values) in [
        ("`type`", set(MessageType::ALL.iter().map(|value| value.as_str()).collect())),
        ("`how`", set(Settled::ALL.iter().map(|value| value.as_str()).collect())),
        ("`outcome`", set(JobOutcome::ALL.iter().map(|value| value.as_str()).collect())),
        ("`stage`", set(Stage::ALL.iter().map(|value| value.as_str()).collect())),
        ("`result` of a stage", set(StageResult::ALL.iter().map(|v| v.as_str()).collect())),
        ("`result` of a reload", set(Reload::ALL.iter().map(|value| value.as_str()).collect())),
        ("`operation`", set(StoreOperation::ALL.iter().map(|value| value.as_str()).collect())),
    ] {
        assert_eq!(rows.get(label), Some(&values), "{label}");
    }
    let states = OF_AUDIT.split("state=\"").skip(1).filter_map(|rest| rest.split('"').next());
    assert_eq!(rows.get("`state`"), Some(&set(states.collect())));
    let described: BTreeSet<_> =
        rows.keys().filter_map(|label| spans(label).into_iter().next()).collect();
    let used = told().into_values().flat_map(|told| told.labels);
    let used: BTreeSet<_> =
        used.filter(|label| !["version", "revision"].contains(&label.as_str())).collect();
    assert_eq!(described, used, "each label once");
}
