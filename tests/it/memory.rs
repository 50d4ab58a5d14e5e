//! Memory is bounded by configuration (promise 5): who finds none waits with an unread body, or
//! beside an unread message.

use std::process::Command;

use lapin::BasicProperties;
use serde_json::json;

use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::usage::peak_rss;
use crate::support::worker::binary;
use crate::support::world::{SOON, World};

const MIB: f64 = (1 << 20) as f64;

#[tokio::test]
async fn bodies_wait_for_room_in_the_budget() {
    let world = World::new().await;
    // Of four that fall silent in their first part, two find room for it.
    let ids: Vec<String> = (0..4).map(|n| format!("1777093663-{n}")).collect();
    for id in &ids {
        world.ccfs.script(id, [Reply::wav(20 << 20).stall_at(2 << 20), Reply::wav(6 << 20)]);
    }
    let keys =
        [("worker", "memory = \"16MiB\""), ("ccfs", "read_timeout = \"10s\"\nmax_size = \"1GiB\"")];
    let worker = world.worker(&keys).await;
    for id in &ids {
        world.call(id).await;
    }
    let asked = || async { (world.ccfs.active() == 4).then_some(()) };
    eventually("all four are asked for", SOON, asked).await;
    worker.metric_reaches("callvault_buffer_bytes", &[], 16.0 * MIB).await;
    let downloaded = worker.metric("callvault_downloaded_bytes_total", &[]).await;
    assert!(downloaded <= 4.0 * MIB, "{downloaded} bytes were read into 16 MiB");

    // The silent ones give up their room.
    for event in world.events(ids.len()).await {
        assert_eq!(event["type"], "recording.archived", "{event}");
    }
    world.settled(&worker).await;
    assert_eq!(worker.metric("callvault_buffer_bytes", &[]).await, 0.0);
    worker.stop().await;
}

#[tokio::test]
async fn large_messages_wait_with_the_broker() {
    const MESSAGES: usize = 12;
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(2048));
    let keys = [
        ("worker", "memory = \"8MiB\""),
        ("store", "part_size = \"5MiB\""),
        ("retry", "delays = [\"1s\"]"),
    ];
    let idle = world.worker(&keys).await;
    let before = peak_rss(idle.pid());
    idle.stop().await;
    // 48 MB, which a prefetch of 80 would let in, and once more from the bulk queue.
    for n in 0..MESSAGES {
        let recordings = ["a", "b"].map(|of| json!({ "callId": format!("1777093663-{n}{of}") }));
        let dump = json!({
            "type": "recording.dump-requested", "tenant": "acme", "requestId": format!("r{n}"),
            "recordings": recordings, "padding": "x".repeat(4_000_000),
        });
        let properties = BasicProperties::default();
        world
            .publish_raw("recording.dump-requested", dump.to_string().as_bytes(), properties)
            .await;
    }
    let worker = world.worker(&keys).await;
    let archived = ["outcome=\"archived\""];
    worker.metric_reaches("callvault_jobs_total", &archived, 2.0 * MESSAGES as f64).await;
    world.settled(&worker).await;
    let more = (peak_rss(worker.pid()) - before) as f64 / MIB;
    assert!(more <= 8.0 + 48.0, "{more:.0} MiB more than an idle worker");
    assert_eq!(worker.metric("callvault_buffer_bytes", &[]).await, 0.0);
    worker.stop().await;
}

/// With those that jemalloc has by itself each thread keeps what the others need.
#[test]
fn the_settings_of_the_heap_are_compiled_in() {
    let cargo: toml::Table = include_str!("../../.cargo/config.toml").parse().expect("TOML");
    let settings = cargo["env"]["JEMALLOC_SYS_WITH_MALLOC_CONF"].as_str().expect("a text");
    let mut command = Command::new(binary());
    let said = command.arg("--version").env("_RJEM_MALLOC_CONF", "confirm_conf:true").output();
    let said = String::from_utf8(said.expect("it starts").stderr).expect("UTF-8");
    assert!(said.contains(settings), "{said}");
}
