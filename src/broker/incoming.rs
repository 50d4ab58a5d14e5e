//! What the broker has sent and nobody has taken yet. It must not know how it is consumed.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::connection::Link;
use super::epoch::{Epoch, Member};
use super::guard::{Burden, Flaws};
use super::names::Names;
use super::settle::Delivery;
use super::status::Status;
use super::{Prefetch, QueueName, Shared};

/// Consumers beside those of the queues.
const LOOKING_FURTHER: usize = 1;

pub(super) const QUEUES: [QueueName; 3] = [QueueName::Jobs, QueueName::Bulk, QueueName::Suspect];

impl QueueName {
    pub(super) fn of(self, names: &Names) -> &str {
        match self {
            Self::Jobs => &names.jobs,
            Self::Bulk => &names.bulk,
            Self::Suspect => &names.suspect,
        }
    }
}

/// A message on its way from a channel to the worker.
pub(super) struct Incoming {
    queue: QueueName,
    message: lapin::message::Delivery,
    /// What of it was mended before lapin could read it.
    flaws: Flaws,
    burden: Burden,
    epoch: Member,
}

impl Incoming {
    pub(super) fn new(
        queue: QueueName,
        mut message: lapin::message::Delivery,
        (link, epoch): (&Arc<Link>, &Epoch),
        names: &Names,
    ) -> Self {
        // lapin's own buffer has grown in steps, to up to twice as much.
        message.data.shrink_to_fit();
        let channel = epoch.channel();
        let burden = link.claim(channel, message.data.len());
        let flaws = link.flaws(channel, message.delivery_tag);
        if !flaws.is_empty() {
            tracing::warn!(
                "queue {}: AMQP properties of a message cannot be read as they came and were \
                 mended: {flaws}; its body is untouched",
                queue.of(names)
            );
        }
        Self { queue, message, flaws, burden, epoch: epoch.member() }
    }
}

/// Where the consumers put what they get.
#[derive(Clone)]
pub(super) struct Intake {
    sender: mpsc::Sender<Incoming>,
    prefetch: Prefetch,
}

/// What the broker has sent, from all queues.
pub struct Deliveries {
    shared: Arc<Shared>,
    incoming: mpsc::Receiver<Incoming>,
    status: watch::Receiver<Status>,
}

pub(super) fn intake(shared: &Arc<Shared>, prefetch: Prefetch) -> (Intake, Deliveries) {
    // A place a consumer, which each holds while it waits for a delivery: nobody's is taken by
    // another. The rest waits in lapin's buffer, which dies with its channel.
    let (sender, incoming) = mpsc::channel(QUEUES.len() + LOOKING_FURTHER);
    let status = shared.board.subscribe();
    let deliveries = Deliveries { shared: Arc::clone(shared), incoming, status };
    (Intake { sender, prefetch }, deliveries)
}

impl Intake {
    /// A place for the next delivery, when there is one; `None` once nobody listens any more.
    pub(super) async fn place(&self) -> Option<mpsc::Permit<'_, Incoming>> {
        self.sender.reserve().await.ok()
    }

    /// Messages that a queue's consumer may have in hand; at least 1, since 0 would mean no bound at
    /// all.
    pub(super) fn prefetch(&self, queue: QueueName) -> u16 {
        let prefetch = match queue {
            QueueName::Jobs => self.prefetch.jobs,
            QueueName::Bulk => self.prefetch.bulk,
            QueueName::Suspect => 1,
        };
        prefetch.max(1)
    }
}

impl Deliveries {
    /// The next delivery that is still ours to settle. `None` only after `Broker::stop_consuming`,
    /// when everything that was already here has been handed out. Safe to cancel.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let incoming = tokio::select! {
                biased;
                incoming = self.incoming.recv() => incoming,
                _ = self.status.wait_for(Status::drained) => self.incoming.try_recv().ok(),
            };
            let Incoming { queue, message, flaws, burden, epoch } = incoming?;
            // What was buffered when its channel died still comes out; the broker has it again.
            if message.acker.usable() && !epoch.is_over() {
                let shared = Arc::clone(&self.shared);
                return Some(Delivery::new(shared, queue, message, (flaws, burden), epoch));
            }
        }
    }
}
