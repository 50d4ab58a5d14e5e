//! Opening a connection: URLs and addresses in order, secrets and certificates read anew, TLS, time limits.
//!
//! It must not know what the connection is for.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_rs::Tokio;
use async_rs::traits::Reactor;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::tcp::{AsyncTcpStream, OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use secrecy::ExposeSecret;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

use super::connection::{Fault, Link, Socket};
use super::door::Door;
use super::guard::{Guarded, Marks};
use super::kit::kit;
use super::refused;
use crate::config;

/// Name look-up, TCP, TLS and AMQP handshake with one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A node that has not answered for so long is given its time, and the next is tried beside it: a
/// frozen one would else hold up all that work.
const HEAD_START: Duration = Duration::from_secs(2);
/// Every connection has it set: a broker may offer 0, 'no limit', and lapin would then allocate
/// buffers of 128 GiB.
pub(super) const FRAME_MAX: u32 = 131_072;

/// Which of the broker's nodes is tried first: they take turns where one does not do its work.
#[derive(Clone, Copy, Default)]
pub(super) struct Turn(usize);

impl Turn {
    pub(super) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// Opens connections of one name.
pub(super) struct Dialer {
    settings: config::Broker,
    /// What the broker's own tools show.
    name: &'static str,
    /// Bytes of bodies in hand beyond which a connection brings no more.
    most: usize,
}

impl Dialer {
    pub(super) fn new(settings: &config::Broker, name: &'static str) -> Self {
        Self { settings: settings.clone(), name, most: usize::MAX }
    }

    /// The same, for connections that bring no more while so many bytes of bodies are in hand.
    pub(super) fn bounded(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Tries the URLs in order, beginning with that of this turn, and says which turn it was that
    /// worked first; secrets and certificates are read anew each time.
    pub(super) async fn connect(&self, first: Turn) -> Result<(Turn, Link), Fault> {
        let urls = &self.settings.urls;
        let mut turns = (first.0..).take(urls.len()).peekable();
        let mut dialling = FuturesUnordered::new();
        let mut faults = BTreeMap::new();
        loop {
            if let Some(turn) = turns.next() {
                // After a round of all URLs each begins with the next address of its name.
                let (round, at) = (turn / urls.len(), turn % urls.len());
                dialling.push(async move { (turn, self.dial(&urls[at], round).await) });
            }
            let waits = tokio::time::sleep(HEAD_START);
            tokio::select! {
                Some((turn, dialled)) = dialling.next() => match dialled {
                    Ok(link) => return Ok((Turn(turn), link)),
                    Err(fault) => _ = faults.insert(turn, fault),
                },
                () = waits, if turns.peek().is_some() => {}
                else => return Err(Fault::of_all(faults.values())),
            }
        }
    }

    /// Where one URL leads; nothing is asked of it.
    pub(super) fn door(&self, url: &config::Secret) -> Result<Door, Fault> {
        self.read(url).map(|uri| Door::of(&uri))
    }

    /// A connection to a node that does what is `needed`, each being tried once; and what came of it.
    pub(super) async fn connect_where<T>(
        &self,
        needed: impl AsyncFn(&Link) -> Result<T, Fault>,
    ) -> Result<(Link, T), Fault> {
        let mut turn = Turn::default();
        let mut first = None;
        for _ in &self.settings.urls {
            let (reached, link) = self.connect(turn).await?;
            match needed(&link).await {
                Ok(done) => return Ok((link, done)),
                Err(fault) => first = first.or(Some(fault)),
            }
            link.close().await;
            turn = reached.next();
        }
        Err(first.expect("there is a URL, and its node did not do"))
    }

    /// Tries one URL, its addresses in order from the one of this number on.
    pub(super) async fn dial(&self, url: &config::Secret, first: usize) -> Result<Link, Fault> {
        let uri = self.read(url)?;
        let until = Instant::now() + CONNECT_TIMEOUT;
        let mut addresses = addresses(&uri).await?;
        begin_with(&mut addresses, first);
        let reached = self.reach(&uri, addresses, until).await;
        if reached.as_ref().is_err_and(Fault::is_refused_login) {
            url.refresh_after_refusal();
        }
        reached
    }

    fn read(&self, url: &config::Secret) -> Result<AMQPUri, Fault> {
        let secret = url.read().map_err(|error| Fault::new(format!("broker.url: {error}")))?;
        self.uri(secret.expose_secret())
    }

    /// Tries the addresses of one host in turn; they share the time.
    async fn reach(
        &self,
        uri: &AMQPUri,
        mut addresses: VecDeque<SocketAddr>,
        until: Instant,
    ) -> Result<Link, Fault> {
        let tls = self.tls(uri)?;
        let door = Door::of(uri);
        let several = addresses.len() > 1;
        let mut faults = Vec::new();
        while let Some(address) = addresses.pop_front() {
            let left = until.saturating_duration_since(Instant::now());
            let share = left.div_f64(addresses.len() as f64 + 1.0);
            let place = door.place();
            let place = if several { format!("{place} ({})", address.ip()) } else { place };
            let (uri, tls, door) = (uri.clone(), tls.clone(), door.clone());
            let attempt = Attempt { uri, address, tls, place, door, share };
            match attempt.make(self.name, self.most, &self.settings).await {
                Err(fault) if !fault.is_refused_login() => faults.push(fault),
                decided => return decided,
            }
        }
        Err(Fault::of_all(&faults))
    }

    /// The parser's own error would show the password, and it takes an IPv6 host for none.
    fn uri(&self, text: &str) -> Result<AMQPUri, Fault> {
        let bad =
            || Fault::new("broker.url is not an AMQP URL (amqp://user:password@host:port/vhost)");
        let mut uri: AMQPUri = text.parse().map_err(|_| bad())?;
        let url = url::Url::parse(text).map_err(|_| bad())?;
        if let Some(url::Host::Ipv6(host)) = url.host() {
            uri.authority.host = host.to_string();
        }
        // Operators write the default virtual host so; no broker has one without a name.
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.frame_max = Some(FRAME_MAX);
        let heartbeat = self.settings.heartbeat.as_secs().clamp(1, u64::from(u16::MAX));
        uri.query.heartbeat = u16::try_from(heartbeat).ok();
        Ok(uri)
    }

    fn tls(&self, uri: &AMQPUri) -> Result<OwnedTLSConfig, Fault> {
        if uri.scheme == AMQPScheme::AMQP {
            return Ok(OwnedTLSConfig::default());
        }
        let read = |key: &str, file: &std::path::Path| {
            let failed = |error| Fault::new(format!("broker.{key}: {}: {error}", file.display()));
            config::read_pem(file).map_err(failed)
        };
        let settings = &self.settings;
        let ca = settings.ca_file.as_deref().map(|file| read("ca_file", file)).transpose()?;
        let ca = ca.map(|pem| String::from_utf8_lossy(&pem).into_owned());
        if ca.as_deref().is_some_and(|pem| !pem.contains("BEGIN CERTIFICATE")) {
            return Err(Fault::new("broker.ca_file holds no certificate in PEM form"));
        }
        let identity = match (&settings.client_cert_file, &settings.client_key_file) {
            (Some(certificate), Some(key)) => Some(OwnedIdentity::PKCS8 {
                pem: read("client_cert_file", certificate)?,
                key: read("client_key_file", key)?,
            }),
            _ => None,
        };
        Ok(OwnedTLSConfig { identity, cert_chain: ca })
    }
}

/// Puts the address of this number first, counted round and round; there is one at least.
fn begin_with(addresses: &mut VecDeque<SocketAddr>, number: usize) {
    addresses.rotate_left(number % addresses.len());
}

/// The addresses of the host, in the order of the system.
async fn addresses(uri: &AMQPUri) -> Result<VecDeque<SocketAddr>, Fault> {
    let failed = |why: &str| {
        let place = Door::of(uri).place();
        Fault::new(format!("cannot find {place}: {why}"))
            .advising("correct the host of broker.url, or the name service of this machine")
    };
    let host = (uri.authority.host.as_str(), uri.authority.port);
    let found = timeout(CONNECT_TIMEOUT, lookup_host(host)).await;
    let found = found.map_err(|_| failed(&format!("no answer in {CONNECT_TIMEOUT:?}")))?;
    let found: VecDeque<_> = found.map_err(|error| failed(&error.to_string()))?.collect();
    if found.is_empty() { Err(failed("its name has no address")) } else { Ok(found) }
}

/// Cuts a socket when it is dropped.
struct Cutting(Option<Socket>);

impl Cutting {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Cutting {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.cut();
        }
    }
}

/// A connection to one address, if there is one in time.
struct Attempt {
    uri: AMQPUri,
    address: SocketAddr,
    tls: OwnedTLSConfig,
    /// Of this attempt, for people.
    place: String,
    door: Door,
    share: Duration,
}

impl Attempt {
    async fn make(self, name: &str, most: usize, settings: &config::Broker) -> Result<Link, Fault> {
        let Self { place, door, share, .. } = &self;
        let (place, door, share) = (place.clone(), door.clone(), *share);
        // However this ends, also by another that was faster.
        let (socket, marks) = (Socket::default(), Arc::new(Marks::bounded(most)));
        let cutting = Cutting(Some(socket.clone()));
        let opened = timeout(share, self.open(name, socket.clone(), Arc::clone(&marks))).await;
        let error = match opened {
            Ok(Ok(connection)) => {
                cutting.keep();
                return Ok(Link::new(connection, socket, marks, place, door));
            }
            Ok(Err(error)) => error,
            Err(_) => {
                return Err(refused::silent(format!("no answer from {place} in {share:.0?}")));
            }
        };
        Err(refused::fault(&error, marks.foreign(), &place, &door, settings))
    }

    async fn open(
        self,
        name: &str,
        socket: Socket,
        marks: Arc<Marks>,
    ) -> lapin::Result<Connection> {
        let Self { uri, address, tls, share, .. } = self;
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let frame_max = FRAME_MAX as usize;
        let runtime = kit(frame_max, &marks);
        let secure = uri.scheme == AMQPScheme::AMQPS;
        let connect = async move |uri: AMQPUri, _| {
            let connecting = async {
                let tcp = Tokio::current().tcp_connect_addr(address).await?;
                // Small frames are not to wait for the peer's delayed acknowledgement.
                tcp.get_ref().set_nodelay(true)?;
                socket.hold(tcp.get_ref())?;
                let plain = AsyncTcpStream::Plain(tcp);
                if secure {
                    plain.into_tls(&uri.authority.host, tls.as_ref()).await
                } else {
                    Ok(plain)
                }
            };
            // lapin's thread would go on after our own timeout; here it ends.
            let connected = timeout(share, connecting).await;
            let stream = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
            Ok(AsyncTcpStream::Plain(Guarded::new(stream, frame_max, Arc::clone(&marks))))
        };
        Connection::connector(uri, runtime, connect, properties).await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::broker::tests::settings;
    use crate::config::Secret;

    fn dialer(url: &str) -> Dialer {
        let urls = vec![Secret::fixed(url)];
        Dialer::new(&config::Broker { urls, ..settings() }, "test")
    }

    #[test]
    fn every_url_gets_the_frame_size_and_heartbeat_whatever_it_says_itself() {
        let dialer = dialer("");
        let uri = dialer.uri("amqp://u:p@[::1]:5671/%2f?frame_max=0&heartbeat=0").unwrap();
        assert_eq!(uri.query.frame_max, Some(FRAME_MAX));
        assert_eq!(uri.query.heartbeat, Some(15));
        assert_eq!(uri.authority.host, "::1");
        assert_eq!(uri.vhost, "/");
    }

    #[test]
    fn a_url_that_ends_in_the_port_or_a_slash_means_the_default_virtual_host() {
        for (end, vhost) in [
            ("", "/"),
            ("/", "/"),
            ("?heartbeat=5", "/"),
            ("/?heartbeat=5", "/"),
            ("/%2f", "/"),
            ("/%2F?heartbeat=5", "/"),
            ("/calls", "calls"),
            ("/calls%2Fone", "calls/one"),
        ] {
            for begin in ["amqp://host:5672", "amqps://u:p@host:5671", "amqp://[::1]", "amqp://h"] {
                let url = format!("{begin}{end}");
                assert_eq!(dialer("").uri(&url).unwrap().vhost, vhost, "{url}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_silent_address_of_a_name_leaves_time_for_the_next() {
        // Of two hosts: what is said of each would else be told once where both had as long.
        let listen = |host| TcpListener::bind((host, 0));
        let (silent, next) =
            (listen("127.0.0.1").await.unwrap(), listen("127.0.0.2").await.unwrap());
        let addresses = [&silent, &next].map(|of| of.local_addr().unwrap()).into();
        let until = Instant::now() + Duration::from_secs(2);
        let reaching = tokio::spawn(async move {
            let dialer = dialer("");
            let uri = dialer.uri("amqp://rabbit.example:5672").unwrap();
            dialer.reach(&uri, addresses, until).await.map(|_| ())
        });
        let (mut socket, _) = next.accept().await.expect("the next is tried");
        let mut first = [0; 4];
        socket.read_exact(&mut first).await.expect("and spoken to");
        assert_eq!(&first, b"AMQP");
        let fault = reaching.await.unwrap().expect_err("both are silent").to_string();
        for host in ["127.0.0.1", "127.0.0.2"] {
            let told = format!("no answer from rabbit.example:5672 ({host}) in");
            assert!(fault.contains(&told), "{fault}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nodes_take_turns_and_after_a_round_of_them_the_addresses_of_each() {
        let listen = || TcpListener::bind("127.0.0.1:0");
        let (first, second) = (listen().await.unwrap(), listen().await.unwrap());
        let urls = [&first, &second]
            .map(|of| of.local_addr().unwrap())
            .map(|at| Secret::fixed(format!("amqp://{at}")));
        let broker = config::Broker { urls: urls.into(), ..settings() };
        for (turn, asked, left_alone) in
            [(0, &first, &second), (1, &second, &first), (2, &first, &second)]
        {
            let dialer = Dialer::new(&broker, "test");
            let dialling = tokio::spawn(async move { dialer.connect(Turn(turn)).await.map(drop) });
            // Held, or the next would be dialled before this is looked at.
            let _held = asked.accept().await.expect("its turn");
            assert!(left_alone.accept().now_or_never().is_none(), "turn {turn}");
            dialling.abort();
        }
        let mut addresses: VecDeque<SocketAddr> =
            [1, 2, 3].map(|port| ([127, 0, 0, 1], port).into()).into();
        begin_with(&mut addresses, 4);
        assert_eq!(addresses.iter().map(SocketAddr::port).collect::<Vec<_>>(), [2, 3, 1]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_that_says_nothing_does_not_hold_up_the_next() {
        let listen = || TcpListener::bind("127.0.0.1:0");
        let (frozen, next) = (listen().await.unwrap(), listen().await.unwrap());
        let urls = [&frozen, &next]
            .map(|of| of.local_addr().unwrap())
            .map(|at| Secret::fixed(format!("amqp://{at}")));
        let broker = config::Broker { urls: urls.into(), ..settings() };
        let dialer = Dialer::new(&broker, "test");
        let dialling = tokio::spawn(async move { dialer.connect(Turn::default()).await.map(drop) });
        let (mut held, _) = frozen.accept().await.unwrap();
        let next = timeout(CONNECT_TIMEOUT / 2, next.accept()).await;
        next.expect("it is tried beside the first").unwrap();
        // The first has its time all the same, and is left once it is not wanted.
        let mut said = [0; 8];
        held.read_exact(&mut said).await.unwrap();
        assert!(held.read_u8().now_or_never().is_none());
        dialling.abort();
        let end = timeout(CONNECT_TIMEOUT / 2, held.read_u8()).await;
        end.expect("it is cut").expect_err("nothing more is said");
    }

    #[tokio::test]
    async fn a_url_that_is_none_is_named_without_its_password() {
        for url in ["hunter2", "amqp://u:hunter2@host:port", "http://u:hunter2@host"] {
            let Err(fault) = dialer(url).connect(Turn::default()).await else {
                panic!("{url} connects")
            };
            assert!(fault.to_string().contains("broker.url"), "{fault}");
            assert!(!format!("{fault} {fault:?}").contains("hunter2"), "{fault:?}");
        }
    }
}
