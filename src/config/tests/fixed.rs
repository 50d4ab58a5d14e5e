//! What cannot change while a worker runs is told by its key.

use std::collections::BTreeSet;

use super::{good, load};

/// Other values than the defaults, for every key that is read once.
fn others(dir: &std::path::Path) -> String {
    let pem = dir.join("any.pem");
    std::fs::write(&pem, "any").unwrap();
    let pem = pem.display();
    format!(
        r#"
[broker]
url = "amqp://guest:hunter2@127.0.0.1:5672/%2f"
ca_file = "{pem}"
client_cert_file = "{pem}"
client_key_file = "{pem}"
queue_prefix = "other"
calls_exchange = "other"
events_exchange = "others"
allow_plain = true
declare = false
delivery_limit = 21
heartbeat = "16s"
events_mandatory = true
[worker]
concurrency = 65
bulk_share = 0.6
tenant_share = 0.7
memory = "257MiB"
job_deadline = "14m"
drain_timeout = "26s"
[retry]
delays = ["5s"]
max_attempts = 13
max_age = "8d"
not_ready_window = "25h"
breaker_failures = 6
breaker_window = "11s"
[http]
listen = "127.0.0.1:9465"
[log]
format = "json"
level = "warn"
identifiers = "hashed"
"#
    )
}

#[test]
fn every_key_that_is_read_once_is_told_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (good("", &[]), good(&others(dir.path()), &[]));
    let told: BTreeSet<_> = after.config.fixed_differences(&before.config).into_iter().collect();
    let sections = after.effective.sections.iter();
    let fixed = ["[broker]", "[worker]", "[retry]", "[http]", "[log]"];
    let keys = sections.filter(|section| fixed.contains(&section.header.as_str())).flat_map(|s| {
        let section = s.header.trim_matches(['[', ']']);
        s.rows.iter().map(move |row| format!("{section}.{}", row.key))
    });
    assert_eq!(told, keys.collect::<Vec<_>>().iter().map(String::as_str).collect());
    assert_eq!(before.config.fixed_differences(&good("", &[]).config), [""; 0]);
}

#[test]
fn tenants_and_what_they_merge_may_change() {
    let before = load(super::LEAST, &[]).unwrap();
    let text = super::LEAST.replace("acme", "globex").replace("hunter2", "other");
    let text = text.replace("[ccfs]", "[ccfs]\nread_timeout = \"31s\"");
    let text = text.replace("\"recordings\"", "\"others\"");
    let after = load(&text, &[]).unwrap();
    assert_ne!(after.config.tenants[0].store, before.config.tenants[0].store);
    assert_eq!(after.config.fixed_differences(&before.config), [""; 0]);
}
