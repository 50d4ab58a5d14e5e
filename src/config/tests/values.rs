//! What each section takes and refuses, alone and beside the others.

use insta::assert_snapshot;

use super::{LEAST, load, mistakes};

/// Puts `lines` into a section of the least configuration.
fn in_section(section: &str, lines: &str) -> String {
    let header = format!("{section}\n");
    if LEAST.contains(&header) {
        LEAST.replace(&header, &format!("{header}{lines}\n"))
    } else {
        format!("{header}{lines}\n{LEAST}")
    }
}

#[test]
fn every_section_refuses_what_cannot_work() {
    let cases = [
        ("[broker]", "queue_prefix = \"a b\"", "broker.queue_prefix"),
        ("[broker]", "queue_prefix = \"amq.x\"", "broker.queue_prefix"),
        ("[broker]", "calls_exchange = \"\"", "broker.calls_exchange"),
        ("[broker]", "delivery_limit = 0", "broker.delivery_limit"),
        ("[broker]", "declare = \"true\"", "broker.declare"),
        ("[broker]", "urls = [\"amqp://a/\", 3]", "broker.urls"),
        ("[broker]", "url = \"amqp:///\"", "broker.url"),
        ("[broker]", "ca_file = \"/nonexistent\"", "broker.ca_file"),
        ("[broker]", "client_cert_file = \"Cargo.toml\"", "broker.client_cert_file"),
        ("[broker]", "client_key_file = \"Cargo.toml\"", "broker.client_key_file"),
        ("[worker]", "tenant_share = 0", "worker.tenant_share"),
        ("[worker]", "tenant_share = nan", "worker.tenant_share"),
        ("[worker]", "concurrency = 9223372036854775808", "worker.concurrency"),
        ("[worker]", "drain_timeout = 25", "worker.drain_timeout"),
        ("[worker]", "memory = \"7MiB\"", "worker.memory"),
        ("[ccfs]", "proxy = \"socks5://proxy\"", "ccfs.proxy"),
        ("[ccfs]", "host = \"a/b\"", "ccfs.host"),
        ("[ccfs]", "max_size = \"0B\"", "ccfs.max_size"),
        ("[ccfs]", "result_codes = [\"1\"]", "ccfs.result_codes"),
        ("[ccfs]", "result_codes.\"a b\" = \"failure\"", "ccfs.result_codes.\"a b\""),
        ("[ccfs]", "result_codes.1 = 1", "ccfs.result_codes.1"),
        ("[store]", "endpoint = \"https://u:p@s3\"", "store.endpoint"),
        ("[store]", "endpoint = \"s3.example.com\"", "store.endpoint"),
        ("[store]", "region = \"\"", "store.region"),
        ("[store]", "key = \"{tenant\"", "store.key"),
        ("[store]", "part_size = \"6GiB\"", "store.part_size"),
        ("[store]", "conditional = \"yes\"", "store.conditional"),
        ("[store]", "zip = \"no\"", "store.zip"),
        ("[store]", "storage_class = \"cold\"", "store.storage_class"),
        ("[store]", "sse = \"aes\"", "store.sse"),
        ("[store]", "sse = \"AES256\"\nsse_kms_key_id = \"k\"", "store.sse_kms_key_id"),
        ("[store]", "tags = { \"\" = \"x\" }", "store.tags.\"\""),
        ("[store]", "object_lock_days = -1", "store.object_lock_days"),
        ("[store]", "object_lock_mode = \"governance\"", "store.object_lock_mode"),
        ("[store]", "checksum = \"none\"\nobject_lock_days = 1", "store.object_lock_days"),
        ("[store]", "secret_access_key = \"k\"", "store.secret_access_key"),
        ("[retry]", "delays = \"5s\"", "retry.delays"),
        ("[retry]", "delays = [\"5s\", \"0s\"]", "retry.delays"),
        ("[retry]", "delays = [\"60d\"]", "retry.delays"),
        ("[retry]", "breaker_failures = 0", "retry.breaker_failures"),
        ("[http]", "listen = \"\"", "http.listen"),
        ("[log]", "format = \"xml\"", "log.format"),
        ("[log]", "level = \"\"", "log.level"),
        ("[log]", "level = \"info,lapin=loud\"", "log.level"),
        ("[[tenants]]", "max_concurrency = -1", "tenants[acme].max_concurrency"),
        ("[[tenants]]", "cc_id = 1", "tenants[acme].cc_id"),
        ("[[tenants]]", "secret_key_env = \"SK\"", "tenants[acme].secret_key_env"),
    ];
    for (section, lines, key) in cases {
        let found = load(&in_section(section, lines), &[]).map(|_| "no mistake");
        let found = found.expect_err(lines);
        let keys: Vec<_> = found.iter().map(|mistake| mistake.key.as_str()).collect();
        assert_eq!(keys, [key], "{lines}: {found}");
    }
}

