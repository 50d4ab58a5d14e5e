//! Publishing with confirms over a pool of channels, through reconnections (contract 4).
//!
//! One unconfirmed publish a channel: lapin pins a returned message to the wrong confirm when
//! there are more. It must not know what a message says.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, ErrorKind};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, timeout};

use super::Shared;
use super::connection::{Backoff, Fault, Link, PULSE, open_channel, rpc};
use super::copy::PERSISTENT;
use super::status::{Side, Wish};
use crate::crash::{self, Point};
use crate::event::Event;

/// Publishes under way at once, each on a channel of its own.
const CHANNELS: usize = 16;
/// The confirm of one publish; after it the message is published again under the same id.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
/// Copies of an event that one try sends at most: those that a full queue does not refuse reach
/// every other subscriber each time (contract 5).
const EVENT_COPIES: u32 = 2;
/// The least time between two declarations of a topology that turned out to have a hole.
const REPAIR_EVERY: Duration = Duration::from_secs(2);

/// Why a message was not published, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// `broker.events_mandatory` is set and no queue is bound for it.
    #[error(
        "no queue takes the event: bind one to the events exchange, or unset broker.events_mandatory"
    )]
    Unroutable,
    /// An event that was sent and not confirmed, as often as a try may send it.
    #[error("{0}")]
    Unconfirmed(Unconfirmed),
    /// The connection is being closed.
    #[error("the broker connection is closing")]
    Stopping,
}

/// What came instead of the last confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    #[error("a subscriber's queue refuses it: it is full and has x-overflow = reject-publish")]
    Refused,
    #[error("no confirm within {CONFIRM_TIMEOUT:?}")]
    Silence,
    /// Such as for want of the permission to write to the exchange.
    #[error("the broker closed the channel over it; the log says why")]
    Closed,
    #[error("the connection was lost over it")]
    Lost,
}

/// Publishes on the connection of that name; cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

/// A message and where it goes.
pub(super) struct Message<'a> {
    pub route: Route<'a>,
    pub body: &'a [u8],
    pub properties: BasicProperties,
}

#[derive(Clone, Copy)]
pub(super) struct Route<'a> {
    pub exchange: &'a str,
    pub routing_key: &'a str,
    pub mandatory: bool,
    /// Ends in a queue of our own topology: where it does not, the topology has a hole to mend.
    pub ours: bool,
}

/// The open connection's channels, and the bound of how many are in use.
pub(super) struct Lanes {
    open: watch::Sender<Option<Arc<Lane>>>,
    places: Semaphore,
    repaired: tokio::sync::Mutex<Option<Instant>>,
}

pub(super) struct Lane {
    link: Arc<Link>,
    idle: Mutex<Vec<Channel>>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            open: watch::Sender::new(None),
            places: Semaphore::new(CHANNELS),
            repaired: tokio::sync::Mutex::default(),
        }
    }
}

/// Offers this connection to publishers until it is lost or closing is wished for.
pub(super) async fn session(shared: &Shared, link: &Arc<Link>) -> Result<(), Fault> {
    let lane = Arc::new(Lane { link: Arc::clone(link), idle: Mutex::default() });
    shared.lanes.open.send_replace(Some(lane));
    shared.board.up(Side::Publish);
    let mut wish = shared.wish.subscribe();
    let ended = tokio::select! {
        _ = wish.wait_for(|wish| *wish == Wish::Close) => Ok(()),
        fault = link.lost() => Err(fault),
        never = mind_alarms(shared, link) => match never {},
    };
    shared.lanes.open.send_replace(None);
    shared.board.blocked(false);
    ended
}

/// Tells when the broker stops taking what is published, and when it takes it again.
async fn mind_alarms(shared: &Shared, link: &Link) -> Infallible {
    let mut blocked = false;
    loop {
        if link.blocked() != blocked {
            blocked = !blocked;
            shared.board.blocked(blocked);
            if blocked {
                tracing::warn!("the broker blocks publishers, it is short of memory or disk");
            } else {
                tracing::info!("the broker takes what is published again");
            }
        }
        tokio::time::sleep(PULSE).await;
    }
}

pub(super) enum Answer {
    Confirmed,
    /// `mandatory`, and no queue took it.
    Returned,
    /// The queue is full, or its leader is changing.
    Refused,
    /// No confirm in time.
    Silence,
}

