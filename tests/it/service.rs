//! What systemd is told by a unit of `Type=notify` with a watchdog, over a socket of our own.

use std::collections::BTreeSet;

use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::time::{Instant, timeout_at};

use crate::support::free_port;
use crate::support::worker::{Options, Worker, binary};
use crate::support::world::{SOON, World};

/// The service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        Self { socket, folder }
    }

    /// A worker as of a unit with `WatchdogSec=200ms`.
    fn start(&self, config: &str) -> Worker {
        let socket = self.folder.path().join("notify").display().to_string();
        let environment = [("NOTIFY_SOCKET", &*socket), ("WATCHDOG_USEC", "200000")];
        Worker::start_with(&Options { config, environment: &environment, binary: &binary() })
    }

    /// What is told from now on until `last` is.
    async fn hears(&self, last: &str) -> BTreeSet<String> {
        let (mut heard, until) = (BTreeSet::<String>::new(), Instant::now() + SOON);
        let mut told = [0; 4096];
        while !heard.iter().any(|line| line.starts_with(last)) {
            let next = timeout_at(until, self.socket.recv(&mut told)).await;
            let length = next.unwrap_or_else(|_| panic!("no {last} after {heard:?}")).unwrap();
            let told = std::str::from_utf8(&told[..length]).expect("UTF-8");
            heard.extend(told.lines().map(str::to_owned));
        }
        heard
    }
}

#[tokio::test]
async fn systemd_is_told_that_it_is_ready_alive_and_about_to_end() {
    let world = World::new().await;
    let manager = Manager::new();
    let worker = manager.start(&world.config(&[]));
    let heard = manager.hears("STATUS=consuming").await;
    assert!(heard.contains("READY=1"), "{heard:?}");
    for _ in 0..2 {
        manager.hears("WATCHDOG=1").await;
    }
    let (_, heard) = tokio::join!(worker.stop(), manager.hears("STATUS=draining: told to stop"));
    assert!(heard.contains("STOPPING=1"), "{heard:?}");
}

/// Its own wait is work: whoever starts after it need not wait, too.
#[tokio::test]
async fn without_a_broker_it_is_ready_and_says_what_it_waits_for() {
    let world = World::new().await;
    let manager = Manager::new();
    let nobody = format!("amqp://127.0.0.1:{}/%2f", free_port());
    let (ccfs, s3) = (world.ccfs.url(), world.store.s3().endpoint());
    let _worker = manager.start(&world.config_at(&nobody, &ccfs, s3, &[]));
    let heard = manager.hears("STATUS=connecting: connection refused").await;
    assert!(heard.contains("READY=1") && !heard.contains("STATUS=consuming"), "{heard:?}");
    manager.hears("WATCHDOG=1").await;
}
