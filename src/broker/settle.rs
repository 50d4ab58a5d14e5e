//! A delivery and its one end (contract 1: no early ack; contract 5: retries).
//!
//! It must not know why a message is retried or dead.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::types::{FieldTable, ShortString};

use super::confirm::{Message, Route};
use super::epoch::Member;
use super::guard::{Burden, Flaws};
use super::headers::{End, Verdict, copied_headers, forwarded_headers, marked_headers};
use super::lanes::Line;
use super::publisher::PublishError;
use super::state::{State, mark_of, reason_of};
use super::{Publisher, QueueName, Shared, copy, moment, trace};
use crate::clock;
use crate::crash::{self, Point};
use crate::failure::Reason;
use crate::traces;

/// What becomes of a message.
#[derive(Debug)]
pub enum Disposition {
    /// What it asked for is durable.
    Ack,
    /// Back to the queue it came from, after `delay` (the nearest that has a retry queue).
    Retry { delay: Duration, state: State, reason: Reason, detail: String },
    /// A suspect that has just become one: to the end of its queue, with the mark. What happens to
    /// whoever gets it from there happens while it is at work alone.
    Mark { at: Timestamp },
    /// To the end of the bulk queue as it is: that is where it belongs.
    Forward { at: Timestamp },
    /// To the dead queue.
    Dead { state: State, reason: Reason, detail: String, at: Timestamp },
    /// Back to the queue at once, as it was; on drain only, since it counts as a delivery before
    /// RabbitMQ 4.3.
    GiveBack,
}

/// How a delivery ended, for the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The broker has our acknowledgement, and the copy of what was retried or died.
    Acked,
    /// The broker will deliver it again: given back, or its channel died first.
    GivenBack,
}

/// A message that the broker waits to have settled.
pub struct Delivery {
    pub queue: QueueName,
    /// The broker has sent it before, to us or another worker; RabbitMQ 4 says so too of what it has
    /// dead-lettered, which nobody may have had from this queue.
    pub redelivered: bool,
    shared: Arc<Shared>,
    message: lapin::message::Delivery,
    flaws: Flaws,
    /// Its body counts as in hand as long as this lives.
    _burden: Burden,
    state: State,
    epoch: Member,
    settled: bool,
}