#[test]
fn every_section_takes_what_its_users_write() {
    let cases = [
        ("[broker]", "urls = [\"amqps://u:p@a:5671/v\", \"amqp://b\"]"),
        ("[broker]", "calls_exchange = \"amq.topic\"\nevents_exchange = \"my events\""),
        ("[worker]", "bulk_share = 1\ntenant_share = 0.01\njob_deadline = \"29m59s\""),
        ("[worker]", "memory = \"8MiB\""),
        ("[ccfs]", "host = \"nslb.example.com:8443\"\nmax_size = \"1TiB\""),
        ("[store]", "endpoint = \"http://127.0.0.1:9000\"\npath_style = true"),
        ("[store]", "sse = \"aws:kms\"\nsse_kms_key_id = \"arn:aws:kms:x\""),
        ("[store]", "checksum = \"crc64nvme\"\nobject_lock_days = 30"),
        ("[store]", "object_lock_days = 1"),
        ("[store]", "key = \"{cc_id}/{hh}/{call_id}.{ext}\"\nstorage_class = \"STANDARD_IA\""),
        ("[retry]", "delays = [\"500ms\", \"500ms\"]"),
        ("[log]", "level = \"warn,callvault=debug,hyper=off\""),
        ("[log]", "level = \"INFO\""),
        ("[[tenants]]", "time_zone = \"Asia/Almaty\"\ncc_id = \"12\"\nmax_concurrency = 3"),
    ];
    for (section, lines) in cases {
        let loaded = load(&in_section(section, lines), &[]);
        assert!(loaded.is_ok(), "{lines}: {}", loaded.map(|_| ()).unwrap_err());
    }
}

#[test]
fn tags_are_as_many_as_s3_takes() {
    let tags: Vec<_> = (0..11).map(|n| format!("t{n} = \"x\"")).collect();
    let found = mistakes(&in_section("[store]", &format!("tags = {{ {} }}", tags.join(", "))), &[]);
    assert!(found.contains("store.tags: has 11 entries"), "{found}");
}

#[test]
fn memory_holds_one_part_of_every_tenant() {
    let text =
        format!("[worker]\nmemory = \"16MiB\"\n{LEAST}[tenants.store]\npart_size = \"32MiB\"\n");
    assert_snapshot!(mistakes(&text, &[]), @"
    the configuration has a mistake:
      callvault.toml:2: worker.memory: is 16MiB, less than one part of 32MiB (store.part_size of tenant acme); raise it, or lower the part size
    ");
    // A recording of 5 TiB has 10,000 parts of 550 MB.
    let text = format!("{LEAST}[tenants.ccfs]\nmax_size = \"5TiB\"\n");
    assert_snapshot!(mistakes(&text, &[]), @"
    the configuration has a mistake:
      worker.memory: is 256MiB, less than one part of 549755814B (for ccfs.max_size of tenant acme); raise it, or lower the largest size
    ");
}

#[test]
fn tenants_have_ids_of_their_own() {
    let text =
        format!("{LEAST}[[tenants]]\nid = \"acme\"\naccess_key = \"a\"\nsecret_key = \"b\"\n");
    assert_snapshot!(mistakes(&text, &[]), @"
    the configuration has a mistake:
      callvault.toml:11: tenants[acme].id: is the id of an earlier tenant (callvault.toml:7); give each its own
    ");
}

#[test]
fn what_hardly_was_meant_is_warned_of() {
    let text = format!(
        "[retry]\ndelays = [\"30s\", \"5s\"]\nmax_age = \"1h\"\n{LEAST}[[tenants]]\nid = \"beta\"\n\
         access_key = \"a\"\nsecret_key = \"b\"\n"
    );
    let loaded = load(&text, &[("CALLVAULT__STORE__KEY", "{name}")]).unwrap();
    assert_snapshot!(loaded.warnings.join("\n"), @"
    retry.not_ready_window is longer than retry.max_age: recordings that CC-FS does not have end as dead, not as absent
    retry.delays does not rise: a later attempt waits less than an earlier one
    tenants acme and beta share a bucket and a store.key without {tenant}: recordings of the same name end as store.conflict
    ");
}
