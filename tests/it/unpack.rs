//! `store.zip = "unpack"`: each entry of a ZIP is an object, and all of them stand in one event.

mod disk;

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use serde_json::{Value, json};
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, ZipArchive};

use crate::support::ccfs::{Recording, Reply, Sizes};
use crate::support::eventually;
use crate::support::s3::{ALWAYS, Fault, Op};
use crate::support::world::{SOON, World};

const UNPACK: (&str, &str) = ("store", "zip = \"unpack\"");

/// What is in a ZIP, by names.
fn entries_of(zip: Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let mut zip = ZipArchive::new(Cursor::new(zip)).expect("a good ZIP");
    let count = zip.len();
    let entry = |at| {
        let mut file = zip.by_index(at).expect("a good entry");
        let mut content = Vec::new();
        file.read_to_end(&mut content).expect("a good entry");
        (file.name().expect("a name in UTF-8").into_owned(), content)
    };
    (0..count).map(entry).collect()
}

/// A ZIP of deflated entries.
fn deflated(entries: &[(&str, &[u8])]) -> Reply {
    zip_of(entries, SimpleFileOptions::default())
}

/// A ZIP of stored entries.
fn stored(entries: &[(&str, &[u8])]) -> Reply {
    let stored = CompressionMethod::Stored;
    zip_of(entries, SimpleFileOptions::default().compression_method(stored))
}

fn zip_of(entries: &[(&str, &[u8])], options: SimpleFileOptions) -> Reply {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, options).expect("a name that is new");
        zip.write_all(content).expect("memory takes all");
    }
    let bytes = zip.finish().expect("memory takes all").into_inner();
    Reply::recording(Recording::given(bytes))
}

/// A dump of one, which asks for what is there.
fn again(call_id: &str) -> Value {
    json!({ "type": "recording.dump-requested", "tenant": "acme", "requestId": "again",
            "recordings": [{ "callId": call_id, "callEnd": "2026-04-25T05:12:44Z" }] })
}

impl World {
    /// The event says, and the bucket has, what CC-FS has packed for `id`.
    async fn assert_unpacked(&self, id: &str, event: &Value) {
        let folder = format!("acme/2026/04/25/{id}/");
        let entries = entries_of(self.ccfs.expected(id).to_vec());
        let objects = event["data"]["objects"].as_array().expect("objects");
        assert_eq!(objects.len(), entries.len(), "{event:#}");
        let keys = self.store.s3().keys(&self.bucket, &folder).await;
        for ((object, (name, content)), stored) in objects.iter().zip(&entries).zip(&keys) {
            let key = format!("{folder}{name}");
            assert_eq!((object["key"].as_str(), stored), (Some(key.as_str()), &key));
            let wav = if name.ends_with(".wav") { "audio/wav" } else { "application/octet-stream" };
            assert_eq!(object["contentType"], wav, "{event:#}");
            assert_eq!(object["size"], content.len(), "{event:#}");
            let there = self.store.s3().object(&self.bucket, &key).await.expect("it is stored");
            assert!(there.body == content[..], "{key}");
            assert_eq!(there.content_type.as_deref(), Some(wav));
            assert_eq!(there.metadata["entries"], entries.len().to_string());
            assert_eq!(there.metadata["call-id"], id);
            let (sha256, _) = self.store.content(&self.bucket, &key).expect("it is stored");
            // Found again, an object that went up in parts does not say its hash.
            let told = object.get("sha256").or(there.metadata.get("sha256").map(|_| &Value::Null));
            assert!(told.is_none_or(|told| *told == *sha256), "{event:#}");
        }
    }

    async fn asked_again(&self, id: &str) -> Value {
        self.publish(&again(id)).await;
        self.event().await.json()
    }

    async fn remove(&self, key: &str) {
        let client = self.store.s3().client();
        let remove = client.delete_object().bucket(&self.bucket).key(key).send().await;
        remove.expect("it is removed");
    }
}

