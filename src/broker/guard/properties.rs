//! The properties of a content, as its header frame carries them. Pure.

use super::flaws::{Flaw, Flaws};
use super::table;

/// Class, weight and the length of the body stand before the flags.
const FLAGS: usize = 12;
const FIRST: usize = FLAGS + 2;
const HEADERS: &str = "headers";

enum Kind {
    Short,
    Table,
    Bytes(usize),
}

/// Those of the class basic, in the order of their flags from the highest bit, which is that of
/// the wire.
const PROPERTIES: [(&str, Kind); 14] = [
    ("content_type", Kind::Short),
    ("content_encoding", Kind::Short),
    (HEADERS, Kind::Table),
    ("delivery_mode", Kind::Bytes(1)),
    ("priority", Kind::Bytes(1)),
    ("correlation_id", Kind::Short),
    ("reply_to", Kind::Short),
    ("expiration", Kind::Short),
    ("message_id", Kind::Short),
    ("timestamp", Kind::Bytes(8)),
    ("type", Kind::Short),
    ("user_id", Kind::Short),
    ("app_id", Kind::Short),
    ("cluster_id", Kind::Short),
];

/// Mends the payload of a content header in place, so that it has `room` bytes at most; the length
/// that is left of it. What cannot be mended is left out, from there on.
pub(super) fn mend(payload: &mut [u8], room: usize, flaws: &mut Flaws) -> usize {
    let Some(flags) = payload.get(FLAGS..FIRST) else { return payload.len() };
    let flags = u16::from_be_bytes([flags[0], flags[1]]);
    let mut payload = payload;
    let (mut at, mut headers) = (FIRST, None);
    for (place, (name, kind)) in PROPERTIES.iter().enumerate() {
        let flag = 1 << (15 - place);
        if flags & flag == 0 {
            continue;
        }
        let next = match kind {
            Kind::Short => table::short(payload, at, name, flaws),
            Kind::Bytes(length) => Some(at + length).filter(|next| *next <= payload.len()),
            Kind::Table => {
                let left = table::mend(payload, at, name, flaws);
                payload = &mut payload[..left];
                headers = table::end(payload, at).map(|end| at..end);
                headers.as_ref().map(|headers| headers.end)
            }
        };
        let Some(next) = next else {
            flaws.add(name, Flaw::Broken);
            // The flags before this one stay.
            set_flags(payload, flags & !(flag | (flag - 1)));
            payload = &mut payload[..at];
            break;
        };
        at = next;
    }
    if at < payload.len() {
        // More than the flags announce.
        flaws.add("properties", Flaw::Broken);
        payload = &mut payload[..at];
    }
    let excess = payload.len().saturating_sub(room);
    match headers {
        Some(headers) if excess > 0 => {
            flaws.add(HEADERS, Flaw::TooLarge);
            table::shorten(payload, headers, excess)
        }
        _ => payload.len(),
    }
}

fn set_flags(payload: &mut [u8], flags: u16) {
    payload[FLAGS..FIRST].copy_from_slice(&flags.to_be_bytes());
}
