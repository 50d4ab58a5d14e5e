//! Traces: one recording followed through, from its message's `traceparent` into its event's.

use std::collections::BTreeSet;

use insta::assert_snapshot;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};

use crate::support::broker::client::Seen;
use crate::support::ccfs::Reply;
use crate::support::otlp::{Collector, Mood, Span};
use crate::support::worker::{Options, Worker, binary};
use crate::support::world::{World, access_key, call, secret_key};
use crate::support::{free_port, s3};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SENDER: &str = "00f067aa0ba902b7";

/// What the collector wants to know of who sends: nobody else's business.
const KEY_OF_COLLECTOR: &str = "a-key-for-the-collector-alone";

fn in_trace() -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in [("traceparent", SENT), ("tracestate", "rojo=1")] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    BasicProperties::default().with_headers(headers)
}

impl World {
    async fn publish_in_trace(&self, message: &Value) {
        let key = message["type"].as_str().unwrap();
        self.publish_raw(key, message.to_string().as_bytes(), in_trace()).await;
    }

    /// A worker that exports to `endpoint`, as soon as there is something.
    async fn traced(&self, endpoint: &str, keys: &[(&str, &str)]) -> Worker {
        let headers = format!("api-key={KEY_OF_COLLECTOR}");
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
            // Longer than any test: what ends sooner has not waited for it.
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "600000"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_SERVICE_NAME", "archive"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ];
        let config = self.config(keys);
        let options = Options { config: &config, environment: &environment, binary: &binary() };
        Worker::start_with(&options).ready().await
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The lines of a log that say how a job ended, and in which trace.
fn ended(log: &str) -> Vec<(String, String)> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ended = lines.filter(|line| line["outcome"].is_string());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ended.map(|line| (text(&line["outcome"]), text(&line["trace_id"]))).collect()
}

/// Where an event says that it is, in its header and in its body alike.
fn place(event: &Seen) -> String {
    let place = event.header("traceparent").expect("it is part of a trace");
    assert_eq!(event.json()["traceparent"], place);
    assert_eq!(event.json()["tracestate"].as_str(), event.header("tracestate").as_deref());
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_message_over_its_retry_to_the_event() {
    let world = World::new().await;
    let collector = Collector::start(Mood::Take).await;
    let worker = world.traced(collector.endpoint(), &[]).await;
    let id = "1777093663-1";
    world.ccfs.script(id, [Reply::status(500), Reply::wav(64 * 1024)]);
    let mut message = call(id);
    message["metadata"] = json!({ "phone": "+49-151-2345678" });

    world.publish_in_trace(&message).await;
    let event = world.event().await;
    world.settled(&worker).await;
    let log = worker.stop().await;

    let shown = [
        "callvault.attempt",
        "callvault.outcome",
        "callvault.key",
        "callvault.moved_to",
        "callvault.bytes",
        "http.response.status_code",
        "messaging.operation.name",
        "error.type",
    ];
    insta::with_settings!({ filters => vec![
        (world.prefix.as_str(), "callvault"), ("callvault-events", "recordings"),
    ] }, { assert_snapshot!(collector.tree(&shown), @r"
    process callvault.jobs (consumer) callvault.attempt=1 callvault.outcome=retried messaging.operation.name=process error.type=ccfs.http_500 FAILED: CC-FS answered HTTP 500
      wait (internal)
      download (internal) error.type=ccfs.http_500 FAILED: CC-FS answered HTTP 500
        POST /CCFS/resource/ccfs/downloadRecord (client) http.response.status_code=500 error.type=500 FAILED: CC-FS answered HTTP 500
      settle callvault.jobs (client) callvault.moved_to=retry messaging.operation.name=ack
    process callvault.jobs (consumer) callvault.attempt=2 callvault.outcome=archived callvault.key=acme/2026/04/25/1777093663-1.wav callvault.bytes=65536 messaging.operation.name=process
      wait (internal)
      S3.HeadObject (client) http.response.status_code=404
      S3.HeadObject (client) http.response.status_code=404
      S3.HeadObject (client) http.response.status_code=404
      download (internal) callvault.bytes=65536
        POST /CCFS/resource/ccfs/downloadRecord (client) http.response.status_code=200
      prove (internal) callvault.bytes=65536
      upload (internal)
        S3.HeadObject (client) http.response.status_code=404
        S3.PutObject (client)
        S3.PutObject (client) http.response.status_code=412
      announce (internal)
        publish recordings (producer) messaging.operation.name=publish
      settle callvault.jobs (client) messaging.operation.name=ack
    "); });
    let spans = collector.spans();
    let of_trace: BTreeSet<_> = spans.iter().map(|span| span.trace.as_str()).collect();
    assert_eq!(of_trace, [TRACE].into());
    assert!(spans.iter().all(|span| span.state == "rojo=1" && span.ended >= span.started));
    // Both tries hang on the sender's span, which is another process's; all others are ours.
    for span in &spans {
        let is_try = span.name.starts_with("process ");
        assert_eq!(span.parent == SENDER, is_try, "{span:?}");
        assert_eq!(span.flags, if is_try { 0x301 } else { 0x101 }, "{span:?}");
    }
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let process = named(&format!("process {}", world.queue("jobs")))[1];
    let expected = [
        ("messaging.system", "rabbitmq"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", &world.queue("jobs")),
        ("callvault.tenant", "acme"),
        ("callvault.call", id),
        ("callvault.key", "acme/2026/04/25/1777093663-1.wav"),
    ];
    for (name, value) in expected {
        assert_eq!(process.attributes.get(name).map(String::as_str), Some(value), "{name}");
    }
    let post = named("POST /CCFS/resource/ccfs/downloadRecord")[1];
    assert_eq!(post.attributes["http.request.method"], "POST");
    assert!(post.attributes["url.full"].starts_with(&world.ccfs.url()), "{post:?}");
    let put = named("S3.PutObject")[0];
    assert_eq!((put.attributes["rpc.system"].as_str(), put.kind), ("aws-api", 3));
    assert_eq!(put.attributes["aws.s3.bucket"], world.bucket);

    // Whoever takes the event goes on from where it was published.
    let publish: &Span = named(&format!("publish {}", world.events_exchange))[0];
    assert_eq!(place(&event), format!("00-{TRACE}-{}-01", publish.id));
    assert_eq!(publish.attributes["messaging.message.id"], event.json()["id"].as_str().unwrap());
    let trace = || TRACE.to_owned();
    assert_eq!(ended(&log), [("retried".into(), trace()), ("archived".into(), trace())]);

    let resource = collector.resource();
    assert_eq!(resource["service.name"], "archive");
    assert_eq!(resource["deployment.environment.name"], "test");
    assert!(
        resource.contains_key("service.version") && resource.contains_key("service.instance.id")
    );
    let headers = collector.headers();
    assert_eq!(headers["api-key"], KEY_OF_COLLECTOR);
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let bytes = collector.bytes();
    for secret in [
        secret_key("acme").as_str(),
        access_key("acme").as_str(),
        s3::SECRET_KEY,
        s3::ACCESS_KEY,
        KEY_OF_COLLECTOR,
        "guest:guest",
        "uthorization",
        "Signature",
        "phone",
        "+49-151",
    ] {
        assert!(!has(&bytes, secret), "{secret} is exported");
        assert!(!log.contains(KEY_OF_COLLECTOR), "the log tells it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_trace_begins_one_that_its_retry_joins_and_names_are_hashed() {
    let world = World::new().await;
    let collector = Collector::start(Mood::TakeLater).await;
    let hashed = ("log", "identifiers = \"hashed\"");
    let worker = world.traced(collector.endpoint(), &[hashed]).await;
    world.ccfs.script("1777093663-1", [Reply::status(500), Reply::wav(20 << 20)]);
    let mut message = call("1777093663-1");
    message["fileName"] = json!("X:/4/0/20260425/512/1629533.V3");
    world.publish(&message).await;
    let archived = world.event().await;
    world.ccfs.script("1777093663-2", [Reply::code("0300004")]);
    world.call("1777093663-2").await;
    let failed = world.event().await;
    world.settled(&worker).await;
    let log = worker.stop().await;

    // What the collector was too busy for at first came as well.
    let spans = collector.spans();
    let tries: Vec<_> = spans.iter().filter(|span| span.name.starts_with("process ")).collect();
    let traces: Vec<_> = tries.iter().map(|span| span.trace.as_str()).collect();
    assert!(traces.len() == 3 && traces[0] == traces[1] && traces[1] != traces[2], "{traces:?}");
    assert_eq!(tries[0].parent, "");
    assert!(spans.iter().any(|span| span.id == tries[1].parent), "it follows from the first");
    assert!(place(&archived).contains(traces[1]) && place(&failed).contains(traces[2]));
    let parts = spans.iter().filter(|span| span.name == "S3.UploadPart").count();
    assert_eq!(parts, 3, "{}", collector.tree(&[]));
    assert_eq!(tries[2].attributes["error.type"], "ccfs.0300004");
    let outcomes = ["retried", "archived", "dead"].map(str::to_owned);
    let traced: Vec<_> =
        outcomes.into_iter().zip(traces.iter().map(|id| (*id).to_owned())).collect();
    assert_eq!(ended(&log), traced);

    let bytes = collector.bytes();
    for name in ["1777093663", "1629533", "acme/2026"] {
        assert!(!has(&bytes, name), "{name} is exported");
    }
    // As the log has it.
    assert!(has(&bytes, "b3963795d43d"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_takes_nothing_keeps_nobody_from_archiving_nor_from_ending() {
    let world = World::new().await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    for (nth, mood) in [Some(Mood::Refuse(400)), Some(Mood::Hang), None].into_iter().enumerate() {
        let collector = match mood {
            Some(mood) => Some(Collector::start(mood).await),
            None => None,
        };
        let endpoint = collector.as_ref().map_or(nobody.as_str(), Collector::endpoint);
        let worker = world.traced(endpoint, &[]).await;
        let id = format!("1777093663-{nth}");
        world.call(&id).await;
        assert_eq!(world.event().await.json()["data"]["callId"], id.as_str());
        world.settled(&worker).await;
        let log = worker.stop().await;
        assert!(collector.is_none_or(|collector| collector.was_asked()), "{mood:?}");
        let said = if mood == Some(Mood::Hang) { "the last spans" } else { "spans are lost" };
        // Once, and once more for what was left at the end.
        assert!((1..=2).contains(&log.matches(said).count()), "{mood:?} {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_the_senders_trace_is_handed_on_as_it_is() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    world.ccfs.script("1777093663-1", [Reply::status(500), Reply::wav(640)]);
    world.publish_in_trace(&call("1777093663-1")).await;
    assert_eq!(place(&world.event().await), SENT);
    let dump = json!({ "type": "recording.dump-requested", "tenant": "acme", "requestId": "r-1",
        "recordings": [{ "callId": "1777093663-2" }, { "callId": "1777093663-3" }] });
    world.publish_in_trace(&dump).await;
    for _ in 0..3 {
        assert_eq!(place(&world.event().await), SENT);
    }
    // And who sends none gets none.
    world.call("1777093663-4").await;
    let event = world.event().await;
    assert_eq!((event.header("traceparent"), event.json().get("traceparent")), (None, None));
    world.settled(&worker).await;
    let log = worker.stop().await;
    let traced = ended(&log).into_iter().filter(|(_, trace)| trace == TRACE).count();
    assert_eq!(traced, ended(&log).len() - 1, "{log}");
}
