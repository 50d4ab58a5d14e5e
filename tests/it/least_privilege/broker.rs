//! RabbitMQ: the users of `rabbitmq.json`, on a virtual host of the test's own.

mod act;
mod refused;
mod taken;

use jiff::ToSpan;
use jiff::civil::date;
use lapin::BasicProperties;
use lapin::types::FieldTable;
use serde_json::{Value, json};

use self::act::{Act, attempt};
use super::{json as file, text};
use crate::cli::{Desk, Ended};
use crate::readme::commands;
use crate::support::broker::client::Rabbit;
use crate::support::broker::{Node, node};
use crate::support::ccfs::{IndexRow, Reply};
use crate::support::unique;
use crate::support::worker::Worker;
use crate::support::world::{World, access_key, call};

const USERS: [&str; 5] = ["", "-producer", "-listener", "-operator", "-monitor"];
const PASSWORD: &str = "of-all-of-them";
const ADMIN: &str = "guest:guest";

/// A broker as the files make it. Virtual host and users have a name of this test's own in place of
/// `callvault`, in which the queues have their own names all the same.
struct Site {
    world: World,
    /// In place of `callvault`.
    name: String,
}

impl Site {
    /// The files imported as they are, with the users that the page has made by hand.
    async fn new() -> Self {
        let name = unique("least");
        let mut all = renamed(file("rabbitmq.json"), &name);
        let user = |role: &&'static str| {
            let tags = if *role == "-monitor" { json!(["monitoring"]) } else { json!([]) };
            json!({ "name": format!("{name}{role}"), "password": PASSWORD, "tags": tags })
        };
        all["users"] = USERS.iter().map(user).collect();
        let everything = json!({ "user": "guest", "vhost": name,
                                 "configure": ".*", "write": ".*", "read": ".*" });
        all["permissions"].as_array_mut().expect("a list").push(everything);
        import(&all).await;
        Self::called(name).await
    }

    async fn called(name: String) -> Self {
        let mut world = World::new().await;
        world.amqp = world.amqp.replace("/%2f", &format!("/{name}"));
        world.rabbit = Rabbit::connect(&world.amqp).await;
        world.prefix = "callvault".to_owned();
        world.calls = "calls".to_owned();
        world.events_exchange = "recordings".to_owned();
        Self { world, name }
    }

    /// The URL of `callvault-producer` is that of `-producer`.
    fn amqp(&self, role: &str) -> String {
        self.world.amqp.replace("guest:guest", &format!("{}{role}:{PASSWORD}", self.name))
    }

    async fn client(&self, role: &str) -> Rabbit {
        Rabbit::connect(&self.amqp(role)).await
    }

    fn config(&self, role: &str, keys: &[(&str, &str)]) -> String {
        let World { ccfs, store, .. } = &self.world;
        self.world.config_at(&self.amqp(role), &ccfs.url(), store.s3().endpoint(), keys)
    }

    /// Of a person with the rights of an operator.
    fn operator(&self) -> Desk {
        Desk::new(&self.config("-operator", &[("broker", "declare = false"), SLOW]))
    }

    async fn worker(&self, declare: bool) -> Worker {
        let declare = format!("declare = {declare}");
        Worker::start(&self.config("", &[("broker", &declare), SLOW])).ready().await
    }

    /// What `callvault topology` prints, made by whoever may.
    async fn make_topology(&self) {
        let desk = Desk::new(&self.config("", &[SLOW]));
        let made = desk.printed("topology --definitions --config callvault.toml", &[]);
        import(&serde_json::from_str(&made).expect("JSON")).await;
    }

    /// Rights as they are in effect from the next channel on.
    async fn permit(&self, permission: &Value) {
        let user = permission["user"].as_str().expect("a name");
        let path = format!("/api/permissions/{}/{user}", self.name);
        asked("PUT", &path, &permission.to_string()).await;
    }

    async fn over(self) {
        asked("DELETE", &format!("/api/vhosts/{}", self.name), "").await;
        for role in USERS {
            asked("DELETE", &format!("/api/users/{}{role}", self.name), "").await;
        }
    }
}

