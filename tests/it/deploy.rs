//! What `deploy/` says agrees with the program and with itself: grace periods are longer than the drain,
//! what is applied to an empty cluster finds what it needs, and the nightly audit is the same everywhere.
//! The rules: `rules`.

mod compose;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use callvault::config::Config;

use crate::support::debian;

/// The manifests that run the program: the workers, the check before them, the nightly audit.
const PODS: [&str; 3] = ["deployment.yaml", "preflight/job.yaml", "audit/cronjob.yaml"];

/// The file that both nightly audits write into, whatever the folder.
const TEXTFILE: &str = "callvault_audit.prom";

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn orchestrators_wait_longer_than_the_drain() {
    let seconds = |text: &str, key: &str| -> u64 {
        let (_, value) = text.split_once(key).unwrap_or_else(|| panic!("no {key}"));
        let digits: String = value.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("{key} is no number of seconds"))
    };
    let settings: toml::Table = file("deploy/kubernetes/settings/callvault.toml").parse().unwrap();
    let drain = settings["worker"]["drain_timeout"].as_str().unwrap().trim_end_matches('s');
    let drain: u64 = drain.parse().unwrap();
    let pod = file("deploy/kubernetes/deployment.yaml");
    assert!(seconds(&pod, "terminationGracePeriodSeconds:") >= drain + 10);
    // The compose file keeps the default, 25 s.
    assert!(!file("deploy/compose/callvault.toml").contains("drain_timeout"));
    assert!(seconds(&file("deploy/compose/compose.yaml"), "stop_grace_period:") >= 25 + 10);
    assert!(seconds(&file("deploy/systemd/callvault.service"), "TimeoutStopSec=") >= 25 + 10);
}

#[test]
fn whoever_sets_a_limit_of_open_files_lets_the_largest_worker_have_its_own() {
    // Twice the jobs of one with 2,048 in flight, and a hundred.
    for (path, key) in [
        ("deploy/systemd/callvault.service", "LimitNOFILE="),
        ("deploy/compose/compose.yaml", "nofile: "),
    ] {
        let text = file(path);
        let (_, limit) = text.split_once(key).unwrap_or_else(|| panic!("{path} sets no limit"));
        let limit: u64 = limit.lines().next().unwrap_or_default().trim().parse().unwrap();
        assert!(limit >= 2 * 2048 + 100, "{path}: {limit}");
    }
    // No manifest can: whoever applies them is told who does.
    assert!(file("deploy/kubernetes/README.md").contains("LimitNOFILE"));
}

/// What the image sets.
const IMAGE: [(&str, &str); 2] =
    [("CALLVAULT__HTTP__LISTEN", "0.0.0.0:9464"), ("CALLVAULT__LOG__FORMAT", "json")];

/// The file as the container sees it, where these folders are mounted there.
fn loaded(path: &str, mounted: &[(&Path, &str)]) -> Config {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = folder.path().join("callvault.toml");
    let as_here = |text: String, (here, there): &(&Path, &str)| {
        text.replace(there, &here.display().to_string())
    };
    let text = mounted.iter().fold(file(path), as_here);
    std::fs::write(&settings, text).expect("a temporary folder can be written");
    let environment = IMAGE.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    match Config::load(Some(&settings), environment) {
        Ok(loaded) => loaded.config,
        Err(mistakes) => panic!("{path}: {mistakes}"),
    }
}

#[test]
fn the_configuration_is_without_mistakes() {
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
        for pod in PODS {
            assert!(file(&format!("deploy/kubernetes/{pod}")).contains(&item), "{pod}: no {item}");
        }
    }
    let mounted = [(folder.path(), "/etc/callvault/secrets")];
    loaded("deploy/kubernetes/settings/callvault.toml", &mounted);
}

/// What `deploy/kubernetes` holds, by its path there.
fn manifests() -> BTreeMap<String, String> {
    let mut manifests = BTreeMap::new();
    for folder in ["", "settings/", "preflight/", "audit/"] {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes").join(folder);
        for entry in std::fs::read_dir(here).expect("a folder of the repository") {
            let name = entry.expect("an entry of it").file_name().into_string().expect("UTF-8");
            if name.ends_with(".yaml") {
                let path = format!("{folder}{name}");
                manifests.insert(path.clone(), file(&format!("deploy/kubernetes/{path}")));
            }
        }
    }
    manifests
}

