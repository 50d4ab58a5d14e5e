//! The way out of `store.conflict`, step by step as docs/OPERATIONS.md has it.

use std::collections::BTreeMap;
use std::process::Command;

use lapin::BasicProperties;
use serde_json::Value;

use super::{blocks, code_spans, text};
use crate::cli::Desk;
use crate::support::ccfs::Reply;
use crate::support::world::{World, call};

/// The call of the page.
const CALL: &str = "1777093663-2";
const KEY: &str = "acme/2026/04/25/1777093663-2.wav";
/// Its name among the dead.
const DEAD: &str = "363a78165a25";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_runbook_says_of_a_conflict_stores_over_what_is_there() {
    let page = text("docs/OPERATIONS.md");
    let section = page.split("\n### Storing over what is there\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    world.call(CALL).await;
    assert_eq!(world.event().await.json()["type"], "recording.archived");
    world.ccfs.script(CALL, [Reply::wav(8 << 10)]);
    world.call(CALL).await;
    let failed = world.event().await.json();
    assert_eq!(failed["data"]["reason"]["code"], "store.conflict");
    let before = world.store.s3().object(&world.bucket, KEY).await.expect("the first one");

    let desk = Desk::new(&world.config(&[]));
    let listed = desk.run("dead list --json --config callvault.toml").stdout;
    let listed: Value = serde_json::from_str(&listed).expect("one dead message");
    let ours = |command: &str| {
        let id = listed["id"].as_str().expect("an id");
        let line = command.strip_prefix("callvault ").expect("ours").replace(DEAD, id);
        let ended = desk.run(&format!("{line} --config callvault.toml"));
        assert_eq!(ended.code, 0, "{command}: {}", ended.stderr);
        ended.stdout
    };
    let commands = code_spans(section);
    let named = |name: &str| {
        let command = commands.iter().find(|span| span.starts_with(name));
        command.unwrap_or_else(|| panic!("the section has no {name}"))
    };

    // 1. The message.
    let shown = ours(named("callvault dead show"));
    let body = shown.split("\n\n").nth(1).expect("a body").trim();
    let mut message: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(message, call(CALL), "that of the page");

    // 2. The dump of one, with all fields of the message.
    let asked = published(&blocks(section, "sh")[0]);
    assert_eq!(asked["exchange"], "calls");
    let dump: Value = serde_json::from_str(&asked["payload"]).expect("JSON");
    let fields = message.as_object_mut().expect("an object");
    fields.remove("type");
    assert_eq!(fields.remove("tenant"), Some(dump["tenant"].clone()));
    assert_eq!(dump["recordings"], serde_json::json!([fields]));
    let properties = BasicProperties::default().with_content_type("application/json".into());
    world.publish_raw(&asked["routing_key"], asked["payload"].as_bytes(), properties).await;
    let event = world.event().await.json();
    assert_eq!(event["type"], "recording.archived", "{event:#}");
    assert_eq!(event["data"]["requestId"], dump["requestId"]);
    assert_eq!(event["data"]["alreadyArchived"], false);
    assert_eq!(event["data"]["objects"][0]["key"], KEY);
    let after = world.store.s3().object(&world.bucket, KEY).await.expect("the second one");
    assert_ne!(after.body, before.body);
    assert_eq!(after.body, world.ccfs.expected(CALL).to_vec());

    // 3. No more of the dead one.
    ours(named("callvault dead drop"));
    assert_eq!(world.depth("dead").await, 0);
    assert_eq!(world.store.s3().keys(&world.bucket, "").await, [KEY]);
    worker.stop().await;
}

/// The arguments of `rabbitmqadmin publish`, as a shell reads them.
fn published(command: &str) -> BTreeMap<String, String> {
    let script = format!("rabbitmqadmin() {{ printf '%s\\n' \"$@\"; }}\n{command}");
    let output = Command::new("sh").args(["-ec", &script]).output().expect("sh runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
