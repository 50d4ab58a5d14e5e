//! What `deploy/` says agrees with the program: alerts name series that exist, grace periods are
//! longer than the drain.

use std::collections::BTreeSet;
use std::path::Path;

use callvault::config::Config;
use callvault::failure::Reason;
use callvault::metrics::Metrics;
use callvault::request::TenantId;

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rendered() -> String {
    let acme = TenantId::new("acme").expect("a well-formed id");
    let metrics = Metrics::new(std::slice::from_ref(&acme), &[], &["recordings".into()]);
    // They appear when there is something to tell.
    metrics.unproven(metrics.tenant(Some(&acme)), &Reason::CCFS_TRUNCATED);
    metrics.queue_messages("callvault.dead", Some(1));
    metrics.render()
}

/// Every series name of the text format, `_bucket`, `_sum` and `_count` included.
fn series(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect()
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
fn selected(expression: &str) -> BTreeSet<String> {
    let outside: String = expression.split('"').step_by(2).collect();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let before = |at: usize| {
        let start = outside[..at].rfind(|c| !word(c)).map_or(0, |start| start + 1);
        outside[start..at].to_owned()
    };
    let chosen = outside.match_indices(['{', '[']).map(|(at, _)| before(at));
    let ours = outside.split(|c| !word(c)).filter(|name| name.starts_with("callvault_"));
    chosen.chain(ours.map(str::to_owned)).filter(|name| !name.is_empty()).collect()
}

#[test]
fn alerts_name_only_series_that_exist() {
    let rendered = rendered();
    let known = series(&rendered);
    let expressions = expressions(&file("deploy/prometheus/alerts.yml"));
    assert!(expressions.len() > 8, "{expressions:?}");
    for expression in expressions {
        let names = selected(&expression);
        assert!(!names.is_empty(), "no series in: {expression}");
        for name in names {
            assert!(name == "up" || known.contains(name.as_str()), "no series {name}");
        }
    }
}

#[test]
fn the_reasons_of_refused_credentials_are_label_values() {
    let rules = file("deploy/prometheus/alerts.yml");
    let (_, from) = rules.split_once("store[.](").expect("the alert lists the store's codes");
    let (codes, _) = from.split_once(')').expect("the list ends");
    let rendered = rendered();
    for reason in
        codes.split('|').map(|code| format!("store.{code}")).chain(["ccfs.unauthorized".into()])
    {
        let series = format!("callvault_retries_total{{reason=\"{reason}\",tenant=\"acme\"}} 0");
        assert!(rendered.contains(&series), "no {series}");
    }
}

#[test]
fn every_alert_says_what_it_means_and_has_an_entry_in_the_runbook() {
    let rules = file("deploy/prometheus/alerts.yml");
    let runbook = file("docs/OPERATIONS.md");
    let tests = file("deploy/prometheus/alerts_test.yml");
    // One command of the runbook puts another address in its place, in all of them.
    let (_, command) = runbook.split_once("sed -i 's|").expect("the runbook has the command");
    let base = command.split('|').next().unwrap_or_default();
    assert!(base.starts_with("https://") && base.ends_with("/docs/OPERATIONS.md"), "{base}");
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 8);
    for alert in alerts {
        let name = alert.lines().next().unwrap_or_default().trim();
        for part in ["summary: ", "description: ", "severity: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        let link = format!("runbook_url: {base}#{}\n", name.to_lowercase());
        assert!(alert.contains(&link), "{name} does not link to its entry");
        assert!(runbook.contains(&format!("\n### {name}\n")), "no entry for {name}");
        // It was seen to fire, and not to.
        let silent = format!("alertname: {name}, exp_alerts: [] }}");
        assert!(tests.contains(&silent), "{name} is not seen to be silent");
        let fires = tests.contains(&format!("alertname: {name}\n        exp_alerts:\n"))
            || tests.contains(&format!("alertname: {name}\n        exp_alerts: &"));
        assert!(fires, "{name} is not seen to fire");
    }
    for other in [&rules, &tests] {
        let links = other.matches("runbook_url: ").count();
        assert_eq!(links, other.matches(&format!("runbook_url: {base}#")).count());
    }
}

#[test]
fn alerts_do_not_care_how_the_job_is_named() {
    for expression in expressions(&file("deploy/prometheus/alerts.yml")) {
        assert!(!expression.contains("job="), "{expression}");
    }
}

#[test]
fn orchestrators_wait_longer_than_the_drain() {
    let seconds = |text: &str, key: &str| -> u64 {
        let (_, value) = text.split_once(key).unwrap_or_else(|| panic!("no {key}"));
        let digits: String = value.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("{key} is no number of seconds"))
    };
    let settings: toml::Table = file("deploy/kubernetes/callvault.toml").parse().unwrap();
    let drain = settings["worker"]["drain_timeout"].as_str().unwrap().trim_end_matches('s');
    let drain: u64 = drain.parse().unwrap();
    let pod = file("deploy/kubernetes/deployment.yaml");
    assert!(seconds(&pod, "terminationGracePeriodSeconds:") >= drain + 10);
    // The compose file keeps the default, 25 s.
    assert!(!file("deploy/compose/callvault.toml").contains("drain_timeout"));
    assert!(seconds(&file("deploy/compose/compose.yaml"), "stop_grace_period:") >= 25 + 10);
}

/// The file as the container sees it, its secrets mounted below `secrets`.
fn loaded(path: &str, secrets: &Path, environment: &[(&str, &str)]) -> Config {
    let text = file(path).replace("/etc/callvault/secrets", &secrets.display().to_string());
    let settings = secrets.join("callvault.toml");
    std::fs::write(&settings, text).expect("a temporary folder can be written");
    let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    match Config::load(Some(&settings), environment) {
        Ok(loaded) => loaded.config,
        Err(mistakes) => panic!("{path}: {mistakes}"),
    }
}

#[test]
fn the_configurations_are_without_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("broker-url", "amqps://callvault:password@rabbitmq.example.com:5671/%2f"),
        ("store-access-key-id", "id"),
        ("store-secret-access-key", "key"),
        ("acme-secret-key", "key"),
    ] {
        std::fs::write(folder.path().join(name), value).unwrap();
        assert!(file("deploy/kubernetes/secret.example.yaml").contains(&format!("  {name}: ")));
        let item = format!("key: {name}, path: secrets/{name} ");
        assert!(file("deploy/kubernetes/deployment.yaml").contains(&item), "no {item}");
    }
    // What the image sets.
    let image = [("CALLVAULT__HTTP__LISTEN", "0.0.0.0:9464"), ("CALLVAULT__LOG__FORMAT", "json")];
    loaded("deploy/kubernetes/callvault.toml", folder.path(), &image);

    let compose = [
        ("CALLVAULT__BROKER__URL", "amqp://callvault:password@rabbitmq:5672/%2f"),
        ("CALLVAULT__STORE__ACCESS_KEY_ID", "id"),
        ("CALLVAULT__STORE__SECRET_ACCESS_KEY", "key"),
        ("ACME_SECRET_KEY", "key"),
    ];
    for (name, _) in compose {
        assert!(file("deploy/compose/compose.yaml").contains(&format!("      {name}: ")), "{name}");
    }
    let all: Vec<_> = image.into_iter().chain(compose).collect();
    let config = loaded("deploy/compose/callvault.toml", folder.path(), &all);
    assert_eq!(config.http.listen.port(), 9464);
}