impl Delivery {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: QueueName,
        message: lapin::message::Delivery,
        (flaws, burden): (Flaws, Burden),
        epoch: Member,
    ) -> Self {
        let headers = headers_of(&message);
        let names = shared.topology.names();
        let state = State::parse(headers, queue.of(names), names, clock::now());
        let redelivered = message.redelivered;
        Self {
            queue,
            redelivered,
            shared,
            message,
            flaws,
            _burden: burden,
            state,
            epoch,
            settled: false,
        }
    }

    pub fn body(&self) -> &[u8] {
        &self.message.data
    }

    /// The AMQP property `type`.
    pub fn message_type(&self) -> Option<&str> {
        self.message.properties.kind().as_ref().map(ShortString::as_str)
    }

    /// The AMQP property `content_type`.
    pub fn content_type(&self) -> Option<&str> {
        self.message.properties.content_type().as_ref().map(ShortString::as_str)
    }

    /// The AMQP property `timestamp`, if it is a time at all.
    pub fn sent_at(&self) -> Option<Timestamp> {
        self.message.properties.timestamp().and_then(moment::of)
    }

    /// Which of its AMQP properties could not be read as they came, and were mended.
    pub fn flaws(&self) -> &Flaws {
        &self.flaws
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Why its last try ended, where it is a copy of ours.
    pub fn reason(&self) -> Option<&str> {
        reason_of(self.headers())
    }

    /// The full name of its queue.
    pub fn queue_name(&self) -> &str {
        self.queue.of(self.shared.topology.names())
    }

    /// The place in a trace that its sender has given it.
    pub fn trace(&self) -> Option<traces::Context> {
        trace::brought(self.headers())
    }

    /// Which suspect it is, where it has the mark that one gets on its first arrival: then its
    /// `redelivered` is to be trusted. A producer may give many messages one id.
    pub fn suspect(&self) -> Option<String> {
        let mark = mark_of(self.headers()).filter(|_| self.queue == QueueName::Suspect)?;
        let id = copy::message_id(&self.message.properties, self.body());
        Some(format!("{id} {mark}"))
    }

    /// Whether it is a suspect's first arrival, which ends with [`Disposition::Mark`].
    pub fn is_new_suspect(&self) -> bool {
        self.queue == QueueName::Suspect && mark_of(self.headers()).is_none()
    }

    /// Whether it can still be settled; if not, the broker delivers it again.
    pub fn usable(&self) -> bool {
        self.message.acker.usable() && !self.epoch.is_over()
    }

    /// Resolves when its channel has died: work on it is for another delivery to do.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        self.epoch.over()
    }

    /// Ends the delivery. A retry or death is published and confirmed first, through any number of
    /// reconnections of the publishing side, for as long as the delivery's own channel lives; where
    /// the queue refuses it for minutes, the message is given back.
    pub async fn settle(mut self, disposition: Disposition) -> Settled {
        let settled = match disposition {
            Disposition::Ack => self.ack().await,
            Disposition::GiveBack => self.give_back().await,
            Disposition::Retry { delay, state, reason, detail } => {
                let exchange = self.shared.topology.retry(delay);
                let end = End::Retried(clock::now());
                let verdict = Verdict { reason: &reason, detail: &detail, end };
                // Back to where it came from: the retry queue leaves the routing key unchanged.
                let queue = self.queue.of(self.shared.topology.names()).to_owned();
                let headers = self.copied_headers(state, &verdict);
                self.move_to(Route::ours(&exchange, &queue), headers).await
            }
            Disposition::Mark { at } => {
                let headers =
                    marked_headers(self.headers(), &self.state, at, self.shared.lanes.frame_max());
                let suspect = self.shared.topology.names().suspect.clone();
                self.move_to(Route::ours("", &suspect), headers).await
            }
            Disposition::Forward { at } => {
                let headers = forwarded_headers(
                    self.headers(),
                    &self.state,
                    at,
                    self.shared.lanes.frame_max(),
                );
                let bulk = self.shared.topology.names().bulk.clone();
                let route = Route { line: Line::Forward, ..Route::ours("", &bulk) };
                self.move_to(route, headers).await
            }
            Disposition::Dead { state, reason, detail, at } => {
                let end = End::Dead(at);
                let verdict = Verdict { reason: &reason, detail: &detail, end };
                let dead = self.shared.topology.names().dead.clone();
                let headers = self.copied_headers(state, &verdict);
                self.move_to(Route::ours("", &dead), headers).await
            }
        };
        self.settled = true;
        settled
    }

    async fn move_to(&self, route: Route<'_>, copied: (FieldTable, bool)) -> Settled {
        let (mut headers, whole) = copied;
        if !whole {
            tracing::warn!(
                "a message's own headers are too large for its copy; the largest are left out"
            );
        }
        // What came without a trace goes on in the one that has begun here.
        if let Some(place) = traces::context().filter(|_| self.trace().is_none()) {
            trace::write(&mut headers, &place);
        }
        let properties = copy::properties(&self.message.properties, self.body(), headers);
        let message = Message { route, body: self.body(), properties };
        let publisher = Publisher::new(Arc::clone(&self.shared));
        let published = tokio::select! {
            biased;
            // The broker delivers it again anyway; a copy more would be a needless duplicate.
            () = self.epoch.over() => return Settled::GivenBack,
            published = publisher.copy(&message) => published,
        };
        match published {
            Ok(()) => self.ack().await,
            Err(PublishError::Stopping) => self.give_back().await,
            Err(unconfirmed) => {
                let queue = route.routing_key;
                tracing::error!(
                    "{queue}: a message cannot be moved there and is given back to its \
                     queue: {unconfirmed}; raise the queue's limit, or empty it"
                );
                self.give_back().await
            }
        }
    }

    /// By the channel itself: lapin's acker does it by two tasks, and wakes its io thread three times.
    async fn ack(&self) -> Settled {
        crash::point(Point::BeforeAck);
        let acking = async {
            let channel = self.epoch.channel()?;
            channel.basic_ack(self.message.delivery_tag, BasicAckOptions::default()).await.ok()
        };
        let acked = self.answered(acking).await.flatten();
        crash::point(Point::AfterAck);
        acked.map_or(Settled::GivenBack, |()| Settled::Acked)
    }

    async fn give_back(&self) -> Settled {
        let options = BasicNackOptions { multiple: false, requeue: true };
        // Refused or not: what is not acknowledged is delivered again.
        let _ = self.answered(self.message.acker.nack(options)).await;
        Settled::GivenBack
    }

    /// What became of an ack or nack; `None` if its channel died over it: lapin may then never
    /// say. It is neither timed nor tried again, since a dropped one may have been sent; its
    /// bound is the heartbeat, which ends a connection that takes no bytes.
    async fn answered<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = answer => Some(answer),
            () = self.epoch.over() => None,
        }
    }

    fn copied_headers(&self, state: State, verdict: &Verdict<'_>) -> (FieldTable, bool) {
        // Where the story began is for us to say, whatever the caller made of its state.
        let state = State { origin: self.state.origin.clone(), ..state };
        copied_headers(self.headers(), &state, verdict, self.shared.lanes.frame_max())
    }

    fn headers(&self) -> &FieldTable {
        headers_of(&self.message)
    }
}

fn headers_of(message: &lapin::message::Delivery) -> &FieldTable {
    static NONE: LazyLock<FieldTable> = LazyLock::new(FieldTable::default);
    message.properties.headers().as_ref().unwrap_or(&NONE)
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if !self.shared.stopping() {
            tracing::error!("a delivery was dropped unsettled; it is given back");
            (self.shared.on_unsettled)();
        }
        // Otherwise it would stay unseen on its channel until that dies.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let acker = self.message.acker.clone();
            runtime.spawn(async move {
                let options = BasicNackOptions { multiple: false, requeue: true };
                let _ = acker.nack(options).await;
            });
        }
    }
}
