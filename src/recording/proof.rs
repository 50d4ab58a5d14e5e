//! The proof that a body is whole: what arrives is proven before it becomes visible (contract 3).

use super::format::Format;
use super::framing::{Framing, empty, truncated};
use super::wav::{Audio, WavWalk};
use super::zip::{Packed, ZipTail};
use crate::failure::Failure;

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

/// What a whole body says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Of a WAV.
    pub audio: Option<Audio>,
    /// Of a ZIP whose directory says something.
    pub packed: Option<Packed>,
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

    /// What is heard in it, as far as the bytes so far and the `length` of the body tell.
    pub fn heard(&self, length: Option<u64>) -> Option<Audio> {
        match &self.content {
            Content::Wav(walk) => walk.heard(length),
            Content::Zip(_) | Content::Other => None,
        }
    }

    /// Whether a body that ends here is all that was sent, whatever its content says.
    pub fn is_framed(&self) -> bool {
        let promised = self.framing.length();
        self.seen > 0
            && self.framing.shows_the_end()
            && promised.is_none_or(|bytes| bytes == self.seen)
    }

    /// The verdict at the end of the body.
    ///
    /// # Errors
    /// `ccfs.empty` for a recording of nothing, `ccfs.truncated` for one whose end did not come or
    /// cannot be known, `ccfs.protocol` for one that is whole and yet unusable.
    pub fn finish(self) -> Result<Told, Failure> {
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
            Content::Wav(walk) => {
                let audio = walk.finish(self.framing)?;
                Ok(Told { audio: Some(audio), ..Told::default() })
            }
            Content::Zip(tail) => {
                let packed = tail.finish(self.framing)?.packed;
                Ok(Told { packed, ..Told::default() })
            }
            Content::Other if !self.framing.shows_the_end() => Err(truncated(
                "bytes of an unknown format that end with the connection cannot be proven whole",
            )),
            Content::Other => Ok(Told::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(format: Format, framing: Framing, body: &[u8]) -> Result<Option<Audio>, String> {
        let mut proof = Proof::new(format, framing);
        proof.update(body);
        let told = proof.finish().map_err(|failure| failure.reason.to_string())?;
        Ok(told.audio)
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
