//! What the simulator answers: any answer of CC-FS, of what stands in front of it, and of the
//! networks between.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;

use super::package::{Package, rotten};
use super::recording::{Content, Recording};

/// The content type of a recording, letter for letter.
pub const OCTETS: &str = "Application/Octet-stream;charset=UTF-8";

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length,
    Chunked,
    /// By the end of the connection.
    Close,
    /// The same, under a `Transfer-Encoding` of this value, which is not chunked.
    Coded(&'static str),
}

/// How an answer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Answer,
    /// Nothing comes, until the client goes.
    Hang,
    Close,
    Reset,
    /// These bytes instead of an answer, then the end.
    Garbage(&'static [u8]),
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    /// After so many bytes: the connection is closed in order,
    Cut(u64),
    /// or after half of it,
    CutInTheMiddle,
    /// reset,
    Reset(u64),
    /// or stays open without a byte more, until the client goes.
    Stall(u64),
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Bytes(Bytes),
    Recording(Recording),
    Package(Arc<Package>, Option<Wrong>),
}

/// What is wrong with the bytes of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The second half is missing.
    Half,
    /// One of them is another.
    Rotten,
}

/// One answer; built up from a constructor, the ways it goes wrong added to it.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
    pub(super) framing: Framing,
    pub(super) declared: Option<u64>,
    pub(super) delay: Duration,
    /// Up to so much longer, anew for each answer.
    pub(super) spread: Duration,
    pub(super) held: Option<watch::Receiver<bool>>,
    pub(super) stopped: Option<watch::Receiver<bool>>,
    pub(super) piece: usize,
    pub(super) pause: Duration,
    pub(super) start: Start,
    pub(super) end: End,
    /// The connection ends without TLS's `close_notify`.
    pub(super) ragged: bool,
    pub(super) label: String,
}

impl Reply {
    fn new(status: u16, content_type: Option<&str>, body: Body, label: impl Into<String>) -> Self {
        let headers = content_type.map(|text| ("Content-Type".to_owned(), text.to_owned()));
        Self {
            status,
            headers: headers.into_iter().collect(),
            body,
            framing: Framing::Length,
            declared: None,
            delay: Duration::ZERO,
            spread: Duration::ZERO,
            held: None,
            stopped: None,
            piece: usize::MAX,
            pause: Duration::ZERO,
            start: Start::Answer,
            end: End::Whole,
            ragged: false,
            label: label.into(),
        }
    }

    /// A recording, as CC-FS sends it.
    pub fn recording(recording: Recording) -> Self {
        Self::new(200, Some(OCTETS), Body::Recording(recording), "recording")
    }

    /// An A-law WAV of about `bytes`.
    pub fn wav(bytes: u64) -> Self {
        Self::recording(Recording::wav(bytes))
    }

    /// A ZIP of WAVs of these sizes.
    pub fn zip(entries: impl IntoIterator<Item = u64>) -> Self {
        Self::recording(Recording::zip(entries))
    }

    /// A result code with both its forms, as newer releases send it.
    pub fn code(code: &str) -> Self {
        let body = json!({
            "resultCode": code,
            "resultDesc": "described for 13800138000 in X:/4/0/secret.V3",
            "resultData": {},
            "response": { "version": "2.0", "resultCode": code, "resultMsg": "" },
        });
        Self { label: code.to_owned(), ..Self::json(body.to_string()) }
    }

    /// The success of queryBillData.
    pub(super) fn ordered(response_id: &str) -> Self {
        let body = json!({
            "resultCode": "0",
            "resultDesc": "success",
            "resultData": { "responseId": response_id },
            "response": { "version": "2.0", "resultCode": "0", "resultMsg": "success" },
        });
        Self { label: "ordered".to_owned(), ..Self::json(body.to_string()) }
    }

    /// The package of an index.
    pub(super) fn package(package: &Arc<Package>, wrong: Option<Wrong>) -> Self {
        Self::new(200, Some(OCTETS), Body::Package(Arc::clone(package), wrong), "package")
    }

    /// A result code in the inner `response` alone, as older releases send it.
    pub fn inner_code(code: &str) -> Self {
        let body = json!({ "response": { "version": "2.0", "resultCode": code } });
        Self { label: code.to_owned(), ..Self::json(body.to_string()) }
    }

    /// 0300012.
    pub fn not_found() -> Self {
        Self::code("0300012")
    }

