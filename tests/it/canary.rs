//! Marked secrets and numbers go all the ways through workers and commands, while every server says them back
//! wherever it can. Then all that came out is searched for them, in the forms that bytes take on their
//! way (promise 8).

mod marks;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use jiff::civil::date;
use lapin::BasicProperties;
use serde_json::{Value, json};

use self::marks::{Finds, Kind, Mark};
use crate::cli::Desk;
use crate::support::broker::node;
use crate::support::ccfs::{Fault as Package, IndexRow, Reply};
use crate::support::s3::{ALWAYS, Fault, Op};
use crate::support::worker::{Options, Worker, binary};
use crate::support::world::{SOON, World, access_key, call, without_store_keys};
use crate::support::{eventually, unique};

const BROKER: &str = "Rq7vNz2KxWm4TbYd9LhJc3PfGs6Ua8Ek";
const WRONG: &str = "Wd5tHy8QcVn2ZrMk7XpBj4LgSa9Fe3Uo";
const CCFS: &str = "Kp3mXv9TzQw6BnRh2CyLd8JgFs5Ua7Ei";
const IN_A_FILE: &str = "Fj6cLw3PbTy9VnXk4RmHz8QdGs2Ao5Ue";
const TOKEN: &str = "Tn8bQx5ZkMv2WcRy7HpLj3DgJs9Fa6Ui";
const PROXY: &str = "Py4gVt7NwKz9XmBc2QhRd6LjTs3Fa8Uo";
/// What stands between CC-FS and us says it, in a header of its own.
const COOKIE: &str = "Ck9wBz4RxTv7MnQy2LhKd5PgJs8Fa3Ue";

/// The sender's, in what is handed on to the event, and in what is not.
const CALLER: &str = "4930902217746153";
const CALLEE: &str = "8613957204418625";
/// CC-FS knows them: they stand in its answers, and in the rows of its index.
const ANSWERED: &str = "8615033917726480";
const LISTED: &str = "4989661304257718";
/// In values that are no good.
const MISPLACED: &str = "3319420775864102";

/// Of calls whose names are not to be in the log.
const NAMED: &str = "1777093663-90846";

const MARKS: &[Mark] = &[
    Mark { name: "the broker's password", text: BROKER, kind: Kind::Secret },
    Mark { name: "a password that is refused", text: WRONG, kind: Kind::Secret },
    Mark { name: "CC-FS's secret key", text: CCFS, kind: Kind::Secret },
    Mark { name: "a secret key in a file", text: IN_A_FILE, kind: Kind::Secret },
    Mark { name: "the store's secret", text: crate::support::s3::SECRET_KEY, kind: Kind::Secret },
    Mark { name: "the store's session token", text: TOKEN, kind: Kind::Secret },
    Mark { name: "a proxy's password", text: PROXY, kind: Kind::Secret },
    Mark { name: "a cookie of CC-FS", text: COOKIE, kind: Kind::Secret },
    Mark { name: "a signature for CC-FS", text: "auth-v2/ak-", kind: Kind::Signature },
    Mark { name: "a signature for S3", text: "Signature=", kind: Kind::Signature },
    Mark { name: "a number in metadata", text: CALLER, kind: Kind::Metadata },
    Mark { name: "a number in a field", text: CALLEE, kind: Kind::Number },
    Mark { name: "a number of CC-FS", text: ANSWERED, kind: Kind::Number },
    Mark { name: "a number in an index", text: LISTED, kind: Kind::Number },
    Mark { name: "a number in a bad value", text: MISPLACED, kind: Kind::Number },
    Mark { name: "a call id that is hashed", text: NAMED, kind: Kind::CallId },
];

/// What servers say back: all that is asked of them with, and more.
fn echo() -> String {
    let secrets = [BROKER, CCFS, IN_A_FILE, TOKEN, PROXY, COOKIE, crate::support::s3::SECRET_KEY];
    format!("{} {ANSWERED} {NAMED} auth-v2/ak-acme/x Signature=0", secrets.join(" "))
}

