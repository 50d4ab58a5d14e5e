//! Headless Chromium, Debian's, over the DevTools protocol.
//!
//! The protocol is spoken over two pipes (`--remote-debugging-pipe`): JSON with a NUL behind each
//! message. So neither Node nor a driver nor a WebSocket is needed.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::child::GuardedChild;
use super::{debian, eventually, kit_dir};

/// What any single question may take, on a busy machine, with the start of the browser.
const ANSWER: Duration = Duration::from_secs(60);

/// Where Debian puts it; the wrapper in `/usr/bin` does nothing that is wanted here.
const PROGRAM: &str = "/usr/lib/chromium/chromium";

/// In the pipes' places (3 is read, 4 is written) stand stdin and stdout. As root there is no
/// sandbox.
const START: &str = r#"exec "$0" --remote-debugging-pipe --headless --no-sandbox --disable-gpu \
    --disable-dev-shm-usage --disable-breakpad --disable-background-networking --disable-sync \
    --disable-component-update --disable-extensions --no-first-run --hide-scrollbars \
    --user-data-dir="$1" 3<&0 4>&1 </dev/null >/dev/null"#;

/// A running Chromium; it ends when it is dropped.
pub struct Browser {
    talk: Arc<Talk>,
    _child: GuardedChild,
    _profile: tempfile::TempDir,
}

/// What is asked and what is heard.
struct Talk {
    to: tokio::sync::Mutex<pipe::Sender>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    /// Events of all pages, as they came.
    heard: Mutex<Vec<Value>>,
}

/// A page of the browser's.
pub struct Tab {
    talk: Arc<Talk>,
    session: String,
}

impl Browser {
    /// Installs it if need be, and starts it.
    pub async fn start() -> Self {
        let install = || {
            if !Path::new(PROGRAM).exists() {
                debian::install("chromium", "");
            }
        };
        tokio::task::spawn_blocking(install).await.expect("the installation does not panic");
        std::fs::create_dir_all(kit_dir()).expect("target/kit can be written");
        let profile = tempfile::tempdir_in(kit_dir()).expect("target/kit can be written");
        let pipe = || std::io::pipe().expect("the system has pipes");
        let ((its_input, to), (from, its_output)) = (pipe(), pipe());
        let mut command = Command::new("sh");
        command.args(["-c", START, PROGRAM]).arg(profile.path());
        command.stdout(its_output).stderr(Stdio::null());
        let child = GuardedChild::spawn_with_input(&mut command, its_input.into());
        let child = child.expect("sh starts");
        let to = pipe::Sender::from_owned_fd(OwnedFd::from(to)).expect("a pipe");
        let from = pipe::Receiver::from_owned_fd(OwnedFd::from(from)).expect("a pipe");
        let talk = Arc::new(Talk {
            to: tokio::sync::Mutex::new(to),
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            heard: Mutex::default(),
        });
        // It ends with the browser, whose pipe it reads.
        tokio::spawn(listen(from, Arc::clone(&talk)));
        Self { talk, _child: child, _profile: profile }
    }

