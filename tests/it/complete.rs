//! All that CC-FS knows is in the bucket in the end: three tenants, three days, five thousand recordings of
//! which a tenth never had a message, and whoever works at it is killed midway.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use futures_util::future::join_all;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::cli::Desk;
use crate::deploy::nightly;
use crate::metrics::OF_AUDIT;
use crate::support::broker::client::Seen;
use crate::support::ccfs::{IndexRow, Packages, Reply};
use crate::support::child::GuardedChild;
use crate::support::eventually;
use crate::support::worker::{Worker, sum_of};
use crate::support::world::{SOON, World, access_key, secret_key};

const RECORDINGS: usize = 5000;

/// The world's two, and one more.
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const DAYS: i64 = 3;

/// Of so many calls the messages come while the test looks on; a worker that is built for tests takes a
/// minute for all of them.
const TONIGHT: usize = 300;

/// Of a tenant and day so many calls have a message each; the others come in a dump.
const LIVE: usize = 20;

/// What became of a call before anybody asks CC-FS what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It lies in the bucket from earlier nights, with all of its files.
    Earlier,
    /// Its message came tonight, and CC-FS had all of its files.
    Whole,
    /// When its message came CC-FS had one file of it, and it has two by now.
    Grown,
    /// Nobody has sent a message.
    Unsent,
}

/// A call as CC-FS knows it.
#[derive(Clone, Debug)]
struct Call {
    tenant: &'static str,
    day: Date,
    id: String,
    /// On the clocks of its tenant, and for all.
    ended: (DateTime, Timestamp),
    files: usize,
    fate: Fate,
}

/// Zones where it is about noon: of no tenant a day ends while the test runs.
fn zones() -> [String; 3] {
    let hour = i32::from(callvault::clock::now().to_zoned(TimeZone::UTC).hour());
    [11, 12, 13].map(|noon| match noon - hour {
        0 => "Etc/GMT".to_owned(),
        // Counted to the west.
        east => format!("Etc/GMT{:+}", -east),
    })
}

/// As many calls as have five thousand recordings, always the same but for the days.
fn calls(zones: &[String; 3]) -> Vec<Call> {
    let zones = zones.each_ref().map(|zone| TimeZone::get(zone).expect("a zone of the database"));
    let mut random = fastrand::Rng::with_seed(13);
    let mut calls = Vec::new();
    let mut recordings = 0;
    for n in 0_usize.. {
        if recordings == RECORDINGS {
            break;
        }
        let (tenant, zone) = (TENANTS[n % 3], &zones[n % 3]);
        let today = callvault::clock::now().to_zoned(zone.clone()).date();
        let back = i64::try_from(n / 3).expect("few") % DAYS + 1;
        let day = today.checked_sub(back.days()).expect("a day of these years");
        let second = i64::try_from(n).expect("few");
        let here = day.at(10, 0, 0, 0).checked_add(second.seconds()).expect("the same day");
        let ended = here.to_zoned(zone.clone()).expect("the zone has all times").timestamp();
        let files = if random.usize(..20) == 0 && recordings + 2 <= RECORDINGS { 2 } else { 1 };
        let fate = match random.usize(..20) {
            0 | 1 => Fate::Unsent,
            2..=7 if files == 2 => Fate::Grown,
            _ if n < TONIGHT => Fate::Whole,
            _ => Fate::Earlier,
        };
        let id = format!("{}-{n}", ended.as_second());
        calls.push(Call { tenant, day, id, ended: (here, ended), files, fate });
        recordings += files;
    }
    calls
}

impl Call {
    /// The fields of a message or a dump that name it.
    fn named(&self) -> Value {
        json!({ "callId": self.id, "callEnd": self.ended.1.to_string() })
    }

    fn message(&self) -> Value {
        let mut message = self.named();
        message["type"] = json!("call.completed");
        message["tenant"] = json!(self.tenant);
        message
    }

    /// One a file, which are stored apart in CC-FS.
    fn rows(&self) -> impl Iterator<Item = IndexRow> {
        let end = self.ended.0;
        let begin = end.checked_sub(50.seconds()).expect("the same day");
        let day = self.day.strftime("%Y%m%d").to_string();
        (0..self.files).map(move |file| {
            let row = IndexRow::new(&*self.id, begin, end).agent("坐席 512");
            row.file_name(format!("X:/4/0/{day}/512/{}-{file}.V3", self.id))
        })
    }

    /// The keys that it has once all of it is there: what it has grown by lies beside what there was.
    fn keys(&self) -> impl Iterator<Item = String> {
        let kinds: &[&str] = match (self.files, self.fate) {
            (1, _) => &["wav"],
            (_, Fate::Grown) => &["wav", "zip"],
            _ => &["zip"],
        };
        let folder = self.day.strftime("%Y/%m/%d").to_string();
        kinds.iter().map(move |kind| format!("{}/{folder}/{}.{kind}", self.tenant, self.id))
    }
}