/// Every answer of CC-FS that can say something.
fn answers() -> Vec<Reply> {
    let echo = echo();
    let page = format!("<!DOCTYPE html><html><body>{echo}</body></html>");
    let with_code = |code: &str| {
        let body = json!({ "resultCode": code, "resultDesc": echo, "resultData": { "x": echo },
                           "response": { "resultCode": code, "resultMsg": echo } });
        Reply::json(body.to_string())
    };
    let in_headers = |reply: Reply| {
        let reply = reply.header("Set-Cookie", COOKIE).header("X-Echo", &echo);
        reply.header("Content-Disposition", &format!("attachment; filename=\"{echo}\""))
    };
    let html = |status| Reply::html(status).content_type("text/html");
    let all = vec![
        with_code("0300004"),
        with_code(ANSWERED),
        with_code(COOKIE),
        Reply::json(format!("{{\"resultCode\": \"{ANSWERED}")),
        Reply::json(page.clone()),
        Reply::text(page.clone()),
        Reply::text(page.clone()).with_status(500).content_type("text/html"),
        Reply::text(page.clone()).with_status(400).content_type("text/html"),
        Reply::text(page).with_status(403).content_type("text/html"),
        html(502),
        Reply::status(401).header("WWW-Authenticate", &echo),
        Reply::redirect(&format!("http://u:{COOKIE}@127.0.0.1:1/{ANSWERED}")),
        Reply::text(echo.clone()).content_type(&format!("text/{COOKIE}; name={ANSWERED}")),
        Reply::octets(echo.clone()),
        Reply::wav(64 << 10).cut_at(20),
        Reply::garbage(b"8615033917726480 Ck9wBz4RxTv7MnQy2LhKd5PgJs8Fa3Ue\r\n\r\n"),
    ];
    all.into_iter().map(in_headers).collect()
}

/// What a store may answer, with the request in it as S3's own errors have it.
fn errors() -> Vec<Fault> {
    let echo = echo();
    let xml = |code: &str| {
        format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{echo}</Message>\
             <AWSAccessKeyId>{echo}</AWSAccessKeyId><StringToSign>{echo}</StringToSign>\
             <CanonicalRequest>x-amz-security-token:{TOKEN}</CanonicalRequest></Error>"
        )
    };
    let of = |status, body: String| Fault::Xml { status, body: body.leak() };
    vec![
        of(400, xml("InvalidRequest")),
        of(403, xml("SignatureDoesNotMatch")),
        of(403, xml(ANSWERED)),
        of(500, xml(&format!("{COOKIE}{COOKIE}"))),
        of(503, format!("<html><body>{echo}</body></html>")),
        of(200, xml("InternalError")),
        of(409, format!("<Error><Code>{ANSWERED}")),
    ]
}

/// A message with numbers in all its corners.
fn marked(call_id: &str) -> Value {
    let mut message = call(call_id);
    message["metadata"] = json!({ "caller": CALLER });
    message["callee"] = json!(CALLEE);
    message["fileName"] = json!(format!("X:/4/0/20260425/512/{call_id}.V3"));
    message
}

/// Bodies that are no messages, each with a number where it does not belong.
fn bad() -> Vec<String> {
    let field = |name: &str| {
        let mut message = marked("1777093663-1");
        message[name] = json!(MISPLACED);
        message.to_string()
    };
    // Tenant, call id, call centre and file name are names, whoever they are of (contract 4).
    let fields = ["type", "callEnd", "callBegin", "force", "metadata"];
    let mut all: Vec<_> = fields.map(field).into();
    all.push(format!("{{\"type\":\"call.completed\",\"callId\":\"{MISPLACED}"));
    all.push(format!("call {MISPLACED} ended"));
    all.push(format!("[\"{MISPLACED}\"]"));
    all
}

struct Stage {
    world: World,
    user: String,
    desk: Desk,
    scratch: tempfile::TempDir,
    finds: Finds,
}

impl Stage {
    async fn new() -> Self {
        let world = World::new().await;
        let user = unique("canary");
        let secrets = json!({ "users": [{ "name": user, "password": BROKER, "tags": [] }],
                              "permissions": [{ "user": user, "vhost": "/", "configure": ".*",
                                                "write": ".*", "read": ".*" }] });
        let (secrets, node) = (secrets.to_string(), node().await);
        let made = node.manage("guest:guest", "POST", "/api/definitions", &secrets).await;
        assert_eq!(made.expect("it answers").0, 204);
        world.ccfs.account(&access_key("acme"), CCFS);
        world.ccfs.account(&access_key("globex"), IN_A_FILE);
        let desk = Desk::new("");
        desk.file("globex-sk", IN_A_FILE);
        let scratch = tempfile::tempdir().expect("a temporary folder");
        Self { world, user, desk, scratch, finds: Finds::new(MARKS) }
    }

