use super::*;
use crate::board::{Failed, Job, Kind, Member, Progress};
use crate::failure::Reason;
use crate::metrics::{Configured, JobOutcome};
use crate::request::{MessageType, TenantId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Running {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    board: Arc<Board>,
    stop: tokio::sync::oneshot::Sender<()>,
    server: tokio::task::JoinHandle<()>,
}

async fn running() -> Running {
    let metrics = Metrics::new();
    let tenants = vec![(1, TenantId::new("acme").unwrap())];
    metrics.adopt(&Configured { tenants, ..Configured::default() });
    let (health, board) = (Arc::new(Health::new()), Arc::new(Board::default()));
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let shown = Shown {
        metrics: Arc::clone(&metrics),
        health: Arc::clone(&health),
        board: Arc::clone(&board),
    };
    let serving = server.serve(shown, async {
        let _ = stopped.await;
    });
    Running { address, metrics, health, board, stop, server: tokio::spawn(serving) }
}

fn tenant(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

/// The answer to one request: status, head, body.
async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

async fn json(address: SocketAddr, path: &str) -> (u16, serde_json::Value) {
    let (status, _, body) = ask(address, "GET", path).await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn ready_only_while_consuming() {
    let it = running().await;
    for (state, status, name, reason) in [
        (State::Connecting("the broker refuses".into()), 503, "connecting", "the broker refuses"),
        (State::Paused("the store is down".into()), 503, "paused", "the store is down"),
        (State::Consuming, 200, "consuming", ""),
        (State::Draining, 503, "draining", "told to stop; finishing what is in flight"),
    ] {
        it.health.set(state);
        let (code, body) = json(it.address, "/readyz").await;
        assert_eq!((code, body["status"].as_str()), (status, Some(name)));
        assert_eq!(body["reason"].as_str().unwrap_or_default(), reason);
        assert_eq!(ask(it.address, "GET", "/livez").await.0, 200);
    }
}

#[tokio::test]
async fn refused_credentials_show_while_ready() {
    let it = running().await;
    it.health.set(State::Consuming);
    it.health.refused("ccfs:acme", &Reason::CCFS_UNAUTHORIZED, "the clock is 90 s slow");
    let (code, body) = json(it.address, "/readyz").await;
    assert_eq!(code, 200);
    assert_eq!(body["refused"][0]["target"], "ccfs:acme");
    assert_eq!(body["refused"][0]["reason"], "ccfs.unauthorized");
    it.health.accepted("ccfs:acme");
    assert_eq!(json(it.address, "/readyz").await.1, serde_json::json!({ "status": "consuming" }));
}

#[tokio::test]
async fn the_status_shows_state_and_numbers() {
    let it = running().await;
    let acme = it.metrics.tenant(Some(&TenantId::new("acme").unwrap()));
    let _ticket = it.metrics.ledger().receive(MessageType::CallCompleted, acme);
    it.metrics.job_finished(acme, JobOutcome::Dead, Duration::from_secs(1));
    it.metrics.broker_connected(true);
    it.health.set(State::Paused("the store is down".into()));
    let (code, body) = json(it.address, "/api/status").await;
    assert_eq!(code, 200);
    assert_eq!(body["status"], "paused");
    assert_eq!(body["reason"], "the store is down");
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(body["broker"]["connected"], true);
    assert_eq!(body["messages"]["inFlight"], 1);
    assert_eq!(body["tenants"][0]["id"], "acme");
    assert_eq!(body["tenants"][0]["failed"], 1);
    assert!(body["tenants"][0]["archived"].is_null(), "what is zero is left out");
    for number in ["uptimeSeconds", "startedAt", "now", "since", "rates", "buffers", "revision"] {
        assert!(!body[number].is_null(), "no {number}");
    }
}

#[tokio::test]
async fn the_status_leaves_out_what_it_has_nothing_to_say_of() {
    let it = running().await;
    it.metrics.tenant_concurrency_limit(it.metrics.tenant(Some(&tenant("acme"))), 4);
    let (_, body) = json(it.address, "/api/status").await;
    let tenants =
        serde_json::json!([{ "id": "acme", "limit": 4 }, { "id": "unknown", "limit": 0 }]);
    assert_eq!(body["tenants"], tenants);
    for nothing in ["lag", "backlog", "moreServers", "warning", "refused"] {
        assert!(body[nothing].is_null(), "{nothing}: {body}");
    }
    let none = serde_json::json!([]);
    for list in ["servers", "queues", "jobs", "failures"] {
        assert_eq!(body[list], none, "{list}: {body}");
    }
    assert_eq!(body["history"]["archivedPerSecond"], none);
}

#[tokio::test]
async fn the_status_says_whose_messages_wait_and_what_waits() {
    let it = running().await;
    let breaker = tokio::sync::watch::Sender::new(Some(Reason::STORE_TIMEOUT));
    let (id, breakers) = ("acme".to_owned(), vec![breaker.subscribe()]);
    it.board.tenants.adopt(vec![Member { id, paused: true, breakers }]);
    for (queue, messages) in [("cv.bulk", 5), ("cv.dead", 2), ("cv.jobs", 7)] {
        it.metrics.queue_messages(queue, Some(messages));
    }
    let (_, body) = json(it.address, "/api/status").await;
    let acme = &body["tenants"][0];
    assert_eq!((&acme["breaker"], &acme["paused"]), (&"open".into(), &true.into()));
    assert_eq!(body["backlog"], serde_json::json!({ "messages": 12 }));
    let dead = serde_json::json!({ "queue": "cv.dead", "messages": 2 });
    assert_eq!(body["queues"][1], dead);
}

/// Each has been at work, has trouble, and a bucket of its own; and an hour is remembered.
#[tokio::test(start_paused = true)]
async fn of_a_thousand_tenants_the_status_is_short() {
    let metrics = Metrics::new();
    let name = |n: usize| format!("tenant-{n:04}");
    let tenants: Vec<_> = (1..=1000).map(|n| (n, tenant(&name(n)))).collect();
    metrics.adopt(&Configured { tenants: tenants.clone(), ..Configured::default() });
    let shown = Shown { metrics: Arc::clone(&metrics), ..Shown::new() };
    let breaker = tokio::sync::watch::Sender::new(Some(Reason::STORE_TIMEOUT));
    let (mut members, mut servers, mut seats) = (Vec::new(), Vec::new(), Vec::new());
    for (n, id) in &tenants {
        let label = metrics.tenant(Some(id));
        metrics.stored(label, 1 << 40);
        metrics.downloaded(label, 1 << 40);
        metrics.tenant_concurrency_limit(label, 48);
        for outcome in JobOutcome::ALL {
            (0..100).for_each(|_| metrics.job_finished(label, *outcome, Duration::ZERO));
        }
        let breakers = vec![breaker.subscribe()];
        members.push(Member { id: name(*n), paused: n % 2 == 0, breakers });
        let target = format!("store:https://s3.eu-central-1.example.com/recordings-{}", name(*n));
        let store = shown.board.servers.add(Kind::Store, target);
        let detail = "PutObject in bucket recordings: no answer within store.read_timeout";
        store.lost("store.timeout", detail);
        servers.push(store);
        let (tenant, call) = (Some(name(*n)), Some(format!("1777093663-{n}")));
        let failed = Failed {
            at: crate::clock::now(),
            tenant: tenant.clone(),
            call: call.clone(),
            outcome: "dead",
            ended: true,
            reason: Reason::JOB_NO_RESOURCES,
            detail: detail.to_owned(),
        };
        shown.board.failures.add(failed);
        let progress = Progress::default();
        progress.comes(Some(1 << 30));
        progress.bytes(1 << 29);
        seats.push(shown.board.jobs.begin(Job { tenant, call, tries: 12, live: true, progress }));
    }
    shown.board.tenants.adopt(members);
    for queue in
        ["bulk", "dead", "jobs", "suspect", "retry.5s", "retry.30s", "retry.2m", "retry.2h"]
    {
        metrics.queue_messages(&format!("callvault.{queue}"), Some(1_000_000));
    }
    let sources =
        Sources { shown: shown.clone(), rates: Rates::default(), history: History::default() };
    let hour = async {
        for n in 0..241 {
            metrics.stored(metrics.tenant(None), 1_234_567_890 + n);
            metrics.archive_lag(metrics.tenant(None), Duration::from_secs(123_456));
            tokio::time::sleep(Duration::from_secs(15)).await;
        }
    };
    tokio::select! { () = history::keep(&sources.history, &metrics) => {}, () = hour => {} }
    let answer = serde_json::to_string(&status::Status::new(&sources)).unwrap();
    assert!(answer.len() < 300_000, "{} bytes", answer.len());
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let length = |at: &str| answer.pointer(at).unwrap().as_array().unwrap().len();
    let lengths = ["/tenants", "/servers", "/jobs", "/failures", "/history/queues/callvault.jobs"];
    assert_eq!(lengths.map(length), [1001, 100, 100, 50, 240]);
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let it = running().await;
    let (code, head, body) = ask(it.address, "GET", "/metrics").await;
    assert_eq!(code, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("\ncallvault_broker_connected 0\n"));

    let (code, head, body) = ask(it.address, "GET", "/").await;
    assert_eq!(code, 200);
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    assert!(!body.contains("://"), "the page names another server");
    assert!(body.len() < 100_000, "{} bytes", body.len());
    let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: "));
    let policy = policy.expect("a policy");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("require-trusted-types-for 'script'"), "{policy}");
    // What the browser will hash is what was hashed; `ask` hands out the head in lower case.
    for name in ["style", "script"] {
        let parts: Vec<_> = body.split(&format!("<{name}>")).collect();
        assert_eq!(parts.len(), 2, "one {name} in the page");
        let (text, _) = parts[1].split_once(&format!("</{name}>")).expect("an end");
        let source = format!("{name}-src '{}'", page::hash(text).to_lowercase());
        assert!(policy.contains(&source), "{source} in {policy}");
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_told_what_there_is() {
    let it = running().await;
    for path in ["/", "/metrics", "/readyz", "/livez", "/api/status"] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let (code, head, body) = ask(it.address, method, path).await;
            assert_eq!(code, 405, "{method} {path}");
            assert!(head.contains("allow: get"), "{head}");
            assert!(body.contains("/api/status"), "{body}");
        }
        assert_eq!(ask(it.address, "HEAD", path).await.2, "");
    }
    let (code, _, body) = ask(it.address, "GET", "/metrics/").await;
    assert_eq!(code, 404);
    assert!(body.contains("nothing at /metrics/") && body.contains("/readyz"), "{body}");
}

#[tokio::test]
async fn it_stops_although_a_client_never_ends_its_request() {
    let it = running().await;
    let mut slow = TcpStream::connect(it.address).await.unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost:").await.unwrap();
    // Answered after the slow one was accepted.
    assert_eq!(ask(it.address, "GET", "/livez").await.0, 200);
    it.stop.send(()).unwrap();
    let limit = STOP_GRACE + Duration::from_secs(10);
    tokio::time::timeout(limit, it.server).await.expect("stops").unwrap();
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let it = running().await;
    let error = Server::bind(it.address).await.expect_err("the port is taken").to_string();
    assert!(error.starts_with(&format!("http.listen: cannot listen on {}", it.address)), "{error}");
    assert!(error.contains("another process has this port"), "{error}");
}

/// As long as it takes, by a clock that runs ahead while nobody has anything to do.
#[tokio::test(start_paused = true)]
async fn a_request_that_never_comes_whole_is_not_waited_for() {
    let it = running().await;
    for begun in
        ["", "GET /livez HTTP/1.1\r\nHost: loc", "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(it.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let (since, mut answer) = (tokio::time::Instant::now(), Vec::new());
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(since.elapsed() <= connections::HEAD_WITHIN * 2, "{begun}");
        assert_eq!(answer.starts_with(b"HTTP/1.1 200"), begun.ends_with("\r\n\r\n"), "{begun}");
    }
}

#[tokio::test]
async fn who_keeps_connections_leaves_room_for_others() {
    let it = running().await;
    let mut kept = Vec::new();
    for _ in 0..connections::AT_ONCE {
        kept.push(TcpStream::connect(it.address).await.unwrap());
    }
    let address = it.address;
    let waits = tokio::spawn(async move { ask(address, "GET", "/livez").await.0 });
    // One that leaves makes room for one that came.
    drop(kept.pop());
    assert_eq!(waits.await.unwrap(), 200);
    drop(kept);
    it.stop.send(()).unwrap();
    it.server.await.unwrap();
}
