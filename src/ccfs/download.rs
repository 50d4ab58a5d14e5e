//! A body that arrives: every read with a deadline, every cut with a name.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use tokio::time::timeout;

use crate::failure::{Class, Failure, Reason};
use crate::machine::Lack;
use crate::recording::{Format, Framing, HEAD_BYTES, Sniffed, sniff};

use super::answer::whole_head;

/// A recording, or a package with an index, on its way: the answer was judged, its bytes are still to come.
///
/// Dropping it closes the connection.
pub struct Download {
    body: Body,
    /// What was read to judge the answer, handed out first.
    head: Option<Bytes>,
    format: Format,
    max_size: u64,
    received: u64,
}

impl Download {
    pub(super) fn new(
        body: Body,
        head: Bytes,
        format: Format,
        max_size: u64,
    ) -> Result<Self, Failure> {
        match body.framing {
            Framing::Length(length) if length > max_size => Err(too_large(max_size)),
            _ => Ok(Self { body, head: Some(head), format, max_size, received: 0 }),
        }
    }

    /// By the first bytes.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How the end of the body is marked; [`Framing::Close`] proves nothing.
    pub fn framing(&self) -> Framing {
        self.body.framing
    }

    /// The next bytes, in the sizes in which they arrive; `None` at the end.
    ///
    /// # Errors
    /// `ccfs.timeout` when nothing comes for `ccfs.read_timeout`, `ccfs.truncated` when the body
    /// ends before its framing says so, `ccfs.too_large` past `ccfs.max_size`.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let chunk = match self.head.take() {
            Some(head) => Some(head),
            None => self.body.chunk().await?,
        };
        let Some(chunk) = chunk else {
            return Ok(None);
        };
        self.received += chunk.len() as u64;
        if self.received > self.max_size {
            return Err(too_large(self.max_size));
        }
        Ok(Some(chunk))
    }
}

/// The bytes of an answer as they arrive.
pub(super) struct Body {
    /// `None` when it has ended.
    response: Option<Response>,
    framing: Framing,
    /// Something of it has come.
    begun: bool,
    read_timeout: Duration,
}

impl Body {
    pub fn new(response: Response, framing: Framing, read_timeout: Duration) -> Self {
        Self { response: Some(response), framing, begun: false, read_timeout }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(response) = &mut self.response else { return Ok(None) };
        let chunk = match timeout(self.read_timeout, response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            // Servers that end a body with the connection often leave out TLS's own word for it, or
            // reset it: then the body proves its end itself, as it does where they do it in order.
            Ok(Err(error)) if self.begun && self.framing == Framing::Close && is_end(&error) => {
                None
            }
            Ok(Err(error)) => return Err(cut(error)),
            Err(_) => return Err(silent(self.read_timeout)),
        };
        self.begun = true;
        if chunk.is_none() {
            self.response = None;
        }
        Ok(chunk)
    }

    /// Reads until the first bytes say what the body is: those bytes, and that. `None` for a body
    /// that is empty or blank.
    pub(super) async fn head(&mut self) -> Result<(Bytes, Option<Sniffed>), Failure> {
        let mut head = Bytes::new();
        loop {
            match self.chunk().await? {
                Some(chunk) if head.is_empty() => head = chunk,
                Some(chunk) => head = joined(&head, &chunk),
                None => {
                    let sniffed = whole_head(&head);
                    return Ok((head, sniffed));
                }
            }
            match sniff(&head) {
                Sniffed::NeedMore if head.len() < HEAD_BYTES => {}
                Sniffed::NeedMore => return Ok((head, Some(Sniffed::Unknown))),
                sniffed => return Ok((head, Some(sniffed))),
            }
        }
    }

    /// What the body begins with, `head` first: all of it, and true; or more than `most` bytes.
    pub(super) async fn gather(
        &mut self,
        head: Bytes,
        most: usize,
    ) -> Result<(Bytes, bool), Failure> {
        let mut gathered = BytesMut::from(head);
        while gathered.len() <= most {
            match self.chunk().await? {
                Some(chunk) => gathered.extend_from_slice(&chunk),
                None => return Ok((gathered.freeze(), true)),
            }
        }
        Ok((gathered.freeze(), false))
    }
}

fn joined(head: &[u8], chunk: &[u8]) -> Bytes {
    [head, chunk].concat().into()
}

/// No byte within `limit`.
pub(super) fn silent(limit: Duration) -> Failure {
    Failure::new(
        Class::Unavailable,
        Reason::CCFS_TIMEOUT,
        format!("CC-FS sent nothing for {limit:?} (ccfs.read_timeout)"),
    )
}

/// Whether the connection was closed, with TLS's `close_notify` or without, or reset.
fn is_end(error: &reqwest::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let cause = root_cause(error).downcast_ref::<io::Error>();
    cause.is_some_and(|cause| {
        matches!(cause.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
    })
}

fn cut(error: reqwest::Error) -> Failure {
    if let Some(lack) = Lack::behind(&error) {
        return lack.failure().because(error);
    }
    let detail = "the connection broke before the end of the answer";
    Failure::new(Class::Failure, Reason::CCFS_TRUNCATED, detail).because(error)
}

fn too_large(max_size: u64) -> Failure {
    let detail = format!("the file is larger than ccfs.max_size, {max_size} bytes");
    Failure::permanent(Reason::CCFS_TOO_LARGE, detail)
}

/// The first cause of an error: what the socket, the resolver or TLS said.
pub(super) fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}
