//! A TCP link that can be cut, slowed and torn: put it before any server of the kit.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

/// What the link does to the bytes that cross it, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Passes everything.
    Fine,
    /// Resets what is connected, and whatever connects. (The port stays ours, so a connect
    /// succeeds and is reset at once; [`Link::close`] makes it refuse.)
    Cut,
    /// Half open: connections stay and are accepted, nothing crosses, not even an end.
    BlackHole,
    /// At most this many bytes a second; 1 to 40 crosses byte by byte.
    Slow(u32),
    /// Everything, a byte a write.
    Dribble,
    /// Resets a connection when this many bytes have crossed it since the weather was set.
    Torn(usize),
}

/// A proxy on 127.0.0.1; it ends, with its connections, when it is dropped.
pub struct Link {
    address: SocketAddr,
    to: SocketAddr,
    sky: watch::Sender<Sky>,
    connections: Arc<AtomicU32>,
    /// Bytes that have crossed, both ways together.
    carried: Arc<AtomicU64>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sky {
    weather: Weather,
    /// Raised with every change.
    change: u32,
    /// Raised with every cut: a cut is never missed, however short.
    cuts: u32,
}

impl Link {
    /// A fine link to `to`.
    pub async fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let sky = watch::Sender::new(Sky { weather: Weather::Fine, change: 0, cuts: 0 });
        let (connections, carried) = (Arc::default(), Arc::default());
        let mut link = Self { address, to, sky, connections, carried, accepting: None };
        link.accept_on(listener);
        link
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections taken so far.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Bytes that have crossed so far, both ways together.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }

    /// From now on, for old and new connections.
    pub fn set(&self, weather: Weather) {
        self.sky.send_modify(|sky| {
            sky.weather = weather;
            sky.change += 1;
            sky.cuts += u32::from(weather == Weather::Cut);
        });
    }

    /// Resets all connections and takes new ones.
    pub fn cut_once(&self) {
        self.set(Weather::Cut);
        self.set(Weather::Fine);
    }

    /// Resets all connections and refuses new ones: nobody listens any more.
    pub async fn close(&mut self) {
        self.set(Weather::Cut);
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Fine again, after whatever happened.
    pub async fn restore(&mut self) {
        self.set(Weather::Fine);
        if self.accepting.is_none() {
            let listener = TcpListener::bind(self.address).await.expect("our port is still free");
            self.accept_on(listener);
        }
    }

    fn accept_on(&mut self, listener: TcpListener) {
        let (to, sky, taken) = (self.to, self.sky.subscribe(), Arc::clone(&self.connections));
        let carried = Arc::clone(&self.carried);
        self.accepting = Some(tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                taken.fetch_add(1, Ordering::Relaxed);
                open.spawn(cross(near, to, sky.clone(), Arc::clone(&carried)));
                while open.try_join_next().is_some() {}
            }
        }));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

/// Carries one connection until either end closes it or the weather resets it.
async fn cross(
    mut near: TcpStream,
    to: SocketAddr,
    mut sky: watch::Receiver<Sky>,
    carried: Arc<AtomicU64>,
) {
    let begin = *sky.borrow();
    let far = if begin.weather == Weather::Cut { None } else { TcpStream::connect(to).await.ok() };
    let Some(mut far) = far else {
        let _ = near.set_zero_linger();
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let crossed = Crossed { carried, ..Crossed::default() };
    let reset = {
        let (near_in, near_out) = near.split();
        let (far_in, far_out) = far.split();
        let there = carry(near_in, far_out, sky.clone(), &crossed);
        let back = carry(far_in, near_out, sky.clone(), &crossed);
        tokio::select! {
            _ = sky.wait_for(|sky| sky.cuts != begin.cuts) => true,
            () = crossed.torn.notified() => true,
            () = async { tokio::join!(there, back); } => false,
        }
    };
    if reset {
        // Closing with a linger of zero sends RST.
        let _ = (near.set_zero_linger(), far.set_zero_linger());
    }
}

/// What has crossed a connection since the last change of the weather, both ways together.
#[derive(Default)]
struct Crossed {
    since: Mutex<(u32, usize)>,
    torn: Notify,
    /// What has crossed the link, whatever the connection.
    carried: Arc<AtomicU64>,
}

impl Crossed {
    /// How many of `wanted` bytes may still cross before `limit`.
    fn take(&self, change: u32, limit: usize, wanted: usize) -> usize {
        let mut since = self.since.lock().expect("no panic holds the lock");
        if since.0 != change {
            *since = (change, 0);
        }
        let allowed = wanted.min(limit - since.1);
        since.1 += allowed;
        allowed
    }
}

async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut sky: watch::Receiver<Sky>,
    crossed: &Crossed,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let mut rest = &buffer[..read];
        loop {
            let now = *sky.borrow_and_update();
            let piece = match now.weather {
                Weather::Fine => rest.len(),
                Weather::Torn(limit) => crossed.take(now.change, limit, rest.len()),
                Weather::Dribble => rest.len().min(1),
                Weather::Slow(rate) => slowly(rate, rest.len(), &mut sky).await,
                Weather::BlackHole | Weather::Cut => {
                    let _ = sky.changed().await;
                    continue;
                }
            };
            if to.write_all(&rest[..piece]).await.is_err() {
                return;
            }
            crossed.carried.fetch_add(piece as u64, Ordering::Relaxed);
            rest = &rest[piece..];
            if rest.is_empty() {
                break;
            }
            if matches!(now.weather, Weather::Torn(_)) {
                crossed.torn.notify_one();
                return std::future::pending().await;
            }
        }
        if read == 0 {
            let _ = to.shutdown().await;
            return;
        }
    }
}

/// Waits as long as a piece takes at this rate; none of it crosses if the weather changes before.
async fn slowly(rate: u32, wanted: usize, sky: &mut watch::Receiver<Sky>) -> usize {
    let piece = wanted.min((rate as usize / 40).max(1));
    let pause = Duration::from_secs_f64(piece as f64 / f64::from(rate.max(1)));
    tokio::select! {
        () = tokio::time::sleep(pause) => piece,
        _ = sky.changed() => 0,
    }
}
