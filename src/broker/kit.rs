//! What lapin runs on: tokio as it is, but for its sockets, which are guarded.
//!
//! lapin reads from the stream type of its runtime: a stream of ours takes a runtime of ours.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::tcp::AsyncTcpStream;

use super::guard::{Guarded, Marks};

/// A runtime for one connection.
pub(super) type Kit = RuntimeParts<Tokio, Sockets>;

/// The way in above TLS, where there is any.
type Inner = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// The current tokio runtime with guarded sockets.
pub(super) fn kit(frame_max: usize, marks: &Arc<Marks>) -> Runtime<Kit> {
    let tokio = Tokio::current();
    let sockets = Sockets { tokio: tokio.clone(), frame_max, marks: Arc::clone(marks) };
    Runtime::new(RuntimeParts::new(tokio, sockets))
}

#[derive(Clone, Debug)]
pub(super) struct Sockets {
    tokio: Tokio,
    frame_max: usize,
    marks: Arc<Marks>,
}

impl Reactor for Sockets {
    type TcpStream = Guarded<Inner>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.tokio.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.tokio.tcp_connect_addr(address);
        let (frame_max, marks) = (self.frame_max, Arc::clone(&self.marks));
        async move {
            let stream = AsyncTcpStream::Plain(connecting.await?);
            Ok(Guarded::new(stream, frame_max, marks))
        }
    }
}
