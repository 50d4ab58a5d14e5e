//! What a worker process shows over HTTP (contract 7), from its first moment on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use callvault::failure::Reason;
use callvault::runbook;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::broker::node;
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::link::Link;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, call};

/// A fresh worker whose broker is away until `link` is restored.
async fn without_a_broker(world: &World) -> (Worker, Link) {
    let node = node().await;
    let port = node.amqp_port();
    let mut link = Link::to(SocketAddr::from(([127, 0, 0, 1], port))).await;
    link.close().await;
    let amqp = node.url().replace(&format!(":{port}/"), &format!(":{}/", link.address().port()));
    let config = world.config_at(&amqp, &world.ccfs.url(), world.store.s3().endpoint(), &[]);
    let worker = Worker::start(&config);
    assert_eq!(worker.get("/livez").await, (200, "alive\n".to_owned()));
    (worker, link)
}

/// The first of its servers of this kind.
async fn server(worker: &Worker, kind: &str) -> Value {
    let (_, status) = answer(worker, "/api/status").await;
    let servers = status["servers"].as_array().expect("a list");
    servers.iter().find(|server| server["kind"] == kind).expect("each kind is there").clone()
}

/// Waits until a server stands so.
async fn server_becomes(worker: &Worker, kind: &str, state: &str) -> Value {
    eventually(&format!("{kind} is {state}"), SOON, || async {
        let server = server(worker, kind).await;
        (server["state"] == state).then_some(server)
    })
    .await
}

async fn answer(worker: &Worker, path: &str) -> (u16, Value) {
    let (status, body) = worker.get(path).await;
    let body =
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}\n{body}"));
    (status, body)
}

/// Status, head in lower case, body.
async fn ask(worker: &Worker, method: &str, path: &str) -> (u16, String, String) {
    ask_as("localhost", worker, method, path).await
}

