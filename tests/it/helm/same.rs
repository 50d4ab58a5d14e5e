//! The manifests for kubectl: what kustomize makes of them is valid, and where the chart says the same thing it
//! says it alike.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{manifest, merge, of_readme, path, render, text};
use crate::support::kubernetes::{self, Validator};

/// What is applied with `kubectl apply -k`, step by step, and with `kubectl apply -f`.
fn by_kubectl() -> Vec<Value> {
    let folders = ["", "preflight", "audit"].map(|part| path("deploy/kubernetes").join(part));
    let mut manifests: Vec<_> =
        folders.iter().flat_map(|path| kubernetes::kustomize(path)).collect();
    for file in ["namespace", "secret.example", "podmonitor", "scaledobject"] {
        manifests.extend(kubernetes::documents(&text(&format!("deploy/kubernetes/{file}.yaml"))));
    }
    manifests
}

fn by_helm() -> Vec<Value> {
    let mut values = of_readme();
    merge(&mut values, json!({ "imagePullSecrets": [{ "name": "callvault-registry" }] }));
    merge(&mut values, json!({ "ca": { "existingConfigMap": "callvault-ca" } }));
    let mut manifests = render(&values).manifests;
    // KEDA takes `replicas` away, which the other has.
    merge(&mut values, json!({ "keda": { "enabled": true } }));
    let scaled = render(&values).manifests;
    manifests.extend(scaled.into_iter().filter(|each| each["apiVersion"] == "keda.sh/v1alpha1"));
    manifests
}