#[tokio::test]
async fn each_entry_is_an_object_and_a_repeat_finds_them() {
    let world = World::new().await;
    let worker = world.worker(&[UNPACK]).await;
    let id = "1777093663-1";
    world.ccfs.script(id, [Reply::zip([64 << 10, 9000])]);

    world.call(id).await;
    let first = world.event().await.json();
    assert_eq!(first["type"], "recording.archived", "{first:#}");
    assert_eq!(first["data"]["alreadyArchived"], false);
    world.assert_unpacked(id, &first).await;
    assert_eq!(first["data"]["objects"][0]["audio"]["codec"], "pcm_alaw");
    assert_eq!(first["data"]["objects"][0]["key"], format!("acme/2026/04/25/{id}/1.wav"));
    let bytes: u64 =
        entries_of(world.ccfs.expected(id).to_vec()).values().map(|e| e.len() as u64).sum();
    assert_eq!(worker.metric("callvault_stored_bytes_total", &[]).await, bytes as f64);
    assert_eq!(worker.metric("callvault_jobs_total", &["outcome=\"archived\""]).await, 1.0);

    // They are found, and CC-FS is not asked.
    let repeat = world.asked_again(id).await;
    assert_eq!((&repeat["id"], &repeat["data"]["alreadyArchived"]), (&first["id"], &json!(true)));
    world.assert_unpacked(id, &repeat).await;
    let etags = |event: &Value| -> Vec<Value> {
        let objects = event["data"]["objects"].as_array().expect("objects");
        objects.iter().map(|object| json!([object["etag"], object["sha256"]])).collect()
    };
    assert_eq!(etags(&repeat), etags(&first));
    assert_eq!(world.ccfs.requests_for(id).len(), 1);
    // A call does not ask before; what it finds then is the same.
    world.call(id).await;
    let repeat = world.event().await.json();
    assert_eq!((&repeat["id"], &repeat["data"]["alreadyArchived"]), (&first["id"], &json!(true)));
    world.assert_unpacked(id, &repeat).await;
    assert_eq!(world.store.writes().len(), 2, "nothing was written twice");

    // Some of them are no recording.
    world.remove(&format!("acme/2026/04/25/{id}/2.wav")).await;
    let part = world.asked_again(id).await;
    assert_eq!((&part["id"], &part["data"]["alreadyArchived"]), (&first["id"], &json!(false)));
    world.assert_unpacked(id, &part).await;
    assert_eq!(world.ccfs.requests_for(id).len(), 3);
    assert_eq!(world.store.writes().len(), 3);

    // Other content under a key is a conflict; `force` stores over it.
    world.ccfs.script(id, [deflated(&[("1.wav", b"no sound"), ("2.wav", b"at all")])]);
    world.call(id).await;
    let conflict = world.event().await.json();
    assert_eq!(conflict["data"]["reason"]["code"], "store.conflict", "{conflict:#}");
    let mut force = again(id);
    force["force"] = true.into();
    world.publish(&force).await;
    let forced = world.event().await.json();
    assert_eq!(forced["type"], "recording.archived", "{forced:#}");
    assert_ne!(forced["id"], first["id"]);
    for (object, content) in
        forced["data"]["objects"].as_array().unwrap().iter().zip(["no sound", "at all"])
    {
        assert_eq!(object["contentType"], "application/octet-stream");
        let key = object["key"].as_str().unwrap();
        let there = world.store.s3().object(&world.bucket, key).await.expect("it is stored");
        assert_eq!(there.body, content);
    }

    // A store that does not let us list: archived all the same, and downloaded again.
    world.store.fault(Op::List, ALWAYS, Fault::Answer { status: 403, code: "AccessDenied" });
    let id = "1777093663-2";
    world.ccfs.script(id, [Reply::zip([9000, 9000, 9000])]);
    for already in [false, true] {
        let event = world.asked_again(id).await;
        assert_eq!(event["data"]["alreadyArchived"], already, "{event:#}");
        world.assert_unpacked(id, &event).await;
    }
    assert_eq!(world.ccfs.requests_for(id).len(), 2);
    let log = worker.stop().await;
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn what_cannot_be_unpacked_is_kept_as_it_is() {
    let world = World::new().await;
    let part = ("store", "part_size = \"5MiB\"");
    let worker = world.worker(&[UNPACK, part]).await;
    let broken = |zip: Recording| {
        let mut broken = zip.content("any").to_vec();
        broken[1000] ^= 1;
        Reply::recording(Recording::given(broken))
    };
    let silence = vec![0; 70 << 20];
    let truncated = Recording::wav(9000).sizes(Sizes::More(1000)).content("any").to_vec();
    let protocol = Some("ccfs.protocol");
    let long: &[u8] = &Recording::wav(6 << 20).content("any").to_vec();
    for (name, reply, tries, unproven) in [
        ("empty", deflated(&[("1.wav", b""), ("2.V3", b"sound")]), 1, None),
        ("many", Reply::zip([64; 1001]), 1, None),
        ("bomb", deflated(&[("1.V3", &silence)]), 1, None),
        ("name", deflated(&[(&"n".repeat(1000), b"x")]), 1, None),
        // In a file, not in memory.
        ("long", stored(&[("1.wav", long), ("2.wav", b"")]), 1, None),
        // What contradicts itself is what CC-FS has if it comes the same three times.
        ("broken", broken(Recording::zip([9000, 9000])), 3, protocol),
        ("longbroken", broken(Recording::zip([6 << 20, 9000])), 3, protocol),
        ("cut", stored(&[("1.wav", &truncated)]), 3, Some("ccfs.truncated")),
    ] {
        let id = format!("1777093663-{name}0");
        world.ccfs.script(&id, [reply]);
        world.call(&id).await;
        let event = world.event().await.json();
        assert_eq!(event["type"], "recording.archived", "{name}: {event:#}");
        assert_eq!(world.ccfs.requests_for(&id).len(), tries, "{name}");
        let objects = event["data"]["objects"].as_array().expect("objects");
        let [object] = &objects[..] else { panic!("{name}: one object is due: {event:#}") };
        let key = format!("acme/2026/04/25/{id}.zip");
        assert_eq!(
            (&object["key"], &object["contentType"]),
            (&json!(key), &json!("application/zip"))
        );
        assert_eq!(object.get("unproven").and_then(Value::as_str), unproven, "{name}");
        let stored = world.store.s3().object(&world.bucket, &key).await.expect("it is stored");
        assert!(stored.body == world.ccfs.expected(&id).to_vec(), "{name}: as CC-FS has it");
        assert_eq!(stored.metadata.get("unproven").map(String::as_str), unproven, "{name}");
        let repeat = world.asked_again(&id).await;
        assert_eq!(
            (&repeat["id"], &repeat["data"]["alreadyArchived"]),
            (&event["id"], &json!(true))
        );
        assert_eq!(world.ccfs.requests_for(&id).len(), tries, "{name}: found, not downloaded");
    }
    world.store.s3().no_upload_left(&world.bucket).await;
    let plain = "1777093663-3";
    world.call(plain).await;
    let key = format!("acme/2026/04/25/{plain}.wav");
    assert_eq!(world.event().await.json()["data"]["objects"][0]["key"], key);
    assert_eq!(worker.metric("callvault_buffer_bytes", &[]).await, 0.0, "all room is given back");
    let log = worker.stop().await;
    assert!(log.contains("entry 1 of the ZIP: it has no bytes"), "{log}");
}

/// CC-FS packs anew at each download, so that bytes differ where nothing else does.
#[tokio::test]
async fn a_damaged_entry_is_the_same_however_often_it_is_packed() {
    let world = World::new().await;
    let worker = world.worker(&[UNPACK]).await;
    let id = "1777093663-anew0";
    let damaged = Recording::wav(9000).sizes(Sizes::More(1000)).content("any").to_vec();
    let packed = |hour| {
        let time = zip::DateTime::from_date_and_time(2026, 4, 25, hour, 0, 0).expect("a time");
        zip_of(&[("1.wav", &damaged)], SimpleFileOptions::default().last_modified_time(time))
    };
    world.ccfs.script(id, [packed(5), packed(6), packed(7)]);
    world.call(id).await;
    let event = world.event().await.json();
    assert_eq!(event["type"], "recording.archived", "{event:#}");
    assert_eq!(event["data"]["objects"][0]["unproven"], "ccfs.truncated", "{event:#}");
    worker.stop().await;
}

/// Names are anybody's: none is a path, none is in a log.
#[tokio::test]
async fn names_of_entries_are_parts_of_keys() {
    let world = World::new().await;
    let worker = world.worker(&[UNPACK, ("log", "level = \"info\"")]).await;
    let id = "1777093663-1";
    let names = ["../../13800138000", "..", "C:\\13800138000", "录音 .wav"];
    let all: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, b"x".as_slice())).collect();
    world.ccfs.script(id, [deflated(&all)]);

    world.call(id).await;
    let event = world.event().await.json();
    let folder = format!("acme/2026/04/25/{id}/");
    let keys =
        ["%2E%2E", "%E5%BD%95%E9%9F%B3%20.wav", "..%2F..%2F13800138000", "C%3A%5C13800138000"];
    let keys = keys.map(|key| format!("{folder}{key}"));
    assert_eq!(world.store.s3().keys(&world.bucket, "").await, keys);
    let told = event["data"]["objects"].as_array().unwrap().iter();
    assert_eq!(told.map(|object| object["key"].as_str().unwrap()).collect::<Vec<_>>(), keys);
    assert_eq!(world.asked_again(id).await["data"]["alreadyArchived"], true);
    let alone = "1777093663-2";
    world.ccfs.script(alone, [deflated(&[("13800138000", b"x")])]);
    world.call(alone).await;
    let event = world.event().await.json();
    assert_eq!(event["data"]["objects"][0]["key"], format!("acme/2026/04/25/{alone}/13800138000"));
    let log = worker.stop().await;
    assert!(!log.contains("138001"), "{log}");
    for (id, objects) in [(id, 4), (alone, 1)] {
        let told = format!(r#""key":"acme/2026/04/25/{id}/","objects":{objects}"#);
        assert!(log.contains(&told), "{log}");
    }
}

