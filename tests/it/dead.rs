//! `callvault dead`, as its users start it, on real queues.

mod files;
mod look;
mod redrive;

use lapin::BasicProperties;
use lapin::types::AMQPValue;
use serde_json::{Value, json};

use crate::cli::{Desk, Ended};
use crate::support::broker::client::{table, text};
use crate::support::world::World;

const CONFIG: &str = "--config callvault.toml";

/// A world whose queues are there and whose dead are to be made, and a desk to look at them from.
pub async fn quiet() -> (World, Desk) {
    quiet_with(&[]).await
}

/// The same, with keys of the configuration.
pub async fn quiet_with(keys: &[(&str, &str)]) -> (World, Desk) {
    let world = World::new().await;
    world.worker(keys).await.stop().await;
    let desk = Desk::new(&world.config(keys));
    (world, desk)
}

/// A message as the worker leaves it in the dead queue.
pub struct Dead {
    pub call: String,
    pub tenant: &'static str,
    pub reason: &'static str,
    pub died: String,
    pub queue: &'static str,
}

impl Dead {
    pub fn new(call: &str) -> Self {
        Self {
            call: call.to_owned(),
            tenant: "acme",
            reason: "ccfs.timeout",
            died: "2026-04-25T06:00:00.25Z".to_owned(),
            queue: "jobs",
        }
    }

    fn body(&self) -> Value {
        json!({ "type": "call.completed", "tenant": self.tenant, "callId": self.call,
                "callEnd": "2026-04-25T05:12:44Z", "metadata": { "caller": "8613800138000" } })
    }

    pub async fn bury(&self, world: &World) {
        let headers = table([
            ("callvault-attempts", AMQPValue::LongLongInt(12)),
            ("callvault-step", AMQPValue::LongLongInt(14)),
            ("callvault-crashes", AMQPValue::LongLongInt(0)),
            ("callvault-first-seen", text("2026-04-25T05:13:00Z")),
            ("callvault-reason", text(self.reason)),
            ("callvault-detail", text("no answer within 30s")),
            ("callvault-queue", text(&world.queue(self.queue))),
            ("callvault-dead-at", text(&self.died)),
            ("trace", text("kept")),
        ]);
        let properties = BasicProperties::default()
            .with_message_id(format!("id-{}", self.call).into())
            .with_content_type("application/json".into())
            .with_type("call.completed".into())
            .with_timestamp(1_777_093_963)
            .with_delivery_mode(2)
            .with_headers(headers);
        let body = self.body().to_string();
        world.rabbit.publish("", &world.queue("dead"), body.as_bytes(), properties).await;
    }
}

/// As many as that, of one tenant and reason.
pub async fn bury_many(world: &World, count: usize) {
    for number in 0..count {
        Dead::new(&format!("1777093663-{number}")).bury(world).await;
    }
}

/// Runs `callvault dead …`, which has to end with 0.
fn done(desk: &Desk, line: &str) -> Ended {
    let ended = desk.run(&format!("dead {line} {CONFIG}"));
    assert_eq!(ended.code, 0, "{line}: {}{}", ended.stdout, ended.stderr);
    ended
}

/// The names of queues, without what is of this test alone.
pub fn plain(world: &World, text: &str) -> String {
    text.replace(&world.prefix, "cv")
}
