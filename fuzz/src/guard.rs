//! What a broker sends: however it is cut, the same comes out, lapin's own parser reads every
//! content header of it, and what it could read already is not touched.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::{io, iter};

use amq_protocol::frame::parse_frame;
use callvault::broker::guard::{Guarded, Marks};
use futures_io::AsyncRead;

use crate::portions;

const FRAME_MAX: usize = 131_072;
/// Type, channel and length before a payload, one byte after it.
const OVERHEAD: usize = 8;
const HEADER: u8 = 2;
const FRAME_END: u8 = 0xCE;
/// Class, weight, the length of the body, flags.
const LEAST: usize = 14;

pub fn check(bytes: &[u8]) {
    let mended = through(iter::once(bytes));
    assert!(mended.len() <= bytes.len());
    assert_eq!(through(portions(bytes)), mended, "however it is cut");
    assert_eq!(through(iter::once(&*mended)), mended, "what was mended is good");
    lapin_reads(&mended);
}

fn lapin_reads(mut stream: &[u8]) {
    while let [kind @ (1 | 2 | 3 | 8), _, _, a, b, c, d, ..] = *stream {
        let length = u32::from_be_bytes([a, b, c, d]) as usize + OVERHEAD;
        let Some((frame, rest)) = stream.split_at_checked(length) else { return };
        if kind == HEADER && length >= LEAST + OVERHEAD && frame.last() == Some(&FRAME_END) {
            let (left, _) = parse_frame(frame).expect("lapin reads it");
            assert!(left.is_empty());
            assert!(length <= FRAME_MAX);
        }
        stream = rest;
    }
}

/// What lapin gets where the broker's bytes come in these portions.
fn through<'a>(portions: impl Iterator<Item = &'a [u8]> + Unpin) -> Vec<u8> {
    let stream = Portions { portions, begun: &[] };
    let mut guarded = Guarded::new(stream, FRAME_MAX, Arc::<Marks>::default());
    let mut context = Context::from_waker(Waker::noop());
    let (mut came, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match Pin::new(&mut guarded).poll_read(&mut context, &mut buffer) {
            Poll::Ready(Ok(0)) => return came,
            Poll::Ready(Ok(count)) => came.extend_from_slice(&buffer[..count]),
            Poll::Ready(Err(error)) => panic!("{error}"),
            Poll::Pending => panic!("portions are always ready"),
        }
    }
}

struct Portions<'a, P> {
    portions: P,
    begun: &'a [u8],
}

impl<'a, P: Iterator<Item = &'a [u8]> + Unpin> AsyncRead for Portions<'a, P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.begun.is_empty() {
            self.begun = self.portions.next().unwrap_or_default();
        }
        let (now, later) = self.begun.split_at(self.begun.len().min(buffer.len()));
        buffer[..now.len()].copy_from_slice(now);
        self.begun = later;
        Poll::Ready(Ok(now.len()))
    }
}
