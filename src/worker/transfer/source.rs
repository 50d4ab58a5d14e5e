//! A body cut into parts, hashed and proven as it passes.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::body::Body;
use super::memory::Room;
use crate::crash::{self, Point};
use crate::failure::{Came, Failure, Reason, Unproven};
use crate::recording::{Audio, Format, Framing, Packed, Proof, Told};
use crate::store::{MAX_PARTS, NewObject, Payload, Sha256Digest, Summing, Sums};
use crate::traces::{Kind, Span};

/// First buffer of a body whose length is not known; it grows to a part as bytes arrive. Whoever
/// fills one part needs all of the next.
const FIRST_BUFFER: u64 = 64 * 1024;

/// A part in memory, with the share of the budget it lives in.
pub struct Filled {
    pub payload: Payload,
    pub room: Room,
}

/// What is known of a body that is whole.
pub struct Proven {
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256Digest,
    pub audio: Option<Audio>,
    pub packed: Option<Packed>,
    /// What its content is refused for, where CC-FS has it so.
    pub unproven: Option<Reason>,
}

impl Proven {
    /// Adds what is known now to what an object is to say of itself.
    pub fn describe(self, new: NewObject) -> NewObject {
        let Self { audio, packed, unproven, .. } = self;
        let (packed, unproven) = (packed.or(new.packed), unproven.or(new.unproven));
        NewObject { audio, packed, unproven, ..new }
    }

    /// What came. Of a ZIP that is what it lists, where that is known: its bytes are others at each
    /// download.
    pub fn came(&self) -> Came {
        let Self { size, sha256, packed, .. } = self;
        let listed = packed.as_ref().map(Packed::came);
        listed.unwrap_or(Came { size: *size, sha256: *sha256 })
    }
}

/// One body on its way into parts.
pub struct Source {
    body: Body,
    proof: Proof,
    /// What is taken though it contradicts itself, if it comes again.
    accepted: Option<Unproven>,
    /// The hash of all bytes handed out so far.
    whole: Sha256,
    part_size: u64,
    /// What came with the last chunk of a part but belongs to the next.
    carry: Bytes,
    size: u64,
    ended: bool,
    failed: bool,
}

impl Source {
    /// `part_size` and `max_size` in bytes.
    pub fn new(body: Body, part_size: u64, max_size: u64) -> Self {
        let framing = body.framing();
        let longest = match framing {
            Framing::Length(length) => length,
            Framing::Chunked | Framing::Close => max_size,
        };
        Self {
            proof: Proof::new(body.format(), framing),
            body,
            accepted: None,
            whole: Sha256::new(),
            part_size: part_size.max(longest.div_ceil(u64::from(MAX_PARTS))),
            carry: Bytes::new(),
            size: 0,
            ended: false,
            failed: false,
        }
    }

    /// Takes this body, too, if it comes again.
    pub fn accepting(self, accepted: Option<Unproven>) -> Self {
        Self { accepted, ..self }
    }

    pub fn accepted(&self) -> Option<&Unproven> {
        self.accepted.as_ref()
    }

    pub fn format(&self) -> Format {
        self.body.format()
    }

    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether it was the body that failed.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// What is heard in it, as far as that is known before its end.
    pub fn heard(&self) -> Option<Audio> {
        self.proof.heard(self.body.framing().length())
    }

    /// What its content will be refused for, if it is the body that came before.
    pub fn suspected(&self) -> Option<Reason> {
        let known = self.accepted.as_ref()?;
        let framing = self.body.framing();
        let same = framing.length().is_none_or(|length| length == known.came.size);
        (same && framing.shows_the_end()).then(|| known.reason.clone())
    }

    /// What the next part may need: the rest of the Content-Length or a part, whichever is less.
    pub fn room_for_next(&self) -> u64 {
        self.remaining().unwrap_or(self.part_size).min(self.part_size)
    }

    /// Bytes that have not been handed out, where the body's length is known.
    fn remaining(&self) -> Option<u64> {
        let handed_out = self.size - self.carry.len() as u64;
        match self.body.framing() {
            Framing::Length(length) => Some(length.saturating_sub(handed_out)),
            Framing::Chunked | Framing::Close => None,
        }
    }