    /// As the world's, with the marks in the place of its secrets.
    fn config(&self, password: &str, keys: &[(&str, &str)]) -> String {
        let token = format!("session_token = \"{TOKEN}\"");
        let log = ("log", "level = \"trace\"");
        let log = [log].into_iter().filter(|_| !keys.iter().any(|(section, _)| *section == "log"));
        let keys: Vec<_> =
            keys.iter().copied().chain(log).chain([("store", token.as_str())]).collect();
        let amqp = self.world.amqp.replace("guest:guest", &format!("{}:{password}", self.user));
        let (ccfs, s3) = (self.world.ccfs.url(), self.world.store.s3().endpoint().to_owned());
        let config = self.world.config_at(&amqp, &ccfs, &s3, &keys);
        let file = self.desk.folder().join("globex-sk");
        config
            .replace("secret_key = \"sk-acme-0123456789\"", &format!("secret_key = \"{CCFS}\""))
            .replace(
                "secret_key = \"sk-globex-0123456789\"",
                &format!("secret_key_file = \"{}\"", file.display()),
            )
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let folder = self.scratch.path().display().to_string();
        vec![
            ("RUST_LOG", "trace".to_owned()),
            ("RUST_BACKTRACE", "full".to_owned()),
            ("TMPDIR", folder),
        ]
    }

    fn worker(&self, config: &str) -> Worker {
        let environment = self.environment();
        let environment: Vec<_> =
            environment.iter().map(|(name, text)| (*name, text.as_str())).collect();
        Worker::start_with(&Options { config, environment: &environment, binary: &binary() })
    }

    /// What the pages of a worker say, at this moment.
    async fn read_pages(&mut self, worker: &Worker, hashed: bool) {
        for path in ["/", "/api/status", "/metrics", "/readyz", "/livez", "/nothing"] {
            let (_, body) = worker.get(path).await;
            self.finds.page(path, body, hashed);
        }
    }

    /// Runs a command; what it prints and says is looked through.
    fn run(&mut self, line: &str) {
        let environment = self.environment();
        let environment: Vec<_> =
            environment.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let ended = self.desk.run_with(&format!("{line} --config callvault.toml"), &environment);
        self.finds.command(line, ended.stdout);
        self.finds.said(line, ended.stderr);
    }

    /// Every command, as it comes out in the world as it is now.
    fn run_all(&mut self, worker: Option<&Worker>) {
        let day = "--tenant acme --day 2026-04-25";
        for line in [
            "check",
            "check --json",
            "config",
            "topology",
            "topology --definitions",
            "sign --tenant acme --call-id 1777093663-1",
            "sign --tenant acme --call-id 1777093663-1 --verbose",
            "dump --tenant acme --call-id 1777093663-1",
            "dump --tenant acme --index record.csv --dry-run",
            "dump --tenant acme --index record.csv",
            "reconcile --tenant acme --index record.csv",
            "reconcile --tenant acme --index record.csv --json --enqueue",
            &format!("reconcile {day} --wait 1s"),
            &format!("index {day} --wait 1s --out got.zip"),
            "audit --day 2026-04-25 --explain --enqueue --wait 1s --textfile audit.prom",
            "audit --day 2026-04-25 --json --wait 1s",
            "dead list",
            "dead list --json",
            "dead show id-of-nobody",
            "dead redrive --dry-run",
            "dead drop --dry-run",
            "dead export dead.jsonl --limit 5",
            "dead export dead.jsonl",
            "dead drop --yes --limit 5",
            "dead import dead.jsonl",
            "dead redrive --limit 3 --rate 1000",
            "waiting list",
            "waiting list --json",
            "waiting now",
        ] {
            self.run(line);
        }
        let port = worker.map_or(1, Worker::port);
        for command in ["status", "status --json", "healthcheck"] {
            let listen = format!("127.0.0.1:{port}");
            let asked = [("CALLVAULT__HTTP__LISTEN", listen.as_str()), ("RUST_LOG", "trace")];
            let ended = self.desk.run_with(&format!("{command} --config callvault.toml"), &asked);
            self.finds.command(command, ended.stdout);
            self.finds.said(command, ended.stderr);
        }
        // What CC-FS says and what senders wrote is meant to be in these.
        for file in ["got.zip", "dead.jsonl"] {
            let _ = fs::remove_file(self.desk.folder().join(file));
        }
    }

