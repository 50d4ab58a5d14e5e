//! What is there already: created only where nothing is, by stores that know conditions and by those
//! that do not.

use callvault::config::{self, Conditional};
use callvault::failure::Class;
use callvault::store::NewObject;

use super::{
    PART, content, key, local, new_object, object_key, put, reason, settings, sha256, store,
    upload, who,
};
use crate::support::s3::{ALWAYS, Fault, Op, seaweed};

#[tokio::test]
async fn what_is_there_is_judged_by_hash_then_size() {
    let (server, bucket, store) = local().await;
    let (ours, s3) = (content(1000), server.s3());
    let (hash, zeros) = (hex::encode(sha256(&ours)), "0".repeat(64));
    let (same_size, longer) = (content(1001).slice(1..), content(1001));
    // What is there, with which metadata, and whether it is the same recording.
    let table = [
        (&ours, vec![("sha256", &*hash)], true),
        (&same_size, vec![("sha256", &*zeros)], false),
        (&same_size, vec![], true),
        (&longer, vec![], false),
        (&same_size, vec![("tenant", "acme"), ("call-id", "2")], false),
    ];
    for (there, metadata, same) in table {
        s3.put(&bucket, key().as_str(), there, &metadata).await;
        match put(&store, &new_object(), &ours).await {
            Ok(stored) => assert!(same && stored.already_there, "{metadata:?}"),
            Err(failure) => {
                assert!(!same, "{metadata:?}");
                assert_eq!(failure.reason.as_str(), "store.conflict");
                assert_eq!(failure.class, Class::Permanent);
            }
        }
        assert_eq!(s3.object(&bucket, key().as_str()).await.unwrap().body, there);
    }
}

#[tokio::test]
async fn two_at_once_make_one_object() {
    let s3 = seaweed().await;
    let bucket = s3.bucket().await;
    let store = store(&settings(&s3, &bucket)).await;
    let (new, body) = (new_object(), content(1000));
    let results = futures_util::future::join_all((0..8).map(|_| put(&store, &new, &body))).await;
    let stored = results.into_iter().map(Result::unwrap);
    assert_eq!(stored.filter(|stored| !stored.already_there).count(), 1);
}

#[tokio::test]
async fn force_stores_over_what_is_there() {
    let (server, bucket, store) = local().await;
    let forced = NewObject { force: true, ..new_object() };
    for body in [content(10), content(PART + 10)] {
        server.s3().put(&bucket, key().as_str(), b"old", &[]).await;
        let before = server.ops().len();
        let stored = match body.len() {
            10 => put(&store, &forced, &body).await.unwrap(),
            _ => upload(&store, &forced, &body).await.unwrap(),
        };
        assert!(!stored.already_there);
        let seen = &server.seen()[before..];
        assert!(seen.iter().all(|seen| seen.header("if-none-match").is_none()));
        assert!(server.s3().object(&bucket, key().as_str()).await.unwrap().body == body);
    }
}

#[tokio::test]
async fn a_store_without_conditions_is_asked_before_each_put() {
    let (server, bucket, store) = local().await;
    server.fault(Op::Put, ALWAYS, Fault::RefuseCondition);
    server.fault(Op::CompleteMultipart, ALWAYS, Fault::RefuseCondition);
    let body = content(10);
    put(&store, &new_object(), &body).await.unwrap();
    assert_eq!(server.ops(), [Op::Head, Op::Put, Op::Head, Op::Put]);

    // It has learnt.
    let next = NewObject { key: object_key("acme/next.wav"), ..new_object() };
    put(&store, &next, &body).await.unwrap();
    assert_eq!(server.ops()[4..], [Op::Head, Op::Put]);
    let conflict = reason(put(&store, &next, &content(11)).await);
    assert_eq!(conflict.1, "store.conflict");
    assert_eq!(server.ops()[6..], [Op::Head]);
    let seen = server.seen();
    assert!(seen[4..].iter().all(|seen| seen.header("if-none-match").is_none()));

    // A multipart upload asks before it becomes visible.
    let long = NewObject { key: object_key("acme/long.wav"), ..new_object() };
    upload(&store, &long, &content(PART + 1)).await.unwrap();
    let tail = [Op::Head, Op::CompleteMultipart, Op::Head];
    assert_eq!(server.ops()[server.ops().len() - 3..], tail);
    assert_eq!(server.s3().keys(&bucket, "acme/").await.len(), 3);
}

