//! What is seen while the afternoon is played: messages go out, events come in, bars move.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use indicatif::ProgressBar;
use lapin::BasicProperties;
use lapin::options::BasicConsumeOptions;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::parts::{CALLS, EVENTS, Parts};
use crate::screen::{Screen, Tone, size};
use crate::script::{Act, Afternoon, TENANTS};
use crate::support::broker::client::{Rabbit, table};
use crate::support::world::access_key;

/// Nothing that is still to come takes longer; then the sum is drawn without it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the bars move.
const TICK: Duration = Duration::from_millis(200);

/// How often a plain output says how far it is.
const PLAIN: Duration = Duration::from_secs(3);

/// An event, as it came and as it reads.
pub struct Event {
    pub text: String,
    pub json: Value,
}

/// What the afternoon has brought.
pub struct Seen {
    pub events: Vec<Event>,
    /// The worker's own numbers, at the end.
    pub status: Value,
    pub took: Duration,
}

/// Plays the afternoon and waits until everything has come to an end.
pub async fn play(screen: &Screen, parts: &mut Parts, afternoon: &Afternoon) -> Seen {
    for asked in &afternoon.asked {
        if let Some(name) = asked.name.as_deref().filter(|_| !asked.replies.is_empty()) {
            parts.ccfs.script_for(&access_key(asked.tenant), name, asked.replies.clone());
        }
    }
    let mut board = Board::new(screen, afternoon, parts.folder.join("callvault.log"));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut acts = afternoon.acts.iter();
    let mut next = acts.next();
    let mut seen = Vec::new();
    let mut last_news = Instant::now();
    loop {
        let due = next.map(|act| board.began + act.at);
        tokio::select! {
            () = until(due), if due.is_some() => {
                if let Some(act) = next {
                    board.publish(parts, act).await;
                }
                next = acts.next();
                last_news = Instant::now();
            }
            event = next_event(&mut parts.events) => {
                board.note_end(&event.json);
                seen.push(event);
                last_news = Instant::now();
            }
            _ = ticks.tick() => {
                let status = board.draw(parts).await;
                let ended = seen.len() >= afternoon.events && status["messages"]["inFlight"] == 0;
                if next.is_none() && (ended || last_news.elapsed() > PATIENCE) {
                    board.finish();
                    return Seen { events: seen, status, took: board.began.elapsed() };
                }
            }
        }
    }
}

/// Follows the demo's queue of events: their bodies, as they come.
pub async fn follow(rabbit: &Rabbit) -> UnboundedReceiver<String> {
    let channel = rabbit.new_channel().await;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let consumer = channel.basic_consume(EVENTS.into(), "".into(), options, table([]));
    let mut consumer = consumer.await.expect("the queue of events is there");
    let (out, events) = unbounded_channel();
    // A task of its own, since a body that was taken must not get lost in a `select!`.
    tokio::spawn(async move {
        while let Some(Ok(delivery)) = consumer.next().await {
            let body = String::from_utf8_lossy(&delivery.data).into_owned();
            if out.send(body).is_err() {
                return;
            }
        }
    });
    events
}

/// The next event of [`follow`].
pub async fn next_event(events: &mut UnboundedReceiver<String>) -> Event {
    let text = events.recv().await.expect("RabbitMQ runs while somebody listens");
    let json = serde_json::from_str(&text).expect("an event is JSON");
    Event { text, json }
}

/// What the worker says of itself.
pub async fn status(parts: &Parts) -> Value {
    let (_, text) = parts.worker.get("/api/status").await;
    serde_json::from_str(&text).expect("the status is JSON")
}

async fn until(due: Option<Instant>) {
    if let Some(due) = due {
        sleep_until(due).await;
    }
}

/// The bars, and what is written above them.
struct Board<'a> {
    screen: &'a Screen,
    began: Instant,
    rows: BTreeMap<&'static str, Row>,
    footer: Option<ProgressBar>,
    log: Tail,
    said_plainly: Instant,
    said_last: String,
}

#[derive(Default)]
struct Row {
    asked: usize,
    published: usize,
    ended: usize,
    bar: Option<ProgressBar>,
}

