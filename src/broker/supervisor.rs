//! A connection of one side, kept for ever.
//!
//! lapin's own recovery is not used: it gives up after 16 tries and has lost settings. This module
//! must not know what its connections carry.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use super::connection::{Backoff, Fault, Link};
use super::dial::{Dialer, Turn};
use super::status::{Side, Wish};

/// A connection, or a consumer, that lived this long was a good one: the back-off starts anew.
pub(super) const GOOD_AFTER: Duration = Duration::from_secs(10);

/// Keeps a connection of one side alive until `wish` reaches `until`.
pub(super) struct Supervisor {
    dialer: Dialer,
    shared: Arc<Shared>,
    side: Side,
    until: Wish,
    wish: watch::Receiver<Wish>,
    backoff: Backoff,
    /// The node that the next connection is tried with first.
    first: Turn,
    reached: Turn,
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
            first: Turn::default(),
            reached: Turn::default(),
            connected_at: Instant::now(),
        }
    }

    /// Connects, trying for as long as it takes. `None`: there is no wish for it any more.
    pub(super) async fn connect(&mut self) -> Option<Arc<Link>> {
        loop {
            let dialled = tokio::select! {
                biased;
                _ = self.wish.wait_for(|wish| *wish >= self.until) => return None,
                dialled = self.dialer.connect(self.first) => dialled,
            };
            self.connected_at = Instant::now();
            match dialled {
                Ok((reached, link)) => {
                    self.reached = reached;
                    return Some(Arc::new(link));
                }
                Err(fault) => self.pause_after(&fault).await,
            }
        }
    }

    /// Closes a connection whose session has ended; a fault is followed by a pause. A node that
    /// does not do its work gives way to the next, else the first URL is the first again.
    pub(super) async fn finish(&mut self, link: &Link, ended: Result<(), Fault>) {
        match &ended {
            Err(fault) if fault.is_unanswered() => link.cut(),
            _ => link.close().await,
        }
        if let Err(fault) = ended {
            let gives_way = fault.is_elsewhere();
            self.first = if gives_way { self.reached.next() } else { Turn::default() };
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