/// The world with all that CC-FS knows, and how a worker and an audit are configured in it.
async fn world(calls: &[Call], zones: &[String; 3]) -> (World, String) {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(640));
    let (access, secret) = (access_key("initech"), secret_key("initech"));
    world.ccfs.account(&access, &secret);
    for key in calls.iter().filter(|call| call.fate == Fate::Earlier).flat_map(Call::keys) {
        world.store.shelve(&world.bucket, &key, b"a recording");
    }
    for tenant in TENANTS {
        let own = calls.iter().filter(|call| call.tenant == tenant);
        world.ccfs.knows(&access_key(tenant), own.flat_map(Call::rows));
    }
    // Three releases of CC-FS.
    world.ccfs.packages(&access_key("globex"), Packages::default().columns(13).gbk());
    world.ccfs.packages(&access, Packages::default().files(2).with_calls());
    let [acme, globex, initech] = zones.each_ref().map(|zone| format!("time_zone = \"{zone}\""));
    let config = world.config(&[
        ("retry", "not_ready_window = \"1m\""),
        ("log", "level = \"warn\""),
        ("acme", &acme),
        ("globex", &globex),
    ]);
    let third = format!(
        "[[tenants]]\nid = \"initech\"\naccess_key = \"{access}\"\nsecret_key = \"{secret}\"\n{initech}\n"
    );
    (world, config + &third)
}

/// From here on CC-FS answers with both files of a call that has two.
fn give_both<'a>(world: &World, calls: impl Iterator<Item = &'a Call>) {
    for call in calls.filter(|call| call.files == 2) {
        world.ccfs.script(&call.id, [Reply::zip([320, 480])]);
    }
}

/// Messages of those that have one: live calls, and a dump, for each tenant and day.
async fn publish(world: &World, calls: &[Call]) {
    let days: BTreeSet<_> = calls.iter().map(|call| (call.tenant, call.day)).collect();
    for (tenant, day) in days {
        let of_day = |call: &&Call| (call.tenant, call.day) == (tenant, day);
        let sent = |call: &&Call| matches!(call.fate, Fate::Whole | Fate::Grown);
        let sent: Vec<_> = calls.iter().filter(of_day).filter(sent).collect();
        let (live, dumped) = sent.split_at(LIVE);
        let live: Vec<_> = live.iter().map(|call| call.message()).collect();
        join_all(live.iter().map(|message| world.publish(message))).await;
        let recordings: Vec<_> = dumped.iter().map(|call| call.named()).collect();
        let request = format!("{tenant}-{day}");
        let dump = json!({ "type": "recording.dump-requested", "tenant": tenant,
                           "requestId": request, "recordings": recordings });
        world.publish(&dump).await;
    }
}

/// A worker is killed when it has archived so many, and another one does the rest.
async fn archive(world: &World, mut worker: Worker, midway: f64, due: &BTreeSet<String>) {
    worker.metric_reaches("callvault_jobs_total", &["outcome=\"archived\""], midway).await;
    worker.restart();
    let worker = worker.ready().await;
    eventually("all that was asked for is archived", SOON, || async {
        for queue in ["jobs", "bulk", "retry.100ms", "retry.200ms"] {
            if world.depth(queue).await > 0 {
                return None;
            }
        }
        let in_flight = worker.metric("callvault_jobs_in_flight", &[]).await;
        let keys = async || world.store.s3().keys(&world.bucket, "").await;
        (in_flight == 0.0 && keys().await.iter().eq(due)).then_some(())
    })
    .await;
    worker.stop().await;
    assert_eq!(world.depth("dead").await, 0);
}