impl Publisher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Whether the broker takes what is published: there is a connection, and no alarm blocks it.
    pub fn is_open(&self) -> bool {
        self.shared.lanes.open.borrow().as_ref().is_some_and(|lane| !lane.link.blocked())
    }

    /// Publishes an event, a second time if the first is not confirmed; returns when the broker
    /// has it. Waits for a connection that takes it.
    ///
    /// # Errors
    /// It was not confirmed; no queue takes it although `broker.events_mandatory` is set; or the
    /// connection is closing.
    pub async fn event(&self, event: &Event) -> Result<(), PublishError> {
        self.send_event(event, EVENT_COPIES).await
    }

    /// Publishes an event once, to find out whether events are taken again.
    ///
    /// # Errors
    /// Those of [`Publisher::event`].
    pub async fn probe(&self, event: &Event) -> Result<(), PublishError> {
        self.send_event(event, 1).await
    }

    async fn send_event(&self, event: &Event, copies: u32) -> Result<(), PublishError> {
        let properties = BasicProperties::default()
            .with_content_type(Event::CONTENT_TYPE.into())
            .with_message_id(short(&event.id))
            .with_type(short(event.event_type))
            .with_delivery_mode(PERSISTENT);
        let route = Route {
            exchange: &self.shared.topology.names().events,
            routing_key: &event.routing_key,
            mandatory: self.shared.events_mandatory,
            ours: false,
        };
        self.publish(&Message { route, body: &event.body, properties }, Some(copies)).await?;
        crash::point(Point::EventConfirmed);
        Ok(())
    }

    /// Publishes one recording of a dump to the bulk queue; returns when the broker has it.
    ///
    /// `sent_at` is the AMQP timestamp of the dump.
    ///
    /// # Errors
    /// The connection is closing.
    pub async fn bulk_item(
        &self,
        body: Vec<u8>,
        message_id: String,
        sent_at: Option<Timestamp>,
    ) -> Result<(), PublishError> {
        let mut properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_message_id(short(&message_id))
            .with_type("recording.dump-item".into())
            .with_delivery_mode(PERSISTENT);
        if let Some(seconds) = sent_at.and_then(|at| u64::try_from(at.as_second()).ok()) {
            properties = properties.with_timestamp(seconds);
        }
        let bulk = &self.shared.topology.names().bulk;
        let route = Route { exchange: "", routing_key: bulk, mandatory: true, ours: true };
        self.publish(&Message { route, body: &body, properties }, None).await
    }

    /// Tries until the broker has confirmed the message, through reconnections and refusals, or
    /// until it was sent `most` times.
    pub(super) async fn publish(
        &self,
        message: &Message<'_>,
        most: Option<u32>,
    ) -> Result<(), PublishError> {
        let mut wish = self.shared.wish.subscribe();
        tokio::select! {
            biased;
            _ = wish.wait_for(|wish| *wish == Wish::Close) => Err(PublishError::Stopping),
            published = self.insist(message, most) => published,
        }
    }

    async fn insist(&self, message: &Message<'_>, most: Option<u32>) -> Result<(), PublishError> {
        let Route { exchange, routing_key, ours, .. } = message.route;
        let mut backoff = Backoff::default();
        let mut sent = 0;
        loop {
            let lane = self.lane().await;
            let answer = match self.channel(&lane).await {
                Ok((_place, channel)) => {
                    sent += 1;
                    self.send(&lane, channel, message).await
                }
                Err(fault) => Err(fault),
            };
            let (mut mend, mut why) = (false, Unconfirmed::Refused);
            let fault = match answer {
                Ok(Answer::Confirmed) => return Ok(()),
                Ok(Answer::Returned) if !ours => return Err(PublishError::Unroutable),
                Ok(Answer::Returned) => {
                    mend = true;
                    Fault::new("no queue takes it")
                }
                Ok(Answer::Refused) => Fault::new("the queue refuses it: full, or changing leader"),
                Ok(Answer::Silence) => {
                    why = Unconfirmed::Silence;
                    Fault::new(why.to_string())
                }
                Err(fault) => {
                    mend = is_not_found(&fault);
                    let alive = lane.link.connected();
                    why = if alive { Unconfirmed::Closed } else { Unconfirmed::Lost };
                    fault
                }
            };
            let over = most.is_some_and(|most| sent >= most);
            let next = if over { "not again in this try" } else { "trying again" };
            tracing::warn!("publish to {exchange:?} with {routing_key}: {fault}; {next}");
            if mend {
                self.mend(&lane).await;
            }
            if over {
                return Err(PublishError::Unconfirmed(why));
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// The open connection, as soon as there is one.
    pub(super) async fn lane(&self) -> Arc<Lane> {
        let mut open = self.shared.lanes.open.subscribe();
        let lane = open.wait_for(Option::is_some).await.ok().and_then(|lane| lane.clone());
        match lane {
            Some(lane) => lane,
            // The sender lives in `shared`, so this is never reached.
            None => std::future::pending().await,
        }
    }

    /// Publishes on a channel of its own and waits for the confirm.
    pub(super) async fn publish_once(
        &self,
        lane: &Lane,
        message: &Message<'_>,
    ) -> Result<Answer, Fault> {
        let (_place, channel) = self.channel(lane).await?;
        self.send(lane, channel, message).await
    }

    /// A channel to publish on, and the place in line that goes with it, as soon as the broker
    /// takes what is published.
    async fn channel(&self, lane: &Lane) -> Result<(SemaphorePermit<'_>, Channel), Fault> {
        let Ok(place) = self.shared.lanes.places.acquire().await else {
            return Err(Fault::new("the pool of channels is closed"));
        };
        // What is published now would pile up in lapin's own queue.
        while lane.link.blocked() && lane.link.connected() {
            tokio::time::sleep(PULSE).await;
        }
        Ok((place, lane.channel().await?))
    }

    async fn send(
        &self,
        lane: &Lane,
        channel: Channel,
        message: &Message<'_>,
    ) -> Result<Answer, Fault> {
        let confirm = confirmed(&channel, message);
        tokio::pin!(confirm);
        let confirmation = loop {
            match timeout(CONFIRM_TIMEOUT, &mut confirm).await {
                Ok(confirmation) => break confirmation.map_err(|e| Fault::of("publish", e))?,
                // The broker blocks publishers: it stays in line rather than lining up again.
                Err(_) if lane.link.blocked() && lane.link.connected() => {}
                // The channel is not used again: a late confirm would be taken for the next one's.
                Err(_) => return Ok(Answer::Silence),
            }
        };
        lane.put_back(channel.clone());
        match confirmation {
            Confirmation::Ack(None) => Ok(Answer::Confirmed),
            Confirmation::Ack(Some(_)) => Ok(Answer::Returned),
            Confirmation::Nack(_) => Ok(Answer::Refused),
            Confirmation::NotRequested => Err(Fault::new("a channel without confirms")),
        }
    }

    /// A queue or binding of ours is gone: declares it anew, one caller at a time.
    async fn mend(&self, lane: &Lane) {
        if !self.shared.topology.declares() {
            return;
        }
        let mut last = self.shared.lanes.repaired.lock().await;
        if last.is_some_and(|at| at.elapsed() < REPAIR_EVERY) {
            return;
        }
        if let Err(fault) = self.shared.topology.ensure(lane.link.connection()).await {
            tracing::warn!("declaring the topology anew: {fault}");
        }
        *last = Some(Instant::now());
    }
}

impl Lane {
    async fn channel(&self) -> Result<Channel, Fault> {
        while let Some(channel) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let channel = open_channel(self.link.connection()).await?;
        rpc("confirm.select", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    }

    fn put_back(&self, channel: Channel) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
    }
}

pub(super) async fn confirmed(
    channel: &Channel,
    message: &Message<'_>,
) -> lapin::Result<Confirmation> {
    let Route { exchange, routing_key, mandatory, ours } = message.route;
    let options = BasicPublishOptions { mandatory, immediate: false };
    let properties = message.properties.clone();
    let confirm = channel
        .basic_publish(short(exchange), short(routing_key), options, message.body, properties)
        .await?;
    if !ours {
        crash::point(Point::EventSent);
    }
    confirm.await
}

pub(super) fn is_not_found(fault: &Fault) -> bool {
    matches!(fault.cause().map(lapin::Error::kind), Some(ErrorKind::ProtocolError(error))
        if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)))
}

/// AMQP's short strings end at 255 bytes; lapin panics on longer ones.
pub(super) fn short(text: &str) -> ShortString {
    ShortString::from(&text[..text.floor_char_boundary(255)])
}