    /// What is left of all that was done, but what the test itself has written.
    fn read_files(&mut self) {
        for folder in [self.scratch.path(), self.desk.folder()] {
            for (name, bytes) in files(folder) {
                if !["callvault.toml", "globex-sk", "record.csv"].contains(&name.as_str()) {
                    self.finds.file(&name, bytes);
                }
            }
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder of the test").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            found.extend(
                files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
            );
        } else {
            found.insert(name, fs::read(&path).expect("a file of the test"));
        }
    }
    found
}

/// A row of an index with its numbers.
fn index_row(call_id: &str) -> String {
    format!(
        "dev,7,1,512,{call_id},{LISTED},{LISTED},2026-04-25 11:55:00,2026-04-25 12:00:00,,0,0,\
         X:/4/0/20260425/512/{call_id}.V3,4,0,5,,17\r\n"
    )
}

/// Retried once, and then dead; nothing waits for long.
const SHORT: (&str, &str) = (
    "retry",
    "delays = [\"50ms\"]\nmax_attempts = 2\nbreaker_failures = 1000\nnot_ready_window = \"1s\"",
);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_comes_out_holds_a_secret_or_a_number() {
    let mut stage = Stage::new().await;
    let hashed = ("log", "level = \"trace\"\nidentifiers = \"hashed\"");
    let json = stage.config(BROKER, &[SHORT, hashed]);
    let text = stage.config(BROKER, &[SHORT]).replace("\"json\"", "\"text\"");
    stage.archive(&json, 1, true).await;
    stage.archive(&text, 2, false).await;
    assert!(stage.world.depth("dead").await > 30, "the dead are there to be looked at");
    stage.ask_for_everything().await;
    stage.let_nobody_in().await;
    stage.read_files();
    stage.read_queues().await;
    stage.finds.are_none();
}

impl Stage {
    /// A worker has messages of all kinds, each answer of CC-FS and each of the store.
    async fn archive(&mut self, config: &str, round: usize, hashed: bool) {
        let worker = self.worker(config).ready().await;
        let mut serial = 0;
        let mut next = || {
            serial += 1;
            format!("{NAMED}{round}{serial:02}")
        };
        self.world.publish(&marked(&next())).await;
        let replies = answers();
        for reply in &replies {
            // What is parked comes back for ever: each ends in the end.
            let call = next();
            self.world.ccfs.script(&call, [reply.clone(), reply.clone(), replies[0].clone()]);
            self.world.publish(&marked(&call)).await;
        }
        for body in bad() {
            let json = BasicProperties::default().with_content_type("application/json".into());
            self.world.publish_raw("call.completed", body.as_bytes(), json).await;
        }
        settled(&self.world, &worker).await;
        self.read_pages(&worker, hashed).await;
        for (op, size, faults) in [
            (Op::Put, 640, errors()),
            (Op::Head, 640, errors()),
            (Op::List, 640, errors()),
            (Op::CreateMultipart, 9 << 20, errors().split_off(3)),
            (Op::UploadPart, 9 << 20, errors().split_off(4)),
            (Op::CompleteMultipart, 9 << 20, errors().split_off(4)),
        ] {
            for fault in faults {
                self.world.store.fault(op, 2, fault);
                let call = next();
                self.world.ccfs.script(&call, [Reply::wav(size)]);
                self.world.publish(&marked(&call)).await;
            }
            settled(&self.world, &worker).await;
            self.world.store.heal();
        }
        self.read_pages(&worker, hashed).await;
        self.finds.log("a worker's", worker.stop().await, hashed);
    }

