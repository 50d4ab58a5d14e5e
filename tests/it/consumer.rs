//! docs/consumer.py, the consumer that docs/MESSAGES.md offers, among real parts.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use lapin::BasicProperties;
use serde_json::{Value, json};

use crate::support::child::GuardedChild;
use crate::support::python;
use crate::support::world::{SOON, World};
use crate::support::{eventually, unique};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/consumer.py");

/// The consumer at work, in a folder of its own.
struct Consumer {
    folder: tempfile::TempDir,
    queue: String,
    child: GuardedChild,
}

impl Consumer {
    async fn start(world: &World) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let queue = unique("archive-events");
        let child = Self::spawn(world, folder.path(), &queue).await;
        Self { folder, queue, child }
    }

    async fn spawn(world: &World, folder: &Path, queue: &str) -> GuardedChild {
        let python = tokio::task::spawn_blocking(python::with_pika).await;
        let mut command: Command = python.expect("python3 with pika");
        let said = File::options().create(true).append(true).open(folder.join("said"));
        let said = said.expect("it can be written");
        command.args([SCRIPT, "events.db"]).current_dir(folder);
        command.env("AMQP_URL", &world.amqp).env("EXCHANGE", &world.events_exchange);
        command.env("QUEUE", queue).stdout(said.try_clone().expect("a second handle")).stderr(said);
        let mut child = GuardedChild::spawn(&mut command).expect("python3 can be started");
        eventually("it consumes", SOON, || {
            let ended = child.exited();
            async move {
                let told = std::fs::read_to_string(folder.join("said")).unwrap_or_default();
                assert!(ended.is_none(), "{told}");
                let there = world.rabbit.exists(queue).await;
                (there && world.rabbit.consumers(queue).await == 1).then_some(())
            }
        })
        .await;
        child
    }

    /// `kill -9`, and another one at the same queue and table.
    async fn again(&mut self, world: &World) {
        self.child.kill();
        self.child = Self::spawn(world, self.folder.path(), &self.queue).await;
    }

    /// The lines that it has written: what, of which type, with which id.
    async fn said(&self, count: usize) -> Vec<[String; 3]> {
        eventually("it says what came", SOON, || async {
            let said = std::fs::read_to_string(self.folder.path().join("said")).expect("a file");
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

    /// The events in its table.
    fn kept(&self) -> Vec<Value> {
        let script = "import sqlite3\n\
                      for row in sqlite3.connect('events.db').execute('SELECT event FROM events'):\n \
                      print(row[0])";
        let mut python = Command::new("python3");
        let output = python.args(["-c", script]).current_dir(self.folder.path()).output();
        let output = output.expect("python3 runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_handles_each_event_once() {
    let world = World::new().await;
    let mut consumer = Consumer::start(&world).await;
    let worker = world.worker(&[]).await;
    let (call, other) = ("1777093663-1", "1777093663-2");
    world.call(call).await;
    let first = world.event().await;
    // The recording asked for again, and the event as a broker may bring it twice.
    world.call(call).await;
    let second = world.event().await;
    assert_eq!(second.json()["id"], first.json()["id"]);
    let properties = BasicProperties::default().with_delivery_mode(2);
    let exchange = &world.events_exchange;
    world.rabbit.publish(exchange, &first.routing_key, &first.body, properties).await;
    let said = consumer.said(3).await;
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    let line = |what: &str| [what.to_owned(), "recording.archived".to_owned(), id.clone()];
    assert_eq!(said, [line("new"), line("repeat"), line("repeat")]);

    // Of a dump with the other; the queue and the table outlive the consumer.
    consumer.again(&world).await;
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

#[test]
fn it_is_as_short_as_the_page_says() {
    let script = std::fs::read_to_string(SCRIPT).expect("it is there");
    let lines = script.lines().filter(|line| !line.trim().is_empty());
    assert!(lines.count() <= 30, "some thirty lines");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/MESSAGES.md");
    let page = std::fs::read_to_string(page).expect("the page");
    assert!(page.contains("python3 docs/consumer.py events.db"), "how it is started");
}
