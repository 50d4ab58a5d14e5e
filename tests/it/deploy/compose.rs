//! The system that `docker compose up` starts: what its parts are told fits together, and nothing is taken as it
//! happens to be.

use yaml_serde::Value;

use super::{file, loaded};
use crate::support::ccfs::tls::{Certificate, tls};
use crate::support::world::TENANTS;

#[path = "../../../examples/simulator/secrets.rs"]
mod secrets;

fn compose() -> Value {
    let mut compose: Value = yaml_serde::from_str(&file("deploy/compose/compose.yaml")).unwrap();
    compose.apply_merge().expect("what is merged is a mapping");
    compose
}

fn services() -> Vec<(String, Value)> {
    let compose = compose();
    let services = compose["services"].as_mapping().expect("a mapping of services").iter();
    services.map(|(name, service)| (text(name), service.clone())).collect()
}

fn service(name: &str) -> Value {
    compose()["services"][name].clone()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// What is mounted: from where, to where.
fn mounts(service: &Value) -> Vec<(String, String)> {
    let mounts = service["volumes"].as_sequence().into_iter().flatten().map(text);
    let parts = |mount: String| {
        let (from, to) = mount.split_once(':').expect("a mount");
        (from.to_owned(), to.trim_end_matches(":ro").to_owned())
    };
    mounts.map(parts).collect()
}

/// Which folder of what was prepared is seen there.
fn prepared(service: &Value, at: &str) -> String {
    let seen = mounts(service).into_iter().find(|(_, to)| to == at);
    let (volume, _) = seen.unwrap_or_else(|| panic!("nothing is mounted at {at}"));
    let from = mounts(&self::service("secrets"));
    let made = from.iter().find(|(from, _)| *from == volume).expect("it is prepared");
    made.1.trim_start_matches("/secrets/").to_owned()
}

#[test]
fn every_part_finds_the_secrets_that_were_made_up_for_it() {
    let folder = tempfile::tempdir().unwrap();
    secrets::prepare(folder.path()).unwrap();
    let ca = tls(Certificate::UnderCa).folder;
    for worker in ["worker-1", "worker-2", "audit"] {
        let here = folder.path().join(prepared(&service(worker), "/run/secrets"));
        let mounted = [(&*here, "/run/secrets"), (ca.path(), "/run/ca")];
        let config = loaded("deploy/compose/callvault.toml", &mounted);
        let tenants: Vec<_> = config.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
        assert_eq!(tenants, TENANTS);
    }
    let said = |part: &str, name: &str| secrets::read(&folder.path().join(part), name).unwrap();
    let url = said("worker", secrets::BROKER_URL);
    let ccfs = prepared(&service("ccfs"), "/run/secrets");
    assert_eq!(url, said(&ccfs, secrets::BROKER_URL));
    for tenant in TENANTS {
        let name = secrets::of_tenant(tenant);
        assert_eq!(said("worker", &name), said(&ccfs, &name));
    }
    let broker = said(&prepared(&service("rabbitmq"), "/run/secrets"), "compose.conf");
    let (_, password) = broker.split_once("default_pass = ").unwrap();
    let password = password.lines().next().unwrap();
    assert_eq!(url, format!("amqp://callvault:{password}@rabbitmq:5672/%2f"));
    let store = said(&prepared(&service("s3"), "/run/secrets"), "s3.json");
    for key in ["store-access-key-id", "store-secret-access-key"] {
        assert!(store.contains(&said("worker", key)), "{key}");
    }
    // A second start changes nothing.
    secrets::prepare(folder.path()).unwrap();
    assert_eq!(said("worker", secrets::BROKER_URL), url);
}

#[test]
fn nobody_sees_secrets_that_are_not_its_own() {
    let all = mounts(&service("secrets"));
    for (name, service) in services() {
        let secret = mounts(&service).into_iter().filter(|(from, _)| {
            all.iter().any(|(made, _)| made == from) && !["ca", "textfile"].contains(&&**from)
        });
        let secret: Vec<_> = secret.map(|(from, _)| from).collect();
        let own: &[&str] = match &*name {
            "secrets" => &["broker", "store", "worker", "simulator"],
            "rabbitmq" => &["broker"],
            "s3" => &["store"],
            "ccfs" => &["simulator"],
            "worker-1" | "worker-2" | "audit" => &["worker"],
            _ => &[],
        };
        assert_eq!(secret, own, "{name}");
        // Nor does anybody have one in its environment, which `docker inspect` shows.
        let environment = service["environment"].as_mapping().into_iter().flatten();
        for (key, _) in environment {
            let key = text(key);
            let known = key.starts_with("GF_") || key == "RABBITMQ_CONFIG_FILES";
            assert!(known, "{name}: is {key} a secret?");
        }
    }
}

#[test]
fn images_are_of_one_version_and_what_stays_up_is_asked_how_it_is() {
    for (name, service) in services() {
        let image = text(&service["image"]);
        let (_, version) = image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {image}"));
        let digits = version.matches(|c: char| c.is_ascii_digit()).count();
        assert!(digits >= 2 || version == "dev", "{name}: {image}");
        let ends = ["secrets", "audit"].contains(&&*name);
        // That of the workers is in their image.
        let asked = !service["healthcheck"].is_null() || name.starts_with("worker");
        assert!(ends || asked, "{name} has no healthcheck");
        let waits = service["depends_on"].as_mapping().into_iter().flatten();
        for (other, how) in waits {
            let wanted = match &*text(other) {
                "secrets" => "service_completed_successfully",
                _ => "service_healthy",
            };
            assert_eq!(text(&how["condition"]), wanted, "{name}");
        }
        let ports = service["ports"].as_sequence().into_iter().flatten();
        for port in ports.map(text) {
            assert!(port.starts_with("127.0.0.1:"), "{name} is open to others: {port}");
        }
    }
}
