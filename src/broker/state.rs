//! What a message carries about its own past, read from its headers (contract 5).
//!
//! Pure. Headers come from outside, so every value is clamped; it must not know connections, nor
//! what is written to a copy.

use jiff::{SignedDuration, Timestamp};
use lapin::types::{AMQPValue, FieldTable};

use super::names::Names;
use crate::failure::{Came, Reason, Unproven};

/// More tries, steps or crashes than this say nothing more, and adding one never overflows.
const MAX_COUNT: u32 = 1_000_000;
/// Bytes of `callvault-redrive`.
const MAX_REDRIVE: usize = 128;

pub(super) const ATTEMPTS: &str = "callvault-attempts";
pub(super) const STEP: &str = "callvault-step";
pub(super) const FIRST_SEEN: &str = "callvault-first-seen";
pub(super) const REASON: &str = "callvault-reason";
pub const DETAIL: &str = "callvault-detail";
pub(super) const QUEUE: &str = "callvault-queue";
pub(super) const CRASHES: &str = "callvault-crashes";
pub(super) const DEAD_AT: &str = "callvault-dead-at";
pub(super) const RETRIED_AT: &str = "callvault-retried-at";
pub(super) const REDRIVE: &str = "callvault-redrive";
pub(super) const IDLE_SINCE: &str = "callvault-idle-since";
pub(super) const EXPANDED: &str = "callvault-expanded";
pub(super) const SUSPECT: &str = "callvault-suspect";
pub(super) const UNPROVEN: &str = "callvault-unproven";

/// The broker's record of how a message came to be dead-lettered.
pub(super) const X_DEATH: &str = "x-death";

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
pub(super) fn write_unproven(Unproven { came, reason, times }: &Unproven) -> String {
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

/// What the headers of a message that is dead, or waits for a retry, say of its last try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    pub reason: Option<String>,
    /// Explains the reason.
    pub detail: Option<String>,
    pub attempts: u32,
    pub first_seen: Option<Timestamp>,
    /// When it died, or was sent to wait.
    pub at: Option<Timestamp>,
}

impl Past {
    pub(super) fn parse(headers: &FieldTable) -> Self {
        let owned = |name| text(headers, name).map(str::to_owned);
        let time = |name| text(headers, name).and_then(|at| at.parse().ok());
        Self {
            reason: reason_of(headers).map(str::to_owned),
            detail: owned(DETAIL),
            attempts: count(headers, ATTEMPTS),
            first_seen: time(FIRST_SEEN),
            at: time(DEAD_AT).or_else(|| time(RETRIED_AT)),
        }
    }
}

/// The mark that a suspect carries, if it has not been elsewhere with it: a copy of ours arrives as
/// it was published, so a record of a death says that the mark is another's.
pub(super) fn mark_of(headers: &FieldTable) -> Option<&str> {
    text(headers, SUSPECT).filter(|_| !headers.contains_key(X_DEATH))
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

#[cfg(test)]
mod tests;