/// The first value of a key, wherever it stands.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let mut lines = text.lines().map(|line| line.trim_start().trim_start_matches("- "));
    let found = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {key} in\n{text}"))
}

/// The items of a list of plain words.
fn list<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let (_, after) = text.split_once(&format!("{key}:\n")).unwrap_or((text, ""));
    let items = after.lines().map_while(|line| line.trim_start().strip_prefix("- "));
    items.collect()
}

#[test]
fn the_kustomizations_name_files_that_are_there_and_all_of_them() {
    let manifests = manifests();
    let mut named = BTreeSet::new();
    for (folder, kustomization) in [
        ("", "kustomization.yaml"),
        ("settings/", "settings/kustomization.yaml"),
        ("preflight/", "preflight/kustomization.yaml"),
        ("audit/", "audit/kustomization.yaml"),
    ] {
        let text = &manifests[kustomization];
        for resource in list(text, "resources") {
            let path = format!("{folder}{resource}");
            assert!(manifests.contains_key(&path), "{kustomization}: there is no {path}");
            named.insert(path);
        }
        for component in list(text, "components") {
            let path = format!("{folder}{component}/kustomization.yaml");
            let path = path.replace(&format!("{folder}../"), "");
            assert!(manifests.contains_key(&path), "{kustomization}: there is no {path}");
        }
    }
    // Applied by hand, at their step: before the others, or where the operator is.
    let by_hand = ["podmonitor.yaml", "scaledobject.yaml", "secret.example.yaml"];
    named.extend(by_hand.map(str::to_owned));
    named.extend(manifests.keys().filter(|path| path.ends_with("kustomization.yaml")).cloned());
    assert_eq!(named, manifests.keys().cloned().collect());
    assert_eq!(list(&manifests["settings/kustomization.yaml"], "files"), ["callvault.toml"]);
}

#[test]
fn what_is_applied_to_an_empty_cluster_finds_what_it_needs() {
    let manifests = manifests();
    let namespace = value(&manifests["namespace.yaml"], "name");
    assert_eq!(value(&manifests["secret.example.yaml"], "namespace"), namespace);
    assert_eq!(value(&manifests["podmonitor.yaml"], "namespace"), namespace);
    let scaled = &manifests["scaledobject.yaml"];
    assert_eq!(scaled.matches(&format!("\n  namespace: {namespace}\n")).count(), 2, "{scaled}");
    assert_eq!(value(&manifests["settings/kustomization.yaml"], "namespace"), namespace);
    // The steps: the namespace, what is in it, the check, the workers; each in the namespace.
    let steps = file("deploy/kubernetes/README.md");
    let places = [
        "kubectl apply -f deploy/kubernetes/namespace.yaml",
        "kubectl apply -f ../callvault-secret.yaml",
        "create secret docker-registry callvault-registry",
        "create configmap callvault-ca --from-file=ca.crt",
        "kubectl apply -k deploy/kubernetes/preflight",
        "kubectl apply -k deploy/kubernetes\n",
        "kubectl apply -f deploy/kubernetes/podmonitor.yaml",
        "kubectl apply -k deploy/kubernetes/audit\n",
        "kubectl apply -f deploy/kubernetes/scaledobject.yaml",
    ]
    .map(|step| steps.find(step).unwrap_or_else(|| panic!("no step {step}")));
    assert!(places.is_sorted(), "{places:?}");
    let asked = steps.lines().map(str::trim).filter(|line| line.contains("kubectl "));
    for line in asked.filter(|line| !line.contains(" apply -") && !line.starts_with('`')) {
        assert!(line.contains(&format!("kubectl -n {namespace} ")), "{line}");
    }
}

