//! What a message carries about its own past: headers in, headers out (contract 5).
//!
//! Pure. Headers come from outside, so every value is clamped; it must not know connections.

use jiff::{SignedDuration, Timestamp};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::topology::Names;
use crate::failure::{Came, Reason, Unproven};

/// More tries, steps or crashes than this say nothing more, and adding one never overflows.
const MAX_COUNT: u32 = 1_000_000;
/// Bytes of `callvault-detail`.
const MAX_DETAIL: usize = 1024;
/// Bytes of `callvault-redrive`.
const MAX_REDRIVE: usize = 128;

const ATTEMPTS: &str = "callvault-attempts";
const STEP: &str = "callvault-step";
const FIRST_SEEN: &str = "callvault-first-seen";
const REASON: &str = "callvault-reason";
const DETAIL: &str = "callvault-detail";
const QUEUE: &str = "callvault-queue";
const CRASHES: &str = "callvault-crashes";
const DEAD_AT: &str = "callvault-dead-at";
const REDRIVE: &str = "callvault-redrive";
const IDLE_SINCE: &str = "callvault-idle-since";
const EXPANDED: &str = "callvault-expanded";
const SUSPECT: &str = "callvault-suspect";
const UNPROVEN: &str = "callvault-unproven";

/// The broker's record of how a message came to be dead-lettered.
const X_DEATH: &str = "x-death";

/// The past of a message, as its headers tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Tries that counted.
    pub attempts: u32,
    /// Place on the ladder; rises at every retry.
    pub step: u32,
    /// `None`: this is the first time; never in the future. What a message spent idle is taken off
    /// its age when it is delivered.
    pub first_seen: Option<Timestamp>,
    /// Of a message that is sent away: from then until its next delivery it does not age.
    pub idle_since: Option<Timestamp>,
    /// How often it was around when a worker died.
    pub crashes: u32,
    /// The queue that it was first taken from, jobs or bulk, also for what is in suspect now.
    pub origin: Option<String>,
    /// Of a dump: its recordings have been asked for, which only has to be said.
    pub expanded: bool,
    /// What came of CC-FS and contradicts itself (contract 3, 'At the source').
    pub unproven: Option<Unproven>,
    /// Given by `dead redrive`: makes new event ids for failed and absent.
    pub redrive: Option<String>,
}

impl State {
    /// Reads the headers of a message that was delivered from `queue`.
    pub(super) fn parse(headers: &FieldTable, queue: &str, names: &Names, now: Timestamp) -> Self {
        let time = |name| text(headers, name).and_then(|at| at.parse::<Timestamp>().ok());
        let idle = time(IDLE_SINCE).map_or(SignedDuration::ZERO, |since| now.duration_since(since));
        let aged = |first: Timestamp| {
            let later = first.checked_add(idle.max(SignedDuration::ZERO));
            later.map_or(now, |later| later.min(now))
        };
        Self {
            attempts: count(headers, ATTEMPTS),
            step: count(headers, STEP),
            first_seen: time(FIRST_SEEN).map(aged),
            idle_since: None,
            crashes: count(headers, CRASHES),
            origin: Some(origin(headers, queue, names)),
            expanded: text(headers, EXPANDED) == Some("true"),
            unproven: text(headers, UNPROVEN).and_then(read_unproven),
            redrive: redrive_of(headers),
        }
    }

    /// The same past, which begins now if it had not begun.
    #[must_use]
    pub fn seen(&self, now: Timestamp) -> Self {
        Self { first_seen: self.first_seen.or(Some(now)), ..self.clone() }
    }
}

/// `{times};{size};{SHA-256};{reason}`.
fn write_unproven(Unproven { came, reason, times }: &Unproven) -> String {
    format!("{times};{};{};{reason}", came.size, hex::encode(came.sha256))
}

fn read_unproven(text: &str) -> Option<Unproven> {
    let mut fields = text.splitn(4, ';');
    let times = fields.next()?.parse::<u32>().ok()?.min(MAX_COUNT);
    let size = fields.next()?.parse().ok()?;
    let mut sha256 = [0; 32];
    hex::decode_to_slice(fields.next()?, &mut sha256).ok()?;
    let reason = Reason::read_ccfs(fields.next()?)?;
    Some(Unproven { came: Came { size, sha256 }, reason, times })
}

/// The header `callvault-redrive`, if it can be ours.
pub(super) fn redrive_of(headers: &FieldTable) -> Option<String> {
    text(headers, REDRIVE)
        .filter(|id| (1..=MAX_REDRIVE).contains(&id.len()))
        .filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()))
        .map(str::to_owned)
}

/// The header `callvault-reason`.
pub(super) fn reason_of(headers: &FieldTable) -> Option<&str> {
    text(headers, REASON)
}

/// What the headers of a dead message say of its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Death {
    pub reason: Option<String>,
    /// Explains the reason.
    pub detail: Option<String>,
    pub attempts: u32,
    pub at: Option<Timestamp>,
}

