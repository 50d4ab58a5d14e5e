use std::collections::BTreeSet;

use insta::assert_snapshot;
use secrecy::ExposeSecret as _;

use super::*;
use crate::failure::Class;

/// What every configuration needs.
const LEAST: &str = r#"
[ccfs]
endpoints = ["https://ccfs.example.com:28443"]
[store]
bucket = "recordings"
[[tenants]]
id = "acme"
access_key = "AK"
secret_key = "SK-hunter2"
"#;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
    let table = layers::parse("callvault.toml", text)?;
    let variables = variables.iter().map(|(name, text)| ((*name).into(), (*text).into()));
    Config::read(&table, &Environment::new(variables))
}

/// Loads what is needed with `text` in front of it.
fn with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
    load(&format!("{text}{LEAST}"), variables)
}

fn good(text: &str, variables: &[(&str, &str)]) -> Loaded {
    with(text, variables).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn mistakes(text: &str, variables: &[(&str, &str)]) -> String {
    load(text, variables).map(|_| "no mistake").unwrap_err().to_string()
}

fn value_of(secret: &Secret) -> String {
    secret.read().unwrap().expose_secret().to_owned()
}

/// The row of a key and its source, `[store] bucket`.
fn row(loaded: &Loaded, header: &str, key: &str) -> (String, String) {
    let mut sections = loaded.effective.sections.iter().filter(|s| s.header == header);
    let row = sections.find_map(|s| s.rows.iter().find(|row| row.key == key));
    let row = row.unwrap_or_else(|| panic!("no row {header} {key}"));
    (row.value.clone().unwrap_or_default(), row.source.to_string())
}

/// The file that operators start from.
const SAMPLE: &str = include_str!("../../config/callvault.toml");

#[test]
fn the_sample_file_holds_every_key_with_its_default_and_nothing_else() {
    let table = layers::parse("callvault.toml", SAMPLE).unwrap();
    let environment = Environment::new(std::iter::empty());
    let mut reader = Reader::new(&table, &environment);
    sections(&mut reader);
    let known: BTreeSet<String> = reader.known().iter().cloned().collect();
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
fn all_mistakes_are_told_at_once_with_place_and_remedy() {
    let text = r#"
[broker]
url = "http://guest:hunter2@rabbit/"
heartbeat = "1500ms"
[worker]
concurency = 10
concurrency = 0
bulk_share = 1.5
memory = 12
job_deadline = "30m"
[ccfs]
endpoints = ["https://a:hunter2@ccfs"]
connect_timeout = "0s"
[ccfs.result_codes]
0300099 = "later"
[store]
part_size = "1MiB"
zip = "unpack"
checksum = "crc32"
key = "{tenant}/{year}/{name}"
object_lock_days = 1
[retry]
delays = []
max_attempts = "12"
[http]
listen = "localhost:9464"
[log]
level = "inof"
[[tenants]]
id = "acme"
access_key = "AK"
time_zone = "Europe/Moskow"
secret_key = "hunter2"
bucket = "elsewhere"
[[tenants]]
id = "un known"
cc_id = ""
access_key = "AK"
secret_key_file = "/nonexistent/sk"
[tenants.store]
sse_kms_key_id = "key"
bucket = "s3://b/c"
[brokers]
url = ""
"#;
    let variables = [
        ("CALLVAULT__WORKER__DRAIN_TIMEOUT", "soon"),
        ("CALLVAULT__RETRY__MAX_AGE", "1w"),
        ("CALLVAULT__BROKER__DECLARE", "yes"),
        ("CALLVAULT__STORE__TAGS", "a=b"),
        ("CALLVAULT__STORE__BUKCET", "b"),
        ("CALLVAULT__TENANTS__0__ID", "acme"),
    ];
    let told = mistakes(text, &variables);
    assert!(!told.contains("hunter2"), "{told}");
    assert_snapshot!(told, @r#"
    the configuration has 33 mistakes:
      callvault.toml:3: broker.url: must begin with amqp:// or amqps://; write it as amqp://user:password@host:5672/%2f, or amqps:// for TLS
      callvault.toml:4: broker.heartbeat: must be whole seconds; round it, to "15s", say
      callvault.toml:6: worker.concurency: is not known; did you mean worker.concurrency?
      callvault.toml:7: worker.concurrency: must be between 1 and 50000, is 0; write a value in that range
      callvault.toml:8: worker.bulk_share: must be above 0 and at most 1, is 1.5; write it such as 0.5
      callvault.toml:9: worker.memory: must be a string, is an integer; write it as "512KiB", "8MiB" or "5GiB"
      callvault.toml:10: worker.job_deadline: must be below 30m, after which RabbitMQ takes its deliveries back; write "15m", say
      callvault.toml:12: ccfs.endpoints: must not hold a user or password; give the URL without them
      callvault.toml:13: ccfs.connect_timeout: must be above zero and at most 1h, is 0s; write a duration in that range
      callvault.toml:15: ccfs.result_codes.0300099: "later" is no class; write failure, unavailable, throttled, not_ready, refused or permanent
      callvault.toml:17: store.part_size: must be between 5MiB and 5GiB, is 1MiB; write a value in that range
      callvault.toml:18: store.zip: "unpack" is not built yet; write "keep"
      callvault.toml:19: store.checksum: "crc32" is not one of its values; write "none" or "md5" or "crc64nvme"
      callvault.toml:20: store.key: has the unknown placeholder {year} (known: {tenant} {yyyy} {mm} {dd} {hh} {call_id} {name} {cc_id} {ext}); the default is {tenant}/{yyyy}/{mm}/{dd}/{name}.{ext}
      callvault.toml:23: retry.delays: must not be empty; name at least one
      callvault.toml:24: retry.max_attempts: must be a whole number, is a string; write it without quotes
      callvault.toml:26: http.listen: "localhost:9464" is no address and port; write it as 127.0.0.1:9464, or 0.0.0.0:9464 for all interfaces
      callvault.toml:28: log.level: "inof" is no log filter; write a level (trace, debug, info, warn, error, off) or target=level, with commas
      callvault.toml:32: tenants[acme].time_zone: "Europe/Moskow" is no IANA time zone; did you mean "Europe/Moscow"?
      callvault.toml:34: tenants[acme].bucket: is not known; did you mean tenants[acme].store.bucket?
      callvault.toml:36: tenants[#2].id: must match [A-Za-z0-9][A-Za-z0-9_-]{0,63}; choose another id
      callvault.toml:37: tenants[#2].cc_id: must have 1 to 64 characters, has 0; write the call centre's id
      callvault.toml:39: tenants[#2].secret_key_file: the file it names cannot be read: entity not found; name a file that holds the secret
      callvault.toml:41: tenants[#2].store.sse_kms_key_id: is used with sse = "aws:kms" only; set that, or remove it
      callvault.toml:42: tenants[#2].store.bucket: "s3://b/c" is no name of a bucket; write the bare name, without s3:// and path
      callvault.toml:43: brokers: is not known; did you mean broker?
      CALLVAULT__BROKER__DECLARE: broker.declare: must be true or false; write one of the two
      CALLVAULT__RETRY__MAX_AGE: retry.max_age: "1w" is no duration; write it as "30s", "2m" or "1h30m" (ms, s, m, h, d)
      CALLVAULT__STORE__BUKCET: is not known; did you mean CALLVAULT__STORE__BUCKET?
      CALLVAULT__STORE__TAGS: store.tags: is not valid JSON; write a table such as {"a": "b"}
      CALLVAULT__TENANTS__0__ID: tenants are not set by environment; write them in the file; secret_key_env names a variable with the secret
      CALLVAULT__WORKER__DRAIN_TIMEOUT: worker.drain_timeout: "soon" is no duration; write it as "30s", "2m" or "1h30m" (ms, s, m, h, d)
      store.bucket: is required, and missing for tenants[acme]; set it in [store] or in the tenant's [tenants.store]
    "#);
}

#[test]
fn missing_keys_are_told_once_with_the_tenants_that_lack_them() {
    let text = r#"
[[tenants]]
id = "acme"
access_key = "AK"
secret_key = "SK"
[tenants.store]
bucket = "a"
[[tenants]]
id = "beta"
"#;
    assert_snapshot!(mistakes(text, &[]), @"
    the configuration has 4 mistakes:
      callvault.toml:8: tenants[beta].access_key: is required, and missing; set it
      callvault.toml:8: tenants[beta].secret_key: is required, and missing; set it
      ccfs.endpoints: is required, and missing for tenants[acme], tenants[beta]; set it in [ccfs] or in the tenant's [tenants.ccfs]
      store.bucket: is required, and missing for tenants[beta]; set it in [store] or in the tenant's [tenants.store]
    ");
    assert_snapshot!(mistakes("tenants = []", &[]), @"
    the configuration has a mistake:
      tenants: at least one tenant is required, and there is none; add a [[tenants]] section to the file named by --config or CALLVAULT_CONFIG
    ");
    assert_snapshot!(mistakes("store = 3\n[tenants]\nid = \"acme\"", &[]), @"
    the configuration has 2 mistakes:
      callvault.toml:1: store: must be a section, is an integer; write its keys under a line [store]
      callvault.toml:2: tenants: must be an array of tables, is a table; begin each tenant with a line [[tenants]]
    ");
}

#[test]
fn syntax_errors_have_line_and_column_and_show_no_secret() {
    let told = mistakes("[broker]\nurl = \"amqp://u:hunter2@h\" oops\n[worker\n", &[]);
    assert!(!told.contains("hunter2"), "{told}");
    assert_snapshot!(told, @"
    the configuration has 2 mistakes:
      callvault.toml:2: column 28: unexpected key or value, expected newline, `#`; the file must be valid TOML
      callvault.toml:3: column 8: unclosed table, expected `]`; the file must be valid TOML
    ");
}

#[test]
fn a_file_that_cannot_be_read_says_how_it_is_named() {
    let told = Config::load(Some(Path::new("/nonexistent/c.toml")), std::iter::empty());
    assert_snapshot!(told.map(|_| ()).unwrap_err(), @"
    the configuration has a mistake:
      cannot read /nonexistent/c.toml: No such file or directory (os error 2); name a readable file with --config or CALLVAULT_CONFIG
    ");
}

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
    let Config { broker, worker, retry, http, log, tenants } = &loaded.config;
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
fn a_secret_has_three_forms_and_a_higher_layer_hides_all_of_a_lower_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("url");
    std::fs::write(&path, "amqps://u:hunter2@file/\n").unwrap();
    let path = path.to_str().unwrap();
    let named = format!("[broker]\nurl_file = \"{path}\"\n");
    let url = |loaded: &Loaded| value_of(&loaded.config.broker.urls[0]);

    let loaded = good(&named, &[]);
    assert_eq!(url(&loaded), "amqps://u:hunter2@file/");
    let shown =
        ("\"amqps://u:***@file/\"".into(), format!("secret file {path} (callvault.toml:2)"));
    assert_eq!(row(&loaded, "[broker]", "url"), shown);

    let loaded = good(&named, &[("CALLVAULT__BROKER__URL", "amqp://env/")]);
    assert_eq!(url(&loaded), "amqp://env/");
    let loaded =
        good(&named, &[("CALLVAULT__BROKER__URL_ENV", "RABBIT"), ("RABBIT", "amqp://named/\n")]);
    assert_eq!(url(&loaded), "amqp://named/");
    let loaded = good(
        "[broker]\nurl = \"amqp://inline/\"\n",
        &[("CALLVAULT__BROKER__URLS", r#"["amqp://u:p@a/", "amqp://b/"]"#)],
    );
    assert_eq!(loaded.config.broker.urls.len(), 2);
    let shown = r#"["amqp://u:***@a/", "amqp://b/"]"#;
    assert_eq!(row(&loaded, "[broker]", "urls").0, shown);

    // A line left at its empty default is no second form.
    let file = format!("[broker]\nurl = \"\"\nurl_file = \"{path}\"\n");
    assert_eq!(url(&good(&file, &[])), "amqps://u:hunter2@file/");
}

#[test]
fn mistakes_of_secret_forms() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    let told = |head: &str, variables: &[(&str, &str)]| {
        let told = with(head, variables).map(|_| "no mistake").unwrap_err().to_string();
        assert!(!told.contains("hunter2"), "{told}");
        told
    };
    let both = "[broker]\nurl = \"amqp://hunter2/\"\nurl_env = \"RABBIT\"\n";
    assert_snapshot!(told(both, &[("RABBIT", "amqp://x/")]), @"
    the configuration has a mistake:
      callvault.toml:3: broker.url_env: is set together with url; keep one of the two
    ");
    let file = format!("[broker]\nurl_file = \"{}\"\n", empty.display());
    assert_snapshot!(told(&file, &[]), @"
    the configuration has a mistake:
      callvault.toml:2: broker.url_file: the file it names is empty; name a file that holds the secret
    ");
    assert_snapshot!(told("[broker]\nurl_env = \"RABBIT\"\n", &[]), @r#"
    the configuration has a mistake:
      callvault.toml:2: broker.url_env: the environment variable it names is not set; set the variable, or name another
    "#);
    assert_snapshot!(told("[broker]\nurl_env = \"RABBIT\"\n", &[("RABBIT", "hunter2")]), @"
    the configuration has a mistake:
      callvault.toml:2: broker.url_env: the value it names is no URL: relative URL without a base; write it as amqp://user:password@host:5672/%2f, or amqps:// for TLS
    ");
    assert_snapshot!(told("[broker]\nurl_file = \"hunter2\"\n", &[]), @"
    the configuration has a mistake:
      callvault.toml:2: broker.url_file: the file it names cannot be read: entity not found; name a file that holds the secret
    ");
    assert_snapshot!(told("[broker]\nurl_env = \"hunter2\"\n", &[]), @"
    the configuration has a mistake:
      callvault.toml:2: broker.url_env: the environment variable it names is not set; set the variable, or name another
    ");
    assert_snapshot!(told("[broker]\nurl = \"\"\n", &[]), @"
    the configuration has a mistake:
      callvault.toml:2: broker.url: must not be empty; set it, or remove the line or variable
    ");
    assert_snapshot!(told("", &[("CALLVAULT__STORE__ACCESS_KEY_ID", "hunter2")]), @"
    the configuration has a mistake:
      CALLVAULT__STORE__ACCESS_KEY_ID: store.access_key_id: is set without secret_access_key; set both or neither
    ");
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
    id = "acme"                                       # callvault.toml:12
    access_key = "AK"                                 # callvault.toml:13
    secret_key = "***"                                # callvault.toml:14
    cc_id = "1"                                       # default
    time_zone = "UTC"                                 # default
    max_concurrency = 0                               # default

    [tenants.ccfs]
    endpoints = ["https://acme:1"]                    # callvault.toml:16
    result_codes.2 = "not_ready"                      # callvault.toml:18

    [tenants.store]
    bucket = "acme"                                   # callvault.toml:20
    access_key_id = "***"                             # callvault.toml:21
    secret_access_key = "***"                         # environment variable ACME_S3 (callvault.toml:22)
    object_lock_days = 30                             # callvault.toml:23, default 0

    [[tenants]]
    id = "beta"                                       # callvault.toml:25
    access_key = "AK"                                 # callvault.toml:26
    secret_key = "***"                                # callvault.toml:27
    cc_id = "1"                                       # default
    time_zone = "UTC"                                 # default
    max_concurrency = 0                               # default

    [tenants.ccfs]
    endpoints = ["https://beta:1"]                    # callvault.toml:29
    read_timeout = "20s"                              # callvault.toml:30, default "30s"

    [tenants.store]
    bucket = "beta"                                   # callvault.toml:32
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
      callvault.toml:11: tenants[acme].id: is the id of an earlier tenant; give each its own
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

#[test]
fn nothing_that_can_be_printed_holds_a_secret() {
    let file = r#"
[broker]
url = "amqp://u:hunter2@rabbit/"
"#;
    let variables = [
        ("CALLVAULT__STORE__ACCESS_KEY_ID", "hunter2"),
        ("CALLVAULT__STORE__SECRET_ACCESS_KEY", "hunter2"),
        ("CALLVAULT__CCFS__PROXY", "http://u:hunter2@proxy:3128"),
    ];
    let loaded = good(file, &variables);
    let printed = format!("{loaded:?}\n{}", crate::cli::config::run(&loaded));
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("http://u:***@proxy:3128"), "{printed}");
}

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
        ("[store]", "object_lock_days = 1", "store.object_lock_days"),
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
fn the_whole_of_what_config_prints() {
    let text = LEAST.replace("[store]\nbucket = \"recordings\"\n", "")
        + "[tenants.store]\nbucket = \"acme\"\n";
    let loaded = load(&text, &[("CALLVAULT__WORKER__CONCURRENCY", "8")]).unwrap();
    assert_snapshot!(crate::cli::config::run(&loaded), @r#"
    [broker]
    url = "amqp://guest:***@127.0.0.1:5672/%2f"       # default
    ca_file = ""                                      # default
    client_cert_file = ""                             # default
    client_key_file = ""                              # default
    queue_prefix = "callvault"                        # default
    calls_exchange = "calls"                          # default
    events_exchange = "recordings"                    # default
    declare = true                                    # default
    delivery_limit = 20                               # default
    heartbeat = "15s"                                 # default
    events_mandatory = false                          # default

    [worker]
    concurrency = 8                                   # CALLVAULT__WORKER__CONCURRENCY, default 64
    bulk_share = 0.5                                  # default
    tenant_share = 0.75                               # default
    memory = "256MiB"                                 # default
    job_deadline = "15m"                              # default
    drain_timeout = "25s"                             # default

    [ccfs]
    endpoints = ["https://ccfs.example.com:28443"]    # callvault.toml:3
    ca_file = ""                                      # default
    proxy = ""                                        # default
    host = ""                                         # default
    connect_timeout = "5s"                            # default
    read_timeout = "30s"                              # default
    max_size = "5GiB"                                 # default
    result_codes = {}                                 # default

    [store]
    # bucket                                          # set by each tenant
    endpoint = ""                                     # default
    region = "us-east-1"                              # default
    path_style = false                                # default
    access_key_id = ""                                # default
    secret_access_key = ""                            # default
    key = "{tenant}/{yyyy}/{mm}/{dd}/{name}.{ext}"    # default
    part_size = "8MiB"                                # default
    checksum = "none"                                 # default
    conditional = "auto"                              # default
    zip = "keep"                                      # default
    storage_class = ""                                # default
    sse = ""                                          # default
    sse_kms_key_id = ""                               # default
    tags = {}                                         # default
    object_lock_days = 0                              # default
    object_lock_mode = "GOVERNANCE"                   # default
    connect_timeout = "5s"                            # default
    read_timeout = "30s"                              # default

    [retry]
    delays = ["5s", "30s", "2m", "10m", "30m", "2h"]  # default
    max_attempts = 12                                 # default
    max_age = "7d"                                    # default
    not_ready_window = "1d"                           # default
    breaker_failures = 5                              # default
    breaker_window = "10s"                            # default

    [http]
    listen = "127.0.0.1:9464"                         # default

    [log]
    format = "text"                                   # default
    level = "info"                                    # default

    [[tenants]]
    id = "acme"                                       # callvault.toml:5
    access_key = "AK"                                 # callvault.toml:6
    secret_key = "***"                                # callvault.toml:7
    cc_id = "1"                                       # default
    time_zone = "UTC"                                 # default
    max_concurrency = 0                               # default

    [tenants.store]
    bucket = "acme"                                   # callvault.toml:9
    "#);
}