/// What an audit is to find, a tenant and day, where these are missing or not whole.
fn due(calls: &[Call], bucket: &str) -> Vec<Value> {
    let mut days = Vec::new();
    for tenant in TENANTS {
        let own: Vec<_> = calls.iter().filter(|call| call.tenant == tenant).collect();
        let dates: BTreeSet<_> = own.iter().map(|call| call.day).collect();
        for day in dates {
            let of = |fate: Option<Fate>| {
                let meant =
                    move |call: &&&Call| call.day == day && fate.is_none_or(|f| f == call.fate);
                own.iter().filter(meant).copied()
            };
            let rows = |fate| of(fate).map(|call| call.files).sum::<usize>();
            // Both rows of a call are one recording that is asked for.
            let asked = of(Some(Fate::Unsent)).chain(of(Some(Fate::Grown))).count();
            days.push(json!({
                "tenant": tenant, "day": day.to_string(), "bucket": bucket, "rows": rows(None),
                "present": rows(Some(Fate::Earlier)) + rows(Some(Fate::Whole)), "partial": rows(Some(Fate::Grown)),
                "missing": rows(Some(Fate::Unsent)), "empty": 0, "pending": 0, "bad": 0,
                "enqueued": asked,
            }));
        }
    }
    days
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_had_a_message_is_found_asked_for_and_archived_whoever_is_killed() {
    let zones = zones();
    let calls = calls(&zones);
    let wanting = || calls.iter().filter(|call| matches!(call.fate, Fate::Unsent | Fate::Grown));
    let (world, config) = world(&calls, &zones).await;
    let completed = world.rabbit.keep(&world.events_exchange, "audit.completed.#").await;
    let desk = Desk::new(&config);

    // Messages of all but a tenth have come; a worker dies amid the last of them.
    give_both(&world, calls.iter().filter(|call| call.fate == Fate::Whole));
    let worker = Worker::start(&config).ready().await;
    publish(&world, &calls).await;
    let single = |call: &Call| call.keys().take(1).collect::<Vec<_>>();
    let sent = calls.iter().filter(|call| call.fate != Fate::Unsent);
    archive(&world, worker, 100.0, &sent.flat_map(single).collect()).await;
    give_both(&world, wanting());

    // An audit is killed when it has asked for what two of the tenants lack, and one has no index yet.
    world.ccfs.packages(&access_key("acme"), Packages::default().not_ready(usize::MAX));
    let line = "audit --config callvault.toml --since 3d --enqueue --json";
    let mut command = desk.command(line, &[]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut audit = GuardedChild::spawn(&mut command).expect("it starts");
    world.rabbit.until_ready(&completed, 6).await;
    assert_eq!(audit.exited(), None);
    audit.kill();
    world.ccfs.packages(&access_key("acme"), Packages::default());

    // The next one finds exactly what is not there, and asks for it.
    let ended = desk.run(line);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let mut told: Value = serde_json::from_str(&ended.stdout).expect("one document");
    for day in told["days"].as_array_mut().expect("a list") {
        let request = day.as_object_mut().expect("an object").remove("requestId");
        assert!(request.is_some(), "something was asked for: {day}");
    }
    assert_eq!(told["days"], json!(due(&calls, &world.bucket)));
    assert_eq!((&told["rows"], &told["complete"]), (&json!(RECORDINGS), &json!(false)));

    // It is archived, though a worker dies amid it. Nothing else is downloaded again.
    let before = world.ccfs.requests().len();
    let worker = Worker::start(&config).ready().await;
    archive(&world, worker, 100.0, &calls.iter().flat_map(Call::keys).collect()).await;
    let requests = world.ccfs.requests();
    let asked: BTreeSet<_> =
        requests[before..].iter().filter_map(|seen| seen.asked.call_id.as_ref()).collect();
    assert_eq!(asked, wanting().map(|call| &call.id).collect());

    // The night comes: all is there.
    let [words, _] = nightly();
    let line = words.join(" ").replace(&words[5], "audit.prom");
    let ended = desk.run(&line.replace("/etc/callvault/", ""));
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let last = ended.stdout.lines().last().unwrap_or_default();
    assert!(last.starts_with("9 days of 3 tenants: 5000 rows, 5000 present, "), "{last}");
    assert!(last.ends_with("; complete"), "{last}");
    assert_eq!(world.depth("jobs").await, 0, "nothing is asked for");
    the_numbers_are_for_prometheus(&desk, &calls);
    its_events_say_so(&world.rabbit.take_many(&completed, 6 + 9 + 9).await);
}

fn the_numbers_are_for_prometheus(desk: &Desk, calls: &[Call]) {
    let path = desk.folder().join("audit.prom");
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "the exporter is another user");
    let told = fs::read_to_string(path).expect("text");
    let comments = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(comments(&told), comments(OF_AUDIT), "alerts and dashboards count with these");
    let of =
        |name: &str, labels: &[&str]| sum_of(&told, &format!("callvault_audit_{name}"), labels);
    let age = callvault::clock::now().as_second() as f64 - of("timestamp_seconds", &[]);
    assert!((0.0..SOON.as_secs_f64()).contains(&age), "{age}");
    assert_eq!(of("days", &[]), DAYS as f64);
    for tenant in TENANTS {
        let own = format!("tenant=\"{tenant}\"");
        let rows = calls.iter().filter(|call| call.tenant == tenant).map(|call| call.files);
        assert_eq!(of("indexed", &[&own]), 1.0);
        assert_eq!(of("recordings", &[&own, "state=\"present\""]), rows.sum::<usize>() as f64);
        assert_eq!(of("asked", &[&own]), 0.0);
        let states = told.matches(&format!("callvault_audit_recordings{{{own},state=")).count();
        assert_eq!(states, 6, "zeros are shown");
    }
    assert_eq!(of("recordings", &[]), RECORDINGS as f64);
}

/// Those of the audit that was killed, of the next, and of the last one.
fn its_events_say_so(events: &[Seen]) {
    let events: Vec<_> = events.iter().map(Seen::json).collect();
    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), events.len(), "each audit has ids of its own");
    let sum = |events: &[Value], name: &str| -> u64 {
        events.iter().map(|event| event["data"][name].as_u64().expect("a number")).sum()
    };
    let last = &events[15..];
    assert_eq!(sum(last, "rows"), RECORDINGS as u64);
    assert_eq!(sum(last, "present"), RECORDINGS as u64);
    for name in ["partial", "missing", "empty", "pending", "bad", "enqueued"] {
        assert_eq!(sum(last, name), 0, "{name}");
    }
    assert!(sum(&events[6..15], "missing") > 400 && sum(&events[6..15], "partial") > 20);
}
