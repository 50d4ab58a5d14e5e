//! The proof that a body is whole: what arrives is proven before it becomes visible (contract 3).

use super::format::Format;
use super::wav::{Audio, WavWalk};
use super::zip::ZipTail;
use crate::failure::{Class, Failure, Reason};

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

/// Watches a body go by and says at its end whether it was whole. Takes the bytes in any portions;
/// holds none of them but the last 64 KiB of a ZIP.
#[derive(Debug)]
pub struct Proof {
    framing: Framing,
    seen: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Wav(WavWalk),
    Zip(ZipTail),
    Other,
}

impl Proof {
    pub fn new(format: Format, framing: Framing) -> Self {
        let content = match format {
            Format::Wav => Content::Wav(WavWalk::new()),
            Format::Zip => Content::Zip(ZipTail::new()),
            Format::Other => Content::Other,
        };
        Self { framing, seen: 0, content }
    }

    /// The next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.seen += bytes.len() as u64;
        match &mut self.content {
            Content::Wav(walk) => walk.update(bytes),
            Content::Zip(tail) => tail.update(bytes),
            Content::Other => {}
        }
    }

    /// The verdict at the end of the body; what is heard in it where its header says so.
    ///
    /// # Errors
    /// `ccfs.empty` for a recording of nothing, `ccfs.truncated` for one whose end did not come or
    /// cannot be known, `ccfs.protocol` for one that is whole and yet unusable.
    pub fn finish(self) -> Result<Option<Audio>, Failure> {
        if self.seen == 0 {
            return Err(empty("the answer has no bytes"));
        }
        if let Framing::Length(promised) = self.framing
            && promised != self.seen
        {
            let seen = self.seen;
            return Err(truncated(format!("{seen} of {promised} bytes of Content-Length arrived")));
        }
        match self.content {
            Content::Wav(walk) => walk.finish(self.framing).map(Some),
            Content::Zip(tail) => tail.finish().map(|_| None),
            Content::Other if self.framing == Framing::Close => Err(truncated(
                "bytes of an unknown format that end with the connection cannot be proven whole",
            )),
            Content::Other => Ok(None),
        }
    }
}

pub fn empty(detail: impl Into<String>) -> Failure {
    Failure::new(Class::Failure, Reason::CCFS_EMPTY, detail)
}

pub fn truncated(detail: impl Into<String>) -> Failure {
    Failure::new(Class::Failure, Reason::CCFS_TRUNCATED, detail)
}

pub fn protocol(detail: impl Into<String>) -> Failure {
    Failure::new(Class::Failure, Reason::CCFS_PROTOCOL, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(format: Format, framing: Framing, body: &[u8]) -> Result<Option<Audio>, String> {
        let mut proof = Proof::new(format, framing);
        proof.update(body);
        proof.finish().map_err(|failure| failure.reason.to_string())
    }

    #[test]
    fn nothing_is_empty_whatever_it_should_have_been() {
        for format in [Format::Wav, Format::Zip, Format::Other] {
            for framing in
                [Framing::Length(0), Framing::Length(9), Framing::Chunked, Framing::Close]
            {
                assert_eq!(verdict(format, framing, b""), Err("ccfs.empty".into()));
            }
        }
    }

    #[test]
    fn unknown_bytes_are_proven_by_their_framing_alone() {
        let other = |framing| verdict(Format::Other, framing, b"OggS");
        let truncated = Err("ccfs.truncated".to_owned());
        assert_eq!(other(Framing::Length(4)), Ok(None));
        assert_eq!(other(Framing::Chunked), Ok(None));
        assert_eq!(other(Framing::Length(5)), truncated);
        assert_eq!(other(Framing::Length(3)), truncated);
        assert_eq!(other(Framing::Close), truncated);
    }
}