/// A retry queue for what is to come back at once, and one for what is to be put back by hand.
const SLOW: (&str, &str) = ("retry", "delays = [\"200ms\", \"1h\"]\nmax_attempts = 2");

async fn import(definitions: &Value) {
    asked("POST", "/api/definitions", &definitions.to_string()).await;
}

async fn asked(method: &str, path: &str, body: &str) {
    let answer = node().await.manage(ADMIN, method, path, body).await;
    let (status, said) = answer.expect("the management plugin answers");
    assert!((200..300).contains(&status), "{method} {path}: {status} {said}");
}

/// With another name for the virtual host and in those of the users.
fn renamed(mut definitions: Value, name: &str) -> Value {
    let own = |value: &mut Value| {
        if let Some(rest) = value.as_str().and_then(|text| text.strip_prefix("callvault")) {
            *value = format!("{name}{rest}").into();
        }
    };
    for list in definitions.as_object_mut().expect("an object").values_mut() {
        for item in list.as_array_mut().expect("a list") {
            let item = item.as_object_mut().expect("an object");
            item.iter_mut()
                .filter(|(key, _)| ["name", "user", "vhost"].contains(&key.as_str()))
                .for_each(|(_, value)| own(value));
        }
    }
    definitions
}

/// Runs what the page says, line by line.
async fn set_up_as_the_page_says(node: &Node, name: &str, without_declaring: &str) {
    let own = |word: &str| match word.strip_prefix("callvault") {
        Some(rest) => format!("{name}{rest}"),
        None => word.to_owned(),
    };
    let mut imported = 0;
    for command in commands(&text("README.md")) {
        let words: Vec<_> = command.split_whitespace().collect();
        match words.as_slice() {
            ["rabbitmqctl", "add_user", user] => {
                node.ctl(&["add_user", &own(user), PASSWORD]).await;
            }
            ["rabbitmqctl", "import_definitions", path] => {
                imported += 1;
                let definitions = match path.strip_prefix("deploy/least-privilege/") {
                    Some(shipped) => renamed(file(shipped), name).to_string(),
                    None => {
                        // The virtual host is there now, and what is in it is none of the page's.
                        let all = [".*"; 3];
                        node.ctl(&["set_permissions", "-p", name, "guest", all[0], all[1], all[2]])
                            .await;
                        without_declaring.to_owned()
                    }
                };
                let file = node.file(&format!("{name}-{imported}.json"), &definitions);
                node.ctl(&["import_definitions", &file.display().to_string()]).await;
            }
            ["rabbitmqctl", rest @ ..] => {
                let bare = |word: &&str| own(word.trim_matches('\''));
                let words: Vec<_> = rest.iter().map(bare).collect();
                let words: Vec<_> = words.iter().map(String::as_str).collect();
                node.ctl(&words).await;
            }
            _ => {}
        }
    }
    assert_eq!(imported, 3);
}

fn ended_well(ended: &Ended) {
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}

