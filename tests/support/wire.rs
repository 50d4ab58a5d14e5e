//! A proxy before a broker that understands AMQP 0-9-1: it keeps a record of what crosses, asks a
//! test before it lets an acknowledgement through, and can make consumers deaf.
//!
//! What it forwards, it forwards byte for byte, but only whole commands (a method with its
//! content). It speaks TCP on both sides, so a [`Link`](super::link::Link) goes before or behind
//! it. Before it (worker → link → wire → broker) the record is what the broker has heard and said,
//! and torn frames reach the worker; behind it (worker → wire → link → broker) it is what the
//! worker has. No TLS.

mod commands;
mod record;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use lapin::protocol::AMQPClass;
use lapin::protocol::basic::AMQPMethod as Basic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use commands::{Command, Commands};
pub use record::{Delivered, End, Letter, Place, Published, Record};

/// Whose deliveries are dropped on the way. The broker takes them for delivered until their
/// channel ends: a consumer that has gone deaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swallow {
    Nothing,
    /// Of the channels that are open now; those opened later hear.
    OpenChannels,
    Everything,
}

/// A proxy on 127.0.0.1; it ends, with its connections, when it is dropped.
pub struct Wire {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    accepting: Vec<JoinHandle<()>>,
}

struct Shared {
    connections: AtomicU32,
    record: Mutex<Record>,
    on_ack: Mutex<Option<OnAck>>,
    /// Channels up to this serial are deaf.
    deaf_to: Mutex<u64>,
    cuts: watch::Sender<u32>,
}

type OnAck = Arc<dyn Fn(Acked) -> BoxFuture<'static, ()> + Send + Sync>;

/// A `basic.ack` that has not reached the broker yet.
pub struct Acked {
    pub delivered: Delivered,
    shared: Arc<Shared>,
}

impl Acked {
    /// What has crossed so far, this acknowledgement not yet. Not across an await.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.shared.record)
    }

    /// What the broker had confirmed by now, on any connection: of what fits, the last. Looks at
    /// the newest first, so that what has just been published is found at once.
    pub fn confirmed(&self, fits: impl FnMut(&Published) -> bool) -> Option<Published> {
        lock(&self.shared.record).confirmed(fits).cloned()
    }
}

impl Wire {
    /// Before the broker at `to`.
    pub async fn to(to: SocketAddr) -> Self {
        Self::to_each(&[to]).await
    }

    /// Before several nodes of a broker, with one record.
    pub async fn to_each(nodes: &[SocketAddr]) -> Self {
        let shared = Arc::new(Shared {
            connections: AtomicU32::new(0),
            record: Mutex::default(),
            on_ack: Mutex::default(),
            deaf_to: Mutex::default(),
            cuts: watch::Sender::new(0),
        });
        let (mut addresses, mut accepting) = (Vec::new(), Vec::new());
        for to in nodes {
            let listener =
                TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
            addresses.push(listener.local_addr().expect("a bound listener has an address"));
            accepting.push(tokio::spawn(accept(listener, *to, Arc::clone(&shared))));
        }
        Self { addresses, shared, accepting }
    }

    /// Of the first node.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// In the order of the nodes.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What has crossed so far. Everything waits while this is held: not across an await.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.shared.record)
    }

    /// Runs before each acknowledgement reaches the broker, once for each message it settles;
    /// what that connection says next waits for it. It must not panic: that only ends the
    /// connection. It keeps what it finds, and the test asserts.
    pub fn on_ack<F>(&self, hook: impl Fn(Acked) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let hook: OnAck = Arc::new(move |acked| Box::pin(hook(acked)));
        *lock(&self.shared.on_ack) = Some(hook);
    }

    /// From the next delivery on.
    pub fn swallow_deliveries(&self, whose: Swallow) {
        let opened = lock(&self.shared.record).opened();
        *lock(&self.shared.deaf_to) = match whose {
            Swallow::Nothing => 0,
            Swallow::OpenChannels => opened,
            Swallow::Everything => u64::MAX,
        };
    }

    /// Resets all connections; new ones are taken.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, shared: Arc<Shared>) {
    let mut open = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let connection = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        open.spawn(cross(near, to, connection, Arc::clone(&shared)));
        while open.try_join_next().is_some() {}
    }
}

/// Carries one connection until either end closes it or it is cut.
async fn cross(mut near: TcpStream, to: SocketAddr, connection: u32, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let Ok(mut far) = TcpStream::connect(to).await else {
        let _ = near.set_zero_linger();
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let carried = {
        let (near_in, near_out) = near.split();
        let (far_in, far_out) = far.split();
        let there = carry(near_in, far_out, connection, Way::ToBroker, &shared);
        let back = carry(far_in, near_out, connection, Way::ToWorker, &shared);
        tokio::select! {
            _ = cuts.changed() => Err(io::ErrorKind::ConnectionReset.into()),
            carried = async { tokio::try_join!(there, back) } => carried,
        }
    };
    if carried.is_err() {
        // Closing with a linger of zero sends RST.
        let _ = (near.set_zero_linger(), far.set_zero_linger());
    }
    lock(&shared.record).ended(connection);
}

#[derive(Clone, Copy)]
enum Way {
    ToBroker,
    ToWorker,
}

/// Forwards one direction, command by command.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    connection: u32,
    way: Way,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut commands = Commands::default();
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            to.write_all(&commands.rest()).await?;
            return to.shutdown().await;
        }
        commands.fill(&buffer[..read]);
        while let Some(command) = commands.next()? {
            let passes = match way {
                Way::ToBroker => shared.to_broker(connection, &command).await,
                Way::ToWorker => shared.to_worker(connection, &command),
            };
            if passes {
                to.write_all(&command.bytes).await?;
            }
        }
    }
}

impl Shared {
    /// Everything reaches the broker, an acknowledgement after the test has seen it.
    async fn to_broker(self: &Arc<Self>, connection: u32, command: &Command) -> bool {
        let at = Place { connection, channel: command.channel };
        let acked = lock(&self.record).said(at, command);
        let hook = lock(&self.on_ack).clone();
        for (delivered, hook) in acked.into_iter().zip(hook.iter().cycle()) {
            hook(Acked { delivered, shared: Arc::clone(self) }).await;
        }
        true
    }

    /// Whether it reaches the worker. What is confirmed is noted before the worker can know.
    fn to_worker(&self, connection: u32, command: &Command) -> bool {
        let at = Place { connection, channel: command.channel };
        let deaf_to = *lock(&self.deaf_to);
        let mut record = lock(&self.record);
        let delivery = matches!(command.class, Some(AMQPClass::Basic(Basic::Deliver(_))));
        let swallowed = delivery && record.serial(at) <= deaf_to && deaf_to > 0;
        record.heard(at, command, swallowed);
        !swallowed
    }
}

/// A test that fails while it reads the record must not take the others' words away.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
