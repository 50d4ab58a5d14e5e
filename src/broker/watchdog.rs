//! Finds a consumer that has gone deaf: the queue has messages ready, the broker has room to send
//! them, and nothing comes. Clients and brokers have both been seen to stop like that, without an
//! error and with heartbeats going on.
//!
//! What a deaf consumer was sent and never heard is not ready any more. As long as that is all
//! there is in the queue nobody can see it from here; the broker's own ack timeout ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::time::timeout;

use super::connection::{Fault, Link, rpc};
use super::epoch::Epoch;
use crate::beat;

/// Deafness is found after two to three of these, and is to be mended within half a minute.
const LOOK_EVERY: Duration = Duration::from_secs(6);
/// Looks that find the same: one alone may have met a message on its way.
const STRIKES: u32 = 2;
/// The answer to a look; a broker that is too busy for it is not judged.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// What a consumer shows of itself.
#[derive(Default)]
pub(super) struct Ear {
    heard: AtomicU64,
    listening: AtomicBool,
}

impl Ear {
    /// It has a place for the next delivery and waits for it.
    pub(super) fn listens(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }

    /// It has taken a delivery, and is busy until it listens again.
    pub(super) fn heard(&self) {
        self.listening.store(false, Ordering::Relaxed);
        self.heard.fetch_add(1, Ordering::Relaxed);
    }
}

/// Watches the consumer of one queue.
pub(super) struct Watchdog<'a> {
    pub(super) link: &'a Arc<Link>,
    pub(super) queue: &'a str,
    pub(super) prefetch: u16,
    pub(super) epoch: &'a Epoch,
    pub(super) ear: &'a Ear,
}

impl Watchdog<'_> {
    /// Resolves when the consumer is deaf.
    pub(super) async fn deaf(&self) -> Fault {
        let mut channel = None;
        let mut heard = self.ear.heard.load(Ordering::Relaxed);
        let mut strikes = 0;
        loop {
            beat::rest(LOOK_EVERY).await;
            let before = std::mem::replace(&mut heard, self.ear.heard.load(Ordering::Relaxed));
            let waits = heard == before
                && self.ear.listening.load(Ordering::Relaxed)
                && self.epoch.in_hand() < usize::from(self.prefetch);
            let ready = if waits { self.ready(&mut channel).await } else { 0 };
            // Something may have come while the broker was asked.
            let deaf = ready > 0 && self.ear.heard.load(Ordering::Relaxed) == before;
            strikes = if deaf { strikes + 1 } else { 0 };
            if strikes == STRIKES {
                let queue = self.queue;
                return Fault::new(format!(
                    "the consumer has gone deaf: {ready} messages are ready in {queue}, and none comes"
                ));
            }
        }
    }

    /// Messages that the broker could send; 0 where it does not say.
    async fn ready(&self, channel: &mut Option<Channel>) -> u32 {
        match timeout(LOOK_TIMEOUT, self.ask(channel)).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(fault)) => {
                tracing::debug!("looking at queue {}: {fault}", self.queue);
                0
            }
            Err(_) => {
                tracing::debug!("looking at queue {}: no answer in {LOOK_TIMEOUT:?}", self.queue);
                0
            }
        }
    }

    /// Asks on a channel of its own, which a missing queue closes; it is kept only if all is well.
    async fn ask(&self, kept: &mut Option<Channel>) -> Result<u32, Fault> {
        let channel = match kept.take() {
            Some(channel) => channel,
            None => self.link.channel().await?,
        };
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let look = channel.queue_declare(self.queue.into(), options, FieldTable::default());
        let queue = rpc("queue.declare", look).await?;
        *kept = Some(channel);
        Ok(queue.message_count())
    }
}
