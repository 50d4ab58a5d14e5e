//! examples/consumers, what docs/MESSAGES.md offers to those who receive events, among real parts.
//!
//! That in Python is always run. Those in Node and Java are where the machine has these; where not, a
//! line on stderr says so, past the capture of a test's output.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::future::{pending, ready};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::broker::node;
use crate::support::child::GuardedChild;
use crate::support::wire::Wire;
use crate::support::world::{SOON, World};
use crate::support::{eventually, unique};
use crate::support::{java, node as nodejs, python};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/consumers");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Python,
    Node,
    Java,
}

use Language::{Java, Node, Python};

impl Language {
    const ALL: [Self; 3] = [Python, Node, Java];

    fn source(self) -> PathBuf {
        Path::new(EXAMPLES).join(match self {
            Python => "python/consumer.py",
            Node => "node/consumer.js",
            Java => "java/Consumer.java",
        })
    }

    /// What it writes the events into.
    fn ledger(self) -> &'static str {
        match self {
            Python => "events.db",
            Node => "events.jsonl",
            Java => "events.tsv",
        }
    }

    /// How it is started in `folder`; or why it cannot be.
    fn command(self, folder: &Path) -> Result<Command, String> {
        let mut command = match self {
            Python => python::with_pika(),
            Node => {
                // It looks for its packages beside itself.
                let example = Path::new(EXAMPLES).join("node");
                let (command, packages) = nodejs::with_packages(&example)?;
                let link = folder.join("node_modules");
                if !link.exists() {
                    std::os::unix::fs::symlink(packages, link).expect("it can be written");
                }
                for name in ["package.json", "consumer.js"] {
                    fs::copy(example.join(name), folder.join(name)).expect("it can be written");
                }
                command
            }
            Java => java::with_client()?,
        };
        match self {
            Node => command.arg("consumer.js"),
            Python | Java => command.arg(self.source()),
        };
        command.arg(self.ledger()).current_dir(folder);
        Ok(command)
    }

    /// The events that are written down in `folder`.
    fn kept(self, folder: &Path) -> Vec<Value> {
        let path = folder.join(self.ledger());
        let text = match self {
            Python => {
                let script = "import sqlite3, sys\n\
                              for row in sqlite3.connect(sys.argv[1]).execute('SELECT event FROM events'):\n \
                              print(row[0])";
                let output = Command::new("python3").args(["-c", script]).arg(path).output();
                let output = output.expect("python3 runs");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                String::from_utf8(output.stdout).expect("UTF-8")
            }
            Node | Java => fs::read_to_string(path).expect("the file is there"),
        };
        let events = text.lines().map(|line| {
            let (id, event) = match self {
                Java => line.split_once('\t').expect("the id and the event"),
                Python | Node => ("", line),
            };
            let event: Value =
                serde_json::from_str(event).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(self != Java || event["id"] == id, "{line}");
            event
        });
        events.collect()
    }
}

/// A consumer at work, in a folder of its own.
struct Consumer {
    language: Language,
    folder: Arc<tempfile::TempDir>,
    queue: String,
    child: GuardedChild,
}

impl Consumer {
    /// Where the broker at `amqp` gives it all events of `world`. `None` where the machine lacks what
    /// it runs on.
    async fn start(language: Language, world: &World, amqp: &str) -> Option<Self> {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let queue = unique("archive-events");
        match Self::spawn(language, world, amqp, folder.path(), &queue).await {
            Ok(child) => Some(Self { language, folder, queue, child }),
            Err(why) => {
                let told = format!("\n!!! NOT RUN: the consumer in {language:?}: {why}\n");
                std::io::stderr().write_all(told.as_bytes()).expect("stderr can be written");
                None
            }
        }
    }

