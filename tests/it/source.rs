//! At the source: what CC-FS itself holds in a bad shape is archived as it is, once it has come the
//! same at three tries; what only looks bad is archived at once (contract 3).

mod again;

use std::io::{Cursor, Write};

use serde_json::{Value, json};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::support::ccfs::{Framing, Recording, Reply, Sizes, ZipFault};
use crate::support::world::World;

const PART: (&str, &str) = ("store", "part_size = \"5MiB\"");

/// More than a part.
const LONG: u64 = 6 << 20;

/// A call, and what its object must be.
struct Case {
    id: String,
    extension: &'static str,
    reply: Reply,
    /// What CC-FS itself has wrong in it.
    unproven: Option<&'static str>,
}

fn case(name: &str, extension: &'static str, reply: Reply, unproven: Option<&'static str>) -> Case {
    Case { id: format!("1777093663_{name}"), extension, reply, unproven }
}

impl World {
    /// Asks for each, and sees each archived as CC-FS has it, at the try that `attempts` says.
    async fn archived_as_they_are(&self, cases: &[Case], attempts: u32) -> Vec<Value> {
        for case in cases {
            self.ccfs.script(&case.id, [case.reply.clone()]);
            self.call(&case.id).await;
        }
        let events = self.events(cases.len()).await;
        for event in &events {
            let told = format!("{event:#}");
            assert_eq!(event["type"], "recording.archived", "{told}");
            let id = event["data"]["callId"].as_str().expect("a callId");
            let case = cases.iter().find(|case| case.id == id).expect("one of the cases");
            assert_eq!(event["data"]["attempts"], attempts, "{told}");
            assert_eq!(self.ccfs.requests_for(id).len(), attempts as usize, "{told}");
            self.is_stored(case, event).await;
        }
        self.store.s3().no_upload_left(&self.bucket).await;
        events
    }

    async fn is_stored(&self, case: &Case, event: &Value) {
        let told = format!("{event:#}");
        let content = self.ccfs.expected(&case.id);
        let [object] = &event["data"]["objects"].as_array().expect("objects")[..] else {
            panic!("one object is due: {told}");
        };
        let key = format!("acme/2026/04/25/{}.{}", case.id, case.extension);
        assert_eq!(object["key"], key, "{told}");
        assert_eq!(object["size"], content.length(), "{told}");
        assert_eq!(object.get("unproven").and_then(Value::as_str), case.unproven, "{told}");
        let stored = self.store.s3().object(&self.bucket, &key).await.expect("it is stored");
        assert!(stored.body == content.to_vec(), "{key} is what CC-FS has");
        let unproven = stored.metadata.get("unproven").map(String::as_str);
        assert_eq!(unproven, case.unproven, "{key}");
    }
}

/// Bodies whose framing is proven and whose content is not, in one part and in several.
fn damaged() -> Vec<Case> {
    let truncated = Some("ccfs.truncated");
    let wav = |bytes, sizes| Reply::recording(Recording::wav(bytes).sizes(sizes));
    let zip = |fault| Reply::recording(Recording::zip([9000, 9000]).fault(fault));
    let long = Recording::zip([LONG, 9000]).fault(ZipFault::NoEnd);
    vec![
        case("short", "wav", wav(9000, Sizes::More(1000)), truncated),
        case("chunks", "wav", wav(9000, Sizes::More(2)).framing(Framing::Chunked), truncated),
        case("long", "wav", wav(LONG, Sizes::More(1000)), truncated),
        case("l-c", "wav", wav(LONG, Sizes::More(2)).framing(Framing::Chunked), truncated),
        case("no_end", "zip", zip(ZipFault::NoEnd), truncated),
        case("no_directory", "zip", zip(ZipFault::BadDirectory), truncated),
        case("long_zip", "zip", Reply::recording(long), truncated),
        case("nothing", "zip", Reply::zip([]), Some("ccfs.empty")),
        case("no_sound", "wav", no_sound(), Some("ccfs.protocol")),
        // Shorter than what a format is known by.
        case("one_byte", "wav", stump(b"R"), truncated),
        case("three_bytes", "wav", stump(b"RIF").framing(Framing::Chunked), truncated),
        case("no_form", "wav", stump(b"RIFF\x24\0\0\0WAV"), truncated),
        case("zip_byte", "zip", stump(b"P"), truncated),
        case("zip_mark", "zip", stump(b"PK"), truncated),
    ]
}

