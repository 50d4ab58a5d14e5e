//! A collector of traces: takes OTLP over HTTP, and reads of it what a test wants to see.
//!
//! The protobuf is read by hand, by the numbers of OTLP's own definitions, so that nothing has to be
//! built for it; that our bytes are those of OpenTelemetry's own writer is for `src/traces/otlp.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;

/// What a collector does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Take,
    /// The first request with 503, then all.
    TakeLater,
    /// With this status.
    Refuse(u16),
    /// No answer, ever.
    Hang,
}

/// A running collector.
pub struct Collector {
    endpoint: String,
    taken: Arc<Taken>,
}

struct Taken {
    mood: Mood,
    requests: Mutex<Vec<(HeaderMap, Bytes)>>,
    was_busy: AtomicBool,
}

/// A span, as it was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty where there is none.
    pub parent: String,
    pub state: String,
    pub name: String,
    /// As OTLP counts: 1 internal, 3 client, 4 producer, 5 consumer.
    pub kind: u64,
    pub started: u64,
    pub ended: u64,
    pub attributes: BTreeMap<String, String>,
    /// Why it failed.
    pub error: Option<String>,
    pub flags: u64,
}

impl Collector {
    pub async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let taken =
            Arc::new(Taken { mood, requests: Mutex::default(), was_busy: AtomicBool::default() });
        let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&taken));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { endpoint: format!("http://{address}"), taken }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether anything has come.
    pub fn was_asked(&self) -> bool {
        !self.taken.requests().is_empty()
    }

    /// Every byte that has come, headers left out.
    pub fn bytes(&self) -> Vec<u8> {
        self.taken.requests().iter().flat_map(|(_, body)| body.to_vec()).collect()
    }

    /// The headers of the first request.
    pub fn headers(&self) -> HeaderMap {
        self.taken.requests().first().expect("something has come").0.clone()
    }

    /// Who says that he has sent it.
    pub fn resource(&self) -> BTreeMap<String, String> {
        let requests = self.taken.requests();
        let (_, body) = requests.first().expect("something has come");
        let resource_spans = Message::of(body).message(1);
        attributes(&resource_spans.message(1), 1)
    }

    /// All spans, in the order in which they began.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<_> =
            self.taken.requests().iter().flat_map(|(_, body)| spans_of(body)).collect();
        spans.sort_by_key(|span| span.started);
        spans
    }

    /// Its spans as a tree, a line each: the parts of a span stand below it, further to the right.
    pub fn tree(&self, shown: &[&str]) -> String {
        let spans = self.spans();
        let is_root = |span: &&Span| spans.iter().all(|other| other.id != span.parent);
        let mut text = String::new();
        for root in spans.iter().filter(is_root) {
            draw(root, &spans, shown, 0, &mut text);
        }
        text
    }
}

fn draw(span: &Span, spans: &[Span], shown: &[&str], depth: usize, text: &mut String) {
    let kind = match span.kind {
        1 => "internal",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "?",
    };
    let _ = write!(text, "{}{} ({kind})", "  ".repeat(depth), span.name);
    for name in shown {
        if let Some(value) = span.attributes.get(*name) {
            let _ = write!(text, " {name}={value}");
        }
    }
    if let Some(error) = &span.error {
        let _ = write!(text, " FAILED: {error}");
    }
    text.push('\n');
    for part in spans.iter().filter(|part| part.parent == span.id) {
        draw(part, spans, shown, depth + 1, text);
    }
}

async fn take(State(taken): State<Arc<Taken>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if taken.mood == Mood::TakeLater && !taken.was_busy.swap(true, Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    taken.requests().push((headers, body));
    match taken.mood {
        Mood::Take | Mood::TakeLater => StatusCode::OK,
        Mood::Refuse(status) => StatusCode::from_u16(status).expect("a status"),
        Mood::Hang => std::future::pending().await,
    }
}

impl Taken {
    fn requests(&self) -> MutexGuard<'_, Vec<(HeaderMap, Bytes)>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `ExportTraceServiceRequest.resource_spans.scope_spans.spans`
fn spans_of(request: &[u8]) -> Vec<Span> {
    let scopes = Message::of(request).messages(1).into_iter().flat_map(|spans| spans.messages(2));
    scopes.flat_map(|scope| scope.messages(2)).map(|span| read(&span)).collect()
}

fn read(span: &Message<'_>) -> Span {
    let status = span.messages(15).into_iter().next();
    let failed = status.filter(|status| status.number(3) == 2);
    Span {
        trace: hex::encode(span.bytes(1)),
        id: hex::encode(span.bytes(2)),
        state: span.text(3),
        parent: hex::encode(span.bytes(4)),
        name: span.text(5),
        kind: span.number(6),
        started: span.number(7),
        ended: span.number(8),
        attributes: attributes(span, 9),
        error: failed.map(|status| status.text(2)),
        flags: span.number(16),
    }
}

/// `KeyValue`s; values of every kind as text.
fn attributes(of: &Message<'_>, field: u64) -> BTreeMap<String, String> {
    let pair = |pair: Message<'_>| {
        let value = match pair.message(2).0.first() {
            Some((1, Value::Bytes(text))) => String::from_utf8_lossy(text).into_owned(),
            Some((2, Value::Number(flag))) => (*flag == 1).to_string(),
            Some((3, Value::Number(number))) => number.to_string(),
            other => panic!("an attribute is {other:?}"),
        };
        (pair.text(1), value)
    };
    of.messages(field).into_iter().map(pair).collect()
}

/// The fields of a protobuf message.
struct Message<'a>(Vec<(u64, Value<'a>)>);

#[derive(Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    fn of(mut bytes: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let mut fixed = |length: usize| {
                let number = bytes.split_off(..length).expect("all of a number");
                number.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
            };
            let value = match key & 7 {
                0 => Value::Number(varint(&mut bytes)),
                1 => Value::Number(fixed(8)),
                5 => Value::Number(fixed(4)),
                2 => {
                    let length = usize::try_from(varint(&mut bytes)).expect("a length");
                    Value::Bytes(bytes.split_off(..length).expect("all of it"))
                }
                wire => panic!("no wire type of protobuf: {wire}"),
            };
            fields.push((key >> 3, value));
        }
        Self(fields)
    }

    fn messages(&self, field: u64) -> Vec<Message<'a>> {
        let of_field = self.0.iter().filter(|(number, _)| *number == field);
        let message = |(_, value): &(u64, Value<'a>)| match value {
            Value::Bytes(bytes) => Message::of(bytes),
            Value::Number(_) => panic!("{field} is no message"),
        };
        of_field.map(message).collect()
    }

    fn message(&self, field: u64) -> Message<'a> {
        self.messages(field).into_iter().next().expect("it is there")
    }

    fn bytes(&self, field: u64) -> &'a [u8] {
        let mut of_field = self.0.iter().filter(|(number, _)| *number == field);
        match of_field.next() {
            Some((_, Value::Bytes(bytes))) => bytes,
            _ => &[],
        }
    }

    fn text(&self, field: u64) -> String {
        String::from_utf8(self.bytes(field).to_vec()).expect("text")
    }

    fn number(&self, field: u64) -> u64 {
        let mut of_field = self.0.iter().filter(|(number, _)| *number == field);
        match of_field.next() {
            Some((_, Value::Number(number))) => *number,
            _ => 0,
        }
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.split_off_first().expect("a byte more");
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