#[test]
fn the_check_and_the_audit_see_what_the_workers_see() {
    let manifests = manifests();
    // Of a CronJob all stands further to the right; it has temporary files, a file for its numbers, and a
    // second container, which sees none of this.
    let of_audit = ["- { name: tmp, ", "- { name: textfile, "];
    let part = |text: &str, from: &str, to: &str| -> Vec<String> {
        let (_, text) = text.split_once(from).unwrap_or_else(|| panic!("no {from}"));
        let lines = text.lines().skip(1).map(str::trim);
        let lines = lines.take_while(|line| *line != to && !line.starts_with("- name: push"));
        let meant = |line: &&str| {
            !line.starts_with('#') && !of_audit.iter().any(|own| line.starts_with(own))
        };
        lines.filter(meant).map(str::to_owned).collect()
    };
    for (pod, command) in PODS.into_iter().zip(["[run]", "[check]", "[audit, "]) {
        let [workers, text] = ["deployment.yaml", pod].map(|path| manifests[path].as_str());
        for (from, to) in [
            (" volumes:", "---"),
            (" volumeMounts:", "volumes:"),
            (" imagePullSecrets:", "securityContext:"),
            (" securityContext:", "containers:"),
            (" allowPrivilegeEscalation: false", "volumeMounts:"),
        ] {
            let [mut of_workers, own] = [workers, text].map(|text| part(text, from, to));
            // Between its pod's context and its containers a Deployment says where pods go.
            of_workers.truncate(own.len());
            assert!(!own.is_empty(), "{pod}: {from}");
            assert_eq!(of_workers, own, "{pod}: {from}");
        }
        let containers = text.matches(" image: ").count();
        for each in
            ["allowPrivilegeEscalation: false", "readOnlyRootFilesystem: true", "drop: [ALL]"]
        {
            assert_eq!(text.matches(each).count(), containers, "{pod}: {each}");
        }
        assert!(value(text, "args").starts_with(command), "{pod}");
        assert_eq!(value(text, "image"), value(&manifests["settings/kustomization.yaml"], "name"));
    }
}

/// The words that the nightly audit is started with, there and there.
pub fn nightly() -> [Vec<String>; 2] {
    let words = |line: &str| line.split([' ', ',']).map(str::to_owned).collect::<Vec<_>>();
    let unit = file("deploy/systemd/callvault-audit.service");
    let unit = unit.lines().find_map(|line| line.strip_prefix("ExecStart=callvault "));
    let pod = file("deploy/kubernetes/audit/cronjob.yaml");
    let pod = value(&pod, "args").trim_matches(['[', ']']).replace(", ", " ");
    [words(unit.expect("the unit starts it")), words(&pod)]
}

#[test]
fn the_nightly_audit_is_the_same_everywhere() {
    let [unit, pod] = nightly();
    for words in [&unit, &pod] {
        assert_eq!(words[..5], ["audit", "--since", "3d", "--enqueue", "--textfile"], "{words:?}");
        assert_eq!(Path::new(&words[5]).file_name(), Some(TEXTFILE.as_ref()));
    }
    // The configuration is that of the worker beside it; in a container the image says where it is.
    let of_worker = file("deploy/systemd/callvault.service");
    assert!(of_worker.contains(&format!(" run {}\n", unit[6..].join(" "))), "{unit:?}");
    assert_eq!(pod.len(), 6);
    // Both have what one of some hours needs, and do not go on for ever.
    let cron = file("deploy/kubernetes/audit/cronjob.yaml");
    assert!(
        cron.contains("activeDeadlineSeconds: 21600\n") && cron.contains("timeZone: Etc/UTC\n")
    );
    assert!(file("deploy/systemd/callvault-audit.service").contains("\nTimeoutStartSec=6h\n"));
    // What is sent is what was written, from a place that both containers have.
    assert!(cron.contains(&format!("--data-binary @{}", pod[5])));
    let (_, sent) = cron.split_once("name: push\n").expect("a second container");
    assert!(sent.contains("- { name: textfile, mountPath: /textfile, readOnly: true }"));
    let (_, port) = cron.split_once("http://pushgateway.monitoring:").expect("a Pushgateway");
    let port = port.split('/').next().expect("a split has a first part");
    let policy = file("deploy/kubernetes/settings/networkpolicy.yaml");
    assert!(policy.contains(&format!("port: {port} }} # a Pushgateway")));
}

