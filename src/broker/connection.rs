//! One connection: opened over the URLs in order, supervised for ever, closed for certain.
//!
//! lapin's own recovery is not used: it gives up after 16 tries and has lost settings. This module
//! must not know what its connections carry.

use std::fmt;
use std::future::Future;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedIdentity, OwnedTLSConfig, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, Event};
use secrecy::ExposeSecret;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::Shared;
use super::status::{Side, Wish};
use crate::config;

/// Name look-up, TCP, TLS and AMQP handshake with one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The answer to one AMQP method; a quorum queue's first declaration on a busy broker takes seconds.
const RPC_TIMEOUT: Duration = Duration::from_secs(30);
/// The orderly end of a connection; after it the socket is cut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Every connection has it set: a broker may offer 0, 'no limit', and lapin would then allocate
/// buffers of 128 GiB.
const FRAME_MAX: u32 = 131_072;

/// How often lapin is asked whether a connection or channel still lives; it does not always tell.
pub(super) const PULSE: Duration = Duration::from_millis(500);

const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_CAP: Duration = Duration::from_secs(10);
/// A connection that lived this long was a good one: the back-off starts anew.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// Why something with the broker did not work: a sentence for people, without secrets.
#[derive(Debug)]
pub(super) struct Fault {
    why: String,
    cause: Option<lapin::Error>,
}

impl Fault {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), cause: None }
    }

    pub(super) fn of(what: &str, cause: lapin::Error) -> Self {
        Self { why: format!("{what}: {}", describe(&cause)), cause: Some(cause) }
    }

    pub(super) fn cause(&self) -> Option<&lapin::Error> {
        self.cause.as_ref()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Waits for the answer to one AMQP method.
///
/// # Errors
/// The broker refuses, the channel is dead, or there is no answer within [`RPC_TIMEOUT`].
pub(super) async fn rpc<T>(
    what: &str,
    call: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Fault> {
    match timeout(RPC_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(|error| Fault::of(what, error)),
        Err(_) => Err(Fault::new(format!("{what}: no answer within {RPC_TIMEOUT:?}"))),
    }
}

pub(super) async fn open_channel(connection: &Connection) -> Result<Channel, Fault> {
    rpc("channel.open", connection.create_channel()).await
}

/// An open connection.
pub(super) struct Link {
    connection: Connection,
    socket: Socket,
}

impl Link {
    /// Resolves when the connection is lost, with what lapin or the broker said.
    pub(super) async fn lost(&self) -> Fault {
        let mut events: BoxStream<'static, Event> = self.connection.events_listener().boxed();
        let mut said = None;
        while self.connected() {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::Error(error)) => said = Some(error),
                    Some(_) => {}
                    None => break,
                },
                () = tokio::time::sleep(PULSE) => {}
            }
        }
        match said {
            Some(error) => Fault::of("connection lost", error),
            None => Fault::new("connection lost"),
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether the broker lets nobody publish: a memory or disk alarm.
    pub(super) fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Closes in order; what does not answer is cut off when this is dropped.
    pub(super) async fn close(&self) {
        if self.connected() {
            let _ = timeout(CLOSE_TIMEOUT, self.connection.close(200, "bye".into())).await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.socket.cut();
    }
}

/// A second handle of the connection's socket. lapin's io thread waits for ever for the answer of
/// a peer that accepts and says nothing; cutting the socket under it ends the thread.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn hold(&self, socket: impl AsFd) -> std::io::Result<()> {
        let copy = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
        Ok(())
    }

    fn cut(&self) {
        if let Some(socket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Fails where the peer has closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Opens connections of one name.
pub(super) struct Dialer {
    settings: config::Broker,
    /// What the broker's own tools show.
    name: &'static str,
}

impl Dialer {
    pub(super) fn new(settings: &config::Broker, name: &'static str) -> Self {
        Self { settings: settings.clone(), name }
    }

    /// Tries the URLs in order; secrets and certificates are read anew each time.
    pub(super) async fn connect(&self) -> Result<Link, Fault> {
        let mut faults = Vec::new();
        for url in &self.settings.urls {
            match self.dial(url).await {
                Ok(link) => return Ok(link),
                Err(fault) => faults.push(fault.why),
            }
        }
        Err(Fault::new(faults.join("; ")))
    }

    async fn dial(&self, url: &config::Secret) -> Result<Link, Fault> {
        let secret = url.read().map_err(|error| Fault::new(format!("broker.url: {error}")))?;
        let uri = self.uri(secret.expose_secret())?;
        let tls = self.tls(&uri)?;
        let place = format!("{}:{}", uri.authority.host, uri.authority.port);
        let socket = Socket::default();
        let opened = timeout(CONNECT_TIMEOUT, open(uri, self.name, tls, socket.clone())).await;
        let error = match opened {
            Ok(Ok(connection)) => return Ok(Link { connection, socket }),
            Ok(Err(error)) => error,
            Err(_) => {
                socket.cut();
                return Err(Fault::new(format!("no answer from {place} in {CONNECT_TIMEOUT:?}")));
            }
        };
        socket.cut();
        if is_refusal(&error) {
            url.refresh_after_refusal();
            return Err(Fault::new(format!("login refused by {place}: {}", describe(&error))));
        }
        Err(Fault::new(match error.kind() {
            ErrorKind::IOError(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
                format!("connection refused by {place}")
            }
            _ => format!("cannot connect to {place}: {}", describe(&error)),
        }))
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
            std::fs::read_to_string(file).map_err(failed)
        };
        let settings = &self.settings;
        let ca = settings.ca_file.as_deref().map(|file| read("ca_file", file)).transpose()?;
        if ca.as_deref().is_some_and(|pem| !pem.contains("BEGIN CERTIFICATE")) {
            return Err(Fault::new("broker.ca_file holds no certificate in PEM form"));
        }
        let identity = match (&settings.client_cert_file, &settings.client_key_file) {
            (Some(certificate), Some(key)) => Some(OwnedIdentity::PKCS8 {
                pem: read("client_cert_file", certificate)?.into_bytes(),
                key: read("client_key_file", key)?.into_bytes(),
            }),
            _ => None,
        };
        Ok(OwnedTLSConfig { identity, cert_chain: ca })
    }
}

async fn open(
    uri: AMQPUri,
    name: &str,
    tls: OwnedTLSConfig,
    socket: Socket,
) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let runtime = lapin::runtime::default_runtime()?;
    Connection::connector(
        uri,
        runtime,
        async move |uri, runtime| {
            let host = uri.authority.host.clone();
            let secure = uri.scheme == AMQPScheme::AMQPS;
            let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri };
            let connecting = async {
                let stream =
                    plain.connect_with_config_async(TLSConfig::default(), &runtime).await?;
                if let AsyncTcpStream::Plain(tcp) = &stream {
                    // Small frames are not to wait for the peer's delayed acknowledgement.
                    tcp.get_ref().set_nodelay(true)?;
                    socket.hold(tcp.get_ref())?;
                }
                if secure { stream.into_tls(&host, tls.as_ref()).await } else { Ok(stream) }
            };
            // lapin's thread would go on after our own timeout; here it ends.
            let connected = timeout(CONNECT_TIMEOUT, connecting).await;
            connected
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
                .map_err(Into::into)
        },
        properties,
    )
    .await
}

