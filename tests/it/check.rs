//! `callvault check`: every broken environment that it knows, made and named.

mod broker;
mod ccfs;
mod store;

use std::process::{Command, Stdio};

use insta::assert_snapshot;

use crate::support::ccfs::Reply;
use crate::support::s3::Op;
use crate::support::worker::binary;
use crate::support::world::World;

/// How `callvault check` ended: its code, what it printed, what it said besides.
struct Checked {
    code: i32,
    text: String,
    errors: String,
}

async fn check(config: &str, arguments: &[&str]) -> Checked {
    check_in(config, arguments, &[]).await
}

/// The same, with this environment alone.
async fn check_in(config: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Checked {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callvault.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(binary());
    command.arg("check").arg("--config").arg(&file).args(arguments);
    command.stdin(Stdio::null()).env_clear().envs(environment.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    drop(folder);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (text, errors) = (text(output.stdout), text(output.stderr));
    for secret in ["sk-acme-0123456789", "sk-globex-0123456789", "guest:guest", "hunter2"] {
        assert!(!text.contains(secret) && !errors.contains(secret), "{text}\n{errors}");
    }
    Checked { code: output.status.code().unwrap(), text, errors }
}

impl Checked {
    /// The part whose heading begins so, without what differs from run to run.
    fn part(&self, heading: &str) -> String {
        let begins = self.text.find(heading).unwrap_or_else(|| panic!("{}", self.text));
        let part = &self.text[begins..];
        let part = part.split_once("\n\n").map_or(part, |(part, _)| part);
        part.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

/// Names and ports of a world as everybody's.
fn filters(world: &World) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&world.prefix, "callvault");
    settings.add_filter(&world.bucket, "recordings");
    settings.add_filter(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT");
    settings.add_filter(r"localhost:\d+", "localhost:PORT");
    settings.add_filter("check-[0-9a-f]{16}", "check-RANDOM");
    settings
}

#[tokio::test]
async fn where_all_is_well_each_check_is_a_line_and_nothing_is_left() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let checked = check(&world.config(&[]), &[]).await;
    assert_eq!((checked.code, checked.errors.as_str()), (0, ""), "{}", checked.text);
    filters(&world).bind(|| {
        assert_snapshot!(checked.text, @r"
    broker: callvault
      ok      login               127.0.0.1:PORT takes our user
      ok      topology            exchanges, queues and bindings are there
      ok      may consume         queue callvault.jobs
      ok      may consume         queue callvault.bulk
      ok      may consume         queue callvault.suspect
      ok      may publish         exchange callvault-events
      ok      may publish         the default exchange
      ok      may publish         exchange callvault.retry.100ms
      ok      may publish         exchange callvault.retry.200ms

    ccfs: acme, 127.0.0.1:PORT
      ok      connection          127.0.0.1:PORT
      ok      signature           accepted
      ok      clock               agrees with that of CC-FS
      ok      no data             ccfs.0300012: CC-FS answered: no data found
      ok      index               queryBillData is answered

    ccfs: globex, 127.0.0.1:PORT
      ok      connection          127.0.0.1:PORT
      ok      signature           accepted
      ok      clock               agrees with that of CC-FS
      ok      no data             ccfs.0300012: CC-FS answered: no data found
      ok      index               queryBillData is answered

    store: recordings, acme, globex
      ok      answer              the store answers, and knows the key
      ok      put                 taken
      ok      conditional create  a second put is refused (412)
      ok      head                says the size
      ok      body hash           a body that is not what was signed is refused
      ok      multipart           begun, a part sent, aborted
      ok      sweep               open uploads can be listed
      ok      conditional end     an upload over what is there is refused (412)
      ok      delete              the probe is gone

    28 well, 0 notes, 0 failed, 0 skipped
    ")
    });
    assert_eq!(world.store.s3().keys(&world.bucket, "").await, [""; 0]);
    assert_eq!(world.store.open_uploads(), 0);
    assert_eq!(world.depth("jobs").await, 0);
    // A key may be allowed beside the recordings alone.
    let probes = world.store.seen_of(Op::Put);
    assert!(probes.iter().all(|probe| probe.key.starts_with("acme/.callvault-check-")));
}

#[tokio::test]
async fn scripts_get_json_and_a_wrong_configuration_ends_with_2() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::html(403));
    let checked = check(&world.config(&[]), &["--json"]).await;
    assert_eq!(checked.code, 1);
    let all: serde_json::Value = serde_json::from_str(&checked.text).unwrap();
    assert_eq!(all["well"], false);
    let parts = all["parts"].as_array().unwrap();
    let of: Vec<_> = parts.iter().map(|part| part["part"].as_str().unwrap()).collect();
    assert_eq!(of, ["broker", "ccfs", "ccfs", "store"]);
    let answer = parts[1]["findings"].as_array().unwrap();
    let answer = answer.iter().find(|finding| finding["check"] == "answer").unwrap();
    assert_eq!(answer["verdict"], "failed");
    assert!(answer["advice"].as_str().unwrap().contains("firewall"), "{answer}");

    // Each store is tried.
    let other = world.store.s3().bucket().await;
    let own = format!("[tenants.store]\nbucket = \"{other}\"\nkey = \"{{name}}\"");
    let checked = check(&world.config(&[("globex", &own)]), &["--json"]).await;
    let all: serde_json::Value = serde_json::from_str(&checked.text).unwrap();
    let targets = all["parts"].as_array().unwrap().iter().map(|part| part["target"].as_str());
    let stores: Vec<_> = targets.skip(3).flatten().collect();
    assert_eq!(stores, [format!("{}, acme", world.bucket), format!("{other}, globex")]);

    let warned = check(&world.config(&[("store", "key = \"{name}\"")]), &["--json"]).await;
    assert!(warned.errors.contains("warning: tenants acme and globex share"), "{}", warned.errors);

    let wrong = check(&world.config(&[("worker", "concurency = 3")]), &[]).await;
    assert_eq!((wrong.code, wrong.text.as_str()), (2, ""));
    assert!(wrong.errors.contains("worker.concurency"), "{}", wrong.errors);
}

/// Nothing of it answers, and none of it is this machine.
#[tokio::test]
async fn what_goes_over_the_network_in_the_clear_is_told() {
    let world = World::new().await;
    let config = world.config_at(
        "amqp://guest:guest@mq.invalid/%2f",
        "http://ccfs.invalid:28080",
        "http://s3.invalid:9000",
        &[("store", "connect_timeout = \"1s\"")],
    );
    let checked = check(&config, &[]).await;
    let mut told = false;
    let secrecy = |line: &&str| {
        told = line.contains("secrecy") || (told && line.contains("→"));
        told
    };
    let lines: Vec<_> = checked.text.lines().filter(secrecy).collect();
    assert_snapshot!(lines.join("\n"), @r"
    note    secrecy             mq.invalid:5672 is asked without TLS: password and messages can be read on their way
                                → use amqps:// in broker.url; where it is meant, allow_plain = true
    note    secrecy             ccfs.invalid:28080 is asked without TLS: recordings can be read on their way
                                → write https:// in ccfs.endpoints; where it is meant, allow_plain = true
    note    secrecy             ccfs.invalid:28080 is asked without TLS: recordings can be read on their way
                                → write https:// in ccfs.endpoints; where it is meant, allow_plain = true
    note    secrecy             s3.invalid:9000 is asked without TLS: recordings can be read on their way
                                → write https:// in store.endpoint; where it is meant, allow_plain = true
    ");

    let meant = ["broker", "ccfs", "store"].into_iter().fold(config.clone(), |config, section| {
        config.replacen(&format!("[{section}]"), &format!("[{section}]\nallow_plain = true"), 1)
    });
    let checked = check(&meant, &[]).await;
    let lines: Vec<_> = checked.text.lines().filter(|line| line.contains("secrecy")).collect();
    assert_snapshot!(lines.join("\n"), @r"
    ok      secrecy             mq.invalid:5672 is asked without TLS, as allow_plain allows
    ok      secrecy             ccfs.invalid:28080 is asked without TLS, as allow_plain allows
    ok      secrecy             ccfs.invalid:28080 is asked without TLS, as allow_plain allows
    ok      secrecy             s3.invalid:9000 is asked without TLS, as allow_plain allows
    ");

    let secure = config.replace("amqp:", "amqps:").replace("http:", "https:");
    let checked = check(&secure, &[]).await;
    assert!(!checked.text.contains("secrecy"), "{}", checked.text);
}

#[tokio::test]
async fn the_tenants_of_a_folder_are_tried_and_those_that_are_paused_named() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let folder = tempfile::tempdir().unwrap();
    let own =
        "id = \"umbrella\"\naccess_key = \"ak-acme\"\nsecret_key = \"hunter2\"\npaused = true\n";
    std::fs::write(folder.path().join("umbrella.toml"), own).unwrap();
    let dir = format!("tenants_dir = \"{}\"\n", folder.path().display());
    let checked = check(&(dir + &world.config(&[("globex", "paused = true")])), &[]).await;
    assert!(checked.part("ccfs: umbrella").contains("signature"), "{}", checked.text);
    assert_snapshot!(checked.part("worker: "), @"
    worker: globex, umbrella
      note    paused              their messages are parked
                                  → take paused off, or set it to false, when their recordings are to be archived
    ");
}
