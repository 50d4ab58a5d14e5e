//! How the end of a body shows, and what is said of one that did not come to it. A leaf: whatever
//! proves a body speaks in these words.

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

impl Framing {
    /// Whether a body that came to its end is all that was sent: what its own header says then
    /// speaks of whoever wrote it, no longer of the way.
    pub fn shows_the_end(self) -> bool {
        self != Self::Close
    }

    /// The body's length, where it is known before its end.
    pub fn length(self) -> Option<u64> {
        match self {
            Self::Length(bytes) => Some(bytes),
            Self::Chunked | Self::Close => None,
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
