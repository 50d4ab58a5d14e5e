//! Asked for again: the same recording is the same, though CC-FS makes its ZIP anew; and an event
//! is complete, however much later it comes.

use std::io::Cursor;

use serde_json::{Value, json};
use zip::ZipArchive;

use super::{LONG, PART, again, packed};
use crate::support::ccfs::{Framing, Recording, Reply, Sizes};
use crate::support::s3::Op;
use crate::support::world::World;

/// The same entries, packed four seconds later.
fn made_anew(zip: &[u8]) -> Vec<u8> {
    let mut anew = zip.to_vec();
    let mut archive = ZipArchive::new(Cursor::new(zip)).expect("a good ZIP");
    for at in 0..archive.len() {
        let entry = archive.by_index(at).expect("a good entry");
        let places = [entry.header_start() + 10, entry.central_header_start() + 12];
        for place in places {
            anew[usize::try_from(place).expect("it is in memory")] += 2;
        }
    }
    anew
}

/// A ZIP of 2,000 entries, one of them this.
fn many(sound: &[u8]) -> Vec<u8> {
    let name = |number: u32| format!("{number:0100}.V3");
    let names: Vec<_> = (0..2000).map(name).collect();
    let mut entries: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    entries[1000].1 = sound;
    let zip = packed(&entries);
    assert!(ZipArchive::new(Cursor::new(&zip)).is_ok_and(|zip| zip.len() == 2000));
    zip
}

#[tokio::test]
async fn a_zip_made_anew_is_the_same_recording() {
    const FIRST: &[u8] = include_bytes!("../../fixtures/zip-made-anew/first.zip");
    const SECOND: &[u8] = include_bytes!("../../fixtures/zip-made-anew/second.zip");
    let given = |bytes: &[u8]| Reply::recording(Recording::given(bytes.to_vec()));
    let long = Recording::zip([LONG, 9000]).content("any").to_vec();
    let long_anew = made_anew(&long);
    assert_ne!(long, long_anew);
    // Directories longer than what is read of an object's end, in one part and in several.
    let many = many(&[]);
    let many_long = self::many(&long);
    let (many_anew, many_long_anew) = (made_anew(&many), made_anew(&many_long));
    // Bytes of another length, as well.
    let padded = [SECOND, b"\r\n"].concat();
    for conditional in ["auto", "never"] {
        let world = World::new().await;
        let setting = format!("conditional = \"{conditional}\"");
        let worker = world.worker(&[PART, ("store", &setting)]).await;
        for (name, first, second) in [
            ("short", FIRST, SECOND),
            ("padded", FIRST, &padded),
            ("long", &long, &long_anew),
            ("many", &many, &many_anew),
            ("many_long", &many_long, &many_long_anew),
        ] {
            let id = format!("1777093663-{name}0");
            world.ccfs.script(&id, [given(first), given(second)]);
            let what = format!("{name}, conditional = {conditional}");
            for already in [false, true] {
                world.call(&id).await;
                let event = world.event().await.json();
                assert_eq!(event["type"], "recording.archived", "{what}: {event:#}");
                assert_eq!(event["data"]["alreadyArchived"], already, "{what}");
                assert_eq!(event["data"]["objects"][0]["size"], first.len(), "{what}");
            }
            let key = format!("acme/2026/04/25/{id}.zip");
            let stored = world.store.s3().object(&world.bucket, &key).await.expect("it is stored");
            assert!(stored.body == first, "{what}: it is the first");
        }
        // A few bytes of its end were read, and its directory, no more.
        for get in world.store.seen_of(Op::Get) {
            let range = get.header("range").and_then(|range| range.strip_prefix("bytes="));
            let (from, to) = range.and_then(|range| range.split_once('-')).expect("a range");
            let [from, to] = [from, to].map(|at| at.parse::<u64>().expect("a place"));
            assert!(to - from < 400_000, "{from} to {to}");
        }

        // Other sound under the same names is another recording.
        let id = "1777093663-other0";
        let [one, other] = [b"one sound", b"or other."].map(|sound| self::many(sound));
        world.ccfs.script(id, [given(&one), given(&other)]);
        world.call(id).await;
        assert_eq!(world.event().await.json()["type"], "recording.archived");
        world.call(id).await;
        let conflict = world.event().await.json();
        assert_eq!(conflict["data"]["reason"]["code"], "store.conflict", "{conflict:#}");
        world.store.s3().no_upload_left(&world.bucket).await;
        worker.stop().await;
    }
}