impl Death {
    pub(super) fn parse(headers: &FieldTable) -> Self {
        let owned = |name| text(headers, name).map(str::to_owned);
        Self {
            reason: reason_of(headers).map(str::to_owned),
            detail: owned(DETAIL),
            attempts: count(headers, ATTEMPTS),
            at: text(headers, DEAD_AT).and_then(|at| at.parse().ok()),
        }
    }
}

/// What a retried or dead message says besides its state.
pub(super) struct Verdict<'a> {
    pub reason: &'a Reason,
    pub detail: &'a str,
    /// For a dead one.
    pub dead_at: Option<Timestamp>,
}

/// The headers of a copy: the original's without those that would harm it, the state's over them.
///
/// Headers that would not fit a frame, of at most `frame_max` bytes, would kill the connection again
/// and again; then the largest are left out, and the second value is false.
pub(super) fn copied_headers(
    original: &FieldTable,
    state: &State,
    verdict: &Verdict<'_>,
    frame_max: usize,
) -> (FieldTable, bool) {
    let mut ours = FieldTable::default();
    let mut put = |name: &str, value: AMQPValue| {
        ours.insert(name.into(), value);
    };
    let number = |value: u32| AMQPValue::LongLongInt(i64::from(value));
    let words = |value: &str| AMQPValue::LongString(LongString::from(value.as_bytes().to_vec()));
    put(ATTEMPTS, number(state.attempts));
    put(STEP, number(state.step));
    put(CRASHES, number(state.crashes));
    put(REASON, words(verdict.reason.as_str()));
    put(DETAIL, words(cut(verdict.detail, MAX_DETAIL)));
    if let Some(at) = state.first_seen {
        put(FIRST_SEEN, words(&at.to_string()));
    }
    if let Some(at) = state.idle_since {
        put(IDLE_SINCE, words(&at.to_string()));
    }
    if state.expanded {
        put(EXPANDED, words("true"));
    }
    if let Some(origin) = &state.origin {
        put(QUEUE, words(origin));
    }
    if let Some(unproven) = &state.unproven {
        put(UNPROVEN, words(&write_unproven(unproven)));
    }
    if let Some(redrive) = &state.redrive {
        put(REDRIVE, words(redrive));
    }
    if let Some(at) = verdict.dead_at {
        put(DEAD_AT, words(&at.to_string()));
    }
    let whole = keep_theirs(&mut ours, original, frame_max);
    (ours, whole)
}

/// The mark that a suspect carries, if it has not been elsewhere with it: a copy of ours arrives as
/// it was published, so a record of a death says that the mark is another's.
pub(super) fn mark_of(headers: &FieldTable) -> Option<&str> {
    text(headers, SUSPECT).filter(|_| !headers.contains_key(X_DEATH))
}

/// The headers of a suspect's copy that carries the mark: its past as it was, but for what the
/// delivery has told and none of the copy will (where it began, and for how long it was idle).
pub(super) fn marked_headers(
    original: &FieldTable,
    state: &State,
    at: Timestamp,
    frame_max: usize,
) -> (FieldTable, bool) {
    let words = |value: &str| AMQPValue::LongString(LongString::from(value.as_bytes().to_vec()));
    // Ours are short; what is not was written by somebody else.
    let kept = |name: &str, value: &AMQPValue| {
        is_ours(name) && name != IDLE_SINCE && bytes(value) <= 2 * MAX_DETAIL
    };
    let mut ours = FieldTable::default();
    for (name, value) in original.inner().iter().filter(|(name, value)| kept(name.as_str(), value))
    {
        ours.insert(name.clone(), value.clone());
    }
    ours.insert(SUSPECT.into(), words(&at.to_string()));
    if let Some(first_seen) = state.first_seen {
        ours.insert(FIRST_SEEN.into(), words(&first_seen.to_string()));
    }
    if let Some(origin) = &state.origin {
        ours.insert(QUEUE.into(), words(origin));
    }
    let whole = keep_theirs(&mut ours, original, frame_max);
    (ours, whole)
}

/// The headers of a message that starts anew: the original's, and of ours the redrive alone.
pub(super) fn redriven_headers(
    original: &FieldTable,
    redrive: &str,
    frame_max: usize,
) -> FieldTable {
    let mut headers = FieldTable::default();
    let redrive = AMQPValue::LongString(LongString::from(redrive.as_bytes().to_vec()));
    headers.insert(REDRIVE.into(), redrive);
    keep_theirs(&mut headers, original, frame_max);
    headers
}

/// Adds what of the original belongs on its copy; false if the largest had to be left out.
fn keep_theirs(headers: &mut FieldTable, original: &FieldTable, frame_max: usize) -> bool {
    let size = |(name, value): &(&ShortString, &AMQPValue)| name.as_str().len() + 2 + bytes(value);
    let mut theirs: Vec<_> =
        original.inner().iter().filter(|(name, _)| survives(name.as_str())).collect();
    theirs.sort_by_key(size);
    // A quarter is for the other properties, and for what the broker adds.
    let mut room = frame_max / 4 * 3;
    for entry in theirs {
        let Some(left) = room.checked_sub(size(&entry)) else { return false };
        room = left;
        headers.insert(entry.0.clone(), entry.1.clone());
    }
    true
}