impl<'a> Board<'a> {
    fn new(screen: &'a Screen, afternoon: &Afternoon, log: PathBuf) -> Self {
        let row = |tenant: &'static str| {
            let asked = afternoon.asked_of(tenant);
            (tenant, Row { asked, bar: screen.bar(tenant, asked), ..Row::default() })
        };
        screen.line("");
        let began = Instant::now();
        Self {
            screen,
            began,
            rows: TENANTS.into_iter().map(row).collect(),
            footer: screen.footer(),
            log: Tail { path: log, read: 0 },
            said_plainly: began,
            said_last: String::new(),
        }
    }

    async fn publish(&mut self, parts: &Parts, act: &Act) {
        if let Some(chapter) = act.chapter {
            self.screen.line(&self.screen.paint(Tone::Bold, chapter));
        }
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2);
        let (body, key) = (act.message.to_string(), act.message["type"].as_str());
        let key = key.expect("every message of the script has a type");
        parts.rabbit.publish(CALLS, key, body.as_bytes(), properties).await;
        self.row(&act.message["tenant"], |row| row.published += act.asks);
    }

    /// Archived, absent or failed: one more has ended. A repeated one has ended before.
    fn note_end(&mut self, event: &Value) {
        let again = event["data"]["alreadyArchived"] == true;
        if event["type"] != "dump.expanded" && !again {
            self.row(&event["data"]["tenant"], |row| row.ended += 1);
        }
    }

    fn row(&mut self, tenant: &Value, change: impl FnOnce(&mut Row)) {
        if let Some(row) = tenant.as_str().and_then(|tenant| self.rows.get_mut(tenant)) {
            change(row);
        }
    }

    /// Moves everything to where it is now.
    async fn draw(&mut self, parts: &Parts) -> Value {
        for line in self.log.more() {
            if let Some(text) = remarkable(self.screen, &line) {
                self.screen.line(&text);
            }
        }
        let status = status(parts).await;
        for (tenant, row) in &self.rows {
            if let Some(bar) = &row.bar {
                bar.set_position(row.ended as u64);
                bar.set_message(self.counts(tenant, row, &status));
            }
        }
        if let Some(footer) = &self.footer {
            let mut waiting = 0;
            for delay in crate::parts::DELAYS {
                waiting += parts.depth(&format!("retry.{delay}")).await;
            }
            footer.set_message(self.now(&status, waiting));
        } else if self.said_plainly.elapsed() >= PLAIN {
            self.say_plainly(&status);
        }
        status
    }

    /// Says how far it is, if that has changed.
    fn say_plainly(&mut self, status: &Value) {
        let line = |(tenant, row): (&&str, &Row)| {
            let (ended, asked) = (row.ended, row.asked);
            format!("  {tenant:<8}{ended:>3}/{asked}  {}", self.counts(tenant, row, status))
        };
        let said = self.rows.iter().map(line).collect::<Vec<_>>().join("\n");
        if said != self.said_last {
            self.screen.line(&self.screen.paint(Tone::Dim, &said));
            self.said_last = said;
            self.said_plainly = Instant::now();
        }
    }

    fn counts(&self, tenant: &str, row: &Row, status: &Value) -> String {
        let of = |name: &str| number(&tenant_status(status, tenant)[name]);
        let toned = |tone, name: &str, count: u64| {
            let text = format!("{name} {count}");
            if count == 0 { text } else { self.screen.paint(tone, text) }
        };
        [
            format!("published {}", row.published),
            toned(Tone::Good, "archived", of("archived")),
            toned(Tone::Warn, "retried", of("retried")),
            toned(Tone::Warn, "absent", of("absent")),
            toned(Tone::Bad, "dead", of("failed")),
        ]
        .join(" · ")
    }

    fn now(&self, status: &Value, waiting: u32) -> String {
        let tenants = status["tenants"].as_array().into_iter().flatten();
        let stored = size(tenants.map(|tenant| number(&tenant["storedBytes"])).sum());
        let in_flight = number(&status["messages"]["inFlight"]);
        let seconds = self.began.elapsed().as_secs();
        let text = format!(
            "{seconds:>2} s · in flight {in_flight} · waiting to be retried {waiting} · \
             stored {stored}"
        );
        self.screen.paint(Tone::Dim, text)
    }

    fn finish(&mut self) {
        if !self.screen.is_live() {
            return;
        }
        for row in self.rows.values() {
            row.bar.as_ref().inspect(|bar| bar.abandon());
        }
        self.footer.as_ref().inspect(|footer| footer.finish_and_clear());
    }
}

fn tenant_status<'a>(status: &'a Value, tenant: &str) -> &'a Value {
    let tenants = status["tenants"].as_array();
    tenants.into_iter().flatten().find(|row| row["id"] == tenant).unwrap_or(&Value::Null)
}

pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// A log line of the worker that is worth reading while it happens.
fn remarkable(screen: &Screen, line: &Value) -> Option<String> {
    let field = |name: &str| line[name].as_str().unwrap_or_default();
    let (tone, word, text) = match field("outcome") {
        "retried" => (Tone::Warn, "again", why(line)),
        "dead" => (Tone::Bad, "dead", why(line)),
        "absent" => (Tone::Warn, "absent", why(line)),
        "already_archived" => (Tone::Good, "known", "it is in the bucket already".to_owned()),
        "expanded" => {
            (Tone::Good, "dump", format!("{} recordings, one message each", line["count"]))
        }
        "archived" if number(&line["bytes"]) > 5 << 20 => {
            (Tone::Good, "stored", format!("{} in parts", size(number(&line["bytes"]))))
        }
        "archived" if field("key").ends_with(".zip") => {
            (Tone::Good, "stored", "a ZIP, as it is".to_owned())
        }
        _ => return None,
    };
    let call = ["call", "file", "request"].map(field).into_iter().find(|name| !name.is_empty());
    let call = call.unwrap_or("–");
    let word = screen.paint(tone, format!("{word:<7}"));
    Some(format!("    {word} {:<7} {call:<18} {text}", field("tenant")))
}

/// The reason, and the first half of the sentence that explains it.
fn why(line: &Value) -> String {
    let field = |name: &str| line[name].as_str().unwrap_or_default();
    let detail = field("detail").split(';').next().unwrap_or_default();
    let detail = detail.strip_prefix("CC-FS answered: ").unwrap_or(detail);
    format!("{:<15} {detail}", field("reason"))
}

/// A JSON log that grows.
pub struct Tail {
    path: PathBuf,
    read: u64,
}

impl Tail {
    /// The whole lines that have come since.
    fn more(&mut self) -> Vec<Value> {
        let mut text = Vec::new();
        let file = std::fs::File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read))?;
            file.read_to_end(&mut text)
        });
        file.expect("the worker's log can be read");
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        let lines = text[..whole].split(|byte| *byte == b'\n');
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}
