//! Bytes of AMQP 0-9-1 to whole commands: a method with the content that belongs to it.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::protocol::basic::{AMQPMethod as Basic, parse_properties};
use lapin::protocol::{AMQPClass, parse_class};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xCE;
/// Type, channel and length before a payload; the end after it.
const FRAME_OVERHEAD: usize = 7 + 1;
/// `AMQP` and the version, which is no frame.
const PROTOCOL_HEADER: usize = 8;
/// Nobody is allowed more; a longer frame is rather a stream that was read wrongly.
const FRAME_MAX: usize = 131_072;

/// What one side said: a method, and its content where it has one.
pub struct Command {
    pub channel: u16,
    /// `None`: a protocol header or a heartbeat.
    pub class: Option<AMQPClass>,
    pub content: Option<Content>,
    /// All of its frames, as they came.
    pub bytes: Vec<u8>,
}

#[derive(Default)]
pub struct Content {
    pub properties: BasicProperties,
    pub body: Bytes,
}

/// One direction of a connection.
#[derive(Default)]
pub struct Commands {
    unread: Vec<u8>,
    /// A channel's frames come in order, those of several are mixed.
    begun: BTreeMap<u16, Begun>,
}

struct Begun {
    class: AMQPClass,
    header: Option<(u64, BasicProperties)>,
    body: Vec<u8>,
    bytes: Vec<u8>,
}

impl Commands {
    pub fn fill(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next whole command.
    ///
    /// # Errors
    /// What is read is no AMQP.
    pub fn next(&mut self) -> io::Result<Option<Command>> {
        loop {
            let Some(length) = self.frame_length()? else { return Ok(None) };
            let rest = self.unread.split_off(length);
            let frame = std::mem::replace(&mut self.unread, rest);
            if let Some(command) = self.take(frame)? {
                return Ok(Some(command));
            }
        }
    }

    /// What a connection that ended midway had begun to say.
    pub fn rest(self) -> Vec<u8> {
        let mut rest: Vec<u8> = self.begun.into_values().flat_map(|begun| begun.bytes).collect();
        rest.extend(self.unread);
        rest
    }

    fn frame_length(&self) -> io::Result<Option<usize>> {
        let length = match *self.unread {
            [b'A', ..] => PROTOCOL_HEADER,
            [_, _, _, a, b, c, d, ..] => u32::from_be_bytes([a, b, c, d]) as usize + FRAME_OVERHEAD,
            _ => return Ok(None),
        };
        if length > FRAME_MAX {
            return Err(no_amqp("a frame too long"));
        }
        Ok((self.unread.len() >= length).then_some(length))
    }

    fn take(&mut self, frame: Vec<u8>) -> io::Result<Option<Command>> {
        if frame[0] == b'A' {
            return Ok(Some(Command { channel: 0, class: None, content: None, bytes: frame }));
        }
        let channel = u16::from_be_bytes([frame[1], frame[2]]);
        let (payload, end) = (&frame[7..frame.len() - 1], frame[frame.len() - 1]);
        if end != FRAME_END {
            return Err(no_amqp("a frame without an end"));
        }
        match frame[0] {
            HEARTBEAT => Ok(Some(Command { channel, class: None, content: None, bytes: frame })),
            METHOD => {
                let (_, class) = parse_class(payload).map_err(|_| no_amqp("a broken method"))?;
                if !has_content(&class) {
                    let class = Some(class);
                    return Ok(Some(Command { channel, class, content: None, bytes: frame }));
                }
                let begun = Begun { class, header: None, body: Vec::new(), bytes: frame };
                self.begun.insert(channel, begun);
                Ok(None)
            }
            HEADER => {
                // Class and weight, the length of the body, the properties.
                let length = payload.get(4..12).and_then(|length| length.try_into().ok());
                let length = u64::from_be_bytes(length.ok_or_else(|| no_amqp("a short header"))?);
                let properties = parse_properties(&payload[12..]);
                let (_, properties) = properties.map_err(|_| no_amqp("broken properties"))?;
                self.go_on(channel, frame.clone(), |begun| {
                    begun.header = Some((length, properties));
                })
            }
            BODY => self.go_on(channel, frame.clone(), |begun| begun.body.extend(payload)),
            _ => Err(no_amqp("a frame of no known type")),
        }
    }

    /// Adds a frame to what a channel has begun; the command, if that is its end.
    fn go_on(
        &mut self,
        channel: u16,
        frame: Vec<u8>,
        add: impl FnOnce(&mut Begun),
    ) -> io::Result<Option<Command>> {
        let begun = self.begun.get_mut(&channel);
        let begun = begun.ok_or_else(|| no_amqp("content without a method"))?;
        begun.bytes.extend(frame);
        add(begun);
        let whole =
            |begun: &Begun| matches!(begun.header, Some((n, _)) if begun.body.len() as u64 >= n);
        if !whole(begun) {
            return Ok(None);
        }
        let begun = self.begun.remove(&channel).expect("just changed");
        let properties = begun.header.map(|(_, properties)| properties).unwrap_or_default();
        let content = Some(Content { properties, body: begun.body.into() });
        Ok(Some(Command { channel, class: Some(begun.class), content, bytes: begun.bytes }))
    }
}

fn has_content(class: &AMQPClass) -> bool {
    use Basic::{Deliver, GetOk, Publish, Return};
    let AMQPClass::Basic(method) = class else { return false };
    matches!(method, Publish(_) | Return(_) | Deliver(_) | GetOk(_))
}

fn no_amqp(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no AMQP 0-9-1: {what}"))
}
