//! What a recording is: its format by first bytes, the proof that it is whole, its object key.
//! Pure; knows neither CC-FS nor the store.

mod format;

pub use format::{HEAD_BYTES, Sniffed, sniff};

/// How the end of a body is marked on the wire (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length, in bytes.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// The end of the connection: cannot show truncation, the content must.
    Close,
}

/// What the first bytes say a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// RIFF/WAVE.
    Wav,
    /// PKZIP.
    Zip,
    /// Bytes of no known format.
    Other,
}

/// What a WAV header says of its sound (contract 4).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audio {
    /// pcm_alaw, pcm_mulaw, pcm_u8, pcm_s16le, pcm_f32le, gsm_ms, else `tag_{n}`.
    pub codec: String,
    /// Hertz.
    pub sample_rate: u32,
    pub channels: u16,
    /// Milliseconds.
    pub duration_ms: u64,
}

/// Where an object lies in the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    #[doc(hidden)]
    pub fn from_stub(key: &str) -> Self {
        Self(key.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
