//! Each documented value changes what it says, and no other is taken.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{at, manifest, merge, refused, render_all, text};
use crate::support::kubernetes;

/// A value, and where it shows.
struct Row {
    path: &'static str,
    value: Value,
    /// What else it takes.
    with: Value,
    /// Kind and name of a manifest, and a pointer into it.
    place: &'static str,
    /// What is there; of a text, one of its lines. Null: nothing.
    expected: Value,
}

fn row(path: &'static str, value: Value, place: &'static str, expected: Value) -> Row {
    let (top, rest) = path.split_once('.').unwrap_or((path, ""));
    let parts = ["reload", "podMonitor", "prometheusRule", "keda", "audit"];
    let on = parts.contains(&top) && rest != "enabled";
    let with = if on { at(top, json!({ "enabled": true })) } else { json!({}) };
    Row { path, value, with, place, expected }
}

impl Row {
    fn with(mut self, more: Value) -> Self {
        merge(&mut self.with, more);
        self
    }

    fn shows(&self, manifests: &[Value]) -> bool {
        let [kind, name, pointer] =
            self.place.splitn(3, ' ').collect::<Vec<_>>().try_into().expect("three words");
        let found = manifest(manifests, kind, name).pointer(pointer).unwrap_or(&Value::Null);
        match (found, &self.expected) {
            (Value::String(found), Value::String(line)) => {
                found == line || found.lines().any(|each| each.trim() == line)
            }
            (found, expected) => found == expected,
        }
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn table() -> Vec<Row> {
    macro_rules! worker {
        ($pointer:literal) => {
            concat!("Deployment callvault /spec/template/spec/containers/0", $pointer)
        };
    }
    macro_rules! pod {
        ($pointer:literal) => {
            concat!("Deployment callvault /spec/template/spec", $pointer)
        };
    }
    macro_rules! audit {
        ($pointer:literal) => {
            concat!(
                "CronJob callvault-audit /spec/jobTemplate/spec/template/spec/containers",
                $pointer
            )
        };
    }
    const TOML: &str = "ConfigMap callvault /data/callvault.toml";
    let image = |tail: &str| json!(format!("registry.example.com/callvault{tail}"));
    let digest = format!("sha256:{}", "a".repeat(64));
    let on = || json!(true);
    let acme = json!({
        "access_key": "AK",
        "ccfs": { "endpoints": ["https://ccfs.example.com"] },
        "store": { "bucket": "acme" },
    });
    vec![
        row(
            "nameOverride",
            json!("vault"),
            "Deployment callvault /metadata/labels/app.kubernetes.io~1name",
            json!("vault"),
        ),
        row("fullnameOverride", json!("archive"), "Deployment archive /kind", json!("Deployment")),
        row(
            "image.repository",
            json!("r.example.com/cv"),
            worker!("/image"),
            json!(concat!("r.example.com/cv:", env!("CARGO_PKG_VERSION"))),
        ),
        row("image.tag", json!("1.2.3"), worker!("/image"), image(":1.2.3")),
        row("image.digest", json!(digest), worker!("/image"), image(&format!("@{digest}"))),
        row("image.pullPolicy", json!("Always"), worker!("/imagePullPolicy"), json!("Always")),
        row(
            "imagePullSecrets",
            json!([{ "name": "r" }]),
            pod!("/imagePullSecrets/0/name"),
            json!("r"),
        ),
        row("replicas", json!(5), "Deployment callvault /spec/replicas", json!(5)),
        row("config.broker.url_file", json!("/u"), TOML, json!("url_file = \"/u\"")),
        row("config.worker.concurrency", json!(128), TOML, json!("concurrency = 128")),
        row("config.worker.memory", json!("1GiB"), TOML, json!("memory = \"1GiB\"")),
        row(
            "config.worker.drain_timeout",
            json!("1m"),
            pod!("/terminationGracePeriodSeconds"),
            json!(80),
        ),
        row(
            "config.ccfs",
            json!({ "endpoints": ["https://a", "https://b"] }),
            TOML,
            json!("endpoints = [\"https://a\", \"https://b\"]"),
        ),
        row("config.store.bucket", json!("b"), TOML, json!("bucket = \"b\"")),
        row("config.store.region", json!("eu"), TOML, json!("region = \"eu\"")),
        row(
            "config.store.access_key_id_file",
            json!("/i"),
            TOML,
            json!("access_key_id_file = \"/i\""),
        ),
        row(
            "config.store.secret_access_key_file",
            json!("/k"),
            TOML,
            json!("secret_access_key_file = \"/k\""),
        ),
        row("config.retry", json!({ "max_attempts": 3 }), TOML, json!("max_attempts = 3")),
        row("config.log", json!({ "level": "debug" }), TOML, json!("level = \"debug\"")),
        row(
            "tenants",
            json!({ "acme": acme }),
            "ConfigMap callvault-tenants /data/acme.toml",
            json!("secret_key_file = \"/etc/callvault/secrets/acme-secret-key\""),
        ),
        row(
            "tenantsFrom.configMaps",
            json!(["more"]),
            pod!("/volumes/2/projected/sources/1"),
            json!({ "configMap": { "name": "more" } }),
        ),
        row(
            "tenantsFrom.secrets",
            json!(["more"]),
            pod!("/volumes/2/projected/sources/1"),
            json!({ "secret": { "name": "more" } }),
        ),
        row("reload.enabled", on(), pod!("/shareProcessNamespace"), on()),
        row("reload.image", json!("sh:1"), pod!("/containers/1/image"), json!("sh:1")),
        row("secrets.name", json!("keys"), pod!("/volumes/1/secret/secretName"), json!("keys")),
        row("secrets.create", on(), "Secret callvault /type", json!("Opaque")),
        row(
            "secrets.data",
            json!({ "broker-url": "amqp://b" }),
            "Secret callvault /stringData/broker-url",
            json!("amqp://b"),
        )
        .with(json!({ "secrets": { "create": true } })),
        row("ca.existingConfigMap", json!("ca"), pod!("/volumes/3/configMap/name"), json!("ca")),
        row(
            "env",
            json!([{ "name": "A", "value": "b" }]),
            worker!("/env/1"),
            json!({ "name": "A", "value": "b" }),
        ),
        row("resources.requests.cpu", json!("2"), worker!("/resources/requests/cpu"), json!("2")),
        row(
            "resources.requests.memory",
            json!("1Gi"),
            worker!("/resources/requests/memory"),
            json!("1Gi"),
        ),
        row(
            "resources.limits.memory",
            json!("2Gi"),
            worker!("/resources/limits/memory"),
            json!("2Gi"),
        ),
        row("terminationGraceMargin", json!(60), pod!("/terminationGracePeriodSeconds"), json!(85)),
        row(
            "podSecurityContext.runAsUser",
            json!(1000),
            pod!("/securityContext/runAsUser"),
            json!(1000),
        ),
        row(
            "podSecurityContext.runAsGroup",
            json!(1000),
            pod!("/securityContext/runAsGroup"),
            json!(1000),
        ),
        row(
            "podSecurityContext.fsGroup",
            Value::Null,
            pod!("/securityContext/fsGroup"),
            Value::Null,
        ),
        row("tmp.enabled", on(), worker!("/volumeMounts/3/mountPath"), json!("/tmp")),
        row("tmp.sizeLimit", json!("9Gi"), pod!("/volumes/3/emptyDir/sizeLimit"), json!("9Gi"))
            .with(json!({ "config": { "store": { "zip": "unpack" } } })),
        row("serviceAccountName", json!("sa"), pod!("/serviceAccountName"), json!("sa")),
        row(
            "podLabels",
            json!({ "team": "voice" }),
            "Deployment callvault /spec/template/metadata/labels/team",
            json!("voice"),
        ),
        row(
            "podAnnotations",
            json!({ "a": "b" }),
            "Deployment callvault /spec/template/metadata/annotations/a",
            json!("b"),
        ),
        row("nodeSelector", json!({ "disk": "ssd" }), pod!("/nodeSelector/disk"), json!("ssd")),
        row(
            "tolerations",
            json!([{ "key": "voice", "operator": "Exists" }]),
            pod!("/tolerations/0/key"),
            json!("voice"),
        ),
        row(
            "affinity",
            json!({ "podAffinity": {} }),
            pod!("/affinity"),
            json!({ "podAffinity": {} }),
        ),
        row("priorityClassName", json!("high"), pod!("/priorityClassName"), json!("high")),
        row(
            "podDisruptionBudget.enabled",
            json!(false),
            "PodDisruptionBudget callvault /kind",
            Value::Null,
        ),
        row(
            "podDisruptionBudget.maxUnavailable",
            json!(2),
            "PodDisruptionBudget callvault /spec/maxUnavailable",
            json!(2),
        ),
        row("networkPolicy.enabled", json!(false), "NetworkPolicy callvault /kind", Value::Null),
        row(
            "networkPolicy.prometheusNamespace",
            json!(""),
            "NetworkPolicy callvault /spec/ingress/0/from",
            Value::Null,
        ),
        row(
            "networkPolicy.egressPorts",
            json!([5672]),
            "NetworkPolicy callvault /spec/egress/1/ports",
            json!([{ "protocol": "TCP", "port": 5672 }]),
        ),
        row(
            "networkPolicy.extraEgress",
            json!([{ "ports": [{ "port": 4318 }] }]),
            "NetworkPolicy callvault /spec/egress/2/ports/0/port",
            json!(4318),
        ),
        row("podMonitor.enabled", on(), "PodMonitor callvault /kind", json!("PodMonitor")),
        row(
            "podMonitor.interval",
            json!("1m"),
            "PodMonitor callvault /spec/podMetricsEndpoints/0/interval",
            json!("1m"),
        ),
        row(
            "podMonitor.labels",
            json!({ "release": "p" }),
            "PodMonitor callvault /metadata/labels/release",
            json!("p"),
        ),
        row(
            "prometheusRule.enabled",
            on(),
            "PrometheusRule callvault-recording /kind",
            json!("PrometheusRule"),
        ),
        row(
            "prometheusRule.labels",
            json!({ "release": "p" }),
            "PrometheusRule callvault-alerts /metadata/labels/release",
            json!("p"),
        ),
        row(
            "prometheusRule.runbookUrl",
            json!("https://wiki.example.com/callvault"),
            "PrometheusRule callvault-alerts /spec/groups/0/rules/0/annotations/runbook_url",
            json!("https://wiki.example.com/callvault#callvaultnotconsuming"),
        ),
        row(
            "prometheusRule.without",
            json!(["CallvaultNotConsuming"]),
            "PrometheusRule callvault-alerts /spec/groups/0/rules/0/alert",
            json!("CallvaultWorkerDown"),
        ),
        row("keda.enabled", on(), "Deployment callvault /spec/replicas", Value::Null),
        row("keda.minReplicas", json!(3), "ScaledObject callvault /spec/minReplicaCount", json!(3)),
        row(
            "keda.maxReplicas",
            json!(50),
            "ScaledObject callvault /spec/maxReplicaCount",
            json!(50),
        ),
        row(
            "keda.messagesPerWorker",
            json!(1_000_000),
            "ScaledObject callvault /spec/triggers/1/metadata/value",
            json!("1000000"),
        ),
        row(
            "keda.pollingInterval",
            json!(60),
            "ScaledObject callvault /spec/pollingInterval",
            json!(60),
        ),
        row(
            "keda.trigger",
            json!("prometheus"),
            "ScaledObject callvault /spec/triggers/0/type",
            json!("prometheus"),
        ),
        row(
            "keda.rabbitmq.secretKey",
            json!("keda-url"),
            "TriggerAuthentication callvault /spec/secretTargetRef/0/key",
            json!("keda-url"),
        ),
        row(
            "keda.prometheus.serverAddress",
            json!("http://p"),
            "ScaledObject callvault /spec/triggers/0/metadata/serverAddress",
            json!("http://p"),
        )
        .with(json!({ "keda": { "trigger": "prometheus" } })),
        row("audit.enabled", on(), "CronJob callvault-audit /kind", json!("CronJob")),
        row(
            "audit.schedule",
            json!("0 1 * * *"),
            "CronJob callvault-audit /spec/schedule",
            json!("0 1 * * *"),
        ),
        row(
            "audit.timeZone",
            json!("Europe/Berlin"),
            "CronJob callvault-audit /spec/timeZone",
            json!("Europe/Berlin"),
        ),
        row("audit.since", json!("7d"), audit!("/0/args/2"), json!("7d")),
        row("audit.enqueue", json!(false), audit!("/0/args"), json!(["audit", "--since", "3d"])),
        row("audit.pushgateway", json!("http://p:9091"), audit!("/1/name"), json!("push")),
        row("audit.pushImage", json!("curl:1"), audit!("/1/image"), json!("curl:1"))
            .with(json!({ "audit": { "pushgateway": "http://p:9091" } })),
        row(
            "audit.resources.requests.cpu",
            json!("1"),
            audit!("/0/resources/requests/cpu"),
            json!("1"),
        ),
        row(
            "audit.resources.requests.memory",
            json!("1Gi"),
            audit!("/0/resources/requests/memory"),
            json!("1Gi"),
        ),
        row(
            "audit.resources.limits.memory",
            json!("1Gi"),
            audit!("/0/resources/limits/memory"),
            json!("1Gi"),
        ),
        row("preflight.enabled", on(), "Job callvault-check /kind", json!("Job")),
    ]
}

/// The paths of values.yaml that lead to a value, each with it: an empty map is one.
fn defaults() -> Vec<(String, Value)> {
    fn leaves(prefix: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        for (key, value) in value.as_object().expect("a map") {
            let path = format!("{prefix}{key}");
            if value.as_object().is_some_and(|map| !map.is_empty()) {
                leaves(&format!("{path}."), value, found);
            } else {
                found.push((path, value.clone()));
            }
        }
    }
    let [values] = kubernetes::documents(&text("deploy/helm/callvault/values.yaml"))
        .try_into()
        .expect("one document");
    let mut found = Vec::new();
    leaves("", &values, &mut found);
    found
}

fn schema() -> Value {
    serde_json::from_str(&text("deploy/helm/callvault/values.schema.json")).expect("JSON")
}

#[test]
fn each_changes_what_it_says() {
    let table = table();
    let tried: BTreeSet<_> = table.iter().map(|row| row.path.to_owned()).collect();
    let known: BTreeSet<_> = defaults().into_iter().map(|(path, _)| path).collect();
    assert_eq!(tried, known);
    let with = |row: &Row| {
        let mut values = row.with.clone();
        merge(&mut values, at(row.path, row.value.clone()));
        values
    };
    let before: Vec<_> = table.iter().map(|row| row.with.clone()).collect();
    let after: Vec<_> = table.iter().map(with).collect();
    let rendered = render_all(&before).into_iter().zip(render_all(&after));
    for (row, (before, after)) in table.iter().zip(rendered) {
        assert_eq!((before.error, after.error), (None, None), "{}", row.path);
        assert!(row.shows(&after.manifests), "{} does not show in {}", row.path, row.place);
        assert!(!row.shows(&before.manifests), "{} shows without it", row.path);
    }
}

#[test]
fn the_table_of_the_readme_has_each_with_its_default() {
    let readme = text("deploy/helm/callvault/README.md");
    let (_, table) = readme.split_once("| --- | --- | --- |\n").expect("a table of values");
    let mut rows = BTreeSet::new();
    for line in table.lines().take_while(|line| line.starts_with('|')) {
        let [path, default, what] = line
            .trim_matches([' ', '|'])
            .splitn(3, " | ")
            .collect::<Vec<_>>()
            .try_into()
            .unwrap_or_else(|_| panic!("{line}"));
        assert!(!what.trim().is_empty(), "{line}");
        rows.insert((path.trim_matches('`').to_owned(), default.trim_matches('`').to_owned()));
    }
    let shown = |value: Value| match value {
        Value::String(text) if !text.is_empty() => text,
        Value::Array(items) => {
            format!("[{}]", items.iter().map(Value::to_string).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    };
    let known = defaults().into_iter().map(|(path, value)| (path, shown(value))).collect();
    assert_eq!(rows, known);
}

/// The objects of the schema that have keys of their own, by their paths; a tenant is `acme`.
fn objects(root: &Value, node: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    let node = match node["$ref"].as_str() {
        Some(reference) => root.pointer(&reference[1..]).expect("a definition"),
        None => node,
    };
    if let Some(keys) = node["properties"].as_object() {
        found.push((path.to_owned(), node.clone()));
        for (key, child) in keys {
            objects(root, child, &format!("{path}.{key}"), found);
        }
    }
    if node["additionalProperties"].is_object() {
        objects(root, &node["additionalProperties"], &format!("{path}.acme"), found);
    }
}

#[test]
fn the_schema_has_them_all_and_no_others() {
    let (schema, mut found) = (schema(), Vec::new());
    objects(&schema, &schema, "", &mut found);
    let mut of_schema = BTreeSet::new();
    for (path, node) in &found {
        let keys = node["properties"].as_object().expect("it has some");
        of_schema.extend(keys.keys().map(|key| format!("{path}.{key}")[1..].to_owned()));
    }
    // Of these values.yaml has what differs, or nothing: `configuration` holds them against the program.
    let elsewhere = |path: &str| {
        ["config.", "tenants.", "affinity.", "global"].iter().any(|part| path.starts_with(part))
    };
    // A path of values.yaml below a value that Kubernetes knows better than the schema.
    let known: BTreeSet<_> = defaults().into_iter().map(|(path, _)| path).collect();
    for path in &known {
        let mut path = path.as_str();
        while !of_schema.contains(path) {
            let (above, _) = path.rsplit_once('.').unwrap_or_else(|| panic!("{path} is not there"));
            assert!(above.contains("resources."), "{path} is not in the schema");
            path = above;
        }
    }
    for path in of_schema.iter().filter(|path| !elsewhere(path)) {
        let begins = |each: &String| each == path || each.starts_with(&format!("{path}."));
        assert!(known.iter().any(begins), "{path} is not in values.yaml");
    }
}

#[test]
fn one_that_is_misspelt_is_refused_wherever_it_stands() {
    let (schema, mut found) = (schema(), Vec::new());
    objects(&schema, &schema, "", &mut found);
    assert!(found.len() >= 25, "{}", found.len());
    let values: Vec<_> =
        found.iter().map(|(path, _)| at(&format!("{path}.misspelt")[1..], json!(1))).collect();
    for (values, rendered) in values.iter().zip(render_all(&values)) {
        let told = rendered.error.unwrap_or_else(|| panic!("{values} is taken"));
        assert!(told.contains("'misspelt'"), "{values}: {told}");
    }
}

#[test]
fn one_of_the_wrong_kind_or_that_cannot_work_is_refused() {
    for (values, told) in [
        (json!({ "replicas": "two" }), "/replicas"),
        (json!({ "keda": { "minReplicas": 0 } }), "/keda/minReplicas"),
        (json!({ "keda": { "enabled": true, "minReplicas": 20 } }), "keda.minReplicas is above"),
        (json!({ "config": { "worker": { "memory": "256" } } }), "/config/worker/memory"),
        (
            json!({ "config": { "worker": { "drain_timeout": 25 } } }),
            "/config/worker/drain_timeout",
        ),
        (json!({ "terminationGraceMargin": 0 }), "/terminationGraceMargin"),
        (json!({ "tenants": { "unknown": { "access_key": "AK" } } }), "unknown"),
        (json!({ "tenants": { "acme": {} } }), "access_key"),
        (json!({ "tenants": { "acme": { "access_key": "AK" } } }), "tenant acme has no CC-FS"),
        (
            json!({ "tenants": { "acme": { "access_key": "AK", "ccfs": { "endpoints": ["https://a"] } } } }),
            "tenant acme has no bucket",
        ),
        // Secrets stand in the Secret.
        (json!({ "config": { "broker": { "url": "amqp://b" } } }), "'url'"),
        (json!({ "config": { "store": { "secret_access_key": "k" } } }), "'secret_access_key'"),
    ] {
        let error = refused(&values);
        assert!(error.contains(told), "{values}: {error}");
    }
}