/// A call that was transferred has several files, of which a live message found the first alone.
#[tokio::test]
async fn a_single_file_does_not_stand_for_several() {
    let world = World::new().await;
    let worker = world.worker(&[("globex", "[tenants.store]\nzip = \"unpack\"")]).await;
    for tenant in ["acme", "globex"] {
        let id = format!("1777093663-{tenant}0");
        let mut call = crate::support::world::call(&id);
        call["tenant"] = json!(tenant);
        world.ccfs.script(&id, [Reply::wav(9000), Reply::zip([9000, 400, 20_000])]);
        world.publish(&call).await;
        let first = world.event().await.json();
        assert_eq!(first["type"], "recording.archived", "{first:#}");

        let ask = async |expected: Option<u64>| {
            let mut ask = again(&id);
            ask["tenant"] = json!(tenant);
            ask["recordings"][0]["expected"] = expected.map_or(Value::Null, Value::from);
            world.publish(&ask).await;
            world.event().await.json()
        };
        // One is one, and who expects nothing takes what is there.
        for expected in [None, Some(1)] {
            let found = ask(expected).await;
            assert_eq!(
                (&found["id"], &found["data"]["alreadyArchived"]),
                (&first["id"], &json!(true))
            );
        }
        assert_eq!(world.ccfs.requests_for(&id).len(), 1);
        let all = ask(Some(3)).await;
        assert_eq!(all["type"], "recording.archived", "{all:#}");
        assert_eq!(all["data"]["alreadyArchived"], false, "{all:#}");
        assert_ne!(all["id"], first["id"], "a WAV and a ZIP are two");
        let stored = world.store.s3().keys(&world.bucket, &format!("{tenant}/")).await;
        assert_eq!(stored.len(), if tenant == "acme" { 2 } else { 4 }, "beside it: {stored:?}");
        // What is there now stands for all of it.
        let found = ask(Some(3)).await;
        assert_eq!((&found["id"], &found["data"]["alreadyArchived"]), (&all["id"], &json!(true)));
        assert_eq!(world.ccfs.requests_for(&id).len(), 2);
    }
    worker.stop().await;
}

/// Seen: of 2,000 events after kills, 80 did not say what is heard.
#[tokio::test]
async fn an_event_that_comes_later_says_what_the_first_would_have_said() {
    let world = World::new().await;
    let unpack = ("globex", "[tenants.store]\nzip = \"unpack\"");
    let worker = world.worker(&[PART, unpack]).await;
    let chunks = Reply::recording(Recording::wav(LONG).sizes(Sizes::Zero));
    for (name, tenant, reply) in [
        ("short", "acme", Reply::wav(9000)),
        ("long", "acme", Reply::wav(LONG)),
        // How long it lasts is known at its end alone.
        ("chunks", "acme", chunks.framing(Framing::Chunked)),
        ("zip", "acme", Reply::zip([9000, 20_000])),
        ("unpacked", "globex", Reply::zip([9000, LONG])),
    ] {
        let id = format!("1777093663-{name}0");
        world.ccfs.script(&id, [reply]);
        let mut call = crate::support::world::call(&id);
        call["tenant"] = json!(tenant);
        world.publish(&call).await;
        let first = world.event().await.json();
        assert_eq!(first["data"]["alreadyArchived"], false, "{first:#}");
        let mut again = again(&id);
        again["tenant"] = json!(tenant);
        world.publish(&again).await;
        let later = world.event().await.json();
        assert_eq!(later["data"]["alreadyArchived"], true, "{later:#}");
        assert_eq!(later["id"], first["id"]);
        let heard = |event: &Value| -> Vec<Value> {
            let objects = event["data"]["objects"].as_array().expect("objects");
            objects.iter().map(|object| object["audio"].clone()).collect()
        };
        assert_eq!(heard(&later), heard(&first), "{name}");
        assert_eq!(heard(&first).iter().any(Value::is_null), name == "zip", "{name}");
        assert_eq!(world.ccfs.requests_for(&id).len(), 1, "{name}");
    }
    let stored = "acme/2026/04/25/1777093663-short0.wav";
    let stored = world.store.s3().object(&world.bucket, stored).await.expect("it is stored");
    assert_eq!(stored.metadata["audio"], "pcm_alaw;8000;1;1118");
    worker.stop().await;
}

/// An older version wrote nothing of it into the metadata.
#[tokio::test]
async fn what_an_older_version_stored_is_listened_to() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let wav = Recording::wav(LONG).content("any").to_vec();
    let text = b"this is no sound".to_vec();
    for (id, body, heard) in [("1777093663-1", wav, true), ("1777093663-2", text, false)] {
        let key = format!("acme/2026/04/25/{id}.wav");
        let put = world.store.s3().client().put_object().bucket(&world.bucket).key(&key);
        let put = put.metadata("tenant", "acme").metadata("call-id", id);
        let put = put.content_type("audio/wav").body(body.into());
        put.send().await.expect("it is stored");
        world.publish(&again(id)).await;
        let event = world.event().await.json();
        assert_eq!(event["data"]["alreadyArchived"], true, "{event:#}");
        let audio = &event["data"]["objects"][0]["audio"];
        let told = json!({ "codec": "pcm_alaw", "sampleRate": 8000, "channels": 1,
                           "durationMs": (LONG - 58).div_ceil(8) });
        assert_eq!(*audio, if heard { told } else { Value::Null }, "{event:#}");
    }
    for get in world.store.seen_of(Op::Get) {
        assert!(get.header("range").is_some_and(|range| range.starts_with("bytes=0-")));
    }
    assert_eq!(world.ccfs.requests().len(), 0);
    worker.stop().await;
}