#[test]
fn what_kubectl_applies_is_valid() {
    let mut validator = Validator::new();
    let manifests = by_kubectl();
    for manifest in &manifests {
        assert_eq!(validator.mistakes(manifest), [""; 0], "{manifest}");
    }
    let kinds: BTreeSet<_> = manifests.iter().map(|each| each["kind"].as_str().unwrap()).collect();
    for kind in
        ["Deployment", "Job", "CronJob", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor"]
    {
        assert!(kinds.contains(kind), "{kind}");
    }
}

#[test]
fn the_chart_says_the_same_where_it_says_it_too() {
    let (kubectl, helm) = (by_kubectl(), by_helm());
    let container = ["args", "image", "resources", "securityContext"];
    let pod = [
        "automountServiceAccountToken",
        "imagePullSecrets",
        "securityContext",
        "restartPolicy",
        "terminationGracePeriodSeconds",
    ];
    let under = |prefix: &str, parts: &[&str]| -> Vec<String> {
        parts.iter().map(|part| format!("{prefix}/{part}")).collect()
    };
    let lists = |lists: &[Vec<String>]| lists.concat();
    let of_pods = |spec: &str, containers: usize| {
        let mut all = under(spec, &pod);
        for index in 0..containers {
            all.extend(under(&format!("{spec}/containers/{index}"), &container));
        }
        all
    };
    let spec = |parts: &[&str]| under("/spec", parts);
    let nightly = "/spec/jobTemplate/spec";
    for (kind, name, places) in [
        (
            "Deployment",
            "callvault",
            lists(&[
                spec(&["replicas", "revisionHistoryLimit", "strategy"]),
                of_pods("/spec/template/spec", 1),
                under(
                    "/spec/template/spec/containers/0",
                    &["ports", "livenessProbe", "readinessProbe", "startupProbe"],
                ),
                under(
                    "/spec/template/spec/topologySpreadConstraints/0",
                    &["maxSkew", "topologyKey", "whenUnsatisfiable"],
                ),
            ]),
        ),
        (
            "Job",
            "callvault-check",
            lists(&[
                spec(&["backoffLimit", "activeDeadlineSeconds"]),
                of_pods("/spec/template/spec", 0),
                under("/spec/template/spec/containers/0", &["args", "image", "securityContext"]),
            ]),
        ),
        (
            "CronJob",
            "callvault-audit",
            lists(&[
                spec(&["schedule", "timeZone", "concurrencyPolicy", "startingDeadlineSeconds"]),
                spec(&["successfulJobsHistoryLimit", "failedJobsHistoryLimit"]),
                under(nightly, &["backoffLimit", "podFailurePolicy", "activeDeadlineSeconds"]),
                of_pods(&format!("{nightly}/template/spec"), 2),
                under(
                    &format!("{nightly}/template/spec/containers/1"),
                    &["command", "volumeMounts"],
                ),
            ]),
        ),
        ("PodDisruptionBudget", "callvault", spec(&["maxUnavailable"])),
        ("NetworkPolicy", "callvault", spec(&["policyTypes", "ingress", "egress/0"])),
        ("PodMonitor", "callvault", spec(&["podMetricsEndpoints"])),
        ("ScaledObject", "callvault", spec(&[])),
        ("TriggerAuthentication", "callvault", spec(&[])),
    ] {
        let [kubectl, helm] = [&kubectl, &helm].map(|all| manifest(all, kind, name));
        assert_eq!((&kubectl["kind"], &helm["kind"]), (&json!(kind), &json!(kind)), "{name}");
        let places = if places.is_empty() { vec!["/spec".to_owned()] } else { places };
        let mut said = 0;
        for place in &places {
            let [kubectl, helm] = [kubectl, helm].map(|each| each.pointer(place));
            assert_eq!(kubectl, helm, "{kind} {name} {place}");
            said += usize::from(kubectl.is_some());
        }
        assert!(said * 2 > places.len(), "{kind} {name}: {said} of {}", places.len());
    }
    let ports = |all| -> BTreeSet<String> {
        let ports = &manifest(all, "NetworkPolicy", "callvault")["spec"]["egress"][1]["ports"];
        ports.as_array().expect("ports").iter().map(Value::to_string).collect()
    };
    assert_eq!(ports(&kubectl), ports(&helm));
}

#[test]
fn configuration_and_secrets_are_the_same_and_at_the_same_paths() {
    let (kubectl, helm) = (by_kubectl(), by_helm());
    let parsed = |text: &str| -> toml::Table { text.parse().expect("TOML") };
    let of_kubectl = parsed(&text("deploy/kubernetes/settings/callvault.toml"));
    let file = |name: &str, file: &str| {
        parsed(manifest(&helm, "ConfigMap", name)["data"][file].as_str().expect("a file"))
    };
    let mut of_helm = file("callvault", "callvault.toml");
    of_helm.remove("tenants_dir");
    of_helm.insert("tenants".into(), vec![file("callvault-tenants", "acme.toml")].into());
    assert_eq!(of_kubectl, of_helm);

    // What the kubectl's pods have in /etc/callvault, but for the configuration itself.
    let pod = |all| &manifest(all, "Deployment", "callvault")["spec"]["template"]["spec"];
    let sources = pod(&kubectl)["volumes"][0]["projected"]["sources"].as_array().unwrap();
    let items = sources.iter().filter_map(|source| {
        let of = source.get("secret").or(source.get("configMap")).expect("one of them");
        of["items"].as_array()
    });
    let items: BTreeSet<_> =
        items.flatten().map(|item| item["path"].as_str().unwrap().to_owned()).collect();
    let mounts = pod(&helm)["containers"][0]["volumeMounts"].as_array().unwrap();
    let mounts = mounts.iter().map(|mount| mount["mountPath"].as_str().unwrap());
    let mounts: BTreeSet<_> = mounts.collect();
    let mut beyond = BTreeSet::from(["/etc/callvault/config", "/etc/callvault/tenants"]);
    for item in &items {
        let (folder, _) = item.split_once('/').expect("all stand in folders");
        let folder = format!("/etc/callvault/{folder}");
        beyond.insert(*mounts.get(folder.as_str()).unwrap_or_else(|| panic!("no {folder}")));
    }
    assert_eq!(mounts, beyond);
    // A CA is one key of its ConfigMap.
    let ca = pod(&helm)["volumes"].as_array().unwrap().iter().find(|each| each["name"] == "ca");
    assert_eq!(ca.unwrap()["configMap"]["items"], json!([{ "key": "ca.crt", "path": "ca.crt" }]));
    assert!(items.contains("ca/ca.crt") && items.contains("secrets/acme-secret-key"));
}

#[test]
fn what_chooses_pods_chooses_workers_or_all_that_is_meant() {
    let mut values = of_readme();
    merge(&mut values, json!({ "keda": { "enabled": true } }));
    let manifests = render(&values).manifests;
    let chosen = |selector: &Value| -> BTreeSet<&str> {
        let wanted = selector["matchLabels"].as_object().expect("labels");
        let pods = manifests.iter().filter_map(|each| {
            let template = each.pointer("/spec/jobTemplate/spec/template");
            let labels =
                template.or(each.pointer("/spec/template"))?.pointer("/metadata/labels")?;
            Some((each["kind"].as_str()?, labels))
        });
        let matching =
            pods.filter(|(_, labels)| wanted.iter().all(|(key, value)| labels[key] == *value));
        matching.map(|(kind, _)| kind).collect()
    };
    let selector = |kind: &str, pointer: &str| {
        chosen(manifest(&manifests, kind, "callvault").pointer(pointer).expect("a selector"))
    };
    let workers = BTreeSet::from(["Deployment"]);
    assert_eq!(selector("Deployment", "/spec/selector"), workers);
    let spread = "/spec/template/spec/topologySpreadConstraints/0/labelSelector";
    assert_eq!(selector("Deployment", spread), workers);
    assert_eq!(selector("PodDisruptionBudget", "/spec/selector"), workers);
    assert_eq!(selector("PodMonitor", "/spec/selector"), workers);
    let all = BTreeSet::from(["CronJob", "Deployment", "Job"]);
    assert_eq!(selector("NetworkPolicy", "/spec/podSelector"), all);
    let scaled = &manifest(&manifests, "ScaledObject", "callvault")["spec"]["scaleTargetRef"];
    assert_eq!(scaled, &json!({ "name": "callvault" }));
}

#[test]
fn the_check_reads_copies_that_are_there_before_the_release() {
    let mut values = of_readme();
    merge(
        &mut values,
        json!({ "secrets": { "create": true, "data": { "broker-url": "amqp://b" } } }),
    );
    let manifests = render(&values).manifests;
    let hook =
        |each: &Value| each["metadata"]["annotations"]["helm.sh/hook"].as_str().map(str::to_owned);
    let job = manifest(&manifests, "Job", "callvault-check");
    assert_eq!(hook(job).as_deref(), Some("pre-install,pre-upgrade"));
    let volumes = &job["spec"]["template"]["spec"]["volumes"];
    for (kind, name) in [
        ("ConfigMap", &volumes[0]["configMap"]["name"]),
        ("Secret", &volumes[1]["secret"]["secretName"]),
        ("ConfigMap", &volumes[2]["projected"]["sources"][0]["configMap"]["name"]),
    ] {
        let name = name.as_str().expect("a name");
        let copy = manifest(&manifests, kind, name);
        let original = manifest(&manifests, kind, &name.replace("-check", ""));
        assert_eq!(hook(copy), hook(job), "{name}");
        assert_eq!(copy["metadata"]["annotations"]["helm.sh/hook-weight"], "-1", "{name}");
        assert_eq!(hook(original), None, "{name}");
        for part in ["data", "stringData", "type"] {
            assert_eq!(copy[part], original[part], "{name}");
        }
    }
}
