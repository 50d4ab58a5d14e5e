//! Erlang's port mapper for the nodes of a cluster: it tells each node of ways of its own to the
//! others, so that a link stands between any two of them.
//!
//! The ports of nodes are known beforehand, and whoever is dead is found out by connecting. Their
//! tools register here: the nodes answer them, each by itself.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What nodes and their tools ask (the distribution protocol of Erlang/OTP).
const REGISTER: u8 = 120;
const WHERE_IS: u8 = 122;
const NAMES: u8 = 110;

/// The port of each name, the part of a node's name before the `@`.
pub(super) type Ports = BTreeMap<String, u16>;

/// Tools that run, of all nodes of a cluster.
pub(super) type Tools = Arc<Mutex<Ports>>;

/// A mapper for one node and its tools; it ends when it is dropped.
pub(super) struct Epmd {
    port: u16,
    accepting: JoinHandle<()>,
}

impl Epmd {
    /// `ways` lead to the nodes.
    pub(super) async fn telling(ways: Ports, tools: Tools) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let book = Arc::new(Book { port, ways, tools });
        let accepting = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let book = Arc::clone(&book);
                open.spawn(async move { book.answer(socket).await });
                while open.try_join_next().is_some() {}
            }
        });
        Self { port, accepting }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Epmd {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Book {
    port: u16,
    ways: Ports,
    tools: Tools,
}

impl Book {
    /// A question a connection, but for those who register: they stay.
    async fn answer(&self, mut socket: TcpStream) -> io::Result<()> {
        let length = socket.read_u16().await?;
        let mut asked = vec![0; usize::from(length)];
        socket.read_exact(&mut asked).await?;
        match asked.split_first() {
            Some((&REGISTER, said)) => {
                let (name, port) = registered(said).ok_or(io::ErrorKind::InvalidData)?;
                if !self.ways.contains_key(&name) {
                    self.tools(|tools| tools.insert(name.clone(), port));
                }
                // Well, and the 'creation', which tells a node from the one of that name before it.
                let creation = fastrand::u32(4..);
                socket.write_all(&[&[118, 0][..], &creation.to_be_bytes()].concat()).await?;
                // Until it ends.
                let _ = socket.read_u8().await;
                self.tools(|tools| tools.remove(&name));
                Ok(())
            }
            Some((&WHERE_IS, name)) => {
                let known = String::from_utf8_lossy(name);
                let known = self
                    .ways
                    .get(&*known)
                    .copied()
                    .or_else(|| self.tools(|tools| tools.get(&*known).copied()));
                let Some(port) = known else { return socket.write_all(&[119, 1]).await };
                // A normal node of TCP and IPv4, which speaks the versions 5 to 6 of the protocol.
                let length = u16::try_from(name.len()).expect("it came with such a length");
                let kind = [77, 0, 0, 6, 0, 5];
                let told = [
                    &[119, 0],
                    &port.to_be_bytes()[..],
                    &kind,
                    &length.to_be_bytes(),
                    name,
                    &[0, 0],
                ];
                socket.write_all(&told.concat()).await
            }
            Some((&NAMES, _)) => socket.write_all(&u32::from(self.port).to_be_bytes()).await,
            _ => Ok(()),
        }
    }

    fn tools<T>(&self, with: impl FnOnce(&mut Ports) -> T) -> T {
        with(&mut self.tools.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Name and port of who registers.
fn registered(said: &[u8]) -> Option<(String, u16)> {
    let (port, rest) = said.split_first_chunk()?;
    // Its kind, and what it speaks.
    let (length, name) = rest.get(6..)?.split_first_chunk()?;
    let name = name.get(..usize::from(u16::from_be_bytes(*length)))?;
    Some((String::from_utf8_lossy(name).into_owned(), u16::from_be_bytes(*port)))
}
