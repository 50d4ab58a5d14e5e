//! Opening a connection: URLs in order, secrets and certificates read anew, TLS, time limits.
//!
//! It must not know what the connection is for.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedIdentity, OwnedTLSConfig, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::connection::{Fault, Link, describe};
use crate::config;

/// Name look-up, TCP, TLS and AMQP handshake with one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Every connection has it set: a broker may offer 0, 'no limit', and lapin would then allocate
/// buffers of 128 GiB.
const FRAME_MAX: u32 = 131_072;

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
                Err(fault) => faults.push(fault.to_string()),
            }
        }
        Err(Fault::new(faults.join("; ")))
    }

    /// Tries one URL.
    pub(super) async fn dial(&self, url: &config::Secret) -> Result<Link, Fault> {
        let secret = url.read().map_err(|error| Fault::new(format!("broker.url: {error}")))?;
        let uri = self.uri(secret.expose_secret())?;
        let tls = self.tls(&uri)?;
        let place = format!("{}:{}", uri.authority.host, uri.authority.port);
        let socket = Socket::default();
        let opened = timeout(CONNECT_TIMEOUT, open(uri, self.name, tls, socket.clone())).await;
        let error = match opened {
            Ok(Ok(connection)) => return Ok(Link::new(connection, socket, place)),
            Ok(Err(error)) => error,
            Err(_) => {
                socket.cut();
                return Err(Fault::new(format!("no answer from {place} in {CONNECT_TIMEOUT:?}")));
            }
        };
        socket.cut();
        if is_refusal(&error) {
            url.refresh_after_refusal();
            return Err(Fault::refused_login(format!(
                "login refused by {place}: {}",
                describe(&error)
            )));
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

/// The broker does not let this user do it.
pub(super) fn is_refusal(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)))
}

/// A second handle of the connection's socket. lapin's io thread waits for ever for the answer of
/// a peer that accepts and says nothing; cutting the socket under it ends the thread.
#[derive(Clone, Default)]
pub(super) struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn hold(&self, socket: impl AsFd) -> std::io::Result<()> {
        let copy = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
        Ok(())
    }

    pub(super) fn cut(&self) {
        if let Some(socket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Fails where the peer has closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
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

    #[tokio::test]
    async fn a_url_that_is_none_is_named_without_its_password() {
        for url in ["hunter2", "amqp://u:hunter2@host:port", "http://u:hunter2@host"] {
            let Err(fault) = dialer(url).connect().await else { panic!("{url} connects") };
            assert!(fault.to_string().contains("broker.url"), "{fault}");
            assert!(!format!("{fault} {fault:?}").contains("hunter2"), "{fault:?}");
        }
    }
}
