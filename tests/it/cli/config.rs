//! `callvault config`: what it prints, with sources and without secrets.

use std::fs;
use std::process::Stdio;

use super::{Desk, LEAST};

/// The assignments of what `config` prints, without the comments on sources.
fn assignments(printed: &str) -> toml::Table {
    printed.parse().unwrap_or_else(|error| panic!("no TOML: {error}\n{printed}"))
}

#[test]
fn config_prints_what_can_be_loaded_again() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/config/callvault.toml");
    let desk = Desk::new(&fs::read_to_string(sample).expect("the sample file is there"));
    let printed = desk.printed("config --config callvault.toml", &[]);
    for line in printed.lines().filter(|line| !line.is_empty() && !line.starts_with('[')) {
        assert!(line.contains("  # "), "no source: {line}");
    }
    assert!(printed.contains("# callvault.toml:"), "{printed}");
    desk.file("again.toml", &printed);
    let again = desk.printed("config", &[("CALLVAULT_CONFIG", "again.toml")]);
    assert_eq!(assignments(&again), assignments(&printed));
}

#[test]
fn the_environment_lies_over_the_file_and_is_named() {
    let desk = Desk::new(LEAST);
    let printed = desk.printed(
        "config --config callvault.toml",
        &[
            ("CALLVAULT__WORKER__CONCURRENCY", "8"),
            ("CALLVAULT__STORE__BUCKET", "elsewhere"),
            ("CALLVAULT__CCFS__ENDPOINTS", r#"["https://a.example", "https://b.example:1"]"#),
            ("CALLVAULT__CCFS__RESULT_CODES__0300099", "not_ready"),
        ],
    );
    let line = |key: &str| {
        let found = printed.lines().find(|line| line.starts_with(&format!("{key} = ")));
        found.unwrap_or_else(|| panic!("no {key} in\n{printed}")).to_owned()
    };
    for (key, value, source) in [
        ("concurrency", "8", "CALLVAULT__WORKER__CONCURRENCY, default 64"),
        ("bucket", "\"elsewhere\"", "CALLVAULT__STORE__BUCKET"),
        ("endpoints", "\"https://b.example:1\"", "CALLVAULT__CCFS__ENDPOINTS"),
        ("result_codes.0300099", "not_ready", "CALLVAULT__CCFS__RESULT_CODES__0300099"),
        ("access_key", "\"AK\"", "callvault.toml:11"),
        ("delivery_limit", "20", "default"),
    ] {
        let line = line(key);
        assert!(line.contains(value) && line.contains(&format!("# {source}")), "{line}");
    }
    // An empty CALLVAULT_CONFIG, as compose files hand on, is none at all.
    let told = desk.told("config", &[("CALLVAULT_CONFIG", "")], 2);
    assert!(told.contains("no configuration file was named; name it with --config"), "{told}");
}

#[test]
fn config_masks_every_secret() {
    let desk = Desk::new(
        r#"[broker]
urls = ["amqp://one:hunter-1@rabbit-1/%2f", "amqps://two:hunter-2@rabbit-2:5671/v"]
[ccfs]
endpoints = ["https://ccfs.example.com:28443"]
proxy = "http://three:hunter-3@proxy:3128"
[store]
bucket = "recordings"
access_key_id = "hunter-4"
secret_access_key_file = "s3-key"
[[tenants]]
id = "acme"
access_key = "AK"
secret_key_env = "ACME_SK"
[[tenants]]
id = "globex"
access_key = "AK"
secret_key = "hunter-7"
[tenants.ccfs]
proxy = "http://eight:hunter-8@proxy:3128"
"#,
    );
    desk.file("s3-key", "hunter-5\n");
    let secret = [("ACME_SK", "hunter-6")];
    let printed = desk.printed("config --config callvault.toml", &secret);
    assert!(!printed.contains("hunter"), "{printed}");
    for masked in [
        r#"["amqp://one:***@rabbit-1/%2f", "amqps://two:***@rabbit-2:5671/v"]"#,
        r#"proxy = "http://three:***@proxy:3128"#,
        r#"access_key_id = "***""#,
        r#"secret_access_key = "***"                          # secret file s3-key (callvault.toml:9)"#,
        r#"secret_key = "***"                                 # environment variable ACME_SK"#,
        r#"secret_key = "***"                                 # callvault.toml:17"#,
        r#"proxy = "http://eight:***@proxy:3128"#,
    ] {
        assert!(printed.contains(masked), "no {masked} in\n{printed}");
    }
    // Nor does a mistake quote one, neither in a value nor in a line that is no TOML.
    let url = [("CALLVAULT__BROKER__URL", "http://four:hunter-9@rabbit"), secret[0]];
    let told = desk.told("config --config callvault.toml", &url, 2);
    assert!(told.contains("CALLVAULT__BROKER__URL") && !told.contains("hunter"), "{told}");
    desk.file("callvault.toml", "[store]\nsecret_access_key = \"hunter-10\n");
    let told = desk.told("config --config callvault.toml", &secret, 2);
    assert!(told.contains("callvault.toml:2") && !told.contains("hunter"), "{told}");
}

#[test]
fn a_reader_who_leaves_is_no_error_and_a_full_disk_is_one() {
    let desk = Desk::new(LEAST);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = desk.command("config --config callvault.toml", &[]);
    let output = command.stdout(writer).stderr(Stdio::piped()).output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{}", output.status);

    // Nor is one of what is said beside the answer: the code stays what it is.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = desk.command("config --config absent.toml", &[]);
    let status = command.stdout(Stdio::null()).stderr(writer).status().expect("it starts");
    assert_eq!(status.code(), Some(2));

    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has one");
    let mut command = desk.command("config --config callvault.toml", &[]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.starts_with("callvault: cannot write to stdout: "), "{told}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_tenants_of_a_folder_are_shown_with_their_files_and_are_tenants_like_others() {
    let desk = Desk::new(&format!("tenants_dir = \"tenants\"\n{LEAST}"));
    fs::create_dir(desk.folder().join("tenants")).expect("a folder");
    let keys = "access_key = \"AK-globex\"\nsecret_key_env = \"SK\"\n[store]\nbucket = \"own\"\n";
    desk.file("tenants/globex.toml", format!("id = \"globex\"\npaused = true\n{keys}"));
    let secret = [("SK", "hunter-1")];
    let printed = desk.printed("config --config callvault.toml", &secret);
    assert!(!printed.contains("hunter"), "{printed}");
    for line in [
        r#"id = "globex"                                      # tenants/globex.toml:1"#,
        r#"secret_key = "***"                                 # environment variable SK (tenants/globex.toml:4)"#,
        r#"paused = true                                      # tenants/globex.toml:2, default false"#,
        r#"bucket = "own"                                     # tenants/globex.toml:6"#,
    ] {
        assert!(printed.contains(line), "no {line} in\n{printed}");
    }
    let sign = "sign --tenant globex --call-id 1777093663-1 --config callvault.toml";
    let signed = desk.run_with(sign, &secret);
    assert!(signed.stdout.contains("AK-globex"), "{}{}", signed.stdout, signed.stderr);

    desk.file(
        "tenants/initech.toml",
        "id = \"initech\"\naccess_key = \"AK\"\nsecret_key = hunter-2\n",
    );
    let told = desk.told("config --config callvault.toml", &secret, 2);
    assert!(told.contains("tenants/initech.toml:3: column 14: "), "{told}");
    assert!(!told.contains("hunter"), "{told}");
}
