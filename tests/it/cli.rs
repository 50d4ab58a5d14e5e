//! The program as its users start it: what it prints where, and how it ends.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use insta::assert_snapshot;

use crate::support::ccfs::Simulator;
use crate::support::worker::{Options, Worker, binary};
use crate::support::world::World;

/// The least that `run` starts with; nothing of it answers.
const LEAST: &str = r#"[broker]
url = "amqp://guest:guest@127.0.0.1:1/%2f"
[ccfs]
endpoints = ["https://ccfs.example.com:28443"]
[store]
bucket = "recordings"
access_key_id = "id"
secret_access_key = "key"
[[tenants]]
id = "acme"
access_key = "AK"
secret_key = "SK"
"#;

/// How a command ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

/// A folder of its own with a `callvault.toml`, in which commands are run.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("callvault.toml"), config).expect("it can be written");
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("it can be written");
        path
    }

    fn command(&self, line: &str, environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(binary());
        command.args(line.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        // Nothing of whoever runs the tests: no CALLVAULT_…, no colours, no back traces.
        command.env_clear().envs(environment.iter().copied());
        command
    }

    fn run_with(&self, line: &str, environment: &[(&str, &str)]) -> Ended {
        let output = self.command(line, environment).output().expect("the binary can be started");
        let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
        let ended = Ended {
            code: output.status.code().expect("it ends by itself"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!ended.stdout.contains('\u{1b}'), "colours in a pipe: {:?}", ended.stdout);
        assert!(!ended.stderr.contains('\u{1b}'), "colours in a pipe: {:?}", ended.stderr);
        ended
    }

    fn run(&self, line: &str) -> Ended {
        self.run_with(line, &[])
    }

    /// What a command that ends well prints.
    fn printed(&self, line: &str, environment: &[(&str, &str)]) -> String {
        let ended = self.run_with(line, environment);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{line}");
        // Editors drop blanks at ends of lines, from snapshots too.
        ended.stdout.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// What a command that fails with `code` says; it prints nothing else.
    fn told(&self, line: &str, environment: &[(&str, &str)], code: i32) -> String {
        let ended = self.run_with(line, environment);
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{line}: {}", ended.stderr);
        ended.stderr
    }
}

#[test]
fn help_says_what_there_is() {
    let desk = Desk::new(LEAST);
    assert_snapshot!(desk.printed("--help", &[]), @r"
    Archives call recordings: RabbitMQ messages in, recordings from Huawei CC-FS to S3, events out

    Usage: callvault [OPTIONS] <COMMAND>

    Commands:
      run          The worker: archive until told to stop
      config       Print the effective configuration with its sources, secrets masked
      healthcheck  Ask a running worker whether it is ready; for images without a shell

    Options:
          --config <FILE>  The configuration, a TOML file [env: CALLVAULT_CONFIG=]
      -h, --help           Print help
      -V, --version        Print version

    Examples:
      callvault config --config callvault.toml       what is in force, and where it comes from
      callvault run --config callvault.toml          archive until told to stop
      CALLVAULT__LOG__LEVEL=debug callvault run --config callvault.toml

    Any key but those of tenants can be set by the environment: CALLVAULT__SECTION__KEY.
    Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
    ");
    assert_snapshot!(desk.printed("run --help", &[]), @r"
    The worker: archive until told to stop.

    SIGTERM or SIGINT: stop consuming, finish what is in flight within worker.drain_timeout, give the
    rest back to the queue, exit 0. A second signal exits at once.

    Usage: callvault run [OPTIONS]

    Options:
          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Example:
      callvault run --config /etc/callvault/callvault.toml
    ");
    assert_snapshot!(desk.printed("config --help", &[]), @r"
    Print the effective configuration with its sources, secrets masked.

    Connects to nothing. Exit 2 with all mistakes at once where it is wrong.

    Usage: callvault config [OPTIONS]

    Options:
          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Example:
      callvault config --config callvault.toml
    ");
    assert_snapshot!(desk.printed("healthcheck --help", &[]), @r"
    Ask a running worker whether it is ready; for images without a shell.

    Asks /readyz on http.listen of the same configuration. Exit 0 when ready, 1 when not, 2 when the
    configuration is wrong.

    Usage: callvault healthcheck [OPTIONS]

    Options:
          --config <FILE>
              The configuration, a TOML file

              [env: CALLVAULT_CONFIG=]

      -h, --help
              Print help (see a summary with '-h')

    Example:
      callvault healthcheck --config callvault.toml
    ");
    insta::with_settings!({ filters => vec![(r"\d+\.\d+\.\d+\S*", "[version]")] }, {
        assert_snapshot!(desk.printed("--version", &[]), @"callvault [version]");
    });
}

#[test]
fn wrong_usage_ends_with_2() {
    let desk = Desk::new(LEAST);
    let usage = desk.told("", &[], 2);
    assert!(usage.contains("Usage: callvault") && usage.contains("healthcheck  "), "{usage}");
    assert_snapshot!(desk.told("confg", &[], 2), @r"
    error: unrecognized subcommand 'confg'

      tip: a similar subcommand exists: 'config'

    Usage: callvault [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(desk.told("run --confg callvault.toml", &[], 2), @r"
    error: unexpected argument '--confg' found

      tip: a similar argument exists: '--config'

    Usage: callvault run --config <FILE>

    For more information, try '--help'.
    ");
    assert_snapshot!(desk.told("config callvault.toml", &[], 2), @r"
    error: unexpected argument 'callvault.toml' found

    Usage: callvault config [OPTIONS]

    For more information, try '--help'.
    ");
}

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
    assert!(told.contains("add a [[tenants]] section to the file named by --config"), "{told}");
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
        r#"secret_access_key = "***"                         # secret file s3-key (callvault.toml:9)"#,
        r#"secret_key = "***"                                # environment variable ACME_SK"#,
        r#"secret_key = "***"                                # callvault.toml:17"#,
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
fn all_mistakes_are_told_at_once_and_end_every_command_with_2() {
    let desk = Desk::new(
        r#"[worker]
concurency = 8
[ccfs]
endpoints = ["https://ccfs.example.com:28443"]
read_timeout = "fast"
[store]
buckets = "recordings"
[[tenants]]
id = "acme"
access_key = "AK"
secret_key_file = "missing"
"#,
    );
    let environment = [("CALLVAULT__BROKER__DECLRAE", "false")];
    let told = desk.told("config --config callvault.toml", &environment, 2);
    assert_snapshot!(told.clone(), @r#"
        callvault: the configuration has 6 mistakes:
          callvault.toml:2: worker.concurency: is not known; did you mean worker.concurrency?
          callvault.toml:5: ccfs.read_timeout: "fast" is no duration; write it as "30s", "2m" or "1h30m" (ms, s, m, h, d)
          callvault.toml:7: store.buckets: is not known; did you mean store.bucket?
          callvault.toml:11: tenants[acme].secret_key_file: the file it names cannot be read: entity not found; name a file that holds the secret
          CALLVAULT__BROKER__DECLRAE: is not known; did you mean CALLVAULT__BROKER__DECLARE?
          store.bucket: is required, and missing for tenants[acme]; set it in [store] or in the tenant's [tenants.store]
        "#);
    for command in ["run", "healthcheck"] {
        assert_eq!(desk.told(&format!("{command} --config callvault.toml"), &environment, 2), told);
    }
    assert_snapshot!(desk.told("run --config nowhere.toml", &[], 2), @r"
    callvault: the configuration has a mistake:
      cannot read nowhere.toml: No such file or directory (os error 2); name a readable file with --config or CALLVAULT_CONFIG
    ");
}

#[test]
fn a_ca_file_that_holds_none_ends_run_with_2() {
    let desk = Desk::new(LEAST);
    let with_ca = [("CALLVAULT__CCFS__CA_FILE", "ca.pem")];
    let told = desk.told("run --config callvault.toml", &with_ca, 2);
    assert!(told.contains("CALLVAULT__CCFS__CA_FILE: ccfs.ca_file: cannot read"), "{told}");
    let listen = ("CALLVAULT__HTTP__LISTEN", "127.0.0.1:0");
    for text in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        desk.file("ca.pem", text);
        let told = desk.told("run --config callvault.toml", &[with_ca[0], listen], 2);
        let last = told.lines().last().unwrap_or_default();
        let what = "callvault: tenant acme: ccfs.ca_file: ca.pem holds no usable certificate";
        assert!(last.starts_with(what) && last.contains("; name a file with "), "{told}");
    }
}

#[test]
fn a_port_that_is_taken_ends_run_with_1() {
    let desk = Desk::new(LEAST);
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = taken.local_addr().expect("a bound listener has an address").to_string();
    let listen = [("CALLVAULT__HTTP__LISTEN", address.as_str())];
    let told = desk.told("run --config callvault.toml", &listen, 1);
    let expected = format!("callvault: http.listen: cannot listen on {address}: ");
    assert!(told.starts_with(&expected), "{told}");
    assert!(told.contains("another process has this port: stop it or set another"), "{told}");
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

    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has one");
    let mut command = desk.command("config --config callvault.toml", &[]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.starts_with("callvault: cannot write to stdout: "), "{told}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_says_how_a_worker_is() {
    let world = World::new().await;
    let text = [("CALLVAULT__LOG__FORMAT", "text")];
    let config = world.config(&[]);
    let options = Options { config: &config, environment: &text, binary: &binary() };
    let worker = Worker::start_with(&options).ready().await;
    let desk = Desk::new(LEAST);
    let check = |port: u16| {
        let listen = format!("127.0.0.1:{port}");
        let asked = [("CALLVAULT__HTTP__LISTEN", listen.as_str())];
        desk.run_with("healthcheck --config callvault.toml", &asked)
    };
    let ended = check(worker.port());
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "ready: consuming\n"), "{}", ended.stderr);

    let stranger = Simulator::start().await;
    let port = stranger.url().rsplit(':').next().and_then(|port| port.parse().ok());
    let port = port.expect("the simulator's URL has a port");
    let ended = check(port);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(ended.stderr.contains("is no callvault"), "{}", ended.stderr);
    assert!(ended.stderr.contains("ask with the worker's own http.listen"), "{}", ended.stderr);

    let port = worker.port();
    let log = worker.stop().await;
    assert!(log.contains("callvault starts") && !log.contains('\u{1b}'), "{log}");
    let ended = check(port);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    let expected = format!("callvault: no answer from 127.0.0.1:{port}: ");
    assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);
    assert_eq!(desk.run("healthcheck").code, 2, "without a configuration");
}

#[tokio::test]
async fn a_worker_without_a_broker_is_not_healthy() {
    let mut worker = Worker::start(LEAST);
    worker.get("/livez").await;
    let listen = format!("127.0.0.1:{}", worker.port());
    let asked = [("CALLVAULT__HTTP__LISTEN", listen.as_str())];
    let told = Desk::new(LEAST).told("healthcheck --config callvault.toml", &asked, 1);
    assert!(told.starts_with("callvault: not ready: connecting: "), "{told}");
    worker.signal("TERM");
    let status = worker.ended(Duration::from_secs(60)).await;
    assert!(status.success(), "it stops although it never connected: {status}");
}
