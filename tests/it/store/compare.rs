//! A ZIP under the key of another: whether it is the same recording shows its end alone.

use std::time::Duration;

use bytes::Bytes;
use callvault::config;
use callvault::failure::Class;
use callvault::recording::{Format, Framing, Proof};
use callvault::store::{NewObject, Store};

use super::{new_object, put, reason, settings, store};
use crate::support::ccfs::Recording;
use crate::support::s3::{Fault, LocalS3, Op};

/// A ZIP that is stored, and the same one made anew, which is to be.
struct Pair {
    server: LocalS3,
    store: Store,
    new: NewObject,
    anew: Bytes,
}

impl Pair {
    async fn stored() -> Self {
        let server = LocalS3::start().await;
        let bucket = server.s3().bucket().await;
        let store = store(&config::Store {
            read_timeout: Duration::from_millis(500),
            ..settings(server.s3(), &bucket)
        })
        .await;
        let first = Recording::zip([150_000]).content("any").to_vec();
        let mut anew = first.clone();
        // The time of the only entry.
        anew[10] += 2;
        let size = first.len() as u64;
        let mut proof = Proof::new(Format::Zip, Framing::Length(size));
        proof.update(&first);
        let packed = proof.finish().unwrap().packed;
        assert!(packed.is_some());
        let new = NewObject { content_type: "application/zip", packed, ..new_object() };
        put(&store, &new, &first.into()).await.unwrap();
        Self { server, store, new, anew: anew.into() }
    }

    /// What the store answers, and what becomes of the second one.
    async fn judged(&self, fault: Fault) -> (Class, String) {
        self.server.heal();
        self.server.fault(Op::Get, 1, fault);
        reason(put(&self.store, &self.new, &self.anew).await)
    }
}

#[tokio::test]
async fn half_of_an_object_is_no_conflict() {
    let pair = Pair::stored().await;
    let torn = pair.judged(Fault::TornBody(1000)).await;
    assert_eq!(torn, (Class::Unavailable, "store.unreachable".to_owned()));
    let stalled = pair.judged(Fault::StalledBody(1000)).await;
    assert_eq!(stalled, (Class::Unavailable, "store.timeout".to_owned()));
    assert!(put(&pair.store, &pair.new, &pair.anew).await.unwrap().already_there);
}

#[tokio::test]
async fn a_store_that_knows_no_ranges_is_read_to_the_end() {
    let pair = Pair::stored().await;
    pair.server.fault(Op::Get, 1, Fault::NoRange);
    assert!(put(&pair.store, &pair.new, &pair.anew).await.unwrap().already_there);
}

/// Of what lies in an archive (Glacier, say) nobody may read a byte, whatever the keys.
#[tokio::test]
async fn an_object_that_is_frozen_says_nothing_of_our_keys() {
    let pair = Pair::stored().await;
    pair.server.fault(Op::Get, 1, Fault::Answer { status: 403, code: "InvalidObjectState" });
    let failure = put(&pair.store, &pair.new, &pair.anew).await.unwrap_err();
    assert!(failure.detail.contains("restore it"), "{failure}");
    let conflict = (Class::Permanent, "store.conflict".to_owned());
    assert_eq!(reason::<()>(Err(failure)), conflict);
    let denied = pair.judged(Fault::Answer { status: 403, code: "AccessDenied" }).await;
    assert_eq!(denied, (Class::Refused, "store.AccessDenied".to_owned()));
}