    /// An empty page of its own.
    pub async fn tab(&self) -> Tab {
        let target =
            self.talk.ask("", "Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.talk.ask("", "Target.attachToTarget", attach).await;
        let session = attached["sessionId"].as_str().expect("a session").to_owned();
        let tab = Tab { talk: Arc::clone(&self.talk), session };
        for domain in ["Page", "Network", "Runtime", "Log"] {
            tab.ask(&format!("{domain}.enable"), json!({})).await;
        }
        tab
    }
}

impl Talk {
    async fn ask(&self, session: &str, method: &str, parameters: Value) -> Value {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut question = json!({ "id": id, "method": method, "params": parameters });
        if !session.is_empty() {
            question["sessionId"] = session.into();
        }
        let (answered, answer) = oneshot::channel();
        lock(&self.waiting).insert(id, answered);
        let mut text = question.to_string().into_bytes();
        text.push(0);
        self.to.lock().await.write_all(&text).await.expect("Chromium reads");
        let answer = tokio::time::timeout(ANSWER, answer).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {method} in {ANSWER:?}"));
        let answer =
            answer.unwrap_or_else(|_| panic!("Chromium ended before it answered {method}"));
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }
}

async fn listen(from: pipe::Receiver, talk: Arc<Talk>) {
    let mut from = BufReader::new(from);
    let mut text = Vec::new();
    while from.read_until(0, &mut text).await.is_ok_and(|read| read > 0) {
        text.pop();
        let message: Value = serde_json::from_slice(&text).expect("Chromium writes JSON");
        text.clear();
        match message["id"].as_u64() {
            Some(id) => {
                if let Some(waiting) = lock(&talk.waiting).remove(&id) {
                    // Whoever asked may have given up.
                    let _ = waiting.send(message);
                }
            }
            None => lock(&talk.heard).push(message),
        }
    }
    // Nobody waits for what will never come.
    lock(&talk.waiting).clear();
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tab {
    /// Goes to `url` and waits until it is loaded; what it asks for and says is heard from the first on.
    pub async fn open(&self, url: &str) {
        let loaded = || self.heard("Page.loadEventFired").len();
        let before = loaded();
        self.ask("Page.navigate", json!({ "url": url })).await;
        eventually(url, ANSWER, async || (loaded() > before).then_some(())).await;
    }

    /// The requests for addresses with this end.
    pub fn sent(&self, end: &str) -> Vec<Value> {
        let mut sent = self.heard("Network.requestWillBeSent");
        sent.retain(|sent| sent["request"]["url"].as_str().is_some_and(|url| url.ends_with(end)));
        sent
    }

    /// A command of the protocol; panics if it is refused.
    pub async fn ask(&self, method: &str, parameters: Value) -> Value {
        self.talk.ask(&self.session, method, parameters).await
    }

    /// What an expression, or the promise that it is, comes to.
    pub async fn eval(&self, expression: &str) -> Value {
        let question =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", question).await;
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The text of the first element that a CSS selector finds, as it is seen.
    pub async fn text(&self, selector: &str) -> String {
        let text =
            self.eval(&format!("document.querySelector({selector:?})?.innerText ?? ''")).await;
        text.as_str().expect("a text").to_owned()
    }

    /// Waits until an expression is neither false nor nothing, and returns it.
    pub async fn until(&self, what: &str, limit: Duration, expression: &str) -> Value {
        eventually(what, limit, async || {
            let value = self.eval(expression).await;
            (!value.is_null() && value != false && value != "").then_some(value)
        })
        .await
    }

    /// The parameters of all events of this kind so far.
    pub fn heard(&self, method: &str) -> Vec<Value> {
        let heard = lock(&self.talk.heard);
        let own =
            |event: &&Value| event["sessionId"] == *self.session && event["method"] == *method;
        heard.iter().filter(own).map(|event| event["params"].clone()).collect()
    }

    /// What the console says that is wrong: exceptions, errors, and whatever the policy has refused.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.heard("Log.entryAdded").into_iter().map(|said| said["entry"].clone());
        let entries = entries.filter(|entry| entry["level"] == "error");
        let calls = self.heard("Runtime.consoleAPICalled").into_iter();
        let calls = calls
            .filter(|call| ["error", "warning", "assert"].iter().any(|kind| call["type"] == *kind));
        let thrown = self.heard("Runtime.exceptionThrown");
        entries.chain(calls).chain(thrown).map(|said| said.to_string()).collect()
    }

    /// A window of this size in CSS pixels, of so many pixels each.
    pub async fn size(&self, width: u32, height: u32, scale: u32) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600,
        });
        self.ask("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// By day or by night; from now on without motion, so that what is seen is at rest.
    pub async fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([
            { "name": "prefers-color-scheme", "value": value },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// A PNG of what the window shows.
    pub async fn picture(&self) -> Vec<u8> {
        let taken = self.ask("Page.captureScreenshot", json!({ "format": "png" })).await;
        STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64")
    }
}