#[tokio::test]
async fn a_multipart_upload_learns_it_too() {
    let (server, _bucket, store) = local().await;
    server.fault(Op::CompleteMultipart, ALWAYS, Fault::RefuseCondition);
    upload(&store, &new_object(), &content(PART + 1)).await.unwrap();
    let tail = [Op::Head, Op::CompleteMultipart, Op::Head, Op::CompleteMultipart, Op::Head];
    assert_eq!(server.ops()[server.ops().len() - 5..], tail);
    assert_eq!(server.open_uploads(), 0);
    // It says nothing of puts.
    let next = NewObject { key: object_key("acme/next.wav"), ..new_object() };
    put(&store, &next, &content(10)).await.unwrap();
    assert_eq!(server.seen_of(Op::Put)[0].header("if-none-match"), Some("*"));
}

#[tokio::test]
async fn not_implemented_for_another_reason_teaches_nothing() {
    let (server, _bucket, store) = local().await;
    server.fault(Op::Put, 2, Fault::Answer { status: 501, code: "NotImplemented" });
    let failed = reason(put(&store, &new_object(), &content(10)).await);
    assert_eq!(failed, (Class::Unavailable, "store.NotImplemented".to_owned()));
    put(&store, &new_object(), &content(10)).await.unwrap();
    assert_eq!(server.seen_of(Op::Put).last().unwrap().header("if-none-match"), Some("*"));
}

#[tokio::test]
async fn always_never_gives_the_condition_up() {
    let (server, bucket, _) = local().await;
    let always =
        config::Store { conditional: Conditional::Always, ..settings(server.s3(), &bucket) };
    let store = store(&always).await;
    server.fault(Op::Put, ALWAYS, Fault::RefuseCondition);
    let failed = reason(put(&store, &new_object(), &content(10)).await);
    assert_eq!(failed.1, "store.NotImplemented");
    assert_eq!(server.s3().keys(&bucket, "").await, [""; 0]);
}

#[tokio::test]
async fn never_asks_before_each_put() {
    let (server, bucket, _) = local().await;
    let never = config::Store { conditional: Conditional::Never, ..settings(server.s3(), &bucket) };
    let store = store(&never).await;
    let body = content(10);
    assert!(!put(&store, &new_object(), &body).await.unwrap().already_there);
    assert!(put(&store, &new_object(), &body).await.unwrap().already_there);
    assert_eq!(server.ops(), [Op::Head, Op::Put, Op::Head]);
    assert_eq!(server.seen_of(Op::Put)[0].header("if-none-match"), None);
}

#[tokio::test]
async fn a_head_that_is_forbidden_is_no_answer() {
    let (server, _bucket, store) = local().await;
    put(&store, &new_object(), &content(10)).await.unwrap();
    server.fault(Op::Head, 1, Fault::Answer { status: 403, code: "" });
    assert_eq!(store.find(&key(), &who()).await.unwrap(), None);
    assert!(store.find(&key(), &who()).await.unwrap().is_some());
    // But it cannot tell what a refused creation ran into: somebody has to allow it.
    server.fault(Op::Head, 1, Fault::Answer { status: 403, code: "" });
    let failed = reason(put(&store, &new_object(), &content(10)).await);
    assert_eq!(failed, (Class::Refused, "store.http_403".to_owned()));
}

#[tokio::test]
async fn whether_a_store_keeps_the_condition_is_found_out_by_the_first_object() {
    let (server, _bucket, store) = local().await;
    let body = content(1000);
    let stored = put(&store, &new_object(), &body).await.unwrap();
    assert!(!stored.already_there);
    assert_eq!(server.ops(), [Op::Head, Op::Put, Op::Put]);
    let puts = server.seen_of(Op::Put);
    assert!(puts.iter().all(|put| put.body == body && put.header("if-none-match") == Some("*")));
    assert_eq!([puts[0].status, puts[1].status], [Some(200), Some(412)]);
    // It is known now: one request an object.
    let next = NewObject { key: object_key("acme/next.wav"), ..new_object() };
    put(&store, &next, &body).await.unwrap();
    assert_eq!(server.ops()[3..], [Op::Put]);
}

