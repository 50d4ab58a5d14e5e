//! Bodies that go unsigned: over TLS alone, and only to a store that was seen to refuse a wrong
//! checksum. Whatever else a store does with one, what it stores was signed.

use callvault::config::{self, Checksum, LockMode, ObjectLock};
use callvault::failure::Class;
use callvault::store::{NewObject, Store};

use super::{
    PART, content, local, new_object, object_key, put, reason, sent_plainly, settings, settings_at,
    signed_plainly, store, upload,
};
use crate::support::s3::tls::Front;
use crate::support::s3::{ALWAYS, Fault, LocalS3, Op, Seen, crc64nvme, seaweed};

/// A server behind TLS.
struct Secure {
    server: LocalS3,
    bucket: String,
    settings: config::Store,
    /// Its CA goes with it.
    _front: Front,
}

impl Secure {
    async fn new(checksum: Checksum) -> (Self, Store) {
        let server = LocalS3::start().await;
        let bucket = server.s3().bucket().await;
        let front = Front::of(&server).await;
        let ca_file = Some(front.ca_file());
        let settings = config::Store { checksum, ca_file, ..settings_at(&front.endpoint, &bucket) };
        let store = store(&settings).await;
        (Self { server, bucket, settings, _front: front }, store)
    }

    fn puts(&self) -> Vec<Seen> {
        self.server.seen_of(Op::Put)
    }

    async fn keys(&self) -> Vec<String> {
        self.server.s3().keys(&self.bucket, "").await
    }

    /// What each object of a recording holds came signed.
    fn all_was_signed(&self) {
        let all = self.server.seen();
        let recordings = all.iter().filter(|seen| !is_probe(seen));
        for op in [Op::Put, Op::UploadPart] {
            let taken = recordings.clone().filter(|seen| seen.op == op && seen.status == Some(200));
            let part = |seen: &Seen| (seen.key.clone(), seen.query.get("partNumber").cloned());
            let last = taken.map(|seen| (part(seen), seen));
            for (part, seen) in last.collect::<std::collections::BTreeMap<_, _>>() {
                assert!(signed_plainly(seen), "{part:?}: {:?}", seen.headers);
            }
        }
    }
}

fn is_probe(seen: &Seen) -> bool {
    seen.key.ends_with(".callvault-probe")
}

fn named(key: &str) -> NewObject {
    NewObject { key: object_key(key), ..new_object() }
}

/// Nothing but the checksum proves it.
fn unsigned(seen: &Seen) -> bool {
    let payload = seen.header("x-amz-content-sha256") == Some("UNSIGNED-PAYLOAD");
    payload && seen.crc_matches && seen.tls && sent_plainly(seen)
}

fn has_checksum(seen: &Seen) -> bool {
    seen.headers.keys().any(|name| name.contains("checksum") || name == "content-md5")
}

#[tokio::test]
async fn to_a_store_that_verifies_bodies_go_unsigned() {
    for checksum in [Checksum::Auto, Checksum::Crc64Nvme] {
        let (secure, store) = Secure::new(checksum).await;
        let body = content(1000);
        put(&store, &named("acme/1.wav"), &body).await.unwrap();
        // A wrong one of what is no recording; the recording; and once more, to see whether the
        // condition is kept.
        let puts = secure.puts();
        let statuses: Vec<_> = puts.iter().filter_map(|put| put.status).collect();
        assert_eq!(statuses, [400, 200, 412]);
        let [probe, right, again] = &puts[..] else { panic!("three") };
        assert!(probe.key == "acme/.callvault-probe" && !probe.hash_matches && !probe.crc_matches);
        assert!(unsigned(right) && unsigned(again), "{:?}", right.headers);
        // It is known now: one request a recording.
        put(&store, &named("acme/2.wav"), &body).await.unwrap();
        assert!(secure.puts().len() == 4 && unsigned(&secure.puts()[3]));
        assert_eq!(secure.keys().await, ["acme/1.wav", "acme/2.wav"]);
    }
}

