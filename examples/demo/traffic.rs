//! What a system that stays up has to do, so that its page shows something: calls that end at both
//! tenants, trouble at one of them, and a dump that goes through beside them.

use std::convert::Infallible;
use std::time::Duration;

use lapin::BasicProperties;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::support::broker::client::Rabbit;

/// Between two calls of a tenant.
const PAUSE: Duration = Duration::from_millis(400);

/// Recordings of the dump, and between two dumps.
const DUMP: usize = 2000;
const DUMP_EVERY: u64 = 1500;

/// What CC-FS answers to the calls of each, in turn: a person reads that in how they are called. Some
/// come down slowly, so that there is something in flight.
const WELL: [&str; 4] = ["s160k", "w48k", "s2m", "s480k"];
const IN_TROUBLE: [&str; 6] = ["w16k", "cut.w16k", "w8k", "th.w24k", "nf.w16k", "c0300004"];

/// What the names of these recordings have in common.
pub const OWN: &str = "-k";

/// Goes on for ever, on this exchange; `ended` is told of each call before its message is sent: its tenant,
/// and its id.
pub async fn flow(
    rabbit: &Rabbit,
    exchange: &str,
    mut ended: impl FnMut(&str, &str),
) -> Infallible {
    let publish = async |message: Value| publish(rabbit, exchange, &message).await;
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0_u64.. {
        ticks.tick().await;
        if n % DUMP_EVERY == 0 {
            let ids: Vec<_> = (0..DUMP).map(|item| call_id(n, &format!("{item}-w8k"))).collect();
            ids.iter().for_each(|id| ended("acme", id));
            let recordings: Vec<_> = ids.iter().map(|id| json!({ "callId": id })).collect();
            publish(json!({ "type": "recording.dump-requested", "tenant": "acme",
                            "requestId": format!("demo-{n}"), "recordings": recordings }))
            .await;
        }
        for (tenant, answers) in [("acme", &WELL[..]), ("globex", &IN_TROUBLE[..])] {
            let answer = answers[usize::try_from(n).unwrap_or_default() % answers.len()];
            let id = call_id(n, answer);
            ended(tenant, &id);
            publish(json!({ "type": "call.completed", "tenant": tenant, "callId": id,
                            "callEnd": callvault::clock::now().to_string() }))
            .await;
        }
    }
    std::future::pending().await
}

/// The instant of the call is in its id, and so the date of its key; CC-FS takes 25 characters.
fn call_id(n: u64, rest: &str) -> String {
    format!("{}{OWN}{}-{rest}", callvault::clock::now().as_second(), n % 1000)
}

async fn publish(rabbit: &Rabbit, exchange: &str, message: &Value) {
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2);
    let kind = message["type"].as_str().expect("each has a type");
    rabbit.publish(exchange, kind, message.to_string().as_bytes(), properties).await;
}
