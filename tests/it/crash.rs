//! A worker dies between two steps of the line, and the next one finishes: one object, whole, one
//! event id, nothing left behind.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::s3::Op;
use crate::support::world::{SOON, World};

/// One death and what the next worker makes of it.
struct Death {
    /// As `CALLVAULT_CRASH` has it.
    at: &'static str,
    /// How often CC-FS is asked, by both workers together.
    asked: usize,
    /// Whether the next worker finds the object in the store.
    found: bool,
    /// Events, at least and at most: one written but not confirmed may be there or not.
    events: (usize, usize),
}

const fn death(at: &'static str, asked: usize, found: bool, events: (usize, usize)) -> Death {
    Death { at, asked, found, events }
}

#[tokio::test]
async fn a_recording_that_is_put_in_one_request_survives_every_death() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(64 << 10));
    for death in [
        death("received", 1, false, (1, 1)),
        death("signed", 1, false, (1, 1)),
        death("first_byte", 2, false, (1, 1)),
        death("proven", 2, false, (1, 1)),
        death("put_sent", 1, true, (1, 1)),
        death("put_done", 1, true, (1, 1)),
        death("event_sent", 1, true, (1, 2)),
        death("event_confirmed", 1, true, (2, 2)),
        death("before_ack", 1, true, (2, 2)),
        // Usually the broker has read the ack: then nothing comes again, and one event stands.
        death("after_ack", 1, false, (1, 2)),
    ] {
        world.dies_and_is_finished(&death).await;
    }
    assert_eq!(world.store.open_uploads(), 0);
}

#[tokio::test]
async fn a_recording_in_parts_survives_every_death_and_its_parts_are_swept() {
    let world = World::new().await;
    // Two parts.
    world.ccfs.default_reply(Reply::wav(6 << 20));
    for death in [
        death("put_sent", 2, false, (1, 1)),
        death("put_sent:2", 2, false, (1, 1)),
        death("put_done", 2, false, (1, 1)),
        death("proven", 2, false, (1, 1)),
    ] {
        world.dies_and_is_finished(&death).await;
    }
    assert_eq!(world.store.open_uploads(), 4, "nobody was left to abort them");
    world.dies_and_is_finished(&death("completed", 1, true, (1, 1))).await;
    assert_eq!(world.store.open_uploads(), 4, "what is complete is no upload any more");
    eventually("they are swept", SOON, || async {
        let worker = world.worker(&[PARTS, ("worker", "job_deadline = \"1s\"")]).await;
        let open = world.store.open_uploads();
        worker.stop().await;
        (open == 0).then_some(())
    })
    .await;
}

const PARTS: (&str, &str) = ("store", "part_size = \"5MiB\"");

impl World {
    async fn dies_and_is_finished(&self, death: &Death) {
        let Death { at, asked, found, events: (least, most) } = *death;
        let id = &format!("1777093663-{}", at.replace([':', '_'], ""));
        let crash = format!("{at}@{id}");
        let mut doomed = self.doomed(&[PARTS], &crash).ready().await;
        self.call(id).await;
        doomed.crashed().await;
        // The broker has noticed, and has taken back what it had not been told of.
        let jobs = self.queue("jobs");
        let noticed = async || (self.rabbit.consumers(&jobs).await == 0).then_some(());
        eventually("nobody consumes", SOON, noticed).await;

        let next = self.worker(&[PARTS]).await;
        let mut said = self.events(least).await;
        if found {
            // It may not have been delivered yet, which looks as if it were settled.
            let settled = "callvault_messages_settled_total";
            next.metric_reaches(settled, &["how=\"acked\""], 1.0).await;
        }
        self.settled(&next).await;
        while let Some(event) = self.rabbit.get(&self.events).await {
            said.push(event.json());
        }
        next.stop().await;
        assert!((least..=most).contains(&said.len()), "{at}: {said:?}");
        assert!(said.iter().all(|event| event["type"] == "recording.archived"), "{at}: {said:?}");
        let ids: BTreeSet<_> = said.iter().map(|event| event["id"].to_string()).collect();
        assert_eq!(ids.len(), 1, "{at}");
        let already = |event: &Value| event["data"]["alreadyArchived"] == true;
        assert!(!found || already(&said[said.len() - 1]), "{at}: {said:?}");
        assert_eq!(self.ccfs.requests_for(id).len(), asked, "{at}");

        let keys = self.store.s3().keys(&self.bucket, "").await;
        let own: Vec<_> = keys.iter().filter(|key| key.contains(id.as_str())).collect();
        assert_eq!(own.len(), 1, "{at}: {keys:?}");
        let object = self.store.s3().object(&self.bucket, own[0]).await.expect("just listed");
        assert_eq!(object.body, self.ccfs.expected(id).to_vec(), "{at}");
        let seen = self.store.seen();
        let stored = seen.iter().filter(|seen| {
            seen.key == *own[0]
                && matches!(seen.op, Op::Put | Op::CompleteMultipart)
                && seen.status == Some(200)
        });
        assert_eq!(stored.count(), 1, "{at}: stored once");
        for queue in ["jobs", "bulk", "suspect", "dead"] {
            assert_eq!(self.depth(queue).await, 0, "{at}: {queue}");
        }
    }
}
