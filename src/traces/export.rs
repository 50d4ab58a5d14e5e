//! The way out: spans wait in a bounded queue and go to the collector in batches, in the background.
//!
//! Nothing here makes a job wait or fail. What finds no room, or no collector, is dropped and
//! counted, which the log tells at most once a minute.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, redirect, retry};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::otlp;
use super::record::Record;
use super::settings::Settings;
use crate::config::host_and_port;
use crate::metrics::VERSION;
use crate::trust;

/// At the end of a drain: what is not sent within this time is lost.
const FLUSH: Duration = Duration::from_secs(3);
/// Between two tries of the same batch.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// The longest that a collector may ask us to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Between two lines of the log that tell of losses.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Bytes that are read of an answer, which has some ten.
const MOST_OF_AN_ANSWER: usize = 64 * 1024;

/// Why nothing is exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(
        "OTEL_EXPORTER_OTLP_CERTIFICATE: no traces are exported: {0}; name a file of CAs in PEM"
    )]
    Ca(#[from] trust::CaError),
    #[error("no traces are exported: TLS cannot be set up ({0})")]
    Tls(#[from] rustls::Error),
    #[error("no traces are exported: {0}")]
    Client(#[from] reqwest::Error),
}

/// Where spans are left.
pub struct Exporter {
    queue: mpsc::Sender<Record>,
    lost: Arc<AtomicU64>,
}

impl Exporter {
    /// Leaves a span to be exported, if there is room for it.
    pub fn take(&self, span: Record) {
        if self.queue.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One whose spans a test takes.
    #[cfg(test)]
    pub(super) fn nowhere(room: usize) -> (Self, mpsc::Receiver<Record>) {
        let (queue, spans) = mpsc::channel(room);
        (Self { queue, lost: Arc::default() }, spans)
    }

    #[cfg(test)]
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The task that exports.
#[must_use = "what waits is lost unless it is flushed"]
pub struct Exporting {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Exporting {
    /// Sends what waits, within a bound.
    pub async fn flush(mut self) {
        self.stop.cancel();
        if timeout(FLUSH, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("the collector did not take the last spans within {FLUSH:?}");
        }
    }
}

/// Starts the task; connects nowhere yet.
///
/// # Errors
/// [`ExportError`], a text for people.
pub fn start(settings: &Settings) -> Result<(Exporter, Exporting), ExportError> {
    let client = client(settings)?;
    let (queue, spans) = mpsc::channel(settings.queue);
    let lost = Arc::new(AtomicU64::new(0));
    let exporter = Exporter { queue, lost: Arc::clone(&lost) };
    let stop = CancellationToken::new();
    let post = Post {
        client,
        settings: settings.clone(),
        spans,
        stop: stop.clone(),
        losses: Losses { count: lost, why: None, told: None },
    };
    Ok((exporter, Exporting { stop, task: tokio::spawn(post.run()) }))
}

fn client(settings: &Settings) -> Result<Client, ExportError> {
    let named = settings.ca_file.as_deref().map(trust::read).transpose()?.unwrap_or_default();
    let is_tls = settings.endpoint.scheme() == "https";
    let mut tls = if is_tls { trust::tls(named) } else { trust::nobody_but(named) }?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let builder = Client::builder()
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .timeout(settings.timeout)
        .tls_backend_preconfigured(tls);
    Ok(builder.build()?)
}

struct Post {
    client: Client,
    settings: Settings,
    spans: mpsc::Receiver<Record>,
    stop: CancellationToken,
    losses: Losses,
}

/// Why a batch was not taken.
struct Refusal {
    why: String,
    /// The same may be taken later: at the soonest then.
    again: Option<Duration>,
}

impl Post {
    async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let over = self.gather(&mut batch).await;
            if !batch.is_empty() {
                self.send(&batch).await;
                batch.clear();
            } else if over {
                break;
            }
            self.losses.tell(Instant::now());
        }
        self.losses.tell_all();
    }

    /// Fills a batch, or as much of it as comes in time; true once there is nothing to wait for.
    async fn gather(&mut self, batch: &mut Vec<Record>) -> bool {
        let mut due = std::pin::pin!(sleep(self.settings.delay));
        while let room @ 1.. = self.settings.batch - batch.len() {
            tokio::select! {
                biased;
                taken = self.spans.recv_many(batch, room) => if taken == 0 { return true },
                () = self.stop.cancelled() => return true,
                () = &mut due => break,
            }
        }
        false
    }

    /// Sends a batch, again where that may help.
    async fn send(&mut self, batch: &[Record]) {
        let body = Bytes::from(otlp::request(&self.settings.resource, VERSION, batch));
        let mut pauses = PAUSES.into_iter();
        let refusal = loop {
            let refusal = match self.post(body.clone()).await {
                Ok(0) => return,
                Ok(rejected) => {
                    self.losses.add(rejected, "it does not take them".to_owned());
                    return;
                }
                Err(refusal) => refusal,
            };
            let Some((pause, asked)) = pauses.next().zip(refusal.again) else { break refusal };
            if self.stop.is_cancelled() {
                break refusal;
            }
            tokio::select! {
                () = sleep(pause.max(asked)) => {}
                () = self.stop.cancelled() => {}
            }
            self.losses.tell(Instant::now());
        };
        self.losses.add(batch.len() as u64, refusal.why);
    }

    /// One request; how many of its spans were not taken.
    async fn post(&self, body: Bytes) -> Result<u64, Refusal> {
        let request = self
            .client
            .post(self.settings.endpoint.clone())
            .headers(self.settings.headers.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(body);
        let response = request.send().await.map_err(|error| unheard(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(otlp::rejected(&read(response).await));
        }
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let passes = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        let again = passes.then(|| after.unwrap_or_default().min(LONGEST_PAUSE));
        Err(Refusal { why: format!("it answers HTTP {}", status.as_u16()), again })
    }
}

/// As much of an answer as one has, so that its connection can be used again.
async fn read(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MOST_OF_AN_ANSWER {
            break;
        }
    }
    body
}

fn unheard(error: &reqwest::Error) -> Refusal {
    let why = if error.is_timeout() {
        "it does not answer in time".to_owned()
    } else {
        // The last cause is what the network said; those before it quote the URL.
        let mut cause: &dyn StdError = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        if error.source().is_some() { cause.to_string() } else { "no answer".to_owned() }
    };
    Refusal { why, again: Some(Duration::ZERO) }
}

/// Spans that nobody will see.
struct Losses {
    count: Arc<AtomicU64>,
    why: Option<String>,
    told: Option<Instant>,
}

impl Losses {
    fn add(&mut self, spans: u64, why: String) {
        self.count.fetch_add(spans, Ordering::Relaxed);
        self.why = Some(why);
    }

    /// Tells what was lost since it was last told, unless that was a moment ago; true if it did.
    fn tell(&mut self, now: Instant) -> bool {
        let tells = self.told.is_none_or(|told| now - told >= TOLD_EVERY) && self.tell_all();
        if tells {
            self.told = Some(now);
        }
        tells
    }

    fn tell_all(&mut self) -> bool {
        let spans = self.count.swap(0, Ordering::Relaxed);
        if spans > 0 {
            let why = self.why.take();
            let why = why.as_deref().unwrap_or("they come faster than it takes them");
            tracing::warn!(
                spans,
                why,
                "spans are lost: the collector of traces has not taken them"
            );
        }
        spans > 0
    }
}

/// Where they go, for people.
pub fn place(settings: &Settings) -> String {
    host_and_port(&settings.endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_once_a_minute() {
        let mut losses = Losses { count: Arc::default(), why: None, told: None };
        let start = Instant::now();
        let mut tells = |lost, after| {
            losses.count.fetch_add(lost, Ordering::Relaxed);
            losses.tell(start + Duration::from_secs(after))
        };
        assert!(!tells(0, 0), "nothing is lost");
        assert!(tells(1, 1));
        assert!(!tells(5, 2) && !tells(0, 60), "a moment ago");
        assert!(tells(0, 61) && !tells(0, 200));
    }
}
