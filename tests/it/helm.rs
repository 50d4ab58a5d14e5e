//! The Helm chart, as Helm's own engine renders it: valid for Kubernetes, true to its table of values, a
//! configuration that the worker takes, and the same as the manifests for kubectl.

mod configuration;
mod reload;
mod rules;
mod same;
mod values;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::kubernetes::{self, Rendered, Validator};

fn path(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(name: &str) -> String {
    let path = path(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn chart() -> PathBuf {
    path("deploy/helm/callvault")
}

fn render_all(values: &[Value]) -> Vec<Rendered> {
    kubernetes::render(&chart(), values)
}

/// What values render.
fn render(values: &Value) -> Rendered {
    let [rendered] = render_all(std::slice::from_ref(values)).try_into().expect("one of one");
    assert_eq!(rendered.error, None, "{values}");
    rendered
}

/// What is wrong with values.
fn refused(values: &Value) -> String {
    let [rendered] = render_all(std::slice::from_ref(values)).try_into().expect("one of one");
    rendered.error.unwrap_or_else(|| panic!("it is rendered: {values}"))
}

/// A manifest by its kind and name.
fn manifest<'a>(manifests: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let meant = |each: &&Value| each["kind"] == kind && each["metadata"]["name"] == name;
    manifests.iter().find(meant).unwrap_or(&Value::Null)
}

/// Lays the second over the first, as Helm does with values.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// A value at a path such as `image.tag`.
fn at(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |value, key| json!({ key: value }))
}

/// The values that README.md begins with.
fn of_readme() -> Value {
    let readme = text("deploy/helm/callvault/README.md");
    let (_, block) = readme.split_once("```yaml\n").expect("values to begin with");
    let (block, _) = block.split_once("```\n").expect("an end of them");
    let block: String = block.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let [values] = kubernetes::documents(&block).try_into().expect("one document");
    values
}

#[test]
fn lint_finds_nothing() {
    let found = kubernetes::lint(&chart());
    // 1 is a recommendation: an icon.
    let wrong: Vec<_> = found.iter().filter(|each| each["severity"] != 1).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn whatever_is_turned_on_is_valid_for_the_oldest_and_the_newest_kubernetes() {
    let tenants = json!({ "acme": { "access_key": "AK", "store": { "zip": "unpack" } } });
    let config = json!({ "ccfs": { "endpoints": ["https://ccfs.example.com"] }, "store": { "bucket": "b" } });
    let on = json!({ "enabled": true });
    let options = [
        json!({}),
        of_readme(),
        json!({ "tenants": tenants, "config": config }),
        json!({ "reload": on }),
        json!({ "secrets": { "create": true, "data": { "broker-url": "amqp://x" } } }),
        json!({ "ca": { "existingConfigMap": "callvault-ca" } }),
        json!({ "podMonitor": on, "prometheusRule": on }),
        json!({ "keda": on }),
        json!({ "keda": { "enabled": true, "trigger": "prometheus" } }),
        json!({ "audit": on }),
        json!({ "audit": { "enabled": true, "pushgateway": "http://pushgateway" } }),
        json!({ "preflight": on }),
        json!({ "networkPolicy": { "prometheusNamespace": "" } }),
        json!({ "podDisruptionBudget": { "maxUnavailable": "25%" } }),
        json!({ "podSecurityContext": { "runAsUser": null, "runAsGroup": null, "fsGroup": null } }),
        json!({ "tenantsFrom": { "configMaps": ["a"], "secrets": ["b"] } }),
    ];
    let mut all = json!({});
    for option in &options {
        merge(&mut all, option.clone());
    }
    let mut validator = Validator::new();
    let options: Vec<_> = options.into_iter().chain([all]).collect();
    for (values, rendered) in options.iter().zip(render_all(&options)) {
        assert_eq!(rendered.error, None, "{values}");
        assert!(!rendered.manifests.is_empty(), "{values}");
        for manifest in &rendered.manifests {
            let mistakes = validator.mistakes(manifest);
            assert!(mistakes.is_empty(), "{values}: {mistakes:?}");
        }
    }
}

#[test]
fn a_field_that_no_kubernetes_knows_is_seen() {
    let everything = json!({
        "podMonitor": { "enabled": true }, "prometheusRule": { "enabled": true },
        "keda": { "enabled": true }, "audit": { "enabled": true }, "preflight": { "enabled": true },
        "secrets": { "create": true },
    });
    let mut validator = Validator::new();
    for mut manifest in render(&everything).manifests {
        // A ConfigMap has no spec.
        let part = if manifest["spec"].is_object() { &mut manifest["spec"] } else { &mut manifest };
        part["misspelt"] = json!(1);
        assert_eq!(validator.mistakes(&manifest).len(), 2, "{manifest}");
    }
}

#[test]
fn it_is_the_version_of_the_program() {
    let [chart] = kubernetes::documents(&text("deploy/helm/callvault/Chart.yaml"))
        .try_into()
        .expect("one document");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["description"], env!("CARGO_PKG_DESCRIPTION"));
}

#[test]
fn the_notes_tell_what_is_still_to_be_done() {
    let notes = render(&json!({})).notes;
    assert!(notes.contains("THERE IS NO TENANT") && notes.contains("  broker-url\n"), "{notes}");
    let notes = render(&json!({ "tenantsFrom": { "secrets": ["tenants"] } })).notes;
    assert!(!notes.contains("THERE IS NO TENANT") && notes.contains("rollout restart"), "{notes}");
    let told = json!({ "tenantsFrom": { "secrets": ["tenants"] }, "reload": { "enabled": true } });
    assert!(!render(&told).notes.contains("rollout restart"));
    let made = render(&json!({ "secrets": { "create": true } })).notes;
    assert!(!made.contains("broker-url"), "{made}");
}
