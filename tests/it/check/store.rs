//! What the store lacks or refuses.

use insta::assert_snapshot;

use super::{Checked, check, check_in, filters};
use crate::support::ccfs::Reply;
use crate::support::s3::{ALWAYS, Fault, Op};
use crate::support::world::World;

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
          FAILED  answer              the store cannot be reached
                                      → check endpoint (scheme, host, port) and its certificate
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
          note    sweep               open uploads cannot be listed: status 404, store.NoSuchBucket
                                      → grant s3:ListBucketMultipartUploads, or have a lifecycle rule abort incomplete uploads
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
    assert_eq!([&pretends, &told, &refuses, &insists].map(|it| it.code), [1, 0, 0, 1]);
    assert_snapshot!(create(&pretends), @r#"
    FAILED  conditional create  the store only pretends: it took a second put on the condition that nothing was there
                                → set conditional = "never": every put then asks first
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
          note    list                objects cannot be listed: status 403, store.AccessDenied
                                      → grant s3:ListBucket, or a repeat of a ZIP that was unpacked downloads it again
          ok      sweep               open uploads can be listed
          ok      delete              the probe is gone
        ");
    });
}