#[test]
fn the_audits_unit_may_no_more_than_the_workers_and_its_timer_starts_it() {
    let [worker, audit, timer] =
        ["callvault.service", "callvault-audit.service", "callvault-audit.timer"]
            .map(|name| file(&format!("deploy/systemd/{name}")));
    let confined = |text: &str| -> Vec<String> {
        let (_, from) = text.split_once("\nPrivateTmp=yes\n").expect("it is confined");
        from.lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    assert_eq!(confined(&worker), confined(&audit));
    assert!(audit.contains("\nType=oneshot\n") && audit.contains("\nUser=callvault\n"));
    // A file is made beside the one that it replaces.
    let textfile = Path::new(&nightly()[0][5]).parent().expect("a folder").display().to_string();
    assert!(audit.contains(&format!("\nReadWritePaths={textfile}\n")));
    // A unit without [Install] is not started with the machine: the timer of its name starts it.
    assert!(!audit.contains("[Install]") && timer.contains("\nWantedBy=timers.target\n"));
    assert!(timer.contains("\nOnCalendar=*-*-* ") && timer.contains("\nPersistent=true\n"));
}

#[test]
fn units_give_up_what_they_do_not_need() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd");
    for unit in ["callvault.service", "callvault-audit.service"] {
        let analyze = || {
            let mut command = Command::new("systemd-analyze");
            command.args(["security", "--offline=true", "--no-pager"]).arg(folder.join(unit));
            command.output()
        };
        let analyzed = analyze().or_else(|_| {
            debian::install("systemd", "");
            analyze()
        });
        let analyzed = debian::show(&analyzed.expect("it is installed"));
        let (_, exposure) = analyzed.split_once("Overall exposure level for ").expect(&analyzed);
        let level = exposure.split_whitespace().nth(1).and_then(|level| level.parse().ok());
        assert!(level.is_some_and(|level: f64| level < 2.0), "{analyzed}");
    }
}

#[test]
fn what_chooses_pods_chooses_those_that_are_meant() {
    let manifests = manifests();
    let label = "app.kubernetes.io/name";
    let [worker, check, audit] = PODS.map(|path| {
        let (_, pod) = manifests[path].split_once(" template:\n").expect("a pod's template");
        value(pod, label)
    });
    let others = [check, audit];
    assert!(!others.contains(&worker), "a budget or a scrape of workers is none of theirs");
    for path in ["deployment.yaml", "poddisruptionbudget.yaml", "podmonitor.yaml"] {
        let (_, selector) = manifests[path].split_once("\n  selector:\n").expect("a selector");
        assert_eq!(value(selector, label), worker, "{path}");
    }
    let policy = &manifests["settings/networkpolicy.yaml"];
    assert_eq!(value(policy, "key"), label);
    assert_eq!(value(policy, "values"), format!("[{worker}, {check}, {audit}]"));
    // The ports of the configuration, of the Secret and of the container.
    let settings = file("deploy/kubernetes/settings/callvault.toml");
    assert!(settings.contains(":28443\"") && policy.contains("port: 28443 }"));
    assert!(manifests["secret.example.yaml"].contains(":5671/") && policy.contains("port: 5671 }"));
    assert!(policy.contains("port: 53 }") && policy.contains("port: 443 }"));
    assert!(
        manifests["deployment.yaml"].contains("- name: http\n              containerPort: 9464")
    );
    assert!(policy.contains("port: http }") && manifests["podmonitor.yaml"].contains("port: http"));
}

#[test]
fn the_ca_is_mounted_where_the_configuration_looks_for_it() {
    let settings = file("deploy/kubernetes/settings/callvault.toml");
    assert!(settings.contains("ca_file = \"/etc/callvault/ca/ca.crt\""));
    for pod in PODS {
        let text = file(&format!("deploy/kubernetes/{pod}"));
        assert!(text.contains("mountPath: /etc/callvault, readOnly"), "{pod}");
        let (_, source) = text.split_once(" name: callvault-ca\n").expect("its ConfigMap");
        let optional = source.trim_start().starts_with("optional: true\n");
        assert!(optional && source.contains("path: ca/ca.crt }"), "{pod}");
    }
}
