//! What the store lacks or refuses.

use insta::assert_snapshot;
use serde_json::json;

use super::{Checked, check, check_in, filters};
use crate::support::ccfs::Reply;
use crate::support::s3::odd::Odd;
use crate::support::s3::tls::Front;
use crate::support::s3::{ACCESS_KEY, ALWAYS, Fault, Op, SECRET_KEY};
use crate::support::world::{World, without_store_keys};

#[tokio::test]
async fn a_store_that_is_not_there_or_knows_no_such_key_is_told_apart() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let at = |s3: &str| world.config_at(&world.amqp, &world.ccfs.url(), s3, &[]);
    let closed = check(&at("http://127.0.0.1:1"), &[]).await;
    let bucket = world.config(&[]).replace(&world.bucket, "no-such-bucket");
    let bucket = check(&bucket, &[]).await;
    world.store.fault(Op::Put, ALWAYS, Fault::Answer { status: 403, code: "AccessDenied" });
    let read_only = check(&world.config(&[]), &[]).await;
    let all = [&closed, &bucket, &read_only];
    assert!(all.iter().all(|checked| checked.code == 1), "each fails");
    filters(&world).bind(|| {
        assert_snapshot!(closed.part("store"), @r"
        store: recordings, acme, globex
          FAILED  answer              127.0.0.1:PORT: connection refused
                                      → check endpoint (scheme, host, port), that the store runs there, and proxy
          skipped put                 without an answer of the store
          skipped conditional create  without an answer of the store
          skipped head                without an answer of the store
          skipped body hash           without an answer of the store
          skipped multipart           without an answer of the store
          skipped delete              without an answer of the store
        ");
        assert_snapshot!(bucket.part("store"), @r"
        store: no-such-bucket, acme, globex
          ok      answer              the store answers, and knows the key
          FAILED  put                 status 404, store.NoSuchBucket
                                      → correct bucket, or create it
          skipped conditional create  without a put
          skipped head                without a put
          skipped body hash           without a put
          skipped delete              without a put
          FAILED  multipart           status 404, store.NoSuchBucket
                                      → correct bucket, or create it
          skipped sweep               without an upload
        ");
        assert_snapshot!(read_only.part("store"), @r"
        store: recordings, acme, globex
          ok      answer              the store answers, and knows the key
          FAILED  put                 the bucket reads but does not write: status 403, store.AccessDenied
                                      → grant s3:PutObject, s3:GetObject and s3:AbortMultipartUpload on the bucket to the key; with SSE-KMS also the use of the KMS key
          skipped conditional create  without a put
          skipped head                without a put
          skipped body hash           without a put
          skipped delete              without a put
          ok      multipart           begun, a part sent, aborted
          ok      sweep               open uploads can be listed
        ");
    });
}

#[tokio::test]
async fn what_a_store_cannot_do_is_told_with_the_setting_that_follows() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let create = |checked: &Checked| -> String {
        let part = checked.part("store");
        let mut lines = part.lines().skip_while(|line| !line.contains("conditional create"));
        lines
            .by_ref()
            .take_while(|line| !line.contains("head  "))
            .map(|l| format!("{l}\n"))
            .collect()
    };
    world.store.fault(Op::Put, ALWAYS, Fault::IgnoreCondition);
    let pretends = check(&world.config(&[]), &[]).await;
    let told = check(&world.config(&[("store", "conditional = \"never\"")]), &[]).await;
    world.store.heal();
    world.store.fault(Op::Put, ALWAYS, Fault::RefuseCondition);
    let refuses = check(&world.config(&[]), &[]).await;
    let insists = check(&world.config(&[("store", "conditional = \"always\"")]), &[]).await;
    assert_eq!([&pretends, &told, &refuses, &insists].map(|it| it.code), [0, 0, 0, 1]);
    assert_snapshot!(create(&pretends), @r#"
    note    conditional create  the store only pretends: it took a second put on the condition that nothing was there; a worker finds that out, and asks before each put
                                → conditional = "never" saves the second put by which it finds out
    "#);
    assert_snapshot!(create(&told), @r"
      ok      conditional create  the store only pretends; it is not asked to
    ");
    assert_snapshot!(create(&refuses), @r"
      ok      conditional create  the store cannot do it and says so: HEAD comes first
    ");
    assert_snapshot!(create(&insists), @r#"
    FAILED  conditional create  the store cannot do it: status 501, store.NotImplemented
                                → set conditional = "auto" or "never"
    "#);
}

#[tokio::test]
async fn the_configured_checksum_is_proven_on_a_real_store() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let (s3, bucket) = world.seaweed().await;
    for checksum in ["md5", "crc64nvme"] {
        let setting = format!("checksum = \"{checksum}\"");
        let config =
            world.config_at(&world.amqp, &world.ccfs.url(), s3.endpoint(), &[("store", &setting)]);
        let checked = check(&config.replace(&world.bucket, &bucket), &[]).await;
        assert_eq!(checked.code, 0, "{}", checked.text);
        let part = checked.part("store");
        assert!(part.contains("ok      checksum            a body that does not fit"), "{part}");
        assert_eq!(s3.keys(&bucket, "").await, [""; 0]);
    }
}

#[tokio::test]
async fn what_proves_bodies_over_tls_is_told() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let front = Front::of(&world.store).await;
    let config = |checksum: &str| {
        let store = format!("ca_file = {:?}\nchecksum = \"{checksum}\"", front.ca_file());
        world.config_at(&world.amqp, &world.ccfs.url(), &front.endpoint, &[("store", &store)])
    };
    let verifies = check(&config("auto"), &[]).await;
    world.store.fault(Op::Put, ALWAYS, Fault::IgnoreChecksum);
    let lies = check(&config("auto"), &[]).await;
    let insists = check(&config("crc64nvme"), &[]).await;
    world.store.heal();
    world.store.fault(Op::Put, ALWAYS, Fault::RefuseUnsigned);
    let refuses = check(&config("auto"), &[]).await;
    let told = [&verifies, &lies, &insists, &refuses];
    assert_eq!(told.map(|it| it.code), [0, 0, 1, 0], "{}", verifies.text);
    let told = told.map(|checked| lines(checked, &["put", "checksum"])).concat();
    assert_snapshot!(told, @r#"
    ok      put                 taken
    ok      checksum            verified by the store (crc64nvme): bodies are not signed as well
    ok      put                 taken
    ok      checksum            not verified, the store takes a wrong one: bodies are signed
    ok      put                 taken
    FAILED  checksum            the store takes a body that does not fit it
                                → choose the other of "md5" and "crc64nvme", or "none"
    ok      put                 taken
    ok      checksum            the store takes none alone: bodies are signed
    "#);
    assert_eq!(world.store.s3().keys(&world.bucket, "").await, [""; 0]);
}

#[tokio::test]
async fn who_unpacks_needs_a_folder_and_a_listing() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let config = world.config(&[("globex", "[tenants.store]\nzip = \"unpack\"")]);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let well = check_in(&config, &[], &[("TMPDIR", folder)]).await;
    assert_eq!(well.code, 0, "{}", well.text);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    world.store.fault(Op::List, ALWAYS, Fault::Answer { status: 403, code: "AccessDenied" });
    let nowhere = format!("{folder}/nowhere");
    let broken = check_in(&config, &[], &[("TMPDIR", &nowhere)]).await;
    assert_eq!(broken.code, 1, "{}", broken.text);
    let mut settings = filters(&world);
    settings.add_filter(folder, "/scratch");
    let store = |tenant: &str| format!("store: {}, {tenant}", world.bucket);
    assert!(!well.part(&store("acme")).contains(" list "), "it keeps ZIPs: {}", well.text);
    assert!(well.part(&store("globex")).contains("ok      list "), "{}", well.text);
    settings.bind(|| {
        assert_snapshot!(well.part("worker"), @r#"
        worker: zip = "unpack" of globex
          ok      temporary file      /scratch takes one
        "#);
        assert_snapshot!(broken.part("worker"), @r#"
        worker: zip = "unpack" of globex
          FAILED  temporary file      /scratch/nowhere takes none: No such file or directory (os error 2)
                                      → make room there, or have TMPDIR name a folder with room for the largest archives at once; zip = "keep" needs none
        "#);
        assert_snapshot!(broken.part(&store("globex")), @r"
        store: recordings, globex
          ok      answer              the store answers, and knows the key
          ok      put                 taken
          ok      conditional create  a second put is refused (412)
          ok      head                says the size
          ok      body hash           a body that is not what was signed is refused
          ok      multipart           begun, a part sent, aborted
          ok      sweep               open uploads can be listed
          ok      conditional end     an upload over what is there is refused (412)
          note    list                objects cannot be listed: status 403, store.AccessDenied
                                      → grant s3:ListBucket, or a repeat of a ZIP that was unpacked downloads it again
          ok      delete              the probe is gone
        ");
    });
}

/// The lines of a check of the store, of those that are named.
fn lines(checked: &Checked, names: &[&str]) -> String {
    let part = checked.part("store");
    let mut wanted = false;
    let keep = |line: &&str| {
        if !line.trim_start().starts_with('→') {
            wanted = names.iter().any(|name| line.get(10..).is_some_and(|it| it.starts_with(name)));
        }
        wanted
    };
    part.lines().filter(keep).map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn what_is_no_store_or_keeps_nothing_is_told() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let page = Odd::web_page().await;
    let page = world.config_at(&world.amqp, &world.ccfs.url(), &page.endpoint(), &[]);
    let page = check(&page, &[]).await;
    world.store.fault(Op::Put, ALWAYS, Fault::NoEtag);
    let without_etag = check(&world.config(&[]), &[]).await;
    world.store.heal();
    let code = "InArrearOrInsufficientBalance";
    world.store.fault(Op::Put, ALWAYS, Fault::Answer { status: 403, code });
    let unpaid = check(&world.config(&[]), &[]).await;
    world.store.heal();
    world.store.fault(Op::Put, ALWAYS, Fault::Xml { status: 400, body: WANTS_CHECKSUM });
    let locked = check(&world.config(&[]), &[]).await;
    assert_eq!([&page, &without_etag, &unpaid, &locked].map(|it| it.code), [1, 0, 1, 1]);
    assert_snapshot!(lines(&page, &["put", "multipart"]), @r#"
    FAILED  put                 status 200, but not as S3 answers: store.endpoint is something else
                                → correct endpoint: something that is no S3 answers there, a console or a portal; a proxy may also have changed the answer
    FAILED  multipart           status 200, but not as S3 answers: store.endpoint is something else
                                → correct endpoint: something that is no S3 answers there, a console or a portal; a proxy may also have changed the answer
    "#);
    assert_snapshot!(lines(&without_etag, &["put"]), @r#"
    ok      put                 taken without an ETag: each is looked at
    "#);
    assert_snapshot!(lines(&unpaid, &["put"]), @r#"
    FAILED  put                 the bucket reads but does not write: status 403, store.InArrearOrInsufficientBalance
                                → have the quota raised or the account paid; what is to be archived waits meanwhile
    "#);
    assert_snapshot!(lines(&locked, &["put"]), @r#"
    FAILED  put                 status 400, store.InvalidRequest: the bucket takes nothing without a checksum; set store.checksum to "md5" or "crc64nvme"
                                → do as it says; a bucket with a default retention wants checksum = "md5" or "crc64nvme"
    "#);
}

const WANTS_CHECKSUM: &str = "<Error><Code>InvalidRequest</Code><Message>Content-MD5 OR \
    x-amz-checksum- HTTP header is required for Put Object requests with Object Lock \
    parameters</Message></Error>";

#[tokio::test]
async fn what_a_key_may_not_see_is_told() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let never = world.config(&[("store", "conditional = \"never\"")]);
    world.store.fault(Op::Head, ALWAYS, Fault::MissingIsForbidden);
    let no_list = check(&world.config(&[]), &[]).await;
    let asks = check(&never, &[]).await;
    world.store.heal();
    world.store.fault(Op::Head, ALWAYS, Fault::Answer { status: 403, code: "" });
    let lists = check(&never, &[]).await;
    world.store.fault(Op::List, ALWAYS, Fault::Answer { status: 403, code: "AccessDenied" });
    let blind = check(&never, &[]).await;
    world.store.heal();
    world.store.fault(Op::Head, ALWAYS, Fault::NoLength);
    let no_length = check(&world.config(&[]), &[]).await;
    let checked = [&no_list, &asks, &lists, &blind, &no_length];
    assert_eq!(checked.map(|it| it.code), [0, 0, 1, 1, 0]);
    let names = ["answer", "ask", "head"];
    assert_snapshot!(lines(&no_list, &names), @r#"
    ok      answer              status 403 without an S3 code
    ok      head                says the size
    "#);
    assert_snapshot!(lines(&asks, &names), @r#"
    ok      answer              status 403 without an S3 code
    note    ask before a put    HEAD of what is not there is forbidden (403), which is taken for 'not there'
                                → grant s3:ListBucket, and it is a plain 404
    ok      head                says the size
    "#);
    assert_snapshot!(lines(&lists, &["ask"]), @r#"
    note    ask before a put    HEAD is forbidden, of what is there too: a worker lists before each put, and what is there already is refused instead of announced
                                → grant s3:GetObject
    "#);
    assert_snapshot!(lines(&blind, &names), @r#"
    ok      answer              status 403 without an S3 code
    FAILED  ask before a put    neither HEAD nor a listing says what is there: a worker stores nothing
                                → grant s3:GetObject and s3:ListBucket
    FAILED  head                status 403 without an S3 code: what was uploaded in parts cannot be looked at
                                → grant s3:GetObject on the bucket
    "#);
    assert_snapshot!(lines(&no_length, &names), @r#"
    ok      answer              the store answers, and knows the key
    note    head                says no size; a listing does, one more request
                                → look at what stands between this machine and the store
    "#);
}

#[tokio::test]
async fn what_uploads_in_parts_can_do_is_told() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    world.store.fault(Op::CompleteMultipart, ALWAYS, Fault::IgnoreCondition);
    world.store.fault(Op::ListMultipart, ALWAYS, Fault::ByWholeKey);
    let overwrites = check(&world.config(&[]), &[]).await;
    world.store.heal();
    world.store.fault(Op::CompleteMultipart, ALWAYS, Fault::RefuseCondition);
    let empty = "<ListMultipartUploadsResult></ListMultipartUploadsResult>";
    world.store.fault(Op::ListMultipart, ALWAYS, Fault::Xml { status: 200, body: empty });
    let refuses = check(&world.config(&[]), &[]).await;
    assert_eq!([&overwrites, &refuses].map(|it| it.code), [0, 0]);
    let names = ["multipart", "sweep", "conditional end"];
    assert_snapshot!(lines(&overwrites, &names), @r#"
    ok      multipart           begun, a part sent, aborted
    note    sweep               open uploads are listed by their whole key alone, as MinIO does: what killed workers left open is found where the same recording is uploaded again
                                → have the store drop uploads that are not completed: a lifecycle rule, or MinIO's stale_uploads_expiry
    note    conditional end     an upload in parts goes over what is there, whatever the condition says: a worker asks right before
                                → let no two programs upload under the same keys at the same moment
    "#);
    assert_snapshot!(lines(&refuses, &names), @r#"
    ok      multipart           begun, a part sent, aborted
    note    sweep               a listing does not show an upload that is open
                                → have the store drop uploads that are not completed: a lifecycle rule, or MinIO's stale_uploads_expiry
    ok      conditional end     the store cannot do it and says so: a worker asks right before, as always
    "#);
    assert_eq!(world.store.open_uploads(), 0);
    assert_eq!(world.store.s3().keys(&world.bucket, "").await, [""; 0]);
}

/// IAM Roles Anywhere and the like: a program that prints keys.
#[tokio::test]
async fn a_program_that_prints_credentials_is_run() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let folder = tempfile::tempdir().unwrap();
    let [file, keys] = ["config", "keys.json"].map(|name| folder.path().join(name));
    let print = json!({ "Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY });
    std::fs::write(&keys, print.to_string()).unwrap();
    let profile = format!("[default]\ncredential_process = cat {}\n", keys.display());
    std::fs::write(&file, profile).unwrap();
    let config = without_store_keys(&world.config(&[]));
    let environment = [
        ("AWS_CONFIG_FILE", file.to_str().unwrap()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("PATH", "/usr/bin:/bin"),
    ];
    let checked = check_in(&config, &[], &environment).await;
    assert_eq!(checked.code, 0, "{}", checked.text);
    assert!(lines(&checked, &["put"]).contains("taken"), "{}", checked.text);
}

#[tokio::test]
async fn a_wrong_key_is_told_by_the_key_of_the_configuration() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let (real, bucket) = world.seaweed().await;
    let config = world.config_at(&world.amqp, &world.ccfs.url(), real.endpoint(), &[]);
    let config = config.replace(&world.bucket, &bucket);
    let id = check(&config.replace(ACCESS_KEY, "nobodys-key"), &[]).await;
    let secret = check(&config.replace(SECRET_KEY, "another-secret"), &[]).await;
    assert_eq!([&id, &secret].map(|it| it.code), [1, 1]);
    let mut settings = filters(&world);
    settings.add_filter(&bucket, "recordings");
    settings.bind(|| {
        assert_snapshot!(id.part("store"), @r"
        store: recordings, acme, globex
          FAILED  answer              status 403, store.InvalidAccessKeyId
                                      → correct store.access_key_id: the store knows no such key
          skipped put                 without an answer of the store
          skipped conditional create  without an answer of the store
          skipped head                without an answer of the store
          skipped body hash           without an answer of the store
          skipped multipart           without an answer of the store
          skipped delete              without an answer of the store
        ");
        assert_snapshot!(secret.part("store"), @r"
        store: recordings, acme, globex
          FAILED  answer              status 403, store.SignatureDoesNotMatch
                                      → correct store.secret_access_key, and store.region where the store cares
          skipped put                 without an answer of the store
          skipped conditional create  without an answer of the store
          skipped head                without an answer of the store
          skipped body hash           without an answer of the store
          skipped multipart           without an answer of the store
          skipped delete              without an answer of the store
        ");
    });
}

#[tokio::test]
async fn who_was_asked_is_named_and_what_it_speaks() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let at = |s3: &str| world.config_at(&world.amqp, &world.ccfs.url(), s3, &[]);
    let plain = world.store.s3().endpoint();
    let front = Front::of(&world.store).await;
    let is_tls = check(&at(&front.endpoint.replace("https://", "http://")), &[]).await;
    let no_tls = check(&at(&plain.replace("http://", "https://")), &[]).await;
    let untrusted = check(&at(&front.endpoint), &[]).await;
    let proxy = at(plain).replace("[store]", "[store]\nproxy = \"http://127.0.0.1:1\"");
    let aws: String = proxy
        .lines()
        .filter(|line| !line.starts_with("endpoint = "))
        .map(|line| format!("{line}\n"))
        .collect();
    let aws = check(&aws, &[]).await;
    assert_eq!([&is_tls, &no_tls, &untrusted, &aws].map(|it| it.code), [1; 4]);
    filters(&world).bind(|| {
        assert_snapshot!(lines(&is_tls, &["answer"]), @r"
        FAILED  answer              what answers at 127.0.0.1:PORT speaks TLS
                                    → write https:// in endpoint
        ");
        assert_snapshot!(lines(&no_tls, &["answer"]), @r"
        FAILED  answer              127.0.0.1:PORT: what answers does not speak TLS (https:// in store.endpoint)
                                    → write http:// in endpoint, or name the port that speaks TLS
        ");
        assert_snapshot!(lines(&untrusted, &["answer"]), @r"
        FAILED  answer              127.0.0.1:PORT: invalid peer certificate: UnknownIssuer
                                    → name the CA that signed it in store.ca_file (PEM)
        ");
        assert_snapshot!(lines(&aws, &["answer"]), @r"
        FAILED  answer              no store.endpoint is set, so this is AWS (us-east-1), by the proxy 127.0.0.1:PORT: connection refused
                                    → set endpoint, unless AWS is meant; check that this machine is let out, and proxy
        ");
    });
}