    /// 0300008.
    pub fn throttled() -> Self {
        Self::code("0300008")
    }

    /// Any text under a JSON content type, status 200.
    pub fn json(body: impl Into<Bytes>) -> Self {
        let body = Body::Bytes(body.into());
        Self::new(200, Some("application/json;charset=UTF-8"), body, "json")
    }

    /// A page of a firewall.
    pub fn html(status: u16) -> Self {
        let page = b"<!DOCTYPE html><html><body>Request blocked</body></html>";
        let body = Body::Bytes(Bytes::from_static(page));
        Self::new(status, Some("text/html"), body, format!("html {status}"))
    }

    /// Any bytes under the content type of a recording, status 200.
    pub fn octets(body: impl Into<Bytes>) -> Self {
        Self::new(200, Some(OCTETS), Body::Bytes(body.into()), "octets")
    }

    pub fn text(body: impl Into<String>) -> Self {
        let body = Body::Bytes(Bytes::from(body.into()));
        Self::new(200, Some("text/plain"), body, "text")
    }

    /// A status and no body.
    pub fn status(status: u16) -> Self {
        Self::new(status, None, Body::Bytes(Bytes::new()), format!("http {status}"))
    }

    /// 200 and no body.
    pub fn empty() -> Self {
        Self { label: "empty".to_owned(), ..Self::status(200) }.content_type(OCTETS)
    }

    pub fn redirect(to: &str) -> Self {
        Self::status(302).header("Location", to)
    }

    fn starting(start: Start, label: &str) -> Self {
        Self { start, label: label.to_owned(), ..Self::status(200) }
    }

    /// No byte of an answer.
    pub fn hang() -> Self {
        Self::starting(Start::Hang, "hang")
    }

    /// The connection is closed instead of an answer.
    pub fn close() -> Self {
        Self::starting(Start::Close, "close")
    }

    /// The connection is reset instead of an answer.
    pub fn reset() -> Self {
        Self::starting(Start::Reset, "reset")
    }

    /// Something that is not HTTP.
    pub fn garbage(bytes: &'static [u8]) -> Self {
        Self::starting(Start::Garbage(bytes), "garbage")
    }

    #[must_use]
    pub fn framing(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn content_type(self, value: &str) -> Self {
        self.no_content_type().header("Content-Type", value)
    }

    #[must_use]
    pub fn no_content_type(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "Content-Type");
        self
    }

    /// Waits before the answer.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Waits before the answer, as long as it happens to be: all lengths between the two are as likely.
    #[must_use]
    pub fn after_between(self, least: Duration, most: Duration) -> Self {
        Self { delay: least, spread: most.saturating_sub(least), ..self }
    }

    /// Waits before the answer until `open` says so.
    #[must_use]
    pub fn once(self, open: watch::Receiver<bool>) -> Self {
        Self { held: Some(open), ..self }
    }

    /// Sends what `pieces` says first, and the rest when `open` says so.
    #[must_use]
    pub fn midway(self, open: watch::Receiver<bool>) -> Self {
        Self { stopped: Some(open), ..self }
    }

    /// Sends in pieces (chunks, under that framing) of so many bytes, with a pause between them.
    #[must_use]
    pub fn pieces(self, piece: usize, pause: Duration) -> Self {
        Self { piece: piece.max(1), pause, ..self }
    }

    /// A Content-Length that is not that of the body; the connection closes after the body.
    #[must_use]
    pub fn declared_length(self, length: u64) -> Self {
        Self { declared: Some(length), ..self }
    }

    /// Closes after `at` bytes of the body.
    #[must_use]
    pub fn cut_at(self, at: u64) -> Self {
        Self { end: End::Cut(at), ..self }
    }

    /// Closes after half of the body.
    #[must_use]
    pub(super) fn cut_in_the_middle(self) -> Self {
        Self { end: End::CutInTheMiddle, ..self }
    }

    /// Closes TCP without TLS's `close_notify`, as many appliances do.
    #[must_use]
    pub fn ragged(self) -> Self {
        Self { ragged: true, ..self }
    }

    /// Resets the connection after `at` bytes of the body.
    #[must_use]
    pub fn reset_at(self, at: u64) -> Self {
        Self { end: End::Reset(at), ..self }
    }

