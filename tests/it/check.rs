//! `callvault check`: every broken environment that it knows, made and named.

use std::process::{Command, Stdio};

use insta::assert_snapshot;
use jiff::SignedDuration;

use crate::support::broker::client::Rabbit;
use crate::support::broker::node;
use crate::support::ccfs::{Reply, Simulator};
use crate::support::s3::{ALWAYS, Fault, Op};
use crate::support::unique;
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

    ccfs: globex, 127.0.0.1:PORT
      ok      connection          127.0.0.1:PORT
      ok      signature           accepted
      ok      clock               agrees with that of CC-FS
      ok      no data             ccfs.0300012: CC-FS answered: no data found

    store: recordings, acme, globex
      ok      answer              the store answers, and knows the key
      ok      put                 taken
      ok      conditional create  a second put is refused (412)
      ok      head                says the size
      ok      body hash           a body that is not what was signed is refused
      ok      multipart           begun, a part sent, aborted
      ok      sweep               open uploads can be listed
      ok      delete              the probe is gone

    25 well, 0 notes, 0 failed, 0 skipped
    ")
    });
    assert_eq!(world.store.s3().keys(&world.bucket, "").await, [""; 0]);
    assert_eq!(world.store.open_uploads(), 0);
    assert_eq!(world.depth("jobs").await, 0);
}