/// A whole WAV without a data chunk.
fn no_sound() -> Reply {
    let wav = b"RIFF\x1c\0\0\0WAVEfmt \x10\0\0\0\x06\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0";
    Reply::recording(Recording::given(&wav[..]))
}

fn stump(bytes: &'static [u8]) -> Reply {
    Reply::recording(Recording::given(bytes))
}

#[tokio::test]
async fn what_comes_the_same_three_times_is_stored_as_it_is() {
    let world = World::new().await;
    let worker = world.worker(&[PART]).await;
    let cases = damaged();

    let events = world.archived_as_they_are(&cases, 3).await;
    let audio = |name: &str| {
        let of = |event: &&Value| event["data"]["callId"].as_str().unwrap().ends_with(name);
        events.iter().find(of).expect("its event")["data"]["objects"][0]["audio"].clone()
    };
    // What is there can be heard: 58 bytes of header, then 8,000 in a second.
    assert_eq!(audio("_short")["durationMs"], 1118);
    assert_eq!(audio("_no_sound")["codec"], "pcm_alaw");
    let counted = |reason| worker_count(&worker, reason);
    assert_eq!(counted("ccfs.truncated").await, 12.0);
    assert_eq!(counted("ccfs.empty").await, 1.0);
    assert_eq!(counted("ccfs.protocol").await, 1.0);
    assert_eq!(worker.metric("callvault_dead_total", &[]).await, 0.0);

    // Asked for again, it is announced as it was, and CC-FS is left alone.
    for case in &cases {
        world.publish(&again(&case.id)).await;
    }
    for event in world.events(cases.len()).await {
        assert_eq!(event["data"]["alreadyArchived"], true, "{event:#}");
        let id = event["data"]["callId"].as_str().expect("a callId");
        let case = cases.iter().find(|case| case.id == id).expect("one of the cases");
        world.is_stored(case, &event).await;
        let first = events.iter().find(|event| event["data"]["callId"] == *id).unwrap();
        assert_eq!(event["id"], first["id"]);
        let audio = |event: &Value| event["data"]["objects"][0]["audio"].clone();
        assert_eq!(audio(&event), audio(first), "{id}");
        assert_eq!(world.ccfs.requests_for(id).len(), 3);
    }
    assert_eq!(counted("ccfs.truncated").await, 12.0, "it was stored once");
    let log = worker.stop().await;
    let warned = |line: &&str| line.contains(r#""unproven":"ccfs."#) && line.contains("WARN");
    assert_eq!(log.lines().filter(warned).count(), cases.len(), "{log}");
}

async fn worker_count(worker: &crate::support::worker::Worker, reason: &str) -> f64 {
    let labels = ["tenant=\"acme\"", &format!("reason=\"{reason}\"")];
    worker.metric("callvault_unproven_total", &labels).await
}

/// A dump of one, which asks for what is there.
fn again(call_id: &str) -> Value {
    json!({ "type": "recording.dump-requested", "tenant": "acme", "requestId": "again",
            "recordings": [{ "callId": call_id, "callEnd": "2026-04-25T05:12:44Z" }] })
}

/// Three tries are what it takes to know, whatever a message may have.
#[tokio::test]
async fn what_is_damaged_has_three_tries_where_others_have_one() {
    let world = World::new().await;
    let one = ("retry", "delays = [\"100ms\"]\nmax_attempts = 1");
    let worker = world.worker(&[one]).await;
    let damaged = Reply::recording(Recording::wav(9000).sizes(Sizes::More(1000)));
    let cases = [case("damaged", "wav", damaged, Some("ccfs.truncated"))];
    world.archived_as_they_are(&cases, 3).await;

    let other = "1777093663-c7";
    world.call(other).await;
    let event = world.event().await.json();
    assert_eq!(event["data"]["reason"]["code"], "ccfs.7", "{event:#}");
    assert_eq!(event["data"]["attempts"], 1);
    worker.stop().await;
}

#[tokio::test]
async fn what_differs_from_try_to_try_is_no_object() {
    let world = World::new().await;
    let worker = world.worker(&[PART]).await;
    let damaged =
        |bytes, seed| Reply::recording(Recording::wav(bytes).sizes(Sizes::More(1000)).seed(seed));
    let short: Vec<_> = (1..=3).map(|seed| damaged(9000, seed)).collect();
    // The third has the length of the others, and is seen to be another one at its end.
    let long = vec![damaged(LONG, 1), damaged(LONG, 1), damaged(LONG, 2)];
    // Where the connection ends the body, nothing shows whether it came whole.
    let closing = damaged(9000, 1).framing(Framing::Close);
    let cut = Reply::wav(9000).cut_at(4000);
    for (id, replies) in [
        ("1777093663_short", short),
        ("1777093663_long", long),
        ("1777093663_closing", vec![closing]),
        ("1777093663_cut", vec![cut]),
    ] {
        world.ccfs.script(id, replies);
        world.call(id).await;
    }
    for event in world.events(4).await {
        assert_eq!(event["type"], "recording.failed", "{event:#}");
        assert_eq!(event["data"]["reason"]["code"], "ccfs.truncated", "{event:#}");
        assert_eq!(event["data"]["attempts"], 3, "{event:#}");
    }
    assert_eq!(world.store.s3().keys(&world.bucket, "").await, [""; 0]);
    world.store.s3().no_upload_left(&world.bucket).await;
    worker.stop().await;
}

/// An upload that says it is damaged is not completed with what is whole.
#[tokio::test]
async fn what_is_whole_at_last_says_nothing_else() {
    let world = World::new().await;
    let worker = world.worker(&[PART]).await;
    for (name, bytes, tries) in [("short", 9000, 3), ("long", LONG, 4)] {
        let id = format!("1777093663_{name}");
        let damaged = || Reply::recording(Recording::wav(bytes).sizes(Sizes::More(1000)));
        world.ccfs.script(&id, [damaged(), damaged(), Reply::wav(bytes)]);
        world.call(&id).await;
        let event = world.event().await.json();
        assert_eq!(event["type"], "recording.archived", "{event:#}");
        assert_eq!(event["data"]["attempts"], 3, "{event:#}");
        assert_eq!(world.ccfs.requests_for(&id).len(), tries, "{event:#}");
        let whole = case(name, "wav", Reply::wav(bytes), None);
        world.is_stored(&whole, &event).await;
    }
    world.store.s3().no_upload_left(&world.bucket).await;
    worker.stop().await;
}

#[tokio::test]
async fn what_only_looks_damaged_is_archived_at_once() {
    const SOX: &[u8] = include_bytes!("../fixtures/wav-sizes/sox-pipe.wav");
    const FILE_SIZE: &[u8] = include_bytes!("../fixtures/wav-sizes/riff-is-file-size.wav");
    let world = World::new().await;
    let worker = world.worker(&[PART]).await;
    let given = |bytes: &[u8]| Reply::recording(Recording::given(bytes.to_vec()));
    let zip = Recording::zip([9000, 400]).content("any").to_vec();
    let padded = |more: &[u8]| given(&[&zip[..], more].concat());
    let mut lies = zip.clone();
    let at = lies.len() - 2;
    lies[at] = 9;
    // Longer than a part: what is heard is known from the header and the length.
    let mut long = Recording::wav(LONG).content("any").to_vec();
    long[4..8].copy_from_slice(&0x7FFF_F024_u32.to_le_bytes());
    long[54..58].copy_from_slice(&0x7FFF_F000_u32.to_le_bytes());
    let cases = [
        case("sox", "wav", given(SOX), None),
        case("sox_chunks", "wav", given(SOX).framing(Framing::Chunked), None),
        case("file_size", "wav", given(FILE_SIZE), None),
        case("long", "wav", given(&long), None),
        case("zeros", "zip", padded(&[0; 512]), None),
        case("line", "zip", padded(b"\r\n"), None),
        case("comment", "zip", given(&lies), None),
        case("empty_entry", "zip", given(&packed(&[("1.wav", b""), ("2.wav", SOX)])), None),
    ];
    let events = world.archived_as_they_are(&cases, 1).await;
    for event in &events {
        let object = &event["data"]["objects"][0];
        let duration = match event["data"]["callId"].as_str().unwrap() {
            "1777093663_long" => json!((LONG - 58).div_ceil(8)),
            id if id.contains("sox") || id.contains("file_size") => json!(2000),
            _ => Value::Null,
        };
        assert_eq!(object["audio"]["durationMs"], duration, "{event:#}");
    }
    worker.stop().await;
}

/// A ZIP of stored entries.
fn packed(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, options).expect("a name that is new");
        zip.write_all(content).expect("memory takes all");
    }
    zip.finish().expect("memory takes all").into_inner()
}
