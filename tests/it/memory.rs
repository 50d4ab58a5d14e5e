//! Memory is bounded by configuration (promise 5): who finds none waits with an unread body.

use crate::support::ccfs::Reply;
use crate::support::eventually;
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