    /// Every command, while all is well, while CC-FS gives no index, and while nothing is well.
    async fn ask_for_everything(&mut self) {
        let config = self.config(BROKER, &[SHORT]);
        self.desk.file("callvault.toml", &config);
        self.desk.file("record.csv", index_row("1777093663-1") + &index_row("1777093663-2"));
        let (acme, noon) = (access_key("acme"), date(2026, 4, 25).at(12, 0, 0, 0));
        let rows = ["1777093663-1", "1777093663-3"];
        let rows = rows.map(|id| IndexRow::raw(noon, index_row(id).trim_end()));
        self.world.ccfs.knows(&acme, rows);
        let worker = self.worker(&config).ready().await;
        self.run_all(Some(&worker));
        let index = "index --tenant acme --day 2026-04-25 --wait 1s --out got.zip";
        let audit = "audit --day 2026-04-25 --wait 1s";
        self.world.ccfs.orders(&acme, answers());
        for line in [index, audit, index] {
            self.run(line);
        }
        self.world.ccfs.fetches(&acme, answers().into_iter().take(3).map(Package::from));
        self.run(index);
        let _ = fs::remove_file(self.desk.folder().join("got.zip"));
        for (reply, fault) in answers().into_iter().skip(8).zip(errors()).take(3) {
            self.world.ccfs.default_reply(reply.clone());
            self.world.ccfs.no_index(&acme, reply);
            for op in [Op::Put, Op::Head, Op::List, Op::CreateMultipart] {
                self.world.store.fault(op, ALWAYS, fault.clone());
            }
            let compare = "reconcile --tenant acme --index record.csv";
            for line in ["check", "check --json", audit, compare] {
                self.run(line);
            }
            self.world.store.heal();
        }
        self.finds.log("a worker's", worker.stop().await, false);
    }

    /// A broker, a proxy, a store that do not let us in or are not there; and no configuration at all.
    async fn let_nobody_in(&mut self) {
        let good = self.config(BROKER, &[SHORT]);
        let proxy = format!("proxy = \"http://me:{PROXY}@127.0.0.1:1\"");
        let token = format!("session_token = \"{TOKEN}\"\n");
        for (name, config) in [
            ("a wrong password", self.config(WRONG, &[SHORT])),
            ("proxies", self.config(BROKER, &[SHORT, ("ccfs", &proxy), ("store", &proxy)])),
            ("no keys", without_store_keys(&good).replace(&token, "")),
            ("a bad URL", good.replace("amqp://", "http://")),
            ("no TOML", good.replace("[store]", &format!("[store\n{TOKEN} = {COOKIE}\""))),
        ] {
            self.desk.file("callvault.toml", &config);
            for line in [
                "check",
                "config",
                "dump --tenant acme --call-id 1777093663-1",
                "dead list",
                "waiting list",
                "audit --day 2026-04-25 --wait 1s",
                "sign --tenant acme --call-id 1777093663-1",
                "topology",
                "status",
                "healthcheck",
            ] {
                self.run(line);
            }
            let mut worker = self.worker(&config);
            let mistaken = ["a bad URL", "no TOML"].contains(&name);
            if mistaken {
                worker.ended(SOON).await;
                self.finds.log(name, worker.log(), false);
                continue;
            }
            let wrong = name == "a wrong password";
            eventually("it is ready, or says why not", SOON, || async {
                let told = worker.log().contains("login refused");
                (if wrong { told } else { worker.is_ready().await }).then_some(())
            })
            .await;
            if !wrong {
                self.world.publish(&marked("1777093663-9")).await;
                settled(&self.world, &worker).await;
            }
            self.read_pages(&worker, false).await;
            self.finds.log(name, worker.stop().await, false);
        }
    }

    /// What all of it has left with the broker, but for the bodies of the dead, which are the senders'.
    async fn read_queues(&mut self) {
        let World { rabbit, events, .. } = &self.world;
        let count = rabbit.ready(events).await;
        assert!(count > 60, "{count}");
        for event in rabbit.take_many(events, count as usize).await {
            self.finds.event(&event);
        }
        let dead = self.world.queue("dead");
        let count = rabbit.ready(&dead).await;
        for dead in rabbit.take_many(&dead, count as usize).await {
            self.finds.header(&dead);
        }
    }
}

/// Waits until nothing is in hand or on its way.
async fn settled(world: &World, worker: &Worker) {
    eventually("nothing is on its way", SOON, || async {
        world.settled(worker).await;
        let waits = world.depth("retry.50ms").await + world.depth("jobs").await;
        (waits == 0 && worker.metric("callvault_jobs_in_flight", &[]).await == 0.0).then_some(())
    })
    .await;
}