/// The same under a name of the caller's.
async fn ask_as(host: &str, worker: &Worker, method: &str, path: &str) -> (u16, String, String) {
    let address = ("127.0.0.1", worker.port());
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers in UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn ready_is_503_with_the_reason_until_the_broker_is_there() {
    let world = World::new().await;
    let (worker, mut link) = without_a_broker(&world).await;
    let (status, ready) = eventually("it says why", SOON, || async {
        let (status, ready) = answer(&worker, "/readyz").await;
        ready["reason"].as_str()?.contains("refused").then_some((status, ready.clone()))
    })
    .await;
    assert_eq!((status, ready["status"].as_str()), (503, Some("connecting")));
    let reason = ready["reason"].as_str().unwrap();
    assert!(reason.contains(&link.address().to_string()), "who refuses: {reason}");
    assert!(!reason.contains("guest"), "no password: {reason}");
    let (status, shown) = answer(&worker, "/api/status").await;
    assert_eq!((status, shown["broker"]["connected"].as_bool()), (200, Some(false)));

    let broker = server(&worker, "broker").await;
    let trouble = (&broker["state"], &broker["lastTrouble"]["reason"]);
    assert_eq!(trouble, (&"down".into(), &"broker.not_connected".into()), "{broker}");
    assert_eq!(broker["target"], format!("{}/%2F", link.address()), "{broker}");

    link.restore().await;
    let worker = worker.ready().await;
    server_becomes(&worker, "broker", "well").await;
    assert_eq!(answer(&worker, "/readyz").await, (200, json!({ "status": "consuming" })));
    assert_eq!(worker.metric("callvault_broker_connected", &[]).await, 1.0);

    link.close().await;
    eventually("it notices the loss", SOON, || async {
        (answer(&worker, "/readyz").await.0 == 503).then_some(())
    })
    .await;
    assert_eq!(answer(&worker, "/api/status").await.1["broker"]["connected"], false);
    server_becomes(&worker, "broker", "down").await;
    link.restore().await;
    let worker = worker.ready().await;
    worker.metric_reaches("callvault_broker_reconnects_total", &[], 1.0).await;
    worker.stop().await;
}

/// A label's name and values.
type Label = (&'static str, &'static [&'static str]);

/// Contract 7: name, type, and label names with the values that stand from the start; none where all
/// begin when they are first counted.
const CONTRACT: &[(&str, &str, &[Label])] = &[
    ("messages_received_total", "counter", &[("type", TYPES)]),
    ("messages_settled_total", "counter", &[("how", &["acked", "given_back"])]),
    ("jobs_total", "counter", &[("tenant", ALL_TENANTS), ("outcome", OUTCOMES)]),
    ("retries_total", "counter", &[("tenant", &[]), ("reason", &[])]),
    ("dead_total", "counter", &[("tenant", &[]), ("reason", &[])]),
    ("unproven_total", "counter", &[("tenant", &[]), ("reason", &[])]),
    ("job_duration_seconds", "histogram", &[("outcome", OUTCOMES)]),
    (
        "stage_duration_seconds",
        "histogram",
        &[("stage", &["download", "upload", "announce"]), ("result", &["ok", "error", "canceled"])],
    ),
    ("archive_lag_seconds", "histogram", &[("tenant", &[])]),
    ("downloaded_bytes_total", "counter", &[("tenant", ALL_TENANTS)]),
    ("stored_bytes_total", "counter", &[("tenant", ALL_TENANTS)]),
    ("recording_size_bytes", "histogram", &[]),
    ("ccfs_responses_total", "counter", &[("tenant", &[]), ("code", &[])]),
    (
        "store_requests_total",
        "counter",
        &[
            ("operation", &["put", "head", "create_multipart", "upload_part"]),
            ("result", &["ok", "timeout", "unreachable", "other", "SlowDown", "AccessDenied"]),
        ],
    ),
    ("jobs_in_flight", "gauge", &[("tenant", ALL_TENANTS)]),
    ("buffer_bytes", "gauge", &[]),
    ("buffer_limit_bytes", "gauge", &[]),
    ("broker_connected", "gauge", &[]),
    ("broker_reconnects_total", "counter", &[]),
    ("tenant_concurrency_limit", "gauge", &[("tenant", TENANTS)]),
    ("tenants", "gauge", &[]),
    ("config_reloads_total", "counter", &[("result", &["ok", "error"])]),
    ("breaker_open", "gauge", &[("target", &["ccfs:{ccfs}", "store:{store}", "events"])]),
    ("build_info", "gauge", &[("version", &[env!("CARGO_PKG_VERSION")]), ("revision", &[""])]),
];

const TENANTS: &[&str] = &["acme", "globex"];
const ALL_TENANTS: &[&str] = &["acme", "globex", "unknown"];
const TYPES: &[&str] =
    &["call.completed", "recording.dump-requested", "recording.dump-item", "invalid"];
const OUTCOMES: &[&str] =
    &["archived", "already_archived", "absent", "retried", "dead", "expanded"];
/// Values that are not zero from the start.
const NOT_ZERO: &[&str] =
    &["buffer_limit_bytes", "tenant_concurrency_limit", "tenants", "build_info"];

/// Every combination of the label values, as conditions on a line.
fn combinations(labels: &[Label], (ccfs, store): (&str, &str)) -> Vec<Vec<String>> {
    labels.iter().fold(vec![Vec::new()], |all, (label, values)| {
        let condition = |value: &&str| match *value {
            "" => format!("{label}=\""),
            value => {
                let value = value.replace("{store}", store).replace("{ccfs}", ccfs);
                format!("{label}=\"{value}\"")
            }
        };
        let with = |have: &Vec<String>, value| [have.clone(), vec![condition(value)]].concat();
        all.iter().flat_map(|have| values.iter().map(move |value| with(have, value))).collect()
    })
}

#[tokio::test]
async fn a_fresh_worker_shows_every_series_of_the_contract() {
    let world = World::new().await;
    let (worker, _link) = without_a_broker(&world).await;
    let (status, head, text) = ask(&worker, "GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let store = format!("{}/{}", world.store.s3().endpoint(), world.bucket);
    for (name, kind, labels) in CONTRACT {
        let full = format!("callvault_{name}");
        assert!(text.contains(&format!("# HELP {full} ")), "{full} has no help");
        assert!(text.contains(&format!("# TYPE {full} {kind}\n")), "{full} is no {kind}");
        let series = if *kind == "histogram" { format!("{full}_count") } else { full };
        let from_the_start = labels.iter().all(|(_, values)| !values.is_empty());
        let begun = text.lines().any(|line| line.starts_with(&format!("{series}{{")));
        assert!(from_the_start || !begun, "{series} is there before anything is counted");
        for conditions in combinations(labels, (&world.ccfs.url(), &store)) {
            let line = text.lines().find(|line| {
                let own =
                    line.strip_prefix(&series).is_some_and(|rest| rest.starts_with(['{', ' ']));
                own && conditions.iter().all(|condition| line.contains(condition))
            });
            let line = line.unwrap_or_else(|| panic!("no {series} with {conditions:?}"));
            let (before, value) = line.rsplit_once(' ').expect("a series has a value");
            // As many labels as the contract names, and no more.
            assert_eq!(before.matches("=\"").count(), labels.len(), "{line}");
            assert_eq!(value == "0", !NOT_ZERO.contains(name), "{line}");
        }
    }
    let of_us: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# HELP callvault_")).collect();
    let in_contract = |line: &str| CONTRACT.iter().any(|(name, ..)| line.starts_with(name));
    let more: Vec<_> = of_us.iter().filter(|line| !in_contract(line)).collect();
    // The counter of deliveries that nobody settled is ours alone: it shows a bug.
    assert!(more.len() <= 1, "series that the contract does not name: {more:?}");
    for process in ["process_cpu_seconds_total", "process_resident_memory_bytes"] {
        assert!(text.contains(&format!("\n{process} ")), "no {process}");
    }
}

/// What `/metrics` says of the queues, by their name without the prefix.
async fn depths(worker: &Worker, world: &World) -> BTreeMap<String, u32> {
    let (_, text) = worker.get("/metrics").await;
    let before = format!("callvault_queue_messages{{queue=\"{}.", world.prefix);
    let lines = text.lines().filter_map(|line| line.strip_prefix(&before)?.split_once("\"} "));
    lines.map(|(queue, depth)| (queue.to_owned(), depth.parse().expect("a number"))).collect()
}

#[tokio::test]
async fn what_waits_in_each_queue_is_shown_while_the_broker_tells_it() {
    let world = World::new().await;
    let (worker, mut link) = without_a_broker(&world).await;
    assert_eq!(depths(&worker, &world).await, BTreeMap::new(), "nobody knows");
    link.restore().await;
    let worker = worker.ready().await;
    let queues = ["bulk", "dead", "jobs", "retry.100ms", "retry.200ms", "suspect"];
    let first = eventually("it has asked", SOON, || async {
        let depths = depths(&worker, &world).await;
        (!depths.is_empty()).then_some(depths)
    })
    .await;
    assert_eq!(first.keys().collect::<Vec<_>>(), queues);
    assert!(first.values().all(|depth| *depth == 0), "{first:?}");

    for _ in 0..3 {
        world.rabbit.send(&world.queue("dead"), "{}").await;
    }
    let dead = async |wanted: Option<u32>| {
        eventually("it has asked again", SOON, || async {
            (depths(&worker, &world).await.get("dead").copied() == wanted).then_some(())
        })
        .await;
    };
    dead(Some(3)).await;
    // A queue that is gone takes neither the others' numbers nor the consumers along.
    world.rabbit.delete(&world.queue("dead")).await;
    dead(None).await;
    assert_eq!(depths(&worker, &world).await.len(), queues.len() - 1);
    assert!(worker.is_ready().await);
    assert_eq!(worker.metric("callvault_broker_reconnects_total", &[]).await, 0.0);

    // And the page has what went before.
    let (_, status) = answer(&worker, "/api/status").await;
    let history = &status["history"];
    let (step, rates) = (&history["stepSeconds"], history["archivedPerSecond"].as_array());
    assert!(*step == 15 && rates.is_some_and(|rates| rates.contains(&0.0.into())), "{history}");
    let jobs = history["queues"][world.queue("jobs")].as_array();
    assert!(jobs.is_some_and(|jobs| jobs.contains(&0.into())), "{history}");
    let seen = json!({ "queue": world.queue("jobs"), "messages": 0 });
    assert!(status["queues"].as_array().is_some_and(|queues| queues.contains(&seen)), "{status}");
    assert_eq!(status["backlog"], json!({ "messages": 0 }));

    link.close().await;
    eventually("nobody knows any more", SOON, || async {
        depths(&worker, &world).await.is_empty().then_some(())
    })
    .await;
    link.restore().await;
    worker.ready().await.stop().await;
}

#[tokio::test]
async fn the_status_has_what_the_page_shows() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    world.call("1777093663-792075").await;
    world.event().await;
    world.settled(&worker).await;
    worker.metric_reaches("callvault_jobs_total", &["tenant=\"acme\""], 1.0).await;

    let (code, status) = answer(&worker, "/api/status").await;
    assert_eq!(code, 200);
    assert_eq!(status["status"], "consuming");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["broker"], json!({ "connected": true, "reconnects": 0 }));
    let messages = &status["messages"];
    for (field, count) in [("received", 1), ("acknowledged", 1), ("givenBack", 0), ("inFlight", 0)]
    {
        assert_eq!(messages[field], count, "{field}: {status}");
    }
    let ids: Vec<_> = status["tenants"].as_array().unwrap().iter().map(|t| &t["id"]).collect();
    assert_eq!(ids, ["acme", "globex", "unknown"]);
    let acme = &status["tenants"][0];
    assert_eq!(acme["archived"], 1);
    assert_eq!(acme["downloadedBytes"], acme["storedBytes"]);
    assert!(acme["limit"].as_u64() > Some(0), "{acme}");
    for field in ["inFlight", "alreadyArchived", "absent", "retried", "failed", "breaker", "paused"]
    {
        assert!(acme[field].is_null(), "what is zero is left out: {field}: {acme}");
    }
    let servers = status["servers"].as_array().unwrap();
    let kinds: Vec<_> = servers.iter().map(|one| (&one["kind"], &one["state"])).collect();
    let well = ["broker", "ccfs", "store", "events"].map(|kind| (kind.into(), "well".into()));
    assert_eq!(
        kinds,
        well.iter().map(|(kind, state)| (kind, state)).collect::<Vec<(&Value, &Value)>>()
    );
    assert_eq!(servers[1]["target"], format!("ccfs:{}", world.ccfs.url()));
    let store = format!("store:{}/{}", world.store.s3().endpoint(), world.bucket);
    assert_eq!(servers[2]["target"], store);
    assert!(status["startedAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{status}");
    for field in ["/uptimeSeconds", "/rates/archivedPerSecond", "/buffers/limitBytes", "/rates"] {
        assert!(status.pointer(field).is_some_and(|value| !value.is_null()), "no {field}");
    }
    let text = status.to_string();
    assert!(!text.contains("sk-acme") && !text.contains("guest"), "a secret: {text}");

    let (code, head, page) = ask(&worker, "GET", "/").await;
    assert!(code == 200 && head.contains("content-type: text/html"), "{head}");
    assert!(page.starts_with("<!doctype html>") && page.contains("api/status"), "{page}");
    assert!(page.len() < 100_000 && !page.contains("://"), "{} bytes", page.len());
    let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: "));
    let policy = policy.expect("a policy");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    worker.stop().await;
}

#[tokio::test]
async fn the_status_tells_what_is_under_way_and_what_has_failed() {
    let world = World::new().await;
    let worker = world.worker(&[("ccfs", "read_timeout = \"60s\"")]).await;
    let (open, opened) = tokio::sync::watch::channel(false);
    world.ccfs.script("1777093663-1", [Reply::wav(256 << 10).midway(opened)]);
    world.ccfs.script("1777093663-2", [Reply::code("0300004")]);
    let mut message = call("1777093663-1");
    message["metadata"] = json!({ "caller": "8613800138000" });
    world.publish(&message).await;
    let job = eventually("half of it has come", SOON, || async {
        let (_, status) = answer(&worker, "/api/status").await;
        let job = status["jobs"][0].clone();
        job["bytes"].is_number().then_some(job)
    })
    .await;
    let size = world.ccfs.expected("1777093663-1").length();
    assert!(job["bytes"].as_u64() < Some(size), "{job}");
    for (field, value) in [
        ("tenant", json!("acme")),
        ("call", json!("1777093663-1")),
        ("step", json!("download")),
        ("size", json!(size)),
        ("tries", json!(1)),
        ("live", json!(true)),
    ] {
        assert_eq!(job[field], value, "{field}: {job}");
    }

    message["callId"] = json!("1777093663-2");
    world.publish(&message).await;
    assert_eq!(world.event().await.routing_key, "recording.failed.acme");
    let status = eventually("the failure is shown", SOON, || async {
        let (_, status) = answer(&worker, "/api/status").await;
        (!status["failures"][0].is_null()).then_some(status)
    })
    .await;
    let row = runbook::of(&Reason::ccfs("0300004"));
    for (field, value) in [
        ("tenant", "acme"),
        ("call", "1777093663-2"),
        ("outcome", "dead"),
        ("reason", "ccfs.0300004"),
        ("meaning", row.meaning),
        ("advice", row.advice),
    ] {
        assert_eq!(status["failures"][0][field], value, "{field}: {status}");
    }
    assert_eq!(status["jobsInFlight"], 1, "the other is under way still: {status}");
    for secret in ["8613800138000", "sk-acme", "guest"] {
        assert!(!status.to_string().contains(secret), "{secret}: {status}");
    }

    open.send(true).expect("CC-FS waits for it");
    assert_eq!(world.event().await.routing_key, "recording.archived.acme");
    eventually("nothing is under way", SOON, || async {
        let (_, status) = answer(&worker, "/api/status").await;
        (status["jobsInFlight"] == 0 && status["jobs"] == json!([])).then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn an_outage_of_the_store_is_told_and_its_end() {
    let world = World::new().await;
    let mut link = Link::to(world.store.s3().address()).await;
    let s3 = format!("http://{}", link.address());
    let touchy = "delays = [\"100ms\", \"200ms\"]\nbreaker_failures = 2\nbreaker_window = \"1ms\"";
    let keys = [("retry", touchy)];
    let config = world.config_at(&world.amqp, &world.ccfs.url(), &s3, &keys);
    let worker = Worker::start(&config).ready().await;
    assert_eq!(server(&worker, "store").await["state"], "unknown", "nobody has asked it");
    link.close().await;
    for serial in 0..4 {
        world.call(&format!("1777093663-{serial}")).await;
    }
    let store = server_becomes(&worker, "store", "down").await;
    assert_eq!(store["lastTrouble"]["reason"], "store.unreachable", "{store}");
    assert!(store["since"].as_str().is_some_and(|at| at.ends_with('Z')), "{store}");
    eventually("consuming pauses, and its tenant waits", SOON, || async {
        let (_, status) = answer(&worker, "/api/status").await;
        (status["status"] == "paused" && status["tenants"][0]["breaker"] == "open").then_some(())
    })
    .await;
    link.restore().await;
    let store = server_becomes(&worker, "store", "well").await;
    assert_eq!(store["lastTrouble"]["reason"], "store.unreachable", "what was: {store}");
    world.events(4).await;
    let (_, status) = answer(&worker, "/api/status").await;
    assert!(status["tenants"][0]["breaker"].is_null(), "{status}");
    worker.stop().await;
}

#[tokio::test]
async fn what_is_not_there_says_what_is() {
    let world = World::new().await;
    let (worker, _link) = without_a_broker(&world).await;
    for path in ["/nothing", "/metrics/", "/api", "/readyz/x"] {
        let (code, _, body) = ask(&worker, "GET", path).await;
        assert_eq!(code, 404, "{path}");
        assert!(
            body.contains(&format!("nothing at {path}")) && body.contains("/metrics"),
            "{body}"
        );
    }
    for path in ["/", "/metrics", "/readyz", "/livez", "/api/status"] {
        let (code, head, _) = ask(&worker, "POST", path).await;
        assert_eq!(code, 405, "{path}");
        assert!(head.contains("allow: get"), "{head}");
    }
}

/// What a browser shows of another place could let its name lead here, and read the answers.
#[tokio::test]
async fn on_a_loopback_address_no_other_name_is_answered() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    for path in ["/", "/api/status", "/livez", "/readyz", "/metrics", "/nothing"] {
        let (status, _, body) = ask_as("elsewhere.example:9464", &worker, "GET", path).await;
        assert_eq!(status, 421, "{path}");
        assert!(body.contains("answers to localhost") && !body.contains("acme"), "{body}");
    }
    assert_eq!(ask_as("127.0.0.1", &worker, "GET", "/livez").await.0, 200);
    worker.stop().await;
}
