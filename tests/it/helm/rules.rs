//! The rules of the chart are those of deploy/prometheus, and what it asks Prometheus is PromQL.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{at, chart, manifest, render, text};
use crate::support::{debian, kubernetes};

/// The groups of a file of deploy/prometheus.
fn groups(name: &str) -> Value {
    let [file] = kubernetes::documents(&text(&format!("deploy/prometheus/{name}.yml")))
        .try_into()
        .expect("one document");
    file["groups"].clone()
}

#[test]
fn they_are_those_of_deploy_prometheus() {
    let mut values = at("prometheusRule.enabled", json!(true));
    let without = render(&values).manifests;
    values["audit"] = json!({ "enabled": true, "pushgateway": "http://p:9091" });
    let with = render(&values).manifests;
    for name in ["recording", "alerts"] {
        let of_chart = |manifests| {
            let name = format!("callvault-{name}");
            manifest(manifests, "PrometheusRule", &name)["spec"]["groups"].clone()
        };
        let mut groups = groups(name);
        assert!(groups.as_array().is_some_and(|groups| !groups.is_empty()));
        assert_eq!(of_chart(&with), groups);
        // Nobody tells when the last audit was.
        for group in groups.as_array_mut().unwrap() {
            let rules = group["rules"].as_array_mut().unwrap();
            rules.retain(|rule| rule["alert"] != "CallvaultAuditLate");
        }
        assert_eq!(of_chart(&without), groups);
    }
}

#[test]
fn the_package_has_the_files_that_the_chart_links_to() {
    let folder = tempfile::tempdir().unwrap();
    let package = kubernetes::package(&chart(), folder.path());
    let unpacked = Command::new("tar").arg("-xzf").arg(package).current_dir(&folder).status();
    assert!(unpacked.unwrap().success());
    for name in ["alerts.yml", "recording.yml"] {
        let packed = fs::read_to_string(folder.path().join("callvault/files").join(name)).unwrap();
        assert_eq!(packed, text(&format!("deploy/prometheus/{name}")));
    }
    // Where what reads the chart leaves links out, it says so instead of leaving the alerts out.
    fs::remove_file(folder.path().join("callvault/files/alerts.yml")).unwrap();
    let values = [at("prometheusRule.enabled", json!(true))];
    let [rendered] = kubernetes::render(&folder.path().join("callvault"), &values)
        .try_into()
        .expect("one of one");
    let error = rendered.error.expect("it cannot be rendered");
    assert!(error.contains("files/alerts.yml is a link"), "{error}");
}

#[test]
fn keda_asks_prometheus_for_the_queues_of_the_workers() {
    let values = json!({
        "keda": { "enabled": true, "trigger": "prometheus" },
        "config": { "broker": { "queue_prefix": "call.vault" } },
    });
    let manifests = render(&values).manifests;
    let object = manifest(&manifests, "ScaledObject", "callvault");
    let query = object["spec"]["triggers"][0]["metadata"]["query"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yml");
    let tests = folder.path().join("tests.yml");
    let rule = json!({ "groups": [{ "name": "q", "rules": [{ "record": "q", "expr": query }] }] });
    // Two workers tell the same of a queue; other queues, and those of other fleets, do not count.
    let series = |queue: &str, worker: &str, value: &str| {
        let name = format!("callvault_queue_messages{{queue=\"{queue}\",instance=\"{worker}\"}}");
        json!({ "series": name, "values": value })
    };
    let test = json!({
        "rule_files": ["rules.yml"],
        "tests": [{
            "interval": "1m",
            "input_series": [
                series("call.vault.jobs", "a", "7"), series("call.vault.jobs", "b", "7"),
                series("call.vault.bulk", "a", "30"), series("call.vault.dead", "a", "100"),
                series("call-vault.jobs", "c", "1000"), series("callvault.jobs", "c", "1000"),
            ],
            "promql_expr_test": [
                { "expr": "q", "eval_time": "0m", "exp_samples": [{ "labels": "q", "value": 37 }] },
            ],
        }],
    });
    fs::write(rules, rule.to_string()).unwrap();
    fs::write(&tests, test.to_string()).unwrap();
    let promtool = debian::unpacked("prometheus").join("usr/bin/promtool");
    let output = Command::new(promtool).args(["test", "rules"]).arg(tests).output().unwrap();
    assert!(output.status.success(), "{query}\n{}", debian::show(&output));
}