    /// Reads one part, or less at the body's end, and makes these sums of it as it comes.
    ///
    /// # Errors
    /// What CC-FS or the archive brought.
    pub async fn part(&mut self, mut room: Room, sums: Sums) -> Result<Filled, Failure> {
        let first = self.size == 0;
        let unknown = if first { FIRST_BUFFER } else { self.part_size };
        let expected = self.remaining().unwrap_or(unknown).min(self.part_size);
        let full = usize::try_from(self.part_size).unwrap_or(usize::MAX);
        let mut buffer = Vec::with_capacity(usize::try_from(expected).unwrap_or(full));
        // The first part's hash is that of the whole so far: one pass for what fits one part.
        let mut summing = Summing::new(Sums { sha256: sums.sha256 && !first, ..sums });
        loop {
            let taken = self.carry.split_to(self.carry.len().min(full - buffer.len()));
            self.whole.update(&taken);
            summing.update(&taken);
            make_room(&mut buffer, taken.len(), full);
            buffer.extend_from_slice(&taken);
            if !self.carry.is_empty() || !self.more().await? {
                break;
            }
        }
        room.shrink_to(buffer.len() as u64);
        let payload = summing.of(buffer.into());
        let payload = match first {
            true => payload.hashed(self.whole.clone().finalize().into()),
            false => payload,
        };
        Ok(Filled { payload, room })
    }

    /// Fetches the next chunk; false at the body's end.
    async fn more(&mut self) -> Result<bool, Failure> {
        let chunk = self.body.chunk().await.inspect_err(|_| self.failed = true)?;
        let Some(chunk) = chunk else {
            self.ended = true;
            return Ok(false);
        };
        self.size += chunk.len() as u64;
        self.proof.update(&chunk);
        self.carry = chunk;
        Ok(true)
    }

    /// Proves that what came is whole, or that CC-FS has it so.
    ///
    /// # Errors
    /// `ccfs.truncated` and its kin: nothing of it may become visible.
    pub fn proven(self) -> Result<Proven, Failure> {
        let Self { proof, accepted, mut body, whole, size, .. } = self;
        let proving = Span::child(Kind::Internal, || "prove".into());
        let came = Came { size, sha256: whole.finalize().into() };
        let (framed, heard) = (proof.is_framed(), proof.heard(Some(size)));
        let verdict = match proof.finish() {
            Ok(told) => Ok((told, None)),
            Err(refused) if framed && accepted.is_some_and(|known| known.came == came) => {
                Ok((Told { audio: heard, packed: None }, Some(refused.reason)))
            }
            Err(refused) if framed => Err(refused.of(came)),
            Err(refused) => Err(refused),
        };
        proving.tell(|record| {
            record.set("callvault.content_type", body.format().content_type());
            record.set("callvault.bytes", size);
            if let Ok((_, Some(unproven))) = &verdict {
                record.set("callvault.unproven", unproven.as_str().to_owned());
            }
        });
        proving.end(verdict.as_ref());
        body.end(&verdict);
        let (Told { audio, packed }, unproven) = verdict?;
        crash::point(Point::Proven);
        Ok(Proven { size, sha256: came.sha256, audio, packed, unproven })
    }
}

/// Makes room for `more` bytes: doubles, but never beyond a `full` part, which is what the budget
/// was asked for.
fn make_room(buffer: &mut Vec<u8>, more: usize, full: usize) {
    let needed = buffer.len() + more;
    if needed > buffer.capacity() {
        let grown = (buffer.capacity() * 2).min(full).max(needed);
        buffer.reserve_exact(grown - buffer.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_to_a_part_and_not_beyond() {
        const FULL: usize = 5 << 20; // No power of two times the first buffer.
        let mut buffer = Vec::with_capacity(64 * 1024);
        let mut moves = 0;
        while buffer.len() < FULL {
            let before = buffer.capacity();
            let more = (FULL - buffer.len()).min(10_000);
            make_room(&mut buffer, more, FULL);
            buffer.resize(buffer.len() + more, 0);
            moves += u32::from(buffer.capacity() != before);
        }
        assert_eq!(buffer.capacity(), FULL);
        assert!(moves <= 7, "{moves}");
    }
}
