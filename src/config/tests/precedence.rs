//! Which layer wins: defaults, file, environment, and a tenant's own sections over the global ones.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use insta::assert_snapshot;

use super::{Environment, LEAST, good, layers, load, mistakes, row, value_of};
use crate::config::{Config, LockMode, LogFormat, ObjectLock, Tenant};
use crate::failure::Class;

#[test]
fn the_environment_sets_every_kind_of_key_over_the_file() {
    let file = "[worker]\nconcurrency = 8\n[retry]\ndelays = [\"1h\"]\n";
    let loaded = good(
        file,
        &[
            ("CALLVAULT__BROKER__DECLARE", "false"),
            ("CALLVAULT__WORKER__CONCURRENCY", "9"),
            ("CALLVAULT__WORKER__BULK_SHARE", "0.25"),
            ("CALLVAULT__WORKER__MEMORY", "1GiB"),
            ("CALLVAULT__WORKER__JOB_DEADLINE", "90s"),
            ("CALLVAULT__RETRY__DELAYS", r#"["1s", "2s"]"#),
            ("CALLVAULT__STORE__TAGS", r#"{"team": "x"}"#),
            ("CALLVAULT__STORE__TAGS__Kind", "call"),
            ("CALLVAULT__CCFS__RESULT_CODES__0300099", "not_ready"),
            ("CALLVAULT__STORE__BUCKET", "other"),
            ("CALLVAULT__LOG__FORMAT", "json"),
            ("CALLVAULT__HTTP__LISTEN", "[::1]:80"),
            ("PATH", "/bin"),
        ],
    );
    let Config { broker, worker, retry, http, log, tenants, .. } = &loaded.config;
    assert!(!broker.declare);
    assert_eq!((worker.concurrency, worker.bulk_share, worker.memory), (9, 0.25, 1 << 30));
    assert_eq!(worker.job_deadline.as_secs(), 90);
    assert_eq!(retry.delays.iter().map(|d| d.as_secs()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(http.listen.port(), 80);
    assert_eq!(log.format, LogFormat::Json);
    assert_eq!(tenants[0].store.tags["team"], "x");
    assert_eq!(tenants[0].store.tags["Kind"], "call");
    assert_eq!(tenants[0].store.bucket, "other");
    assert_eq!(tenants[0].ccfs.result_codes["0300099"], Class::NotReady);
    let source = ("9".into(), "CALLVAULT__WORKER__CONCURRENCY".into());
    assert_eq!(row(&loaded, "[worker]", "concurrency"), source);
    let deadline = ("\"1m30s\"".into(), "CALLVAULT__WORKER__JOB_DEADLINE".into());
    assert_eq!(row(&loaded, "[worker]", "job_deadline"), deadline);
}

#[test]
fn a_variable_with_one_underscore_too_few_is_warned_of() {
    let loaded = good("", &[("CALLVAULT_BROKER_URL", "x"), ("CALLVAULT_SERVICE_HOST", "y")]);
    assert_eq!(
        loaded.warnings,
        ["CALLVAULT_BROKER_URL has no effect; did you mean CALLVAULT__BROKER__URL?"]
    );
}

#[test]
fn a_tenants_sections_lie_over_the_global_ones() {
    let text = r#"
[ccfs]
read_timeout = "10s"
[ccfs.result_codes]
1 = "failure"
2 = "failure"
[store]
access_key_id = "global"
secret_access_key = "global-hunter2"
checksum = "md5"
[[tenants]]
id = "acme"
access_key = "AK"
secret_key = "SK"
[tenants.ccfs]
endpoints = ["https://acme:1"]
[tenants.ccfs.result_codes]
2 = "not_ready"
[tenants.store]
bucket = "acme"
access_key_id = "own"
secret_access_key_env = "ACME_S3"
object_lock_days = 30
[[tenants]]
id = "beta"
access_key = "AK"
secret_key = "SK"
[tenants.ccfs]
endpoints = ["https://beta:1"]
read_timeout = "20s"
[tenants.store]
bucket = "beta"
"#;
    let variables = [("ACME_S3", "own-hunter2"), ("CALLVAULT__CCFS__READ_TIMEOUT", "15s")];
    let loaded = load(text, &variables).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let [acme, beta] = &loaded.config.tenants[..] else { panic!("two tenants") };
    assert_eq!((acme.store.bucket.as_str(), beta.store.bucket.as_str()), ("acme", "beta"));
    assert_eq!(acme.ccfs.read_timeout.as_secs(), 15, "the environment lies over the global file");
    assert_eq!(beta.ccfs.read_timeout.as_secs(), 20, "the tenant's own is nearer");
    let classes: Vec<_> = acme.ccfs.result_codes.values().copied().collect();
    assert_eq!(classes, [Class::Failure, Class::NotReady]);
    assert_eq!(beta.ccfs.result_codes["2"], Class::Failure);
    let secret = |tenant: &Tenant| {
        value_of(&tenant.store.credentials.as_ref().expect("both are set").secret_access_key)
    };
    assert_eq!((secret(acme), secret(beta)), ("own-hunter2".into(), "global-hunter2".into()));
    let lock = ObjectLock { days: 30, mode: LockMode::Governance };
    assert_eq!((acme.store.object_lock, beta.store.object_lock), (Some(lock), None));

    let shown = crate::cli::config::run(&loaded);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.parse::<toml::Table>().is_ok(), "{shown}");
    let tenants = &shown[shown.find("[[tenants]]").unwrap()..];
    assert_snapshot!(tenants, @r#"
    [[tenants]]
    id = "acme"                                        # callvault.toml:12
    access_key = "AK"                                  # callvault.toml:13
    secret_key = "***"                                 # callvault.toml:14
    cc_id = "1"                                        # default
    time_zone = "UTC"                                  # default
    max_concurrency = 0                                # default
    paused = false                                     # default

    [tenants.ccfs]
    endpoints = ["https://acme:1"]                     # callvault.toml:16
    result_codes.2 = "not_ready"                       # callvault.toml:18

    [tenants.store]
    bucket = "acme"                                    # callvault.toml:20
    access_key_id = "***"                              # callvault.toml:21
    secret_access_key = "***"                          # environment variable ACME_S3 (callvault.toml:22)
    object_lock_days = 30                              # callvault.toml:23, default 0

    [[tenants]]
    id = "beta"                                        # callvault.toml:25
    access_key = "AK"                                  # callvault.toml:26
    secret_key = "***"                                 # callvault.toml:27
    cc_id = "1"                                        # default
    time_zone = "UTC"                                  # default
    max_concurrency = 0                                # default
    paused = false                                     # default

    [tenants.ccfs]
    endpoints = ["https://beta:1"]                     # callvault.toml:29
    read_timeout = "20s"                               # callvault.toml:30, default "30s"

    [tenants.store]
    bucket = "beta"                                    # callvault.toml:32
    "#);
}

#[test]
fn a_tenant_does_not_tear_the_pair_of_store_keys() {
    let text = format!("{LEAST}[tenants.store]\naccess_key_id = \"own\"\n");
    let text = text.replace(
        "bucket = \"recordings\"",
        "bucket = \"recordings\"\naccess_key_id = \"a\"\nsecret_access_key = \"b\"",
    );
    assert_snapshot!(mistakes(&text, &[]), @"
    the configuration has a mistake:
      callvault.toml:13: tenants[acme].store.access_key_id: is the tenant's own, and secret_access_key is the global one; set both keys in the same section
    ");
}

#[test]
fn a_session_token_goes_with_the_keys_beside_it() {
    let global = "bucket = \"recordings\"\naccess_key_id = \"a\"\nsecret_access_key = \"b\"\n\
                  session_token = \"t\"";
    let with = |own: &str| {
        let text = format!("{LEAST}[tenants.store]\n{own}\n");
        text.replace("bucket = \"recordings\"", global)
    };
    let token = |text: &str| {
        let keys =
            load(text, &[]).expect("it is right").config.tenants[0].store.credentials.clone();
        keys.expect("both are set").session_token.map(|token| value_of(&token))
    };
    assert_eq!(token(&with("region = \"eu\"")).as_deref(), Some("t"));
    // Keys of its own have a token of their own, or none.
    let own = "access_key_id = \"own\"\nsecret_access_key = \"own\"";
    assert_eq!(token(&with(own)), None);
    assert_eq!(token(&with(&format!("{own}\nsession_token = \"mine\""))).as_deref(), Some("mine"));
    assert_snapshot!(mistakes(&with("session_token = \"mine\""), &[]), @"
    the configuration has a mistake:
      callvault.toml:14: tenants[acme].store.session_token: is the tenant's own, and the keys are the global ones; set the keys in the same section
    ");
    let lone = LEAST.replace("[store]", "[store]\nsession_token = \"t\"");
    assert_snapshot!(mistakes(&lone, &[]), @"
    the configuration has a mistake:
      callvault.toml:5: store.session_token: is set without access_key_id and secret_access_key; set all three, or none
    ");
}

#[test]
fn a_variable_that_is_not_utf_8_is_a_mistake_and_not_as_if_it_were_not_set() {
    let bytes = || OsString::from_vec(b"hunter2\xfc".to_vec());
    let names = [
        "CALLVAULT__BROKER__URL",
        "CALLVAULT__STORE__BUCKET",
        "CALLVAULT__STORE__TAGS__a",
        "ID",
        "UNUSED",
    ];
    let variables = names.into_iter().map(|name| (name.to_owned(), bytes()));
    let text = LEAST.replace("[store]", "[store]\naccess_key_id_env = \"ID\"");
    let table = layers::parse("callvault.toml", &text).unwrap();
    let told = Config::read(&table, &Environment::new(variables)).unwrap_err().to_string();
    for name in &names[..4] {
        let line = told.lines().find(|line| line.contains(name) || line.contains("_env"));
        assert!(line.is_some_and(|line| line.contains("not UTF-8")), "{name}: {told}");
    }
    assert!(!told.contains("hunter2") && !told.contains("UNUSED"), "{told}");
}
