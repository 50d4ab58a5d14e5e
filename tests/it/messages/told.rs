//! What people read of a message with several mistakes.

use insta::assert_snapshot;
use lapin::BasicProperties;
use serde_json::{Value, json};

use super::PHONE;
use crate::cli::Desk;
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn dead_show_has_a_line_for_each_mistake() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let message = json!({ "type": "call.completed", "tenant": "acme", "callId": 8_613_800_138_000_u64,
                          "callEnd": PHONE, "force": true });
    let properties = BasicProperties::default().with_message_id("several".into());
    world.publish_raw("call.completed", message.to_string().as_bytes(), properties).await;
    let reason = &world.event().await.json()["data"]["reason"];
    worker.stop().await;

    let desk = Desk::new(&world.config(&[]));
    let shown = desk.printed("dead show several --config callvault.toml", &[]);
    let detail = shown.lines().skip_while(|line| !line.starts_with("callvault-detail"));
    let detail: Vec<_> = detail.take_while(|line| !line.starts_with("callvault-first")).collect();
    assert_snapshot!(detail.join("\n"), @r"
    callvault-detail:
      callId must be a string, is a number
      callEnd must be an RFC 3339 date and time
      force does nothing in a call.completed: send a recording.dump-requested, or leave it out
    ");
    let json = desk.printed("dead show several --json --config callvault.toml", &[]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["detail"], reason["message"], "for scripts as it is");
    let listed = desk.run("dead list --config callvault.toml").stdout;
    assert!(listed.contains("message.invalid") && !listed.contains(PHONE), "{listed}");
}