/// A call goes all its ways, each hand on it that of another user.
async fn a_day(site: &Site, worker: Worker) {
    let world = &site.world;
    let (producer, listener) = (site.client("-producer").await, site.client("-listener").await);
    if !world.rabbit.exists("archive-events").await {
        listener.declare("archive-events", FieldTable::default()).await;
        listener.bind("archive-events", "recordings", "#.acme").await;
    }
    let publish = async |message: &Value| {
        let properties = BasicProperties::default().with_content_type("application/json".into());
        let key = message["type"].as_str().expect("a type").to_owned();
        producer.publish("calls", &key, message.to_string().as_bytes(), properties).await;
    };
    let heard = async |call_id: &str| {
        let event = listener.take("archive-events").await.json();
        assert_eq!(event["data"]["callId"], call_id, "{event:#}");
        event["type"].as_str().expect("a type").to_owned()
    };
    publish(&call("1777093663-1")).await;
    assert_eq!(heard("1777093663-1").await, "recording.archived");

    // One that dies, and is put back.
    world.ccfs.script("1777093663-2", [Reply::code("0300004"), Reply::wav(640)]);
    publish(&call("1777093663-2")).await;
    assert_eq!(heard("1777093663-2").await, "recording.failed");
    let desk = site.operator();
    let run = |line: &str| desk.run(&format!("{line} --config callvault.toml"));
    let ended = run("dead list");
    assert!(ended.stdout.contains("1777093663-2"), "{}{}", ended.stdout, ended.stderr);
    ended_well(&run("dead redrive"));
    assert_eq!(heard("1777093663-2").await, "recording.archived");

    // One that waits, and is put back before its time.
    let late = [Reply::not_found(), Reply::not_found(), Reply::wav(640)];
    world.ccfs.script("1777093663-3", late);
    let mut waits = call("1777093663-3");
    waits["callEnd"] = json!(callvault::clock::now().to_string());
    publish(&waits).await;
    world.rabbit.until_ready("callvault.retry.1h", 1).await;
    assert!(run("waiting list").stdout.contains("1777093663-3"));
    let ended = run("waiting now");
    ended_well(&ended);
    assert_eq!(heard("1777093663-3").await, "recording.archived");

    // A dump of two, which takes the bulk queue.
    ended_well(&run("dump --tenant acme --call-id 1777093663-4 --call-id 1777093663-5"));
    let mut types = Vec::new();
    for _ in 0..3 {
        types.push(listener.take("archive-events").await.json()["type"].clone());
    }
    types.sort_by_key(ToString::to_string);
    assert_eq!(types, ["dump.expanded", "recording.archived", "recording.archived"]);

    // An audit that asks for what is missing.
    let noon = date(2026, 4, 25).at(12, 0, 0, 0);
    world.ccfs.forgets(&access_key("acme"));
    world
        .ccfs
        .knows(&access_key("acme"), [IndexRow::new("1777093663-6", noon - 5.minutes(), noon)]);
    let ended = run("audit --tenant acme --day 2026-04-25 --enqueue");
    assert!(ended.stdout.contains("asked for 1 recording"), "{}{}", ended.stdout, ended.stderr);
    let mut types = Vec::new();
    for _ in 0..2 {
        types.push(listener.take("archive-events").await.json()["type"].clone());
    }
    types.sort_by_key(ToString::to_string);
    assert_eq!(types, ["audit.completed", "recording.archived"]);

    let log = worker.stop().await;
    assert!(!log.contains("ACCESS_REFUSED"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_does_its_work_whether_workers_declare_or_not() {
    let site = Site::new().await;
    a_day(&site, site.worker(true).await).await;
    let checked = Desk::new(&site.config("", &[SLOW]));
    let part = broker_part(&checked.run("check --config callvault.toml"));
    assert!(!part.contains("FAILED"), "{part}");
    site.over().await;

    // As the page has it done by hand.
    let (node, name) = (node().await, unique("least"));
    let amqp = node.url().replace("/%2f", &format!("/{name}"));
    let desk = Desk::new(&crate::cli::LEAST.replace("amqp://guest:guest@127.0.0.1:1/%2f", &amqp));
    let config = "[retry]\ndelays = [\"200ms\", \"1h\"]\n";
    desk.file(
        "callvault.toml",
        crate::cli::LEAST.replace("amqp://guest:guest@127.0.0.1:1/%2f", &amqp) + config,
    );
    let topology = desk.printed("topology --definitions --config callvault.toml", &[]);
    set_up_as_the_page_says(node, &name, &topology).await;
    let site = Site::called(name).await;
    a_day(&site, site.worker(false).await).await;
    // Held to one tenant by the page's last command.
    let listener = site.client("-listener").await;
    let bind =
        async |key: &str| attempt(&listener, Act::Bind("archive-events", "recordings", key)).await;
    assert_eq!(bind("recording.archived.acme").await, None);
    for key in ["#", "recording.archived.globex", "recording.archived.*"] {
        assert!(bind(key).await.is_some(), "{key}");
    }
    let checked = Desk::new(&site.config("", &[("broker", "declare = false"), SLOW]));
    let part = broker_part(&checked.run("check --config callvault.toml"));
    assert!(!part.contains("FAILED"), "{part}");
    site.over().await;
}

fn broker_part(ended: &Ended) -> String {
    ended.stdout.split("\n\n").next().unwrap_or_default().to_owned()
}
