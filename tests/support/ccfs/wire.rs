//! HTTP/1.1 by hand: a server library would not send what broken servers send.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::recording::Content;
use super::reply::{End, Framing, Reply, Start};
use super::state::Shared;
use super::verify::Raw;

/// The most bytes of a head, and of a body.
const MOST: usize = 64 * 1024;

/// The most bytes of one write where a reply asks for no pieces.
const WRITE: usize = 1 << 20;

/// A connection, plain or TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Answers the requests of one connection until it ends.
pub(super) async fn serve(shared: Arc<Shared>, mut stream: Box<dyn Stream>, connection: u64) {
    let mut buffer = BytesMut::with_capacity(4096);
    while let Ok(Some(request)) = read(&mut stream, &mut buffer).await {
        let (reply, key, guard) = shared.judge(request, connection);
        let content = reply.made(&key).await;
        let goes_on = respond(&mut stream, &reply, &content, shared.now()).await;
        drop(guard);
        if !matches!(goes_on, Ok(true)) {
            break;
        }
    }
}

/// The next request; `None` at an orderly end.
async fn read(stream: &mut Box<dyn Stream>, buffer: &mut BytesMut) -> io::Result<Option<Raw>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if buffer.len() > MOST || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = buffer.split_to(end + 4);
    let mut raw = parse(&head[..end]).ok_or(io::ErrorKind::InvalidData)?;
    let length: usize = raw.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    if length > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    raw.body = buffer.split_to(length).to_vec();
    Ok(Some(raw))
}

fn parse(head: &[u8]) -> Option<Raw> {
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    if first.next()? != "HTTP/1.1" {
        return None;
    }
    let headers = lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect::<Option<_>>()?;
    Some(Raw { method, target, headers, body: Vec::new() })
}

/// Whether the connection can take another request afterwards.
async fn respond(
    stream: &mut Box<dyn Stream>,
    reply: &Reply,
    content: &Content,
    now: Timestamp,
) -> io::Result<bool> {
    let delay = reply.delay + reply.spread.mul_f64(fastrand::f64());
    if !delay.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = gone(stream) => return Ok(false),
        }
    }
    if let Some(mut open) = reply.held.clone() {
        tokio::select! {
            _ = open.wait_for(|open| *open) => {}
            _ = gone(stream) => return Ok(false),
        }
    }
    match reply.start {
        Start::Answer => {}
        Start::Hang => return gone(stream).await,
        Start::Close => return close(stream).await,
        Start::Reset => return reset(stream),
        Start::Garbage(bytes) => {
            stream.write_all(bytes).await?;
            return close(stream).await;
        }
    }
    let head = head(reply, content.length(), now);
    let end = match reply.end {
        End::Whole => content.length(),
        End::CutInTheMiddle => content.length() / 2,
        End::Cut(at) | End::Reset(at) | End::Stall(at) => at.min(content.length()),
    };
    body(stream, reply, content, head, end).await?;
    match reply.end {
        End::Reset(_) => reset(stream),
        End::Stall(_) => gone(stream).await,
        End::Whole | End::Cut(_) | End::CutInTheMiddle if reply.ragged => Ok(false),
        End::Whole if reply.shows_its_end() => Ok(true),
        End::Whole | End::Cut(_) | End::CutInTheMiddle => close(stream).await,
    }
}

fn head(reply: &Reply, length: u64, now: Timestamp) -> String {
    let mut head = format!("HTTP/1.1 {} Simulated\r\n", reply.status);
    head.push_str(&now.strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string());
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match reply.framing {
        // RFC 9110, 8.6: no Content-Length where there can be no body.
        _ if reply.status == 204 || reply.status == 304 => {}
        Framing::Length => {
            let length = reply.declared.unwrap_or(length);
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::Close => head.push_str("Connection: close\r\n"),
        Framing::Coded(coding) => head.push_str(&format!("Transfer-Encoding: {coding}\r\n")),
    }
    head.push_str("\r\n");
    head
}

/// Sends the head and the body up to `end`, in as few writes as the reply allows.
async fn body(
    stream: &mut Box<dyn Stream>,
    reply: &Reply,
    content: &Content,
    head: String,
    end: u64,
) -> io::Result<()> {
    let chunked = reply.framing == Framing::Chunked;
    let mut before = Bytes::from(head);
    let mut at = 0;
    let piece_size = reply.piece.min(WRITE);
    while at < end {
        let whole = content.piece(at, piece_size);
        // A chunk that is cut has announced more than came.
        let sent = whole.slice(..whole.len().min(usize::try_from(end - at).unwrap_or(WRITE)));
        at += sent.len() as u64;
        if chunked {
            before = [&before[..], format!("{:x}\r\n", whole.len()).as_bytes()].concat().into();
        }
        stream.write_all_buf(&mut before.chain(sent.clone())).await?;
        before = if chunked && sent.len() == whole.len() { "\r\n".into() } else { Bytes::new() };
        if !reply.pause.is_zero() {
            stream.write_all(&before).await?;
            before = Bytes::new();
            stream.flush().await?;
            tokio::time::sleep(reply.pause).await;
        }
        if let Some(mut open) = reply.stopped.clone() {
            stream.flush().await?;
            // Its test may have ended.
            let _ = open.wait_for(|open| *open).await;
        }
    }
    if chunked && matches!(reply.end, End::Whole) {
        before = [&before[..], b"0\r\n\r\n"].concat().into();
    }
    stream.write_all(&before).await?;
    stream.flush().await
}

/// Waits until the client has gone.
async fn gone(stream: &mut Box<dyn Stream>) -> io::Result<bool> {
    let mut byte = [0];
    // A byte more would be another request, which a test does not send here.
    stream.read_exact(&mut byte).await?;
    Ok(false)
}

async fn close(stream: &mut Box<dyn Stream>) -> io::Result<bool> {
    stream.shutdown().await?;
    Ok(false)
}

/// The connection is dropped right after; without lingering that sends RST.
fn reset(stream: &mut Box<dyn Stream>) -> io::Result<bool> {
    stream.tcp().set_zero_linger()?;
    Ok(false)
}