    /// Falls silent after `at` bytes of the body.
    #[must_use]
    pub fn stall_at(self, at: u64) -> Self {
        Self { end: End::Stall(at), ..self }
    }

    /// The connection can stay: where the body ends shows without its end.
    pub(super) fn shows_its_end(&self) -> bool {
        let framed = matches!(self.framing, Framing::Length | Framing::Chunked);
        framed && self.declared.is_none()
    }

    pub(super) fn is_recording(&self) -> bool {
        matches!(self.body, Body::Recording(_))
    }

    /// The bytes that this reply has for `key`, were it whole.
    pub fn content(&self, key: &str) -> Content {
        match &self.body {
            Body::Bytes(bytes) => bytes.clone().into(),
            Body::Recording(recording) => recording.content(key),
            Body::Package(package, wrong) => {
                let bytes = package.bytes();
                match wrong {
                    None => bytes.into(),
                    Some(Wrong::Half) => bytes.slice(..bytes.len() / 2).into(),
                    Some(Wrong::Rotten) => rotten(&bytes).into(),
                }
            }
        }
    }

    /// The same, beside what else is served: a package may take long to make.
    pub(super) async fn made(&self, key: &str) -> Content {
        if let Body::Package(package, _) = &self.body {
            let package = Arc::clone(package);
            let _ = tokio::task::spawn_blocking(move || package.bytes()).await;
        }
        self.content(key)
    }
}

/// The replies that a name itself asks for, for tests that see the worker from outside.
///
/// The part after the name's last dash (of a file name: of its stem), when it begins with a
/// letter: steps joined with dots, the last one repeats. `w64k` a WAV of 64 KiB (`k`, `m`, `g`, or
/// bytes), `z3x8k` a ZIP of three, `b1k` bytes of no format, `c0300004` a result code, `nf`
/// 0300012, `th` 0300008, `h500` a bare status, `html403`, `empty`, `hang`, `rst`, `cut` (a WAV of
/// 64 KiB cut in half), `stall` (one that falls silent there), `s64k` a WAV that takes two seconds to
/// come down; `d200` before any of them: after so many milliseconds. `1777093663-nf.nf.w64k`: twice not
/// found, then a WAV; `1777093663-d200w2m`: a WAV of 2 MiB, the first byte after 200 ms.
pub fn by_name(name: &str) -> Option<Vec<Reply>> {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let stem = file.strip_suffix(".V3").or_else(|| file.strip_suffix(".wav")).unwrap_or(file);
    let (_, steps) = stem.rsplit_once('-')?;
    steps.split('.').map(step).collect()
}

fn step(word: &str) -> Option<Reply> {
    match word {
        "nf" => return Some(Reply::not_found()),
        "th" => return Some(Reply::throttled()),
        "empty" => return Some(Reply::empty()),
        "hang" => return Some(Reply::hang()),
        "rst" => return Some(Reply::reset()),
        "cut" => return Some(Reply::wav(64 << 10).cut_at(32 << 10)),
        "stall" => return Some(Reply::wav(64 << 10).stall_at(32 << 10)),
        _ => {}
    }
    if let Some((wait, word)) = word.strip_prefix('d').and_then(number_before) {
        return Some(step(word)?.after(Duration::from_millis(wait)));
    }
    if let Some(status) = word.strip_prefix("html") {
        return Some(Reply::html(status.parse().ok()?));
    }
    let (kind, rest) = word.split_at_checked(1)?;
    match kind {
        "w" => Some(Reply::wav(size(rest)?)),
        "s" => {
            let bytes = size(rest)?;
            let piece = usize::try_from(bytes / 20).ok()?;
            Some(Reply::wav(bytes).pieces(piece, Duration::from_millis(100)))
        }
        "b" => Some(Reply::recording(Recording::raw(size(rest)?))),
        "z" => {
            let (count, bytes) = rest.split_once('x')?;
            let bytes = size(bytes)?;
            Some(Reply::zip((0..count.parse().ok()?).map(|_| bytes)))
        }
        "c" if rest.bytes().all(|b| b.is_ascii_digit()) => Some(Reply::code(rest)),
        "h" => Some(Reply::status(rest.parse().ok()?)),
        _ => None,
    }
}

/// The digits at the head, and the rest.
fn number_before(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    Some((digits.parse().ok()?, rest))
}

fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    Some(digits.parse::<u64>().ok()? << unit)
}
