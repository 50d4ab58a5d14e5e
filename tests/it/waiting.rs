//! `callvault waiting`, as its users start it, on real queues.

mod list;
mod now;

use lapin::BasicProperties;
use lapin::types::AMQPValue;
use serde_json::json;

use crate::cli::{Desk, Ended};
use crate::dead::quiet_with;
use crate::support::broker::client::{table, text};
use crate::support::world::World;

const CONFIG: &str = "--config callvault.toml";

/// Nothing comes back by itself while a test looks.
const LONG: (&str, &str) = ("retry", "delays = [\"5m\", \"2h\"]\nmax_attempts = 3");

/// A world whose retry queues are there and empty, and a desk to look at them from.
pub async fn quiet() -> (World, Desk) {
    quiet_with(&[LONG]).await
}

/// A message as the worker leaves it in a retry queue.
pub struct Waiting {
    pub call: String,
    pub tenant: &'static str,
    pub reason: &'static str,
    pub delay: &'static str,
    pub since: &'static str,
    pub queue: &'static str,
}

impl Waiting {
    pub fn new(call: &str) -> Self {
        Self {
            call: call.to_owned(),
            tenant: "acme",
            reason: "store.AccessDenied",
            delay: "2h",
            since: "2026-04-25T06:00:00.25Z",
            queue: "jobs",
        }
    }

    fn properties(&self, world: &World) -> BasicProperties {
        let headers = table([
            ("callvault-attempts", AMQPValue::LongLongInt(2)),
            ("callvault-step", AMQPValue::LongLongInt(5)),
            ("callvault-crashes", AMQPValue::LongLongInt(1)),
            ("callvault-first-seen", text("2026-04-25T05:13:00Z")),
            ("callvault-idle-since", text("2026-04-25T08:00:00Z")),
            ("callvault-retried-at", text(self.since)),
            ("callvault-reason", text(self.reason)),
            ("callvault-detail", text("PutObject in bucket recordings: status 403")),
            ("callvault-queue", text(&world.queue("jobs"))),
            ("trace", text("kept")),
        ]);
        BasicProperties::default()
            .with_message_id(format!("id-{}", self.call).into())
            .with_content_type("application/json".into())
            .with_type("call.completed".into())
            .with_timestamp(1_777_093_963)
            .with_delivery_mode(2)
            .with_headers(headers)
    }

    fn body(&self) -> String {
        json!({ "type": "call.completed", "tenant": self.tenant, "callId": self.call,
                "callEnd": "2026-04-25T05:12:44Z", "metadata": { "caller": "8613800138000" } })
        .to_string()
    }

    pub async fn park(&self, world: &World) {
        let exchange = world.queue(&format!("retry.{}", self.delay));
        let (key, body) = (world.queue(self.queue), self.body());
        world.rabbit.publish(&exchange, &key, body.as_bytes(), self.properties(world)).await;
    }
}

/// As many as that, of one tenant and reason.
async fn park_many(world: &World, count: usize) {
    for number in 0..count {
        Waiting::new(&format!("1777093663-{number}")).park(world).await;
    }
}

/// Runs `callvault waiting …`, which has to end with 0.
fn done(desk: &Desk, line: &str) -> Ended {
    let ended = desk.run(&format!("waiting {line} {CONFIG}"));
    assert_eq!(ended.code, 0, "{line}: {}{}", ended.stdout, ended.stderr);
    ended
}