/// Whether a header of the original belongs on its copy.
///
/// `CC` and `BCC` would route it elsewhere; the broker's records of earlier deaths make it believe
/// in a cycle and drop the message, and its counts are of another queue; ours are written anew.
fn survives(name: &str) -> bool {
    let harmful = ["CC", "BCC", X_DEATH].contains(&name)
        || ["x-first-death-", "x-last-death-"].iter().any(|kind| name.starts_with(kind));
    !harmful && !is_of_delivery(name) && !is_ours(name)
}

/// Whether the broker itself adds this header as it delivers (3.10 to 4.3): what it says is of this
/// delivery, or of this queue, and nobody sent it.
pub(super) fn is_of_delivery(name: &str) -> bool {
    ["x-delivery-count", "x-acquired-count", "x-opt-delivery-time", "x-opt-deferral-token"]
        .contains(&name)
        || name.starts_with("x-opt-rabbitmq-")
}

fn is_ours(name: &str) -> bool {
    let ours = [
        ATTEMPTS, STEP, FIRST_SEEN, IDLE_SINCE, EXPANDED, REASON, DETAIL, QUEUE, CRASHES, DEAD_AT,
        REDRIVE, SUSPECT, UNPROVEN,
    ];
    ours.contains(&name)
}

/// The queue where a message's story began. A message in suspect was sent there by the broker (so
/// `x-death` tells), or by a retry of ours (so our own header does).
fn origin(headers: &FieldTable, queue: &str, names: &Names) -> String {
    let known = |name: &str| [&names.jobs, &names.bulk].into_iter().find(|q| *q == name);
    let named = |header| text(headers, header).and_then(known);
    known(queue)
        .or_else(|| died_in(headers, Some("delivery_limit"), &known))
        .or_else(|| named(QUEUE))
        .or_else(|| died_in(headers, None, &known))
        .or_else(|| named("x-first-death-queue"))
        .or_else(|| named("x-last-death-queue"))
        .unwrap_or(&names.jobs)
        .clone()
}

/// The newest entry of `x-death` with a queue that is `known`, and this reason if one is given.
fn died_in<'a>(
    headers: &FieldTable,
    reason: Option<&str>,
    known: &impl Fn(&str) -> Option<&'a String>,
) -> Option<&'a String> {
    let AMQPValue::FieldArray(deaths) = headers.inner().get(X_DEATH)? else { return None };
    deaths.as_slice().iter().find_map(|death| {
        let AMQPValue::FieldTable(death) = death else { return None };
        let fits = reason.is_none() || text(death, "reason") == reason;
        text(death, "queue").filter(|_| fits).and_then(known)
    })
}

fn text<'a>(headers: &'a FieldTable, name: &str) -> Option<&'a str> {
    match headers.inner().get(name)? {
        AMQPValue::LongString(value) => std::str::from_utf8(value.as_bytes()).ok(),
        AMQPValue::ShortString(value) => Some(value.as_str()),
        _ => None,
    }
}

/// A count in any of the forms that clients write; nonsense and negatives are none.
fn count(headers: &FieldTable, name: &str) -> u32 {
    let value = match headers.inner().get(name) {
        Some(AMQPValue::ShortShortInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortShortUInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortUInt(n)) => i64::from(*n),
        Some(AMQPValue::LongInt(n)) => i64::from(*n),
        Some(AMQPValue::LongUInt(n)) => i64::from(*n),
        Some(AMQPValue::LongLongInt(n)) => *n,
        Some(_) => text(headers, name).and_then(|n| n.parse().ok()).unwrap_or(0),
        None => 0,
    };
    u32::try_from(value.clamp(0, i64::from(MAX_COUNT))).unwrap_or(MAX_COUNT)
}

/// Roughly the bytes of a value on the wire; never less.
fn bytes(value: &AMQPValue) -> usize {
    match value {
        AMQPValue::ShortString(text) => text.as_str().len() + 2,
        AMQPValue::LongString(text) => text.len() + 5,
        AMQPValue::ByteArray(data) => data.len() + 5,
        AMQPValue::FieldArray(values) => 5 + values.as_slice().iter().map(bytes).sum::<usize>(),
        AMQPValue::FieldTable(table) => 5 + table_bytes(table),
        _ => 9,
    }
}

fn table_bytes(table: &FieldTable) -> usize {
    let entry = |(name, value): (&ShortString, &AMQPValue)| name.as_str().len() + 1 + bytes(value);
    table.inner().iter().map(entry).sum()
}

/// The first `limit` bytes, whole characters.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests;
