//! What the chart makes of `config` and `tenants` is a configuration that the worker takes, and any key of it
//! can be set there, but for secrets and for what the image sets.

use std::collections::BTreeSet;
use std::path::Path;

use callvault::config::{Config, Loaded};
use serde_json::{Value, json};

use super::{at, manifest, merge, of_readme, render, render_all, text};

/// What the image sets.
const IMAGE: [(&str, &str); 2] =
    [("CALLVAULT__HTTP__LISTEN", "0.0.0.0:9464"), ("CALLVAULT__LOG__FORMAT", "json")];

/// Lays out the files as a pod has them, below `folder` instead of `/etc/callvault`; every secret is there.
fn mount(manifests: &[Value], folder: &Path) {
    let below = |text: &Value| {
        text.as_str().expect("a file").replace("/etc/callvault", &folder.display().to_string())
    };
    for part in ["tenants", "secrets", "config"] {
        std::fs::create_dir(folder.join(part)).unwrap();
    }
    for (name, part) in [("callvault", "config"), ("callvault-tenants", "tenants")] {
        let files = manifest(manifests, "ConfigMap", name)["data"].as_object();
        for (name, text) in files.expect("a ConfigMap has data") {
            let (text, secrets) = (below(text), folder.join("secrets"));
            for after in text.split(&format!("{}/", secrets.display())).skip(1) {
                let secret = after.split('"').next().expect("a split has a first part");
                let value = if secret == "broker-url" { "amqps://b:p@rabbit" } else { "key" };
                std::fs::write(secrets.join(secret), value).unwrap();
            }
            std::fs::write(folder.join(part).join(name), text).unwrap();
        }
    }
}

/// What the worker makes of values.
fn loaded(values: &Value, more: &[(&str, &str)]) -> Loaded {
    let (manifests, folder) = (render(values).manifests, tempfile::tempdir().unwrap());
    mount(&manifests, folder.path());
    let environment = IMAGE.iter().chain(more);
    let environment = environment.map(|(name, value)| (name.to_string(), value.into()));
    let file = folder.path().join("config/callvault.toml");
    Config::load(Some(&file), environment).unwrap_or_else(|mistakes| {
        panic!("{mistakes}\n{}", manifest(&manifests, "ConfigMap", "callvault")["data"])
    })
}

#[test]
fn the_worker_takes_what_is_rendered() {
    let none = loaded(&json!({}), &[]).config;
    assert!(none.tenants.is_empty() && none.tenants_dir.is_some());
    let config = loaded(&of_readme(), &[]).config;
    let [acme] = &config.tenants[..] else { panic!("{:?}", config.tenants) };
    assert_eq!((acme.id.as_str(), acme.access_key.as_str()), ("acme", "AK-OF-ACME"));
    assert_eq!(config.http.listen.port(), 9464);
    // Nodes of a cluster have no key of their own for a file; and credentials of the machine need none.
    let nodes = [("CALLVAULT__BROKER__URLS", "[\"amqps://u:p@a\", \"amqps://u:p@b\"]")];
    let mut values = of_readme();
    let none = json!({
        "broker": { "url_file": null },
        "store": { "access_key_id_file": null, "secret_access_key_file": null },
    });
    merge(&mut values, at("config", none));
    loaded(&values, &nodes);
}

/// Every key of a section with its default; of secrets a file.
fn everything() -> toml::Table {
    let mut all: toml::Table = text("config/callvault.toml").parse().expect("TOML");
    for (section, secrets) in [
        ("broker", &["url"][..]),
        ("store", &["access_key_id", "secret_access_key", "session_token"]),
    ] {
        let section = all[section].as_table_mut().expect("a section");
        for secret in secrets {
            section.remove(*secret).expect("it is there");
            let file = format!("/etc/callvault/secrets/{secret}");
            section.insert(format!("{secret}_file"), file.into());
        }
    }
    all
}

/// A section as a value: what is empty is left out there.
fn value(section: &toml::Value) -> Value {
    let mut value = serde_json::to_value(section).expect("TOML is JSON");
    let empty = |value: &Value| value == "" || *value == json!({}) || *value == json!([]);
    value.as_object_mut().expect("a section").retain(|_, value| !empty(value));
    value
}

#[test]
fn every_key_of_the_program_can_be_set_and_comes_as_it_is() {
    let mut all = everything();
    // The image's.
    all.remove("http");
    all["log"].as_table_mut().unwrap().remove("format");
    all["ccfs"]["result_codes"]
        .as_table_mut()
        .unwrap()
        .insert("0300099".into(), "not_ready".into());
    all["store"]["tags"]
        .as_table_mut()
        .unwrap()
        .insert("a \"tag\" = \\ <of> ours".into(), "§\n5y & more".into());
    let [tenant] = all.remove("tenants").unwrap().as_array().unwrap().clone().try_into().unwrap();
    all.remove("tenants_dir");
    let sections: Vec<_> =
        all.iter().map(|(name, section)| (name.clone(), value(section))).collect();
    let config: Value = sections.iter().cloned().collect::<serde_json::Map<_, _>>().into();
    let mut acme = value(&tenant);
    for own in ["id", "secret_key"] {
        acme.as_object_mut().unwrap().remove(own).expect("it is there");
    }
    acme["secret_key_file"] = json!("/etc/callvault/secrets/acme");
    acme["ccfs"] = config["ccfs"].clone();
    acme["store"] = config["store"].clone();
    let values = json!({ "config": config, "tenants": { "acme": acme } });
    let manifests = render(&values).manifests;
    let parsed = |name: &str, file: &str| -> Value {
        let text = manifest(&manifests, "ConfigMap", name)["data"][file].as_str().unwrap();
        let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
        serde_json::to_value(table).unwrap()
    };
    let mut found = parsed("callvault", "callvault.toml");
    assert_eq!(found["tenants_dir"], "/etc/callvault/tenants");
    found.as_object_mut().unwrap().remove("tenants_dir");
    assert_eq!(found, config);
    let mut tenant = parsed("callvault-tenants", "acme.toml");
    assert_eq!(tenant["id"], "acme");
    tenant.as_object_mut().unwrap().remove("id");
    assert_eq!(tenant, acme);
}