#[tokio::test]
async fn a_store_that_only_pretends_is_found_out_and_asked_from_then_on() {
    for conditional in [Conditional::Auto, Conditional::Always] {
        let (server, bucket, _) = local().await;
        let store = store(&config::Store { conditional, ..settings(server.s3(), &bucket) }).await;
        server.fault(Op::Put, ALWAYS, Fault::IgnoreCondition);
        let (ours, others) = (content(1000), content(999));
        // Even before it is known nothing is overwritten.
        server.s3().put(&bucket, key().as_str(), &others, &[]).await;
        assert_eq!(reason(put(&store, &new_object(), &ours).await).1, "store.conflict");
        assert_eq!(server.ops(), [Op::Head]);

        let next = NewObject { key: object_key("acme/next.wav"), ..new_object() };
        let stored = put(&store, &next, &ours).await.unwrap();
        let there = server.s3().object(&bucket, "acme/next.wav").await.unwrap();
        assert_eq!((there.body, there.etag), (ours, stored.etag), "of the put that came last");
        let before = server.ops().len();
        assert_eq!(reason(put(&store, &next, &others).await).1, "store.conflict");
        assert_eq!(server.ops()[before..], [Op::Head]);
        let third = NewObject { key: object_key("acme/third.wav"), ..new_object() };
        put(&store, &third, &others).await.unwrap();
        assert_eq!(server.ops()[before + 1..], [Op::Head, Op::Put]);
    }
}

#[tokio::test]
async fn what_is_found_out_is_not_guessed() {
    let (server, _bucket, store) = local().await;
    let object = |name: &str| NewObject { key: object_key(name), ..new_object() };
    // The second put of the first object brings no answer that says anything.
    server.fault(Op::Put, 1, Fault::NoEtag);
    server.fault(Op::Put, 3, Fault::Answer { status: 503, code: "SlowDown" });
    put(&store, &object("acme/1.wav"), &content(10)).await.unwrap();
    let before = server.ops().len();
    put(&store, &object("acme/2.wav"), &content(10)).await.unwrap();
    assert_eq!(server.ops()[before..], [Op::Head, Op::Put, Op::Put]);
    put(&store, &object("acme/3.wav"), &content(10)).await.unwrap();
    assert_eq!(server.ops()[before + 3..], [Op::Put]);
}

/// As some stores do: PutObject keeps it, CompleteMultipartUpload takes no notice.
#[tokio::test]
async fn an_upload_in_parts_overwrites_nothing_though_the_store_would() {
    let (server, bucket, store) = local().await;
    put(&store, &new_object(), &content(10)).await.unwrap();
    server.fault(Op::CompleteMultipart, ALWAYS, Fault::IgnoreCondition);
    let long = NewObject { key: object_key("acme/long.wav"), ..new_object() };
    let others = content(1000);
    server.s3().put(&bucket, "acme/long.wav", &others, &[]).await;
    let conflict = reason(upload(&store, &long, &content(PART + 1)).await);
    assert_eq!(conflict, (Class::Permanent, "store.conflict".to_owned()));
    assert_eq!(server.s3().object(&bucket, "acme/long.wav").await.unwrap().body, others);
    assert_eq!(server.seen_of(Op::CompleteMultipart).len(), 0);
    assert_eq!(server.open_uploads(), 0);
}

/// Nor whether that is so is guessed: a small object of our own shows it, before the first recording
/// is put.
#[tokio::test]
async fn who_may_not_list_asks_and_archives_all_the_same() {
    for conditional in [Conditional::Auto, Conditional::Always, Conditional::Never] {
        for puts in [None, Some(Fault::IgnoreCondition)] {
            let (server, bucket, _) = local().await;
            let settings = config::Store { conditional, ..settings(server.s3(), &bucket) };
            let store = store(&settings).await;
            server.fault(Op::Head, ALWAYS, Fault::MissingIsForbidden);
            server.fault(Op::List, ALWAYS, FORBIDDEN);
            puts.iter().for_each(|fault| server.fault(Op::Put, ALWAYS, fault.clone()));
            server.s3().put(&bucket, "acme/0.wav", b"another", &[]).await;
            let conflict = reason(put(&store, &named("acme/0.wav"), &content(10)).await);
            assert_eq!(conflict.1, CONFLICT, "{conditional:?}, {puts:?}");
            for name in ["acme/1.wav", "acme/2.wav", "acme/3.wav"] {
                assert!(!put(&store, &named(name), &content(10)).await.unwrap().already_there);
                assert!(put(&store, &named(name), &content(10)).await.unwrap().already_there);
                assert_eq!(reason(put(&store, &named(name), &content(11)).await).1, CONFLICT);
            }
            upload(&store, &named("acme/long.wav"), &content(PART + 1)).await.unwrap();
            let conflict =
                reason(upload(&store, &named("acme/long.wav"), &content(PART + 2)).await);
            assert_eq!(conflict.1, CONFLICT, "{conditional:?}, {puts:?}");
        }
    }
}