#[tokio::test]
async fn parts_go_unsigned_where_they_are_verified() {
    let (secure, store) = Secure::new(Checksum::Auto).await;
    let body = content(2 * PART + 7);
    for key in ["acme/1.wav", "acme/2.wav"] {
        upload(&store, &named(key), &body).await.unwrap();
        assert!(secure.server.s3().object(&secure.bucket, key).await.unwrap().body == body);
    }
    for create in secure.server.seen_of(Op::CreateMultipart) {
        assert_eq!(create.header("x-amz-checksum-algorithm"), Some("CRC64NVME"));
        assert_eq!(create.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    }
    for complete in secure.server.seen_of(Op::CompleteMultipart) {
        assert_eq!(complete.header("x-amz-checksum-crc64nvme"), Some(&*crc64nvme(&body)));
        assert!(complete.hash_matches, "it is signed, as all but bodies of recordings");
    }
    let parts = secure.server.seen_of(Op::UploadPart);
    let (first, second): (Vec<_>, Vec<_>) = parts.iter().partition(|part| part.key == "acme/1.wav");
    // A wrong one in the first upload, and none of the second is signed.
    assert_eq!(first.iter().filter(|part| part.status == Some(400)).count(), 1);
    assert!(second.len() == 3 && second.into_iter().all(unsigned));
    assert!(first.into_iter().all(|part| part.crc_matches || part.status == Some(400)));
}

#[tokio::test]
async fn a_store_that_lies_about_its_checksum_is_found_out() {
    for lie in [Fault::IgnoreChecksum, Fault::IgnoreChecksumOfUnsigned] {
        for checksum in [Checksum::Auto, Checksum::Crc64Nvme] {
            let (secure, store) = Secure::new(checksum).await;
            secure.server.fault(Op::Put, ALWAYS, lie.clone());
            secure.server.fault(Op::UploadPart, ALWAYS, lie.clone());
            let (short, long) = (content(1000), content(PART + 7));
            for key in ["acme/1.wav", "acme/2.wav", "acme/3.wav"] {
                assert!(!put(&store, &named(key), &short).await.unwrap().already_there);
                let there = secure.server.s3().object(&secure.bucket, key).await.unwrap();
                assert_eq!(there.body, short, "{lie:?}");
            }
            for key in ["acme/4.wav", "acme/5.wav"] {
                upload(&store, &named(key), &long).await.unwrap();
                let there = secure.server.s3().object(&secure.bucket, key).await.unwrap();
                assert!(there.body == long, "{lie:?}");
            }
            secure.all_was_signed();
            // Such a store may keep what it was told, and hand it out to whoever reads and compares.
            let mut recordings = secure.puts().into_iter().filter(|put| !is_probe(put));
            assert!(recordings.all(|put| put.crc_matches || !has_checksum(&put)));
            // It is known: nothing is tried again.
            let before = secure.server.seen().len();
            put(&store, &named("acme/6.wav"), &short).await.unwrap();
            let after = secure.server.seen().split_off(before);
            let [last] = &after[..] else { panic!("one request: {after:?}") };
            assert!(signed_plainly(last));
            assert_eq!(has_checksum(last), checksum == Checksum::Crc64Nvme);
        }
    }
}

#[tokio::test]
async fn without_tls_bodies_are_signed() {
    for (checksum, sent) in [(Checksum::Auto, false), (Checksum::Crc64Nvme, true)] {
        let (server, bucket, _) = local().await;
        let store = store(&config::Store { checksum, ..settings(server.s3(), &bucket) }).await;
        put(&store, &named("acme/1.wav"), &content(1000)).await.unwrap();
        upload(&store, &named("acme/2.wav"), &content(PART + 1)).await.unwrap();
        for seen in [server.seen_of(Op::Put), server.seen_of(Op::UploadPart)].concat() {
            assert!(signed_plainly(&seen) && has_checksum(&seen) == sent, "{:?}", seen.headers);
            assert!(!sent || seen.crc_matches, "nothing is tried");
        }
    }
}

#[tokio::test]
async fn where_a_checksum_alone_is_refused_bodies_are_signed() {
    for refusal in [Fault::RefuseChecksum, Fault::RefuseUnsigned] {
        let (secure, store) = Secure::new(Checksum::Auto).await;
        for op in [Op::Put, Op::CreateMultipart, Op::UploadPart] {
            secure.server.fault(op, ALWAYS, refusal.clone());
        }
        for key in ["acme/1.wav", "acme/2.wav"] {
            put(&store, &named(key), &content(1000)).await.unwrap();
        }
        for key in ["acme/3.wav", "acme/4.wav"] {
            upload(&store, &named(key), &content(PART + 1)).await.unwrap();
        }
        secure.all_was_signed();
        let before = secure.server.seen().len();
        put(&store, &named("acme/5.wav"), &content(1000)).await.unwrap();
        upload(&store, &named("acme/6.wav"), &content(PART + 1)).await.unwrap();
        let after = secure.server.seen().split_off(before);
        assert!(after.iter().all(|seen| !has_checksum(seen)), "{refusal:?}: it is known");
        assert_eq!(secure.keys().await.len(), 6);
    }
}

#[tokio::test]
async fn who_refuses_the_checksum_of_a_whole_gets_none_at_the_next_try() {
    let (secure, store) = Secure::new(Checksum::Auto).await;
    secure.server.fault(Op::CompleteMultipart, ALWAYS, Fault::RefuseChecksum);
    let body = content(PART + 1);
    let first = reason(upload(&store, &new_object(), &body).await);
    assert_eq!(first, (Class::Unavailable, "store.NotImplemented".to_owned()));
    upload(&store, &new_object(), &body).await.unwrap();
    secure.all_was_signed();
    assert_eq!(secure.server.open_uploads(), 0);
}

#[tokio::test]
async fn a_store_that_has_verified_and_refuses_is_signed_to_again() {
    let (secure, store) = Secure::new(Checksum::Auto).await;
    put(&store, &named("acme/1.wav"), &content(10)).await.unwrap();
    // A body that was damaged on its way says nothing of the store.
    secure.server.fault(Op::Put, 1, Fault::Answer { status: 400, code: "BadDigest" });
    let damaged = reason(put(&store, &named("acme/2.wav"), &content(10)).await);
    assert_eq!(damaged, (Class::Failure, "store.BadDigest".to_owned()));
    put(&store, &named("acme/2.wav"), &content(10)).await.unwrap();
    assert!(unsigned(secure.puts().last().unwrap()));

    secure.server.fault(Op::Put, ALWAYS, Fault::RefuseChecksum);
    put(&store, &named("acme/3.wav"), &content(10)).await.unwrap();
    let before = secure.puts().len();
    put(&store, &named("acme/4.wav"), &content(10)).await.unwrap();
    let after = secure.puts().split_off(before);
    assert!(after.len() == 1 && signed_plainly(&after[0]) && !has_checksum(&after[0]));
}

#[tokio::test]
async fn an_outage_while_it_is_found_out_teaches_nothing() {
    // Each as often as a request is sent.
    let outages = [
        (Fault::Answer { status: 503, code: "SlowDown" }, false),
        (Fault::Answer { status: 500, code: "InternalError" }, true),
        (Fault::ResetBefore, true),
    ];
    for (outage, stored) in outages {
        let (secure, store) = Secure::new(Checksum::Auto).await;
        secure.server.fault(Op::Put, 3, outage.clone());
        let first = put(&store, &named("acme/1.wav"), &content(10)).await;
        assert_eq!(first.is_ok(), stored, "{outage:?}: {first:?}");
        secure.all_was_signed();
        put(&store, &named("acme/2.wav"), &content(10)).await.unwrap();
        assert!(unsigned(secure.puts().last().unwrap()), "{outage:?}");
    }
}

#[tokio::test]
async fn one_finds_out_and_the_others_sign_meanwhile() {
    let (secure, store) = Secure::new(Checksum::Auto).await;
    let names: Vec<_> = (0..8).map(|n| named(&format!("acme/{n}.wav"))).collect();
    let body = content(1000);
    let puts = names.iter().map(|new| put(&store, new, &body));
    let stored = futures_util::future::join_all(puts).await;
    assert!(stored.iter().all(|stored| stored.as_ref().is_ok_and(|it| !it.already_there)));
    let puts = secure.puts();
    let wrong = puts.iter().filter(|put| put.status == Some(400));
    assert_eq!(wrong.count(), 1, "{puts:?}");
    assert!(puts.iter().all(|put| put.status == Some(400) || put.hash_matches || unsigned(put)));
    assert_eq!(secure.keys().await.len(), 8);
}

#[tokio::test]
async fn what_is_locked_has_a_checksum_whatever_the_store_verifies() {
    let lock = Some(ObjectLock { days: 1, mode: LockMode::Governance });
    let locked = |settings: config::Store| config::Store { object_lock: lock, ..settings };
    let (server, bucket, _) = local().await;
    let plain = config::Store { checksum: Checksum::Auto, ..settings(server.s3(), &bucket) };
    let store = super::store(&locked(plain)).await;
    let _ = put(&store, &new_object(), &content(10)).await;
    let first = &server.seen_of(Op::Put)[0];
    assert!(first.header("content-md5").is_some() && signed_plainly(first));

    let (secure, _) = Secure::new(Checksum::Auto).await;
    let store = super::store(&locked(secure.settings.clone())).await;
    let _ = put(&store, &new_object(), &content(10)).await;
    let _ = upload(&store, &named("acme/long.wav"), &content(PART + 1)).await;
    let puts = [secure.puts(), secure.server.seen_of(Op::UploadPart)].concat();
    assert!(puts.len() > 2 && puts.iter().all(has_checksum), "{puts:?}");
}

/// What SeaweedFS does is its own; that recordings arrive is ours.
#[tokio::test]
async fn a_real_store_behind_tls_takes_what_is_sent() {
    let s3 = seaweed().await;
    let bucket = s3.bucket().await;
    let front = Front::to(s3.address()).await;
    let ca_file = Some(front.ca_file());
    let checksum = Checksum::Auto;
    let settings = config::Store { checksum, ca_file, ..settings_at(&front.endpoint, &bucket) };
    let store = store(&settings).await;
    let (short, long) = (content(1000), content(PART + 1));
    for n in [1, 2] {
        let (one, parts) = (format!("acme/{n}.wav"), format!("acme/{n}-long.wav"));
        put(&store, &named(&one), &short).await.unwrap();
        upload(&store, &named(&parts), &long).await.unwrap();
        assert!(s3.object(&bucket, &one).await.unwrap().body == short);
        assert!(s3.object(&bucket, &parts).await.unwrap().body == long);
    }
}
