//! S3: the policies of `s3-*.json`, held by a server that knows policies.

use std::collections::BTreeSet;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleRule,
    LifecycleRuleFilter,
};
use serde_json::{Value, json};

use super::{json as file, rows};
use crate::cli::{Desk, row};
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::s3::seaweed::Seaweed;
use crate::support::s3::{ACCESS_KEY, ALWAYS, Fault, Op, S3, SECRET_KEY};
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, call};

const BUCKET: &str = "recordings";
/// The account of the files, and the only one that this server knows.
const ACCOUNTS: [&str; 2] = ["111122223333", "000000000000"];

/// The actions of a file, one by one.
fn actions(name: &str) -> Vec<String> {
    let policy = file(name);
    let statements = policy["Statement"].as_array().expect("a list");
    let all = statements.iter().flat_map(|statement| match &statement["Action"] {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    });
    all.map(|action| action.as_str().expect("text").to_owned()).collect()
}

/// The policy without an action.
fn without(name: &str, action: &str) -> Value {
    let mut policy = file(name);
    for statement in policy["Statement"].as_array_mut().expect("a list") {
        if let Some(all) = statement["Action"].as_array_mut() {
            all.retain(|own| own != action);
        } else if statement["Action"] == action {
            statement["Action"] = json!("s3:GetBucketLocation");
        }
    }
    policy
}

/// A server that knows these policies, each with an identity of its name, and one without any.
async fn server(policies: &[(String, Vec<Value>)]) -> Seaweed {
    let of = |(name, all): &(String, Vec<Value>)| {
        let names: Vec<_> = (0..all.len()).map(|at| format!("{name}-{at}")).collect();
        let key = json!({ "accessKey": name, "secretKey": SECRET_KEY });
        json!({ "name": name, "policyNames": names, "credentials": [key] })
    };
    let named = policies.iter().flat_map(|(name, all)| {
        all.iter().enumerate().map(move |(at, policy)| {
            json!({ "name": format!("{name}-{at}"), "content": policy.to_string() })
        })
    });
    let nobody = ("nobody".to_owned(), Vec::new());
    let identities = policies.iter().chain([&nobody]).map(of).collect();
    let server = Seaweed::knowing(identities, named.collect()).await;
    server.s3().create_bucket(BUCKET, false).await;
    server
}

/// A configuration that signs with this key.
fn config(world: &World, s3: &S3, key: &str, keys: &[(&str, &str)]) -> String {
    let config = world.config_at(&world.amqp, &world.ccfs.url(), s3.endpoint(), keys);
    config.replace(&world.bucket, BUCKET).replace(ACCESS_KEY, key)
}

