//! How mistakes are told: all at once, with place and remedy.

use std::path::Path;

use insta::assert_snapshot;

use super::mistakes;
use crate::config::Config;

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
index_callback_url = "https://a:hunter2@hooks"
[ccfs.result_codes]
0300099 = "later"
[store]
part_size = "1MiB"
zip = "split"
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
    the configuration has 34 mistakes:
      callvault.toml:3: broker.url: must begin with amqp:// or amqps://; write it as amqp://user:password@host:5672/%2f, or amqps:// for TLS
      callvault.toml:4: broker.heartbeat: must be whole seconds; round it, to "15s", say
      callvault.toml:6: worker.concurency: is not known; did you mean worker.concurrency?
      callvault.toml:7: worker.concurrency: must be between 1 and 50000, is 0; write a value in that range
      callvault.toml:8: worker.bulk_share: must be above 0 and at most 1, is 1.5; write it such as 0.5
      callvault.toml:9: worker.memory: must be a string, is an integer; write it as "512KiB", "8MiB" or "5GiB"
      callvault.toml:10: worker.job_deadline: must be below 30m, after which RabbitMQ takes its deliveries back; write "15m", say
      callvault.toml:12: ccfs.endpoints: must not hold a user or password; give the URL without them
      callvault.toml:13: ccfs.connect_timeout: must be above zero and at most 1h, is 0s; write a duration in that range
      callvault.toml:14: ccfs.index_callback_url: must not hold a user or password; give the URL without them
      callvault.toml:16: ccfs.result_codes.0300099: "later" is no class; write failure, unavailable, throttled, not_ready, refused or permanent
      callvault.toml:18: store.part_size: must be between 5MiB and 5GiB, is 1MiB; write a value in that range
      callvault.toml:19: store.zip: "split" is not one of its values; write "keep" or "unpack"
      callvault.toml:20: store.checksum: "crc32" is not one of its values; write "auto" or "none" or "md5" or "crc64nvme"
      callvault.toml:21: store.key: has the unknown placeholder {year} (known: {tenant} {yyyy} {mm} {dd} {hh} {call_id} {name} {cc_id} {ext}); the default is {tenant}/{yyyy}/{mm}/{dd}/{name}.{ext}
      callvault.toml:24: retry.delays: must not be empty; name at least one
      callvault.toml:25: retry.max_attempts: must be a whole number, is a string; write it without quotes
      callvault.toml:27: http.listen: "localhost:9464" is no address and port; write it as 127.0.0.1:9464, or 0.0.0.0:9464 for all interfaces
      callvault.toml:29: log.level: "inof" is no log filter; write a level (trace, debug, info, warn, error, off) or target=level, with commas
      callvault.toml:33: tenants[acme].time_zone: "Europe/Moskow" is no IANA time zone; did you mean "Europe/Moscow"?
      callvault.toml:35: tenants[acme].bucket: is not known; did you mean tenants[acme].store.bucket?
      callvault.toml:37: tenants[#2].id: must match [A-Za-z0-9][A-Za-z0-9_-]{0,63}; choose another id
      callvault.toml:38: tenants[#2].cc_id: must have 1 to 64 characters, has 0; write the call centre's id
      callvault.toml:40: tenants[#2].secret_key_file: the file it names cannot be read: no such file; name a file that holds the secret
      callvault.toml:42: tenants[#2].store.sse_kms_key_id: is used with sse = "aws:kms" only; set that, or remove it
      callvault.toml:43: tenants[#2].store.bucket: "s3://b/c" is no name of a bucket; write the bare name, without s3:// and path
      callvault.toml:44: brokers: is not known; did you mean broker?
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
      tenants: at least one tenant is required, and there is none; add a [[tenants]] section to the file, or set tenants_dir
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
fn a_value_without_quotes_is_told_so() {
    let text = "[broker]\nurl = amqp://u:hunter2@h\n[store]\nbucket = nc-recordings # ours\n\
                region = eu-west-1\npart_size = 8MiB\npath_style = True\nzip =\n\
                tags = { a = b }\n[ccfs]\nendpoints = [https://ccfs]\n";
    let told = mistakes(text, &[]);
    assert!(!told.contains("hunter2"), "{told}");
    assert_snapshot!(told, @r#"
    the configuration has 8 mistakes:
      callvault.toml:2: column 7: this value is not valid TOML; put text in quotes: url = "…"
      callvault.toml:4: column 10: this value is not valid TOML; put text in quotes: bucket = "…"
      callvault.toml:5: column 10: this value is not valid TOML; put text in quotes: region = "…"
      callvault.toml:6: column 13: this value is not valid TOML; put text in quotes: part_size = "…"
      callvault.toml:7: column 14: this value is not valid TOML; write true or false in small letters
      callvault.toml:8: column 6: this value is not valid TOML; write a value after zip =
      callvault.toml:9: column 14: string values must be quoted, expected literal string; the file must be valid TOML
      callvault.toml:11: column 14: this value is not valid TOML; put each in quotes: endpoints = ["…"]
    "#);
}

#[test]
fn every_element_of_a_list_is_told() {
    let told = mistakes("[retry]\ndelays = [\"5 sec\", \"1m\", \"30\", 7, \"1m\"]\n", &[]);
    assert_snapshot!(told.lines().nth(1).unwrap(), @r#"  callvault.toml:2: retry.delays: "5 sec" is no duration, "30" is no duration, must be a list of strings, is an integer; write it as "30s", "2m" or "1h30m" (ms, s, m, h, d), put each in quotes"#);
}

#[test]
fn what_is_no_slip_is_told_what_there_is() {
    let text = "[http]\nfrobnicate = 1\n[shop]\nopen = true\n[[tenants]]\nid = \"acme\"\n\
                time_zone = \"Mars\"\n[[tenants]]\nid = \"globex\"\ntime_zone = \"berlin\"\n";
    let variables = [
        ("CALLVAULT__FOO", "1"),
        ("CALLVAULT__LOG__COLOUR", "1"),
        ("CALLVAULT__SHOP__OPEN", "1"),
        ("CALLVAULT__BUCKET", "b"),
    ];
    let told = mistakes(text, &variables);
    let told: Vec<&str> = told.lines().filter(|line| !line.contains("is required")).collect();
    assert_snapshot!(told.join("\n"), @r#"
    the configuration has 14 mistakes:
      callvault.toml:2: http.frobnicate: is not known; http has listen
      callvault.toml:3: shop: is not known; there are broker, ccfs, http, log, retry, store, tenants, tenants_dir, worker
      callvault.toml:7: tenants[acme].time_zone: "Mars" is no IANA time zone; write a name such as "Europe/Moscow"
      callvault.toml:10: tenants[globex].time_zone: "berlin" is no IANA time zone; did you mean "Europe/Berlin"?
      CALLVAULT__BUCKET: is not known; did you mean CALLVAULT__STORE__BUCKET?
      CALLVAULT__FOO: is not known; after CALLVAULT__ can stand BROKER, CCFS, HTTP, LOG, RETRY, STORE, TENANTS_DIR, WORKER
      CALLVAULT__LOG__COLOUR: is not known; after CALLVAULT__LOG__ can stand FORMAT, IDENTIFIERS, LEVEL
      CALLVAULT__SHOP__OPEN: is not known; after CALLVAULT__ can stand BROKER, CCFS, HTTP, LOG, RETRY, STORE, TENANTS_DIR, WORKER
    "#);
}

#[test]
fn who_names_no_file_is_told_how() {
    let told = Config::load(None, std::iter::empty());
    assert_snapshot!(told.map(|_| ()).unwrap_err(), @"
    the configuration has a mistake:
      no configuration file was named; name it with --config FILE or CALLVAULT_CONFIG
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
