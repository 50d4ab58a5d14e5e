//! The sample file, the defaults and what `callvault config` prints agree.

use std::cell::OnceCell;

use insta::assert_snapshot;

use super::{LEAST, good, load, value_of};
use crate::config::{Environment, Loaded, Reader, layers, sections};
use crate::failure::Class;

/// The file that operators start from.
const SAMPLE: &str = include_str!("../../../config/callvault.toml");

#[test]
fn the_sample_file_holds_every_key_with_its_default_and_nothing_else() {
    let table = layers::parse("callvault.toml", SAMPLE).unwrap();
    let environment = Environment::new(std::iter::empty());
    let folder = OnceCell::new();
    let mut reader = Reader::new(&table, &folder, &environment);
    sections(&mut reader);
    let known = reader.known().clone();
    // Nothing else: an unknown key would be a mistake.
    let (effective, warnings) = reader.finish().unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(warnings, [""; 0]);

    let document: toml::Table = SAMPLE.parse().unwrap();
    for key in &known {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        let holder = match section {
            "" => Some(&document),
            "tenants[acme]" => document["tenants"][0].as_table(),
            // Shown by example: they are the keys of [ccfs] and [store].
            "tenants[acme].ccfs" | "tenants[acme].store" => continue,
            section => document[section].as_table(),
        };
        let commented = format!("\n# {name} = ");
        let overlay = ["ccfs", "store"].contains(&name) && section == "tenants[acme]";
        let stands = holder.is_some_and(|table| table.contains_key(name))
            || SAMPLE.contains(&commented)
            || overlay && SAMPLE.contains(&format!("\n# [tenants.{name}]\n"));
        assert!(stands, "{key} is not in config/callvault.toml");
    }
    for section in &effective.sections {
        for row in section.rows.iter().filter(|row| row.default.is_some()) {
            assert_eq!(row.value, row.default, "{} {}", section.header, row.key);
        }
    }
}

#[test]
fn the_lines_that_are_commented_out_in_the_sample_file_are_known_keys() {
    let mut active = String::new();
    for line in SAMPLE.lines() {
        let example = line.strip_prefix("# ").filter(|rest| {
            let key = rest.split(" = ").next().unwrap_or_default();
            rest.starts_with("[tenants.")
                || rest.contains(" = ") && !key.contains(' ') && !key.ends_with(':')
        });
        // One form of a secret at a time: the examples of the others are held by the test above.
        let form = |key: &str| key.contains("_file") || key.contains("_env") || key == "urls";
        match example {
            Some(rest) if !form(rest.split(' ').next().unwrap_or_default()) => active += rest,
            _ => active += line,
        }
        active.push('\n');
    }
    let loaded = load(&active, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let tenant = &loaded.config.tenants[0];
    assert_eq!(tenant.store.bucket, "acme-recordings");
    assert_eq!(tenant.ccfs.host.as_deref(), Some("ccfs.acme.example"));
    assert_eq!(tenant.ccfs.result_codes["0300099"], Class::NotReady);
}

#[test]
fn the_least_configuration_has_the_defaults_of_the_contract() {
    let Loaded { config, warnings, .. } = good("", &[]);
    assert_eq!(warnings, [""; 0]);
    assert_eq!(value_of(&config.broker.urls[0]), "amqp://guest:guest@127.0.0.1:5672/%2f");
    assert_eq!(config.worker.memory, 256 << 20);
    assert_eq!(config.worker.concurrency, 64);
    assert_eq!(config.retry.delays.len(), 6);
    assert_eq!(config.retry.max_age, std::time::Duration::from_hours(7 * 24));
    let [tenant] = &config.tenants[..] else { panic!("one tenant") };
    assert_eq!(value_of(&tenant.secret_key), "SK-hunter2");
    assert_eq!(tenant.ccfs.endpoints[0].as_str(), "https://ccfs.example.com:28443/");
    assert!(tenant.store.credentials.is_none());
    assert_eq!(tenant.store.sse, None);
    assert_eq!(tenant.store.object_lock, None);
    assert_eq!(tenant.time_zone, jiff::tz::TimeZone::UTC);
}

#[test]
fn the_whole_of_what_config_prints() {
    let text = LEAST.replace("[store]\nbucket = \"recordings\"\n", "")
        + "[tenants.store]\nbucket = \"acme\"\n";
    let loaded = load(&text, &[("CALLVAULT__WORKER__CONCURRENCY", "8")]).unwrap();
    assert_snapshot!(crate::cli::config::run(&loaded), @r#"
    tenants_dir = ""                                   # default

    [broker]
    url = "amqp://guest:***@127.0.0.1:5672/%2f"        # default
    allow_plain = false                                # default
    ca_file = ""                                       # default
    client_cert_file = ""                              # default
    client_key_file = ""                               # default
    queue_prefix = "callvault"                         # default
    calls_exchange = "calls"                           # default
    events_exchange = "recordings"                     # default
    declare = true                                     # default
    delivery_limit = 20                                # default
    heartbeat = "15s"                                  # default
    events_mandatory = false                           # default

    [worker]
    concurrency = 8                                    # CALLVAULT__WORKER__CONCURRENCY, default 64
    bulk_share = 0.5                                   # default
    tenant_share = 0.75                                # default
    memory = "256MiB"                                  # default
    job_deadline = "15m"                               # default
    drain_timeout = "25s"                              # default

    [ccfs]
    endpoints = ["https://ccfs.example.com:28443"]     # callvault.toml:3
    allow_plain = false                                # default
    ca_file = ""                                       # default
    proxy = ""                                         # default
    host = ""                                          # default
    connect_timeout = "5s"                             # default
    read_timeout = "30s"                               # default
    max_size = "5GiB"                                  # default
    index_callback_url = "https://callvault.invalid/"  # default
    result_codes = {}                                  # default

    [store]
    # bucket                                           # set by each tenant
    endpoint = ""                                      # default
    allow_plain = false                                # default
    region = "us-east-1"                               # default
    path_style = false                                 # default
    access_key_id = ""                                 # default
    secret_access_key = ""                             # default
    session_token = ""                                 # default
    ca_file = ""                                       # default
    proxy = ""                                         # default
    key = "{tenant}/{yyyy}/{mm}/{dd}/{name}.{ext}"     # default
    part_size = "8MiB"                                 # default
    checksum = "auto"                                  # default
    conditional = "auto"                               # default
    zip = "keep"                                       # default
    storage_class = ""                                 # default
    sse = ""                                           # default
    sse_kms_key_id = ""                                # default
    tags = {}                                          # default
    object_lock_days = 0                               # default
    object_lock_mode = "GOVERNANCE"                    # default
    connect_timeout = "5s"                             # default
    read_timeout = "30s"                               # default

    [retry]
    delays = ["5s", "30s", "2m", "10m", "30m", "2h"]   # default
    max_attempts = 12                                  # default
    max_age = "7d"                                     # default
    not_ready_window = "1d"                            # default
    breaker_failures = 5                               # default
    breaker_window = "10s"                             # default

    [http]
    listen = "127.0.0.1:9464"                          # default

    [log]
    format = "text"                                    # default
    level = "info"                                     # default
    identifiers = "plain"                              # default

    [[tenants]]
    id = "acme"                                        # callvault.toml:5
    access_key = "AK"                                  # callvault.toml:6
    secret_key = "***"                                 # callvault.toml:7
    cc_id = "1"                                        # default
    time_zone = "UTC"                                  # default
    max_concurrency = 0                                # default
    paused = false                                     # default

    [tenants.store]
    bucket = "acme"                                    # callvault.toml:9
    "#);
}
