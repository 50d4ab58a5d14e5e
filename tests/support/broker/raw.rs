//! A producer that writes its frames itself: whatever bytes it likes, as other clients let it.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xCE;

/// What RabbitMQ takes as a frame, head and end included.
pub const FRAME_MAX: usize = 131_072;

/// An open channel with confirms.
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// As guest, in the virtual host `/`.
    pub async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the node listens");
        let mut raw = Self { stream };
        raw.stream.write_all(b"AMQP\0\0\x09\x01").await.expect("written");
        raw.answer((10, 10)).await;
        let login = [&[0; 4][..], &short("PLAIN"), &long(b"\0guest\0guest"), &short("en_US")];
        raw.call(0, (10, 11), &login.concat()).await;
        raw.answer((10, 30)).await;
        // 100 channels, frames of 128 KiB, no heartbeat.
        raw.call(0, (10, 31), &[0, 100, 0, 2, 0, 0, 0, 0]).await;
        raw.call(0, (10, 40), &[&short("/")[..], &[0, 0]].concat()).await;
        raw.answer((10, 41)).await;
        raw.call(1, (20, 10), &[0]).await;
        raw.answer((20, 11)).await;
        raw.call(1, (85, 10), &[0]).await;
        raw.answer((85, 11)).await;
        raw
    }

    /// Publishes and waits for the confirm.
    ///
    /// # Errors
    /// The broker's answer, where it is another.
    pub async fn publish(
        &mut self,
        exchange: &str,
        key: impl AsRef<[u8]>,
        properties: &Properties,
        body: &[u8],
    ) -> Result<(), String> {
        // Mandatory.
        let arguments = [&[0, 0][..], &short(exchange), &short(key), &[1]].concat();
        self.call(1, (60, 40), &arguments).await;
        let length = u64::try_from(body.len()).expect("short enough").to_be_bytes();
        let header = [&[0, 60, 0, 0][..], &length, &properties.bytes()].concat();
        self.write(1, HEADER, &header).await;
        for piece in body.chunks(FRAME_MAX - 8) {
            self.write(1, BODY, piece).await;
        }
        match self.read().await? {
            ((60, 80), _) => Ok(()),
            (method, arguments) => {
                Err(format!("{method:?}: {}", String::from_utf8_lossy(&arguments)))
            }
        }
    }

    async fn call(&mut self, channel: u16, (class, method): (u16, u16), arguments: &[u8]) {
        let head = [class.to_be_bytes(), method.to_be_bytes()].concat();
        self.write(channel, METHOD, &[&head, arguments].concat()).await;
    }

    async fn write(&mut self, channel: u16, kind: u8, payload: &[u8]) {
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend(u32::try_from(payload.len()).expect("short enough").to_be_bytes());
        frame.extend(payload);
        frame.push(FRAME_END);
        // Where the broker has closed, its answer says why.
        let _ = self.stream.write_all(&frame).await;
    }

    async fn answer(&mut self, wanted: (u16, u16)) {
        let (method, arguments) = self.read().await.expect("an answer");
        let said = String::from_utf8_lossy(&arguments);
        assert_eq!(method, wanted, "the broker said {said}");
    }

    /// The next method.
    async fn read(&mut self) -> Result<((u16, u16), Vec<u8>), String> {
        loop {
            let mut head = [0; 7];
            let lost = |error: std::io::Error| format!("the broker closed: {error}");
            self.stream.read_exact(&mut head).await.map_err(lost)?;
            let [kind, _, _, a, b, c, d] = head;
            let mut payload = vec![0; u32::from_be_bytes([a, b, c, d]) as usize + 1];
            self.stream.read_exact(&mut payload).await.map_err(lost)?;
            if let (METHOD, [a, b, c, d, arguments @ .., _]) = (kind, &payload[..]) {
                let method = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
                return Ok((method, arguments.to_vec()));
            }
        }
    }
}

/// The properties of a message, byte by byte.
#[derive(Clone, Debug, Default)]
pub struct Properties {
    /// By their place in the list, which is that of their flag from the highest bit.
    values: BTreeMap<u16, Vec<u8>>,
}

/// Places of properties that are short strings.
pub const SHORT_STRINGS: [(&str, u16); 10] = [
    ("content_type", 0),
    ("content_encoding", 1),
    ("correlation_id", 5),
    ("reply_to", 6),
    ("expiration", 7),
    ("message_id", 8),
    ("type", 10),
    ("user_id", 11),
    ("app_id", 12),
    ("cluster_id", 13),
];

impl Properties {
    /// Sets a short string by its name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let known = SHORT_STRINGS.iter().find(|(known, _)| *known == name);
        let (_, place) = known.unwrap_or_else(|| panic!("{name} is no short string"));
        self.values.insert(*place, short(value));
        self
    }

    /// Sets the headers to these fields, one after the other.
    #[must_use]
    pub fn with_headers(mut self, fields: impl AsRef<[u8]>) -> Self {
        self.values.insert(2, long(fields.as_ref()));
        self
    }

    /// Written to disk.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.values.insert(3, vec![2]);
        self
    }

    /// As they stand in a content header.
    pub fn bytes(&self) -> Vec<u8> {
        let flags = self.values.keys().fold(0u16, |flags, place| flags | 1 << (15 - place));
        let values = self.values.values().flatten().copied();
        flags.to_be_bytes().into_iter().chain(values).collect()
    }
}

/// A short string.
pub fn short(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let length = u8::try_from(text.len()).expect("255 bytes at most");
    [&[length], text].concat()
}

/// A long string, or the fields of a table or array with their length.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short enough");
    [&length.to_be_bytes(), bytes].concat()
}

/// A field of a table: its name, and a value with its type.
pub fn field(name: impl AsRef<[u8]>, value: &[u8]) -> Vec<u8> {
    [&short(name)[..], value].concat()
}

/// A value that is a long string.
pub fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    [b"S", &long(text.as_ref())[..]].concat()
}

/// An array in an array in an array: so many of them.
pub fn arrays(levels: usize) -> Vec<u8> {
    (0..levels).fold(vec![b'V'], |inner, _| [b"A", &long(&inner)[..]].concat())
}

/// A table in a table in a table: so many of them.
pub fn tables(levels: usize) -> Vec<u8> {
    (0..levels).fold(vec![b'V'], |inner, _| [b"F", &long(&field("in", &inner))[..]].concat())
}