    async fn spawn(
        language: Language,
        world: &World,
        amqp: &str,
        folder: &Path,
        queue: &str,
    ) -> Result<GuardedChild, String> {
        let of = folder.to_owned();
        let command = tokio::task::spawn_blocking(move || language.command(&of)).await;
        let mut command = command.expect("its libraries can be had")?;
        let open = |name| {
            let file = File::options().create(true).append(true).open(folder.join(name));
            file.expect("it can be written")
        };
        command.env("AMQP_URL", amqp).env("EXCHANGE", &world.events_exchange);
        command.env("QUEUE", queue).stdout(open("said")).stderr(open("errors"));
        let mut child = GuardedChild::spawn(&mut command).expect("it can be started");
        eventually("it consumes", SOON, || {
            let ended = child.exited();
            async move {
                let told = fs::read_to_string(folder.join("errors")).unwrap_or_default();
                assert!(ended.is_none(), "{language:?}: {told}");
                let there = world.rabbit.exists(queue).await;
                (there && world.rabbit.consumers(queue).await == 1).then_some(())
            }
        })
        .await;
        Ok(child)
    }

    /// Another one at the same queue and ledger.
    async fn again(&mut self, world: &World, amqp: &str) {
        let Self { language, folder, queue, .. } = self;
        let child = Self::spawn(*language, world, amqp, folder.path(), queue).await;
        self.child = child.expect("it has run before");
    }

    /// The lines that it has written, this many at least: what, of which type, with which id.
    async fn said(&self, count: usize) -> Vec<[String; 3]> {
        eventually("it says what came", SOON, || async {
            let said = fs::read_to_string(self.folder.path().join("said")).expect("a file");
            let lines: Vec<_> = said.lines().map(str::to_owned).collect();
            (lines.len() >= count && said.ends_with('\n')).then(|| {
                let words = lines.iter().map(|line| {
                    let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
                    words.try_into().unwrap_or_else(|_| panic!("three words: {said}"))
                });
                words.collect()
            })
        })
        .await
    }

    fn kept(&self) -> Vec<Value> {
        self.language.kept(self.folder.path())
    }
}

async fn it_writes_each_event_once(language: Language) {
    let world = World::new().await;
    let Some(mut consumer) = Consumer::start(language, &world, &world.amqp).await else { return };
    let worker = world.worker(&[]).await;
    let (call, other) = ("1777093663-1", "1777093663-2");
    world.call(call).await;
    let first = world.event().await;
    // The recording asked for again, and the event as a broker may bring it twice.
    world.call(call).await;
    let second = world.event().await;
    assert_eq!(second.json()["id"], first.json()["id"]);
    let (exchange, properties) = (&world.events_exchange, first.sent_properties());
    world.rabbit.publish(exchange, &first.routing_key, &first.body, properties).await;
    let said = consumer.said(3).await;
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    let line = |what: &str| [what.to_owned(), "recording.archived".to_owned(), id.clone()];
    assert_eq!(said, [line("new"), line("repeat"), line("repeat")]);

    // Of a dump with the other; the queue and the ledger outlive the consumer.
    consumer.child.kill();
    consumer.again(&world, &world.amqp).await;
    let recordings = json!([{ "callId": call }, { "callId": other }]);
    world
        .publish(&json!({ "type": "recording.dump-requested", "tenant": "acme",
                          "requestId": "both", "recordings": recordings }))
        .await;
    let said = consumer.said(6).await.split_off(3);
    let said: BTreeSet<_> =
        said.into_iter().map(|[what, kind, _]| format!("{what} {kind}")).collect();
    let expected = ["new dump.expanded", "new recording.archived", "repeat recording.archived"];
    assert_eq!(said, expected.map(str::to_owned).into());

    let kept = consumer.kept();
    let ids: BTreeSet<_> = kept.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!((kept.len(), ids.len()), (3, 3));
    // As it came first.
    let ours = kept.iter().find(|event| event["id"] == *id);
    assert_eq!(ours, Some(&first.json()));
    worker.stop().await;
}

