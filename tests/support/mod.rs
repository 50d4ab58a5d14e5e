//! The test kit: real parts on private ports, with faults injected at the edges.
//!
//! Used by the tests, the demo and the bench, so not every one of them uses all of it.
#![allow(
    dead_code,
    unused_imports,
    clippy::allow_attributes,
    reason = "shared by several crates, none uses all"
)]

pub mod broker;
pub mod ccfs;
pub mod child;
pub mod debian;
pub mod innocents;
pub mod link;
pub mod s3;
pub mod wire;
pub mod worker;
pub mod world;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Waits until `condition` yields a value; panics with `what` when `limit` has passed.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// A name that no other test of this run uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// `target/kit`: where the kit's nodes keep their data and tools.
pub fn kit_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target").join("kit")
}