async fn refused<T, E: aws_sdk_s3::error::ProvideErrorMetadata>(
    what: &str,
    asked: impl Future<Output = Result<T, E>>,
) {
    let code = asked.await.err().map(|error| error.code().unwrap_or_default().to_owned());
    assert_eq!(code.as_deref(), Some("AccessDenied"), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_its_work_and_nothing_else() {
    let own = |name: &str, files: &[&str]| {
        (name.to_owned(), files.iter().map(|name| file(name)).collect::<Vec<_>>())
    };
    let server = server(&[
        own("worker", &["s3-worker.json"]),
        own("checker", &["s3-worker.json", "s3-check.json"]),
        own("operator", &["s3-operator.json"]),
    ])
    .await;
    let (s3, world) = (server.s3(), World::new().await);
    world.ccfs.default_reply(Reply::not_found());
    let checked = |key| {
        let desk = Desk::new(&config(&world, s3, key, &[]));
        let ended = desk.run("check --config callvault.toml");
        let store = ended.stdout.split("\n\n").find(|part| part.starts_with("store: "));
        store.unwrap_or_else(|| panic!("{}{}", ended.stdout, ended.stderr)).to_owned()
    };
    let part = checked("checker");
    assert!(!part.contains("FAILED") && part.contains("the probe is gone"), "{part}");
    let part = checked("worker");
    assert!(!part.contains("FAILED") && part.contains(" stays: "), "{part}");

    // Small and large, one that is there already, one of a ZIP.
    let unpack = ("globex", "[tenants.store]\nzip = \"unpack\"");
    let parts = [("store", "part_size = \"5MiB\""), unpack];
    let worker = Worker::start(&config(&world, s3, "worker", &parts)).ready().await;
    world.ccfs.default_reply(Reply::wav(640));
    world.ccfs.script("1777093663-2", [Reply::wav(12 << 20)]);
    world.ccfs.script("1777093663-3", [Reply::zip([640, 320])]);
    let mut zip = call("1777093663-3");
    zip["tenant"] = json!("globex");
    for (message, already) in [
        (call("1777093663-1"), false),
        (call("1777093663-2"), false),
        (zip, false),
        (call("1777093663-1"), true),
    ] {
        world.publish(&message).await;
        let event = world.event().await.json();
        assert_eq!(event["type"], "recording.archived", "{event:#}");
        assert_eq!(event["data"]["alreadyArchived"], already, "{event:#}");
    }
    let log = worker.stop().await;
    assert!(!log.contains("AccessDenied") && !log.contains("\"ERROR\""), "{log}");

    // What an operator compares.
    let desk = Desk::new(&config(&world, s3, "operator", &[]));
    desk.file("record.csv", row("1777093663-1", "2026-04-25", ""));
    let line = "reconcile --config callvault.toml --tenant acme --index record.csv";
    assert!(desk.printed(line, &[]).contains("1 present"));

    let key = "acme/2026/04/25/1777093663-1.wav";
    let other = s3.bucket().await;
    for who in ["worker", "checker", "operator", "nobody"] {
        let client: Client = s3.asked_by(who).client().clone();
        let delete = client.delete_object().bucket(BUCKET).key(key).send();
        refused(&format!("{who} deletes"), delete).await;
        let put = client.put_object().bucket(&other).key(key).send();
        refused(&format!("{who} puts elsewhere"), put).await;
        let get = client.list_objects_v2().bucket(&other).send();
        refused(&format!("{who} lists another"), get).await;
        let policy = client.put_bucket_policy().bucket(BUCKET).policy("{}").send();
        refused(&format!("{who} changes the policy"), policy).await;
        let tag = client.get_object_tagging().bucket(BUCKET).key(key).send();
        refused(&format!("{who} reads tags"), tag).await;
    }
    for who in ["operator", "nobody"] {
        let client = s3.asked_by(who).client().clone();
        let put = client.put_object().bucket(BUCKET).key("acme/own").send();
        refused(&format!("{who} puts"), put).await;
        let get = client.get_object().bucket(BUCKET).key(key).send();
        refused(&format!("{who} reads"), get).await;
    }
    assert!(s3.object(BUCKET, key).await.is_some());
}

/// What `callvault check` says where an action is missing.
const MISSED: [(&str, &str); 4] = [
    ("s3:PutObject", "FAILED  put "),
    ("s3:GetObject", "FAILED  head "),
    ("s3:ListBucket", "note    list                objects cannot be listed"),
    ("s3:ListBucketMultipartUploads", "sweep               open uploads cannot be listed"),
];

#[tokio::test(flavor = "multi_thread")]
async fn without_any_one_of_its_actions_a_key_falls_short() {
    let worker = actions("s3-worker.json");
    let check = file("s3-check.json");
    let mut lacking: Vec<_> = worker
        .iter()
        .map(|action| {
            let name = action.trim_start_matches("s3:").to_owned();
            (name, vec![without("s3-worker.json", action), check.clone()])
        })
        .collect();
    lacking.push(("auditor".to_owned(), vec![without("s3-operator.json", "s3:ListBucket")]));
    let server = server(&lacking).await;
    let (s3, world) = (server.s3(), World::new().await);
    world.ccfs.default_reply(Reply::not_found());
    for action in &worker {
        let key = action.trim_start_matches("s3:");
        let desk = Desk::new(&config(&world, s3, key, &[("store", "zip = \"unpack\"")]));
        let told = desk.run("check --config callvault.toml").stdout;
        let Some((_, sign)) = MISSED.iter().find(|(missed, _)| missed == action) else {
            assert_eq!(action, "s3:AbortMultipartUpload");
            assert!(!told.contains("FAILED"), "this server has come to hold it: {told}");
            continue;
        };
        assert!(told.contains(sign), "{action}: no {sign} in {told}");
    }
    // To this server whoever may put may abort; so the other one refuses it.
    world.store.fault(
        Op::AbortMultipart,
        ALWAYS,
        Fault::Answer { status: 403, code: "AccessDenied" },
    );
    let told = Desk::new(&world.config(&[])).run("check --config callvault.toml").stdout;
    assert!(told.contains("grant s3:AbortMultipartUpload"), "{told}");
    let desk = Desk::new(&config(&world, s3, "auditor", &[]));
    desk.file("record.csv", row("1777093663-1", "2026-04-25", ""));
    let line = "reconcile --config callvault.toml --tenant acme --index record.csv";
    let ended = desk.run(line);
    assert!(ended.code != 0 && ended.stderr.contains("AccessDenied"), "{}", ended.stderr);

    let files = ["s3-worker.json", "s3-worker-options.json", "s3-check.json", "s3-operator.json"];
    let all = files
        .iter()
        .flat_map(|name| actions(name).into_iter().map(move |action| [(*name).to_owned(), action]));
    let all: BTreeSet<_> = all.collect();
    assert_eq!(all, rows(["file", "action"]), "the page has a row for each action");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buckets_own_rules_are_taken_and_kept() {
    // A key that might do anything, and one that may do nothing, but for what the bucket says.
    let all = json!({ "Version": "2012-10-17", "Statement":
                      [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
    let server = server(&[("callvault".to_owned(), vec![all])]).await;
    let s3 = server.s3();
    let worker = s3.asked_by("callvault").client().clone();
    let (key, body) = ("acme/1.wav", b"a recording");
    let put_policy = async |bucket: &str, policy: &Value| {
        let text = policy.to_string().replace(ACCOUNTS[0], ACCOUNTS[1]);
        let text = text.replace(":::recordings", &format!(":::{bucket}"));
        let put = s3.client().put_bucket_policy().bucket(bucket).policy(text);
        put.send().await.expect("the policy is taken");
    };
    // This server is asked without TLS: all of the policy lets nobody in.
    let (plain, policy) = (s3.bucket().await, file("s3-bucket-policy.json"));
    s3.put(&plain, key, body, &[]).await;
    put_policy(&plain, &policy).await;
    let reads = || worker.get_object().bucket(&plain).key(key).send();
    eventually("the policy is heeded", SOON, || async { reads().await.err() }).await;
    refused("reading", reads()).await;
    refused("listing", s3.client().list_objects_v2().bucket(&plain).send()).await;

    // Without that statement it is the worker alone that is refused, and to delete alone.
    let own = s3.bucket().await;
    let mut policy = policy;
    policy["Statement"].as_array_mut().expect("a list").remove(0);
    put_policy(&own, &policy).await;
    let deletes = || worker.delete_object().bucket(&own).key(key).send();
    eventually("the policy is heeded", SOON, || async { deletes().await.err() }).await;
    worker
        .put_object()
        .bucket(&own)
        .key(key)
        .body(body.to_vec().into())
        .send()
        .await
        .expect("puts");
    worker.get_object().bucket(&own).key(key).send().await.expect("reads");
    refused("deleting", deletes()).await;
    s3.client().delete_object().bucket(&own).key(key).send().await.expect("others delete");

    // A store whose users have no policies: the bucket has theirs.
    let mut theirs = file("s3-worker.json");
    for statement in theirs["Statement"].as_array_mut().expect("a list") {
        statement["Principal"] =
            json!({ "AWS": format!("arn:aws:iam::{}:user/nobody", ACCOUNTS[1]) });
    }
    put_policy(BUCKET, &theirs).await;
    let nobody = s3.asked_by("nobody").client().clone();
    let puts = || nobody.put_object().bucket(BUCKET).key(key).body(body.to_vec().into()).send();
    eventually("the bucket lets it", SOON, || async { puts().await.ok() }).await;
    refused("deleting", nobody.delete_object().bucket(BUCKET).key(key).send()).await;

    let rules = file("s3-lifecycle.json");
    let rules = rules["Rules"].as_array().expect("a list").iter().map(|rule| {
        let days = rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"].as_i64();
        let abort = AbortIncompleteMultipartUpload::builder();
        let abort =
            abort.days_after_initiation(days.expect("days").try_into().expect("few")).build();
        let prefix = rule["Filter"]["Prefix"].as_str().expect("a prefix");
        LifecycleRule::builder()
            .id(rule["ID"].as_str().expect("a name"))
            .status(ExpirationStatus::from(rule["Status"].as_str().expect("a status")))
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .abort_incomplete_multipart_upload(abort)
            .build()
            .expect("a whole rule")
    });
    let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules.collect()));
    let rules = rules.build().expect("rules");
    let put = s3.client().put_bucket_lifecycle_configuration().bucket(BUCKET);
    put.lifecycle_configuration(rules).send().await.expect("taken");
    let kept = s3.client().get_bucket_lifecycle_configuration().bucket(BUCKET).send().await;
    let kept = kept.expect("it has one").rules.expect("rules");
    let days =
        kept[0].abort_incomplete_multipart_upload().and_then(|it| it.days_after_initiation());
    assert_eq!(days, Some(1));
}