/// Its acknowledgement gets as far as a proxy before the broker, where it is held for ever.
async fn what_is_written_and_not_acknowledged_comes_again(language: Language) {
    let world = World::new().await;
    let wire = Wire::to(([127, 0, 0, 1], node().await.amqp_port()).into()).await;
    let amqp = format!("amqp://guest:guest@{}/%2f", wire.address());
    let Some(mut consumer) = Consumer::start(language, &world, &amqp).await else { return };
    let (sender, mut acks) = mpsc::unbounded_channel();
    let folder = Arc::clone(&consumer.folder);
    let process = i32::try_from(consumer.child.pid()).ok().and_then(Pid::from_raw);
    let process = process.expect("a process of ours");
    wire.on_ack(move |_| {
        // What it has not written by now it has acknowledged too early: no time to make up for it.
        kill_process(process, Signal::STOP).expect("it lives");
        let _ = sender.send(language.kept(folder.path()));
        pending()
    });
    let worker = world.worker(&[]).await;
    world.call("1777093663-1").await;
    let event = world.event().await.json();
    let written = tokio::time::timeout(SOON, acks.recv()).await.expect("it acknowledges");
    assert_eq!(written.as_deref(), Some(&[event.clone()][..]), "before it acknowledges");

    consumer.child.kill();
    wire.on_ack(|_| ready(()));
    wire.cut();
    world.rabbit.until_ready(&consumer.queue, 1).await;
    if language != Python {
        // As if it had died a moment later, within the next line. A database sees to that by itself.
        let ledger =
            File::options().append(true).open(consumer.folder.path().join(language.ledger()));
        ledger.expect("it is there").write_all(b"{\"id\":\"n\xc3").expect("it is written");
    }
    consumer.again(&world, &amqp).await;
    let last = eventually("it comes again", SOON, || async {
        consumer.said(1).await.pop().filter(|[what, ..]| what == "repeat")
    });
    assert_eq!(last.await[2], event["id"].as_str().expect("an id"));
    assert_eq!(consumer.kept(), [event]);
    let redelivered: Vec<_> = wire.record().delivered.iter().map(|seen| seen.redelivered).collect();
    assert_eq!(redelivered, [false, true]);
    // It is acknowledged now: nothing comes a third time.
    consumer.child.kill();
    let nobody = async || (world.rabbit.consumers(&consumer.queue).await == 0).then_some(());
    eventually("it is gone", SOON, nobody).await;
    assert_eq!(world.rabbit.ready(&consumer.queue).await, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_writes_each_event_once() {
    it_writes_each_event_once(Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_writes_once_what_comes_again_after_a_crash() {
    what_is_written_and_not_acknowledged_comes_again(Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_writes_each_event_once() {
    it_writes_each_event_once(Node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_writes_once_what_comes_again_after_a_crash() {
    what_is_written_and_not_acknowledged_comes_again(Node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_writes_each_event_once() {
    it_writes_each_event_once(Java).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_writes_once_what_comes_again_after_a_crash() {
    what_is_written_and_not_acknowledged_comes_again(Java).await;
}

/// Those of a user of its own, in the page's words.
#[tokio::test(flavor = "multi_thread")]
async fn the_permissions_of_the_page_are_enough() {
    let (world, node) = (World::new().await, node().await);
    let readme = fs::read_to_string(Path::new(EXAMPLES).join("README.md")).expect("the page");
    let (user, queue) = (unique("archive"), unique("archive-events"));
    node.ctl(&["add_user", &user, "secret"]).await;
    let command =
        readme.lines().find(|line| line.starts_with("rabbitmqctl set_permissions archive"));
    let command = command.expect("the page has them").replace("archive-events", &queue);
    let command = command.replace("recordings", &world.events_exchange).replace('\'', "");
    let mut words: Vec<_> = command.split(' ').skip(1).collect();
    words[1] = &user;
    node.ctl(&words).await;
    let amqp = world.amqp.replace("guest:guest", &format!("{user}:secret"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    // It ends with an error where it may not.
    let child = Consumer::spawn(Python, &world, &amqp, folder.path(), &queue).await;
    child.expect("Python is there").kill();
    node.ctl(&["delete_user", &user]).await;
}

#[test]
fn they_are_as_short_as_the_pages_say_and_started_so() {
    let page = |path: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let readme = page("examples/consumers/README.md");
    for language in Language::ALL {
        let source = fs::read_to_string(language.source()).expect("it is there");
        let lines = source.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(lines <= 50, "thirty to fifty lines: {language:?} has {lines}");
        let name = language.source();
        let name = name.file_name().expect("a file").to_string_lossy();
        let started = format!("{name} {}", language.ledger());
        assert!(source.contains(&started), "{language:?}: {started}");
        assert!(readme.contains(&started), "README: {started}");
    }
    let python = "python3 examples/consumers/python/consumer.py events.db";
    assert!(page("docs/MESSAGES.md").contains(python), "how it is started");
}
