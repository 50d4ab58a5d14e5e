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
pub mod browser;
pub mod ccfs;
pub mod child;
pub mod debian;
pub mod innocents;
pub mod java;
pub mod kubernetes;
pub mod link;
pub mod node;
pub mod otlp;
pub mod prometheus;
pub mod pypi;
pub mod python;
pub mod s3;
pub mod tunnel;
pub mod usage;
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

/// A port of 127.0.0.1 that was free a moment ago. It is below the range that the system gives to
/// outgoing connections, so that none of them takes it before its owner does.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (first, count) = (10_000, 20_000);
    let start = std::process::id().wrapping_mul(97);
    let ports = std::iter::repeat_with(|| {
        let at = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count;
        u16::try_from(first + at).expect("below 30,000")
    });
    let mut free = ports.take(1000).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("loopback has a free port")
}

/// `target/kit`: where the kit's nodes keep their data and tools.
pub fn kit_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target").join("kit")
}