#[tokio::test]
async fn who_unpacks_needs_a_folder_and_a_listing() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let config = world.config(&[("globex", "[tenants.store]\nzip = \"unpack\"")]);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let well = check_in(&config, &[], &[("TMPDIR", folder)]).await;
    assert_eq!(well.code, 0, "{}", well.text);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    world.store.fault(Op::List, ALWAYS, Fault::Answer { status: 403, code: "AccessDenied" });
    let nowhere = format!("{folder}/nowhere");
    let broken = check_in(&config, &[], &[("TMPDIR", &nowhere)]).await;
    assert_eq!(broken.code, 1, "{}", broken.text);
    let mut settings = filters(&world);
    settings.add_filter(folder, "/scratch");
    let store = |tenant: &str| format!("store: {}, {tenant}", world.bucket);
    assert!(!well.part(&store("acme")).contains(" list "), "it keeps ZIPs: {}", well.text);
    assert!(well.part(&store("globex")).contains("ok      list "), "{}", well.text);
    settings.bind(|| {
        assert_snapshot!(well.part("worker"), @r#"
        worker: zip = "unpack" of globex
          ok      temporary file      /scratch takes one
        "#);
        assert_snapshot!(broken.part("worker"), @r#"
        worker: zip = "unpack" of globex
          FAILED  temporary file      /scratch/nowhere takes none: No such file or directory (os error 2)
                                      → make room there, or have TMPDIR name a folder with room for the largest archives at once; zip = "keep" needs none
        "#);
        assert_snapshot!(broken.part(&store("globex")), @r"
        store: recordings, globex
          ok      answer              the store answers, and knows the key
          ok      put                 taken
          ok      conditional create  a second put is refused (412)
          ok      head                says the size
          ok      body hash           a body that is not what was signed is refused
          ok      multipart           begun, a part sent, aborted
          note    list                objects cannot be listed: status 403, store.AccessDenied
                                      → grant s3:ListBucket, or a repeat of a ZIP that was unpacked downloads it again
          ok      sweep               open uploads can be listed
          ok      delete              the probe is gone
        ");
    });
}

#[tokio::test]
async fn a_broker_that_is_not_there_or_knows_nobody_is_told_apart() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let here =
        |amqp: &str| world.config_at(amqp, &world.ccfs.url(), world.store.s3().endpoint(), &[]);
    let nobody = check(&here("amqp://guest:guest@127.0.0.1:1/%2f"), &[]).await;
    assert_eq!(nobody.code, 1);
    let wrong = check(&here(&world.amqp.replace("guest:guest", "guest:hunter2")), &[]).await;
    assert_eq!(wrong.code, 1);
    filters(&world).bind(|| {
        assert_snapshot!(nobody.part("broker"), @r"
        broker: callvault
          FAILED  login               connection refused by 127.0.0.1:PORT
                                      → check host and port of broker.url, that the broker runs, and broker.ca_file where it is amqps
          skipped topology            without a login
          skipped may consume         without a login
          skipped may publish         without a login
        ");
        assert_snapshot!(wrong.part("broker"), @r"
        broker: callvault
          FAILED  login               login refused by 127.0.0.1:PORT: ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.
                                      → correct user, password or virtual host of broker.url, or make them: `rabbitmqctl add_user`, `rabbitmqctl set_permissions`
          skipped topology            without a login
          skipped may consume         without a login
          skipped may publish         without a login
        ");
    });
}

#[tokio::test]
async fn what_the_broker_lacks_is_named_with_the_command_that_makes_it() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let missing = check(&world.config(&[("broker", "declare = false")]), &[]).await;
    assert_eq!(missing.code, 1);
    let part = missing.part("broker");
    let jobs = world.queue("jobs");
    assert!(part.contains("FAILED  topology"), "{part}");
    assert!(part.contains(&format!("queue {jobs} (`rabbitmqadmin declare queue")), "{part}");
    assert!(part.contains("→ run the commands, or set broker.declare = true"), "{part}");

    // Another kind of queue under the name of one of ours: used as it is, and told.
    world.rabbit.declare(&world.queue("bulk"), Default::default()).await;
    let differs = check(&world.config(&[]), &[]).await;
    assert_eq!(differs.code, 0, "{}", differs.text);
    let part = differs.part("broker");
    let bulk = format!("note    topology            queue {} exists", world.queue("bulk"));
    assert!(part.contains(&bulk), "{part}");
}

#[tokio::test]
async fn a_user_who_may_not_is_told_what_to_grant() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    // The topology is there; the user may read the jobs and write nothing but events.
    assert_eq!(check(&world.config(&[]), &[]).await.code, 0);
    let user = unique("reader");
    let node = node().await;
    node.ctl(&["add_user", &user, "hunter2"]).await;
    let (read, write) = (format!("^{}\\.(jobs|bulk)$", world.prefix), &world.events_exchange);
    let write = format!("^{write}$");
    // A passive declaration needs no permission of its own.
    node.ctl(&["set_permissions", &user, "^$", &write, &read]).await;
    let amqp = world.amqp.replace("guest:guest", &format!("{user}:hunter2"));
    let endpoint = world.store.s3().endpoint();
    let keys = [("broker", "declare = false")];
    let limited = check(&world.config_at(&amqp, &world.ccfs.url(), endpoint, &keys), &[]).await;
    node.ctl(&["delete_user", &user]).await;
    assert_eq!(limited.code, 1);
    let mut settings = filters(&world);
    settings.add_filter(&user, "USER");
    settings.bind(|| assert_snapshot!(limited.part("broker"), @r"
    broker: callvault
      ok      login               127.0.0.1:PORT takes our user
      ok      topology            exchanges, queues and bindings are there
      ok      may consume         queue callvault.jobs
      ok      may consume         queue callvault.bulk
      FAILED  may consume         queue callvault.suspect: basic.consume: ACCESS_REFUSED - access to queue 'callvault.suspect' in vhost '/' refused for user 'USER'
                                  → grant the user of broker.url the read permission for queue callvault.suspect (`rabbitmqctl set_permissions`)
      ok      may publish         exchange callvault-events
      FAILED  may publish         the default exchange: basic.publish: ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'USER'
                                  → grant the user of broker.url the write permission for the default exchange (`rabbitmqctl set_permissions`)
      FAILED  may publish         exchange callvault.retry.100ms: basic.publish: ACCESS_REFUSED - access to exchange 'callvault.retry.100ms' in vhost '/' refused for user 'USER'
                                  → grant the user of broker.url the write permission for exchange callvault.retry.100ms (`rabbitmqctl set_permissions`)
      FAILED  may publish         exchange callvault.retry.200ms: basic.publish: ACCESS_REFUSED - access to exchange 'callvault.retry.200ms' in vhost '/' refused for user 'USER'
                                  → grant the user of broker.url the write permission for exchange callvault.retry.200ms (`rabbitmqctl set_permissions`)
    "));
    assert_eq!(Rabbit::connect(&world.amqp).await.ready(&world.queue("jobs")).await, 0);
}

#[tokio::test]
async fn what_stands_before_ccfs_is_told_apart_from_ccfs() {
    let world = World::new().await;
    let at = |ccfs: &str, keys: &[(&str, &str)]| {
        world.config_at(&world.amqp, ccfs, world.store.s3().endpoint(), keys)
    };
    let no_name = check(&at("https://ccfs.invalid:28443", &[]), &[]).await;
    let closed = check(&at("http://127.0.0.1:1", &[]), &[]).await;
    let secure = Simulator::start_tls().await;
    let untrusted = check(&at(&secure.url(), &[]), &[]).await;
    world.ccfs.default_reply(Reply::html(403));
    let firewall = check(&at(&world.ccfs.url(), &[]), &[]).await;
    world.ccfs.default_reply(Reply::hang());
    let silent = check(&at(&world.ccfs.url(), &[("ccfs", "read_timeout = \"1s\"")]), &[]).await;
    let all = [&no_name, &closed, &untrusted, &firewall, &silent];
    assert!(all.iter().all(|checked| checked.code == 1), "each fails");
    filters(&world).bind(|| {
        assert_snapshot!(no_name.part("ccfs: acme"), @r"
        ccfs: acme, ccfs.invalid:28443
          FAILED  name                ccfs.invalid has no address: failed to lookup address information: Name or service not known
                                      → correct ccfs.endpoints, or the name service of this machine
        ");
        assert_snapshot!(closed.part("ccfs: acme"), @r"
        ccfs: acme, 127.0.0.1:PORT
          FAILED  connection          Connection refused (os error 111)
                                      → check host and port of ccfs.endpoints, that a firewall lets this machine out, and ccfs.proxy where one is needed
        ");
        assert_snapshot!(untrusted.part("ccfs: acme"), @r"
        ccfs: acme, localhost:PORT
          ok      name                localhost is 127.0.0.1
          ok      connection          stands
          FAILED  certificate         invalid peer certificate: UnknownIssuer
                                      → name the CA that signed it in ccfs.ca_file (PEM)
        ");
        assert_snapshot!(firewall.part("ccfs: acme"), @r"
        ccfs: acme, 127.0.0.1:PORT
          ok      connection          127.0.0.1:PORT
          FAILED  answer              a firewall in front of CC-FS answered (HTTP 403)
                                      → have the address of this machine let through by whoever runs the firewall; a smaller max_concurrency of the tenant asks more softly
          ok      clock               agrees with that of CC-FS
          skipped no data             without an answer of CC-FS
        ");
        assert_snapshot!(silent.part("ccfs: acme"), @r"
        ccfs: acme, 127.0.0.1:PORT
          ok      connection          127.0.0.1:PORT
          FAILED  answer              CC-FS sent nothing for 1s (ccfs.read_timeout)
                                      → CC-FS took the request and did not answer it: look there, and at what stands between
        ");
    });
}

#[tokio::test]
async fn a_refused_key_and_a_clock_that_is_off_are_told_apart() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    world.ccfs.account("ak-acme", "another");
    let key = check(&world.config(&[]), &[]).await;
    assert_eq!(key.code, 1, "{}", key.text);
    let fine = key.part("ccfs: globex");
    assert!(fine.contains("ok      signature           accepted"), "{fine}");

    let late = World::new().await;
    late.ccfs.default_reply(Reply::not_found());
    late.ccfs.clock_offset(SignedDuration::from_mins(7) + SignedDuration::from_secs(20));
    let clock = check(&late.config(&[]), &[]).await;
    let mut settings = filters(&world);
    settings.add_filter(r"7 min \d+ s", "7 min SS s");
    settings.bind(|| {
        assert_snapshot!(key.part("ccfs: acme"), @r"
        ccfs: acme, 127.0.0.1:PORT
          ok      connection          127.0.0.1:PORT
          FAILED  signature           the key is refused: CC-FS refused the access key or the signature; the clocks agree
                                      → correct access_key and secret_key of the tenant; behind a load balancer also ccfs.host, which is signed; compare with `callvault sign --verbose`
          ok      clock               agrees with that of CC-FS
          skipped no data             without an answer of CC-FS
        ");
        assert_snapshot!(clock.part("ccfs: acme"), @r"
        ccfs: acme, 127.0.0.1:PORT
          ok      connection          127.0.0.1:PORT
          FAILED  signature           refused: the clock here is 7 min SS s behind CC-FS
                                      → set the clock of this machine (NTP): CC-FS refuses signatures whose time is off
          FAILED  clock               the clock here is 7 min SS s behind CC-FS
                                      → set the clock of this machine (NTP): CC-FS refuses signatures whose time is off
          skipped no data             without an answer of CC-FS
        ");
    });
}

#[tokio::test]
async fn a_store_that_is_not_there_or_knows_no_such_key_is_told_apart() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let at = |s3: &str| world.config_at(&world.amqp, &world.ccfs.url(), s3, &[]);
    let closed = check(&at("http://127.0.0.1:1"), &[]).await;
    let bucket = world.config(&[]).replace(&world.bucket, "no-such-bucket");
    let bucket = check(&bucket, &[]).await;
    world.store.fault(Op::Put, ALWAYS, Fault::Answer { status: 403, code: "AccessDenied" });
    let read_only = check(&world.config(&[]), &[]).await;
    let all = [&closed, &bucket, &read_only];
    assert!(all.iter().all(|checked| checked.code == 1), "each fails");
    filters(&world).bind(|| {
        assert_snapshot!(closed.part("store"), @r"
        store: recordings, acme, globex
          FAILED  answer              the store cannot be reached
                                      → check endpoint (scheme, host, port) and its certificate
          skipped put                 without an answer of the store
          skipped conditional create  without an answer of the store
          skipped head                without an answer of the store
          skipped body hash           without an answer of the store
          skipped multipart           without an answer of the store
          skipped delete              without an answer of the store
        ");
        assert_snapshot!(bucket.part("store"), @r"
        store: no-such-bucket, acme, globex
          ok      answer              the store answers, and knows the key
          FAILED  put                 status 404, store.NoSuchBucket
                                      → correct bucket, or create it
          skipped conditional create  without a put
          skipped head                without a put
          skipped body hash           without a put
          skipped delete              without a put
          FAILED  multipart           status 404, store.NoSuchBucket
                                      → correct bucket, or create it
          note    sweep               open uploads cannot be listed: status 404, store.NoSuchBucket
                                      → grant s3:ListBucketMultipartUploads, or have a lifecycle rule abort incomplete uploads
        ");
        assert_snapshot!(read_only.part("store"), @r"
        store: recordings, acme, globex
          ok      answer              the store answers, and knows the key
          FAILED  put                 the bucket reads but does not write: status 403, store.AccessDenied
                                      → grant s3:PutObject, s3:GetObject and s3:AbortMultipartUpload on the bucket to the key; with SSE-KMS also the use of the KMS key
          skipped conditional create  without a put
          skipped head                without a put
          skipped body hash           without a put
          skipped delete              without a put
          ok      multipart           begun, a part sent, aborted
          ok      sweep               open uploads can be listed
        ");
    });
}

#[tokio::test]
async fn what_a_store_cannot_do_is_told_with_the_setting_that_follows() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let create = |checked: &Checked| -> String {
        let part = checked.part("store");
        let mut lines = part.lines().skip_while(|line| !line.contains("conditional create"));
        lines
            .by_ref()
            .take_while(|line| !line.contains("head  "))
            .map(|l| format!("{l}\n"))
            .collect()
    };
    world.store.fault(Op::Put, ALWAYS, Fault::IgnoreCondition);
    let pretends = check(&world.config(&[]), &[]).await;
    let told = check(&world.config(&[("store", "conditional = \"never\"")]), &[]).await;
    world.store.heal();
    world.store.fault(Op::Put, ALWAYS, Fault::RefuseCondition);
    let refuses = check(&world.config(&[]), &[]).await;
    let insists = check(&world.config(&[("store", "conditional = \"always\"")]), &[]).await;
    assert_eq!([&pretends, &told, &refuses, &insists].map(|it| it.code), [1, 0, 0, 1]);
    assert_snapshot!(create(&pretends), @r#"
    FAILED  conditional create  the store only pretends: it took a second put on the condition that nothing was there
                                → set conditional = "never": every put then asks first
    "#);
    assert_snapshot!(create(&told), @r"
      ok      conditional create  the store only pretends; it is not asked to
    ");
    assert_snapshot!(create(&refuses), @r"
      ok      conditional create  the store cannot do it and says so: HEAD comes first
    ");
    assert_snapshot!(create(&insists), @r#"
    FAILED  conditional create  the store cannot do it: status 501, store.NotImplemented
                                → set conditional = "auto" or "never"
    "#);
}

#[tokio::test]
async fn the_configured_checksum_is_proven_on_a_real_store() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let (s3, bucket) = world.seaweed().await;
    for checksum in ["md5", "crc64nvme"] {
        let setting = format!("checksum = \"{checksum}\"");
        let config =
            world.config_at(&world.amqp, &world.ccfs.url(), s3.endpoint(), &[("store", &setting)]);
        let checked = check(&config.replace(&world.bucket, &bucket), &[]).await;
        assert_eq!(checked.code, 0, "{}", checked.text);
        let part = checked.part("store");
        assert!(part.contains("ok      checksum            a body that does not fit"), "{part}");
        assert_eq!(s3.keys(&bucket, "").await, [""; 0]);
    }
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

    let wrong = check(&world.config(&[("worker", "concurency = 3")]), &[]).await;
    assert_eq!((wrong.code, wrong.text.as_str()), (2, ""));
    assert!(wrong.errors.contains("worker.concurency"), "{}", wrong.errors);
}