fn is_refusal(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)))
}

/// The error without lapin's own preamble; it holds what the broker or the system said.
fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// Keeps a connection of one side alive until `wish` reaches `until`.
pub(super) struct Supervisor {
    dialer: Dialer,
    shared: Arc<Shared>,
    side: Side,
    until: Wish,
    wish: watch::Receiver<Wish>,
    backoff: Backoff,
    connected_at: Instant,
}

impl Supervisor {
    pub(super) fn new(dialer: Dialer, shared: &Arc<Shared>, side: Side, until: Wish) -> Self {
        Self {
            dialer,
            shared: Arc::clone(shared),
            side,
            until,
            wish: shared.wish.subscribe(),
            backoff: Backoff::default(),
            connected_at: Instant::now(),
        }
    }

    /// Connects, trying for as long as it takes. `None`: there is no wish for it any more.
    pub(super) async fn connect(&mut self) -> Option<Arc<Link>> {
        loop {
            let dialled = tokio::select! {
                biased;
                _ = self.wish.wait_for(|wish| *wish >= self.until) => return None,
                dialled = self.dialer.connect() => dialled,
            };
            self.connected_at = Instant::now();
            match dialled {
                Ok(link) => return Some(Arc::new(link)),
                Err(fault) => self.pause_after(&fault).await,
            }
        }
    }

    /// Closes a connection whose session has ended; a fault is followed by a pause.
    pub(super) async fn finish(&mut self, link: &Link, ended: Result<(), Fault>) {
        link.close().await;
        if let Err(fault) = ended {
            self.pause_after(&fault).await;
        }
    }

    async fn pause_after(&mut self, fault: &Fault) {
        if self.shared.board.down(self.side, fault.to_string()) {
            tracing::warn!("broker, connection to {}: {fault}; trying until it works", self.side);
        }
        if self.connected_at.elapsed() >= GOOD_AFTER {
            self.backoff = Backoff::default();
        }
        tokio::select! {
            _ = self.wish.wait_for(|wish| *wish >= self.until) => {}
            () = tokio::time::sleep(self.backoff.pause()) => {}
        }
    }
}

/// Pauses that double up to a cap, with jitter so that workers do not come back all at once.
#[derive(Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    pub(super) fn pause(&mut self) -> Duration {
        let full = BACKOFF_FIRST.saturating_mul(1 << self.tries.min(10)).min(BACKOFF_CAP);
        self.tries += 1;
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn dialer(url: &str) -> Dialer {
        let settings = config::Broker {
            urls: vec![Secret::fixed(url)],
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            queue_prefix: "cv".into(),
            calls_exchange: "calls".into(),
            events_exchange: "recordings".into(),
            declare: true,
            delivery_limit: 20,
            heartbeat: Duration::from_secs(15),
            events_mandatory: false,
        };
        Dialer::new(&settings, "test")
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

    #[tokio::test]
    async fn a_url_that_is_none_is_named_without_its_password() {
        for url in ["hunter2", "amqp://u:hunter2@host:port", "http://u:hunter2@host"] {
            let Err(fault) = dialer(url).connect().await else { panic!("{url} connects") };
            assert!(fault.to_string().contains("broker.url"), "{fault}");
            assert!(!format!("{fault} {fault:?}").contains("hunter2"), "{fault:?}");
        }
    }

    #[test]
    fn pauses_grow_to_the_cap_and_no_further() {
        let mut backoff = Backoff::default();
        assert!(backoff.pause() <= BACKOFF_FIRST);
        let last = (0..100).map(|_| backoff.pause()).last().unwrap();
        assert!(last >= BACKOFF_CAP / 2 && last <= BACKOFF_CAP, "{last:?}");
    }
}
