use super::*;
use crate::failure::Reason;
use crate::metrics::{Configured, JobOutcome};
use crate::request::{MessageType, TenantId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Running {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    stop: tokio::sync::oneshot::Sender<()>,
    server: tokio::task::JoinHandle<()>,
}

async fn running() -> Running {
    let metrics = Metrics::new();
    let tenants = vec![(1, TenantId::new("acme").unwrap())];
    metrics.adopt(&Configured { tenants, ..Configured::default() });
    let health = Arc::new(Health::new());
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let serving = server.serve(Arc::clone(&metrics), Arc::clone(&health), async {
        let _ = stopped.await;
    });
    Running { address, metrics, health, stop, server: tokio::spawn(serving) }
}

/// The answer to one request: status, head, body.
async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n");
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
    for number in ["uptimeSeconds", "startedAt", "rates", "buffers", "revision"] {
        assert!(!body[number].is_null(), "no {number}");
    }
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
    assert!(head.contains("default-src 'none'"), "{head}");
    assert!(!body.contains("://"), "the page names another server");
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
