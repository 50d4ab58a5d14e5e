//! Between the socket and lapin: what lapin could not read is mended on its way in (contract 2).
//!
//! RabbitMQ takes messages whose properties hold bytes that are not UTF-8, or tables nested without
//! end, or that fill a frame, to which it adds headers of its own; other clients read them. lapin
//! loses the connection over such a message, or overflows its stack, at every delivery anew. So
//! each frame that quotes a producer is mended before lapin sees it, and what was mended is noted
//! for those who settle the message. Bodies pass untouched and uncopied.
//!
//! It must not know what a message means.

mod flaws;
mod frame;
mod load;
mod properties;
mod table;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use frame::{Head, Kind, Mender};

pub use flaws::{Flaw, Flaws, Marks};
pub use load::Burden;

/// Bytes of a frame that are kept: of a larger one the rest is dropped. A frame is larger than
/// lapin's only where the broker lets producers fill larger ones.
const KEPT: usize = 1024 * 1024;
/// A frame that is kept back grows in steps of this many bytes, as they come.
const STEP: usize = 16 * 1024;

/// A stream that a broker writes to, mended for lapin.
pub struct Guarded<S> {
    stream: S,
    mender: Mender,
    marks: Arc<Marks>,
    /// A frame that is kept back: until it has come whole, then until it is handed on.
    held: Vec<u8>,
    /// How much of `held` is handed on; `None` while it has not come whole.
    handed: Option<usize>,
    ahead: Ahead,
}

/// What comes before the next frame that is looked at.
enum Ahead {
    /// So many bytes that pass.
    Pass(usize),
    /// So many bytes that nobody gets.
    Drop(usize),
    /// Everything passes: this is no AMQP, and lapin may say so.
    Foreign,
}

impl<S> Guarded<S> {
    /// `frame_max` is what lapin takes at most, unless the broker asks for less.
    pub fn new(stream: S, frame_max: usize, marks: Arc<Marks>) -> Self {
        Self {
            stream,
            mender: Mender::new(frame_max, Arc::clone(&marks)),
            marks,
            held: Vec::new(),
            handed: None,
            ahead: Ahead::Pass(0),
        }
    }

    /// Mends the whole frames among the bytes that came, and takes out one that has begun. Returns
    /// how many of the bytes are for lapin.
    fn look(&mut self, bytes: &mut [u8]) -> usize {
        let (mut at, mut end) = (0, bytes.len());
        loop {
            match &mut self.ahead {
                Ahead::Pass(ahead) => {
                    let passed = (*ahead).min(end - at);
                    *ahead -= passed;
                    at += passed;
                    if *ahead == 0 {
                        self.mender.passed();
                    }
                }
                Ahead::Foreign => return end,
                Ahead::Drop(_) => unreachable!("what is dropped is read apart"),
            }
            let rest = &mut bytes[at..end];
            if rest.is_empty() {
                return end;
            }
            let Some(head) = Head::of(rest) else { break };
            match head.kind {
                Kind::Foreign => {
                    self.marks.hear(rest);
                    self.ahead = Ahead::Foreign;
                }
                Kind::Passing => self.ahead = Ahead::Pass(head.length),
                Kind::Body => {
                    self.mender.body(&head);
                    self.ahead = Ahead::Pass(head.length);
                }
                Kind::Method | Kind::Header => {
                    let Some(frame) = rest.get_mut(..head.length) else { break };
                    let length = self.mender.mend(frame);
                    if length < head.length {
                        bytes.copy_within(at + head.length..end, at + length);
                        end -= head.length - length;
                    }
                    at += length;
                }
            }
        }
        self.held.extend_from_slice(&bytes[at..end]);
        at
    }

    /// How many bytes are missing before it can be said what becomes of the frame that is kept back.
    fn missing(&self) -> usize {
        let needed = match Head::of(&self.held) {
            Some(Head { kind: Kind::Method | Kind::Header, length, .. }) => length.min(KEPT),
            _ => frame::HEAD,
        };
        needed.saturating_sub(self.held.len())
    }

    /// What was missing is there.
    fn judge_held(&mut self) {
        let Some(head) = Head::of(&self.held) else { return };
        match head.kind {
            Kind::Foreign => {
                self.marks.hear(&self.held);
                self.ahead = Ahead::Foreign;
            }
            Kind::Passing => self.ahead = Ahead::Pass(head.length - self.held.len()),
            Kind::Body => {
                self.mender.body(&head);
                self.ahead = Ahead::Pass(head.length - self.held.len());
            }
            Kind::Method | Kind::Header => {
                if head.length > KEPT {
                    self.ahead = Ahead::Drop(head.length - self.held.len());
                    self.held.truncate(KEPT);
                    frame::close(&mut self.held);
                }
                let length = self.mender.mend(&mut self.held);
                self.held.truncate(length);
            }
        }
        self.handed = Some(0);
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Reads on into what is kept back; 0 at the end of the stream.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let have = self.held.len();
        self.held.resize(have + self.missing().min(STEP), 0);
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut self.held[have..]);
        let read = if let Poll::Ready(Ok(read)) = polled { read } else { 0 };
        self.held.truncate(have + read);
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            if let Some(handed) = this.handed {
                let left = &this.held[handed..];
                let count = left.len().min(buffer.len());
                buffer[..count].copy_from_slice(&left[..count]);
                this.handed = Some(handed + count).filter(|handed| *handed < this.held.len());
                if this.handed.is_none() {
                    this.held = Vec::new();
                }
                return Poll::Ready(Ok(count));
            }
            if !this.held.is_empty() {
                if this.missing() == 0 {
                    this.judge_held();
                } else if ready!(this.poll_held(context))? == 0 {
                    // The end: lapin may say what it makes of half a frame.
                    this.handed = Some(0);
                }
                continue;
            }
            if let Ahead::Drop(ahead) = &mut this.ahead {
                let count = buffer.len().min(*ahead);
                let read =
                    ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer[..count]))?;
                *ahead -= read;
                if read == 0 {
                    return Poll::Ready(Ok(0));
                }
                if *ahead == 0 {
                    this.ahead = Ahead::Pass(0);
                }
                continue;
            }
            let most = ready!(this.marks.load.poll_open(context)).min(buffer.len());
            let read = Pin::new(&mut this.stream).poll_read(context, &mut buffer[..most]);
            let read = ready!(read)?;
            let count = this.look(&mut buffer[..read]);
            if count > 0 || read == 0 {
                return Poll::Ready(Ok(count));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests;
