//! Frames of AMQP 0-9-1: those that quote a producer, or the broker's own words, are mended. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::flaws::{Flaws, Marks};
use super::{properties, table};

/// Type, channel and length stand before a payload.
pub(super) const HEAD: usize = 7;
/// One byte stands after it.
const END: u8 = 0xCE;
const OVERHEAD: usize = HEAD + 1;
/// No side may be asked to take less than this (AMQP 0-9-1, 4.2.3).
const LEAST: usize = 4096;
/// Of a content header's payload: class and weight stand before it.
const BODY_SIZE: usize = 4;
/// connection.tune: channels at most, bytes of a frame at most, heartbeat.
const TUNE: (u16, u16) = (10, 30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Method,
    /// Of a content: its properties.
    Header,
    /// A piece of a content.
    Body,
    /// A heartbeat.
    Passing,
    /// No frame.
    Foreign,
}

pub(super) struct Head {
    pub kind: Kind,
    channel: u16,
    /// Of the whole frame.
    pub length: usize,
}

impl Head {
    /// `None` while it has not come whole.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let [kind, high, low, a, b, c, d] = *bytes.first_chunk::<HEAD>()?;
        let kind = match kind {
            1 => Kind::Method,
            2 => Kind::Header,
            3 => Kind::Body,
            8 => Kind::Passing,
            _ => Kind::Foreign,
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize + OVERHEAD;
        Some(Self { kind, channel: u16::from_be_bytes([high, low]), length })
    }
}

/// Ends a frame after what has come of it, whatever its head says.
pub(super) fn close(frame: &mut Vec<u8>) {
    frame.push(END);
    let length = frame.len();
    set_length(frame, length);
}

fn set_length(frame: &mut [u8], length: usize) {
    let payload = u32::try_from(length - OVERHEAD).expect("it was shorter than its head said");
    frame[HEAD - 4..HEAD].copy_from_slice(&payload.to_be_bytes());
    frame[length - 1] = END;
}

/// A piece of a method's arguments.
enum Part {
    Short(&'static str),
    /// The number of a delivery.
    Tag,
    Other(usize),
}

/// The methods that quote what somebody wrote, by class and number, up to their last short string.
fn parts(method: (u16, u16)) -> &'static [Part] {
    use Part::{Other, Short, Tag};
    match method {
        // connection.close, channel.close: what the broker says may be cut within a character.
        (10, 50) | (20, 40) => &[Other(2), Short("reply_text")],
        // connection.blocked
        (10, 60) => &[Short("reason")],
        // basic.return
        (60, 50) => &[Other(2), Short("reply_text"), Short("exchange"), Short("routing_key")],
        // basic.deliver
        (60, 60) => {
            &[Short("consumer_tag"), Tag, Other(1), Short("exchange"), Short("routing_key")]
        }
        // basic.get-ok
        (60, 71) => &[Tag, Other(1), Short("exchange"), Short("routing_key")],
        _ => &[],
    }
}

/// Mends the frames of one connection.
pub(super) struct Mender {
    frame_max: usize,
    marks: Arc<Marks>,
    /// Channels whose content header comes next, with the tag of its delivery, and what was mended
    /// on the method before it.
    begun: HashMap<u16, (u64, Flaws)>,
    /// Channels whose content is on its way: bytes of all of it, and those that have yet to come.
    coming: HashMap<u16, (usize, usize)>,
    /// The channel and the bytes of a content whose last piece passes.
    whole: Option<(u16, usize)>,
}

impl Mender {
    pub(super) fn new(frame_max: usize, marks: Arc<Marks>) -> Self {
        Self { frame_max, marks, begun: HashMap::new(), coming: HashMap::new(), whole: None }
    }

    /// Mends a whole frame in place; the length that is left of it. It is not touched where lapin
    /// can read it.
    pub(super) fn mend(&mut self, frame: &mut [u8]) -> usize {
        let length = frame.len();
        let Some(head) = Head::of(frame) else { return length };
        let Some((&mut END, payload)) = frame[HEAD..].split_last_mut() else { return length };
        match head.kind {
            Kind::Method => self.method(head.channel, payload),
            Kind::Header => {
                let left = self.header(head.channel, payload) + OVERHEAD;
                if left < length {
                    set_length(frame, left);
                }
                return left;
            }
            Kind::Body | Kind::Passing | Kind::Foreign => {}
        }
        length
    }

    /// A method that is cut short is left to lapin.
    fn method(&mut self, channel: u16, arguments: &mut [u8]) {
        let Some(([a, b, c, d], arguments)) = arguments.split_first_chunk_mut() else { return };
        let method = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
        if method == TUNE {
            self.tune(arguments);
        }
        let (mut at, mut tag, mut flaws) = (0, None, Flaws::default());
        for part in parts(method) {
            let next = match part {
                Part::Short(name) => table::short(arguments, at, name, &mut flaws),
                Part::Tag => {
                    let bytes = arguments.get(at..).and_then(|rest| rest.first_chunk());
                    tag = bytes.map(|bytes| u64::from_be_bytes(*bytes));
                    tag.map(|_| at + 8)
                }
                Part::Other(length) => Some(at + length),
            };
            let Some(next) = next else { return };
            at = next;
        }
        if let Some(tag) = tag {
            if tag == 1 {
                self.marks.begin(channel);
            }
            self.begun.insert(channel, (tag, flaws));
        } else if !parts(method).is_empty() {
            self.begun.remove(&channel);
        }
    }

    /// What the broker takes at most bounds lapin, too; 0 is no bound.
    fn tune(&mut self, arguments: &[u8]) {
        if let Some([_, _, a, b, c, d]) = arguments.first_chunk() {
            let theirs = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            if theirs > 0 {
                self.frame_max = self.frame_max.min(theirs.max(LEAST));
            }
        }
    }

    /// A piece of a content comes.
    pub(super) fn body(&mut self, head: &Head) {
        let Some((whole, left)) = self.coming.get_mut(&head.channel) else { return };
        *left = left.saturating_sub(head.length - OVERHEAD);
        if *left == 0 {
            self.whole = Some((head.channel, *whole));
            self.coming.remove(&head.channel);
        }
    }

    /// A frame has passed to its end.
    pub(super) fn passed(&mut self) {
        if let Some((channel, bytes)) = self.whole.take() {
            self.marks.load.arrived(channel, bytes);
        }
    }

    fn header(&mut self, channel: u16, payload: &mut [u8]) -> usize {
        if let Some(bytes) = payload.get(BODY_SIZE..).and_then(|rest| rest.first_chunk()) {
            let size = usize::try_from(u64::from_be_bytes(*bytes)).unwrap_or(usize::MAX);
            self.coming.insert(channel, (size, size));
        }
        let begun = self.begun.remove(&channel);
        let (tag, mut flaws) = begun.map_or((None, Flaws::default()), |(tag, f)| (Some(tag), f));
        let left = properties::mend(payload, self.frame_max - OVERHEAD, &mut flaws);
        if let Some(tag) = tag.filter(|_| !flaws.is_empty()) {
            self.marks.note(channel, tag, flaws);
        }
        left
    }
}
