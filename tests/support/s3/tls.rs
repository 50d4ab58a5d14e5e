//! A store behind TLS: a front that decrypts and hands on.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use super::LocalS3;
use super::local::Fronts;
use crate::support::ccfs::tls::{Certificate, Tls, tls};

/// Ends with its runtime.
pub struct Front {
    pub endpoint: String,
    folder: tempfile::TempDir,
}

impl Front {
    pub async fn of(server: &LocalS3) -> Self {
        Self::before(server.s3().address(), server.fronts()).await
    }

    /// Of any server.
    pub async fn to(server: SocketAddr) -> Self {
        Self::before(server, Fronts::default()).await
    }

    async fn before(behind: SocketAddr, fronts: Fronts) -> Self {
        let Tls { acceptor, folder } = tls(Certificate::UnderCa);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, fronts) = (acceptor.clone(), fronts.clone());
                tokio::spawn(async move {
                    let mut client = acceptor.accept(client).await.ok()?;
                    let mut server = TcpStream::connect(behind).await.ok()?;
                    let end = server.local_addr().ok()?;
                    fronts.lock().expect("no panic holds the lock").insert(end);
                    let copied = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    fronts.lock().expect("no panic holds the lock").remove(&end);
                    copied.ok()
                });
            }
        });
        Self { endpoint: format!("https://{address}"), folder }
    }

    pub fn ca_file(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.pem")
    }
}
