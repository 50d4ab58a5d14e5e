//! The short form of `make torture`: the driver and its judge on every run of the suite. Tests begin in the
//! order of their names, and what takes longest begins first: hence the name.

#[path = "../torture/mod.rs"]
pub mod driver;

use std::collections::BTreeMap;
use std::sync::Arc;

use lapin::BasicProperties;
use serde_json::json;

use driver::field::Field;
use driver::judge::{Kind, judge};
use driver::ledger::Call;
use driver::{Ground, Scale, report, troubles};

use crate::support::broker::Node;
use crate::support::broker::client::Rabbit;

/// `TORTURE_SEED` says another.
const SEED: u64 = 20_260_425;

/// A twentieth of everything that is in the short form; what it says is that the driver works and
/// that nothing is plainly broken. The proof is the long one.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_the_short_form() {
    let seed = std::env::var("TORTURE_SEED").ok().map_or(SEED, |seed| seed.parse().unwrap());
    let node = Ground::Node(Arc::new(Node::start_private().await));
    the_judge_sees_what_must_not_be(&node).await;
    let mut verdicts = Vec::new();
    for scenario in troubles::all().filter(|scenario| scenario.short) {
        let verdict = driver::run(scenario, &node, seed, Scale(0.05)).await;
        println!("{}\n{}", report::line(scenario, &verdict), report::details(&verdict));
        verdicts.push(verdict);
    }
    println!("seed {seed}: {}", report::sum(&verdicts));
    assert!(verdicts.iter().all(|verdict| verdict.findings.is_empty()), "see above");
}

/// A judge that finds nothing proves nothing unless it finds what is there. No worker plays here.
async fn the_judge_sees_what_must_not_be(node: &Ground) {
    let field = Field::new("judge", node, Scale(1.0)).await;
    let (world, s3) = (&field.world, field.world.store.s3());
    // Declared by workers elsewhere.
    world.rabbit.declare(&world.queue("dead"), Default::default()).await;
    let say = async |kind: &str, call: &Call, data: serde_json::Value| {
        let event = json!({ "type": kind, "subject": call.subject(), "id": "1", "data": data });
        let (body, exchange) = (event.to_string(), &world.events_exchange);
        world.rabbit.publish(exchange, kind, body.as_bytes(), BasicProperties::default()).await;
    };
    let archived = async |call: &Call, body: &[u8]| {
        s3.put(&world.bucket, &call.key(), body, &[]).await;
        let object = json!({ "key": call.key(), "size": field.content(call).len() });
        say("recording.archived", call, json!({ "objects": [object] })).await;
    };
    let calls: BTreeMap<_, _> = ["good", "lost", "truncated", "overwritten", "early"]
        .map(|name| (name, field.call("acme", "w8k", "wav")))
        .into();
    let dead = Call::dead("acme", field.call_id("c0300004"), "ccfs.0300004");
    calls.values().chain([&dead]).for_each(|call| field.ledger().expect(call));
    for name in ["good", "early"] {
        archived(&calls[name], &field.content(&calls[name])).await;
    }
    archived(&calls["truncated"], &field.content(&calls["truncated"])[..4000]).await;
    s3.put(&world.bucket, &calls["overwritten"].key(), b"other", &[]).await;
    archived(&calls["overwritten"], &field.content(&calls["overwritten"])).await;
    say("recording.absent", &dead, json!({})).await;
    // Acknowledged across the wire, without a word on the same.
    let queue = world.queue("dead");
    let through = format!("amqp://guest:guest@{}/%2f", field.wire.address());
    let hasty = Rabbit::connect(&through).await;
    world.rabbit.send(&queue, calls["early"].message().to_string()).await;
    hasty.take(&queue).await;

    let verdict = judge(&field).await;
    let found = Kind::ALL.map(|kind| verdict.count(kind));
    // Lost: the one of which nothing was said, and the one that is not in the dead queue.
    assert_eq!(found, [2, 1, 1, 1, 1], "{:#?}", verdict.findings);
    let innocent = |what: &str| !what.contains(&calls["good"].id);
    assert!(verdict.findings.iter().all(|finding| innocent(&finding.what)));
}