#[tokio::test]
async fn a_worker_that_dies_between_two_entries_is_followed_by_one_that_stores_the_other() {
    let world = World::new().await;
    for (at, stored) in [("put_sent", 1), ("put_done", 1), ("put_done:2", 2)] {
        let id = &format!("1777093663-{}", at.replace([':', '_'], ""));
        world.ccfs.script(id, [Reply::zip([9000, 20_000])]);
        let mut doomed = world.doomed(&[UNPACK], &format!("{at}@{id}")).ready().await;
        world.call(id).await;
        doomed.crashed().await;
        let folder = format!("acme/2026/04/25/{id}/");
        assert_eq!(world.store.s3().keys(&world.bucket, &folder).await.len(), stored, "{at}");
        let jobs = world.queue("jobs");
        let noticed = async || (world.rabbit.consumers(&jobs).await == 0).then_some(());
        eventually("nobody consumes", SOON, noticed).await;

        let next = world.worker(&[UNPACK]).await;
        let event = world.event().await.json();
        world.assert_unpacked(id, &event).await;
        assert_eq!(event["data"]["alreadyArchived"], stored == 2, "{at}: {event:#}");
        assert_eq!(world.ccfs.requests_for(id).len(), 3 - stored, "{at}");
        let writes = world.store.writes();
        let own = writes.iter().filter(|write| write.key.starts_with(&folder));
        assert_eq!(own.count(), 2, "{at}: each is written once");
        world.settled(&next).await;
        assert_eq!(world.rabbit.ready(&world.events).await, 0, "{at}: one event");
        next.stop().await;
    }
}
