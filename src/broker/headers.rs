//! What a copy carries about the past of its message: headers out (contract 5).
//!
//! Pure. Headers come from outside, so their size is bounded; it must not know connections.

use jiff::Timestamp;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::state::{
    ATTEMPTS, CRASHES, DEAD_AT, DETAIL, EXPANDED, FIRST_SEEN, IDLE_SINCE, QUEUE, REASON, REDRIVE,
    RETRIED_AT, STEP, SUSPECT, State, UNPROVEN, X_DEATH, write_unproven,
};
use crate::failure::Reason;

/// Bytes of `callvault-detail`.
pub(super) const MAX_DETAIL: usize = 1024;
/// What a retried or dead message says besides its state.
pub(super) struct Verdict<'a> {
    pub reason: &'a Reason,
    pub detail: &'a str,
    pub end: End,
}

/// What becomes of the copy, and from when on.
pub(super) enum End {
    Retried(Timestamp),
    Dead(Timestamp),
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
    match verdict.end {
        End::Retried(at) => put(RETRIED_AT, words(&at.to_string())),
        End::Dead(at) => put(DEAD_AT, words(&at.to_string())),
    }
    let whole = keep_theirs(&mut ours, original, frame_max);
    (ours, whole)
}

/// The headers of a suspect's copy that carries the mark: its past as it was, but for what the
/// delivery has told and none of the copy will (where it began, and for how long it was idle).
pub(super) fn marked_headers(
    original: &FieldTable,
    state: &State,
    at: Timestamp,
    frame_max: usize,
) -> (FieldTable, bool) {
    let mut ours = past(original, state, &[]);
    ours.insert(SUSPECT.into(), words(&at.to_string()));
    if let Some(origin) = &state.origin {
        ours.insert(QUEUE.into(), words(origin));
    }
    let whole = keep_theirs(&mut ours, original, frame_max);
    (ours, whole)
}

/// The headers of a copy that waits in another queue for its first try there: its past as it was,
/// but for the queue, which the next delivery tells. What has a past does not age from `at` on.
pub(super) fn forwarded_headers(
    original: &FieldTable,
    state: &State,
    at: Timestamp,
    frame_max: usize,
) -> (FieldTable, bool) {
    let mut ours = past(original, state, &[QUEUE, SUSPECT]);
    if state.first_seen.is_some() {
        ours.insert(IDLE_SINCE.into(), words(&at.to_string()));
    }
    let whole = keep_theirs(&mut ours, original, frame_max);
    (ours, whole)
}

/// What a message carries about its past, but for some of it; its idle time is in the first-seen by
/// now.
fn past(original: &FieldTable, state: &State, but: &[&str]) -> FieldTable {
    // Ours are short; what is not was written by somebody else.
    let kept = |name: &str, value: &AMQPValue| {
        is_ours(name)
            && name != IDLE_SINCE
            && !but.contains(&name)
            && bytes(value) <= 2 * MAX_DETAIL
    };
    let mut ours = FieldTable::default();
    for (name, value) in original.inner().iter().filter(|(name, value)| kept(name.as_str(), value))
    {
        ours.insert(name.clone(), value.clone());
    }
    if let Some(first_seen) = state.first_seen {
        ours.insert(FIRST_SEEN.into(), words(&first_seen.to_string()));
    }
    ours
}

/// The headers of a message that starts anew: the original's, and of ours the redrive alone.
pub(super) fn redriven_headers(
    original: &FieldTable,
    redrive: &str,
    frame_max: usize,
) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert(REDRIVE.into(), words(redrive));
    keep_theirs(&mut headers, original, frame_max);
    headers
}

/// The headers of a message that is written down and read again: all but those that would harm it.
pub(super) fn recorded_headers(original: &FieldTable) -> FieldTable {
    let mut headers = FieldTable::default();
    let kept = original
        .inner()
        .iter()
        .filter(|(name, _)| survives(name.as_str()) || is_ours(name.as_str()));
    for (name, value) in kept {
        headers.insert(name.clone(), value.clone());
    }
    headers
}

fn words(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value.as_bytes().to_vec()))
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
        RETRIED_AT, REDRIVE, SUSPECT, UNPROVEN,
    ];
    ours.contains(&name)
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

pub(super) fn table_bytes(table: &FieldTable) -> usize {
    let entry = |(name, value): (&ShortString, &AMQPValue)| name.as_str().len() + 1 + bytes(value);
    table.inner().iter().map(entry).sum()
}

/// The first `limit` bytes, whole characters.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}