const FORBIDDEN: Fault = Fault::Answer { status: 403, code: "AccessDenied" };
const CONFLICT: &str = "store.conflict";

fn named(key: &str) -> NewObject {
    NewObject { key: object_key(key), ..new_object() }
}

#[tokio::test]
async fn a_small_object_shows_what_a_403_means() {
    let (server, bucket, _) = local().await;
    let never = config::Store { conditional: Conditional::Never, ..settings(server.s3(), &bucket) };
    server.fault(Op::Head, ALWAYS, Fault::MissingIsForbidden);
    server.fault(Op::List, ALWAYS, FORBIDDEN);
    let never = store(&never).await;
    for name in ["prod/acme/1.wav", "prod/acme/2.wav"] {
        put(&never, &named(name), &content(10)).await.unwrap();
    }
    let first = [Op::Head, Op::List, Op::Put, Op::Head, Op::Put];
    assert_eq!(server.ops(), [&first[..], &[Op::Head, Op::Put]].concat(), "once is enough");
    let keys = server.s3().keys(&bucket, "").await;
    assert_eq!(keys, ["prod/acme/.callvault-probe", "prod/acme/1.wav", "prod/acme/2.wav"]);
    // The next worker finds it there, and learns of the condition by it.
    let auto = store(&settings(server.s3(), &bucket)).await;
    put(&auto, &named("prod/acme/3.wav"), &content(10)).await.unwrap();
    put(&auto, &named("prod/acme/4.wav"), &content(10)).await.unwrap();
    let puts = server.seen_of(Op::Put).split_off(3);
    assert_eq!(puts.iter().map(|put| put.status).collect::<Vec<_>>(), [412, 200, 200].map(Some));
}

#[tokio::test]
async fn who_may_not_look_at_all_overwrites_nothing() {
    let (server, bucket, _) = local().await;
    let never = config::Store { conditional: Conditional::Never, ..settings(server.s3(), &bucket) };
    server.fault(Op::Head, ALWAYS, Fault::Answer { status: 403, code: "" });
    for conditional in [Conditional::Auto, Conditional::Never] {
        let lists = config::Store { conditional, ..never.clone() };
        let lists = store(&lists).await;
        let name = |name: &str| named(&format!("acme/{conditional:?}/{name}.wav"));
        // A listing tells what is there, whose it is it does not.
        for name in [name("1"), name("2")] {
            put(&lists, &name, &content(10)).await.unwrap();
            assert_eq!(reason(put(&lists, &name, &content(11)).await).0, Class::Refused);
        }
        upload(&lists, &name("long"), &content(PART + 1)).await.unwrap();
        assert_eq!(reason(upload(&lists, &name("long"), &content(PART)).await).0, Class::Refused);
    }
    let there = server.s3().keys(&bucket, "").await;
    assert_eq!(there.len(), 6, "nothing else: {there:?}");

    // Who may not list either puts nothing, but where the condition is kept.
    server.fault(Op::List, ALWAYS, FORBIDDEN);
    let refused = (Class::Refused, "store.http_403".to_owned());
    for pretends in [false, true] {
        let kept = (!pretends).then_some(());
        if pretends {
            server.fault(Op::Put, ALWAYS, Fault::IgnoreCondition);
        }
        for (conditional, stored) in [(Conditional::Auto, kept), (Conditional::Never, None)] {
            let blind = store(&config::Store { conditional, ..never.clone() }).await;
            let name = format!("acme/blind/{conditional:?}{pretends}.wav");
            let put = put(&blind, &named(&name), &content(10)).await;
            assert_eq!(put.as_ref().ok().map(drop), stored, "{conditional:?}, {pretends}");
            if stored.is_none() {
                assert_eq!(reason(put), refused);
            }
            let long = upload(&blind, &named("acme/blind/long.wav"), &content(PART + 1)).await;
            assert_eq!(reason(long), refused);
        }
    }
    let there = server.s3().keys(&bucket, "acme/blind/").await;
    assert_eq!(there, ["acme/blind/Autofalse.wav"]);
    server.heal();
    put(&store(&never).await, &named("acme/blind/4.wav"), &content(10)).await.unwrap();
}