#[test]
fn the_schema_knows_the_keys_of_the_program_and_no_others() {
    let schema: Value =
        serde_json::from_str(&text("deploy/helm/callvault/values.schema.json")).unwrap();
    let keys = |node: &Value| -> BTreeSet<String> {
        let node = match node["$ref"].as_str() {
            Some(reference) => {
                &schema[&reference[2..].split('/').next().unwrap()]
                    [reference.rsplit('/').next().unwrap()]
            }
            None => node,
        };
        node["properties"].as_object().expect("an object").keys().cloned().collect()
    };
    // A secret has two forms that are none.
    let forms = |section: &toml::Table, but: &[&str]| -> BTreeSet<String> {
        let secret = |key: &str| {
            ["url", "access_key_id", "secret_access_key", "session_token", "secret_key"]
                .contains(&key)
        };
        let own = section.keys().filter(|key| !but.contains(&key.as_str()));
        own.flat_map(|key| {
            if secret(key) {
                vec![format!("{key}_file"), format!("{key}_env")]
            } else {
                vec![key.clone()]
            }
        })
        .collect()
    };
    let program: toml::Table = text("config/callvault.toml").parse().unwrap();
    let config = &schema["properties"]["config"];
    let mut sections = keys(config);
    for section in &sections {
        let but: &[&str] = if section == "log" { &["format"] } else { &[] };
        let known = forms(program[section].as_table().unwrap(), but);
        assert_eq!(keys(&config["properties"][section]), known, "{section}");
    }
    sections.extend(["http", "tenants", "tenants_dir"].map(str::to_owned));
    assert_eq!(sections, program.keys().cloned().collect());
    let mut tenant = forms(program["tenants"][0].as_table().unwrap(), &["id"]);
    tenant.extend(["ccfs", "store"].map(str::to_owned));
    assert_eq!(keys(&schema["definitions"]["tenant"]), tenant);
}

#[test]
fn pods_have_more_time_than_the_drain() {
    let drains = ["25s", "1m30s", "500ms", "2m", "1h", "1d1ms", "0s"];
    let values = drains.map(|drain| at("config.worker.drain_timeout", json!(drain)));
    for (drain, rendered) in drains.iter().zip(render_all(&values)) {
        let pod = &manifest(&rendered.manifests, "Deployment", "callvault")["spec"]["template"];
        let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
        let drain = callvault::config::parse_duration(drain).unwrap();
        assert_eq!(grace, (drain.as_millis().div_ceil(1000) + 20) as u64, "{drain:?}");
    }
    // The program's default holds where none is said.
    let none = render(&at("config.worker.drain_timeout", Value::Null)).manifests;
    let pod = &manifest(&none, "Deployment", "callvault")["spec"]["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 45);
}

#[test]
fn a_change_rolls_the_workers_unless_they_are_told() {
    let tenants = json!({ "acme": {
        "access_key": "AK", "ccfs": { "endpoints": ["https://a"] }, "store": { "bucket": "b" },
    } });
    let told = json!({ "reload": { "enabled": true } });
    let with = |mut values: Value, more: Value| {
        merge(&mut values, more);
        values
    };
    let config = at("config.log.level", json!("debug"));
    let tenants = json!({ "tenants": tenants });
    let all = [
        json!({}),
        tenants.clone(),
        config.clone(),
        told.clone(),
        with(told.clone(), tenants),
        with(told, config),
    ];
    let templates: Vec<_> = render_all(&all)
        .iter()
        .map(|each| {
            manifest(&each.manifests, "Deployment", "callvault")["spec"]["template"].clone()
        })
        .collect();
    let [plain, tenants, config, told, told_tenants, told_config] = &templates[..] else {
        panic!()
    };
    assert!(plain != tenants && plain != config);
    assert!(told == told_tenants && told != told_config);
}

#[test]
fn the_notes_name_the_keys_that_the_configuration_asks_for() {
    let rendered = render(&of_readme());
    let folder = tempfile::tempdir().unwrap();
    mount(&rendered.manifests, folder.path());
    let files = std::fs::read_dir(folder.path().join("secrets")).unwrap();
    let files: BTreeSet<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let (_, listed) = rendered.notes.split_once("with these keys:\n").expect("it lists them");
    let listed = listed.lines().map_while(|line| line.strip_prefix("  ")).map(str::to_owned);
    assert_eq!(files, listed.collect());
    // As the README has them made.
    let readme = text("deploy/helm/callvault/README.md");
    let (_, made) = readme.split_once("create secret generic callvault").expect("a Secret");
    let (made, _) = made.split_once("```").expect("an end");
    let made = made.split("--from-literal=").skip(1).filter_map(|each| each.split_once('='));
    assert_eq!(files, made.map(|(key, _)| key.to_owned()).collect());
}
