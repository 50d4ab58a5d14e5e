//! Publishing with confirms over a pool of channels, through reconnections (contract 4).
//!
//! One unconfirmed publish a channel: lapin pins a returned message to the wrong confirm when
//! there are more. It must not know what a message says.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lapin::options::BasicPublishOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, ErrorKind};
use tokio::time::timeout;

use super::Shared;
use super::connection::{Backoff, Fault};
use super::copy::PERSISTENT;
use super::lanes::{Lane, Line};
use super::status::Wish;
use super::trace;
use crate::crash::{self, Point};
use crate::event::Event;
use crate::traces;

/// A node that confirms nothing for so long, and did before, gives way to the next. Where it only
/// waits for a queue's new leader (some 10 s, if the old one hangs) that costs a connection.
const SILENT_AFTER: Duration = Duration::from_secs(6);
/// The confirm of one publish; after it the message is published again under the same id.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
/// Copies of an event that one try sends at most: those that a full queue does not refuse reach
/// every other subscriber each time (contract 5).
const EVENT_COPIES: u32 = 2;
/// How often a queue of our own may leave a copy unconfirmed: five minutes of refusals, a quarter
/// of an hour of silence. It is less than the broker's own 30 min for an acknowledgement, which
/// would end the channel and all that is in hand on it.
const REFUSALS: u32 = 30;

/// Why a message was not published, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// `broker.events_mandatory` is set and no queue is bound for it.
    #[error(
        "no queue takes the event: bind one to the events exchange, or unset broker.events_mandatory"
    )]
    Unroutable,
    /// It was sent and not confirmed, as often as it may be.
    #[error("{0}")]
    Unconfirmed(Unconfirmed),
    /// The connection is being closed.
    #[error("the broker connection is closing")]
    Stopping,
}

/// What came instead of the last confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    #[error("a queue that it goes to refuses it: it is full and has x-overflow = reject-publish")]
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
    pub line: Line,
}

impl<'a> Route<'a> {
    /// To a queue of our own topology.
    pub fn ours(exchange: &'a str, routing_key: &'a str) -> Self {
        Self { exchange, routing_key, mandatory: true, ours: true, line: Line::Move }
    }
}

/// When a message that is not confirmed is given up.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// It was sent so often.
    Copies(u32),
    /// A living connection left it unconfirmed so often; an outage of the broker counts nothing.
    Refusals(u32),
    /// Whoever publishes it has a deadline.
    None,
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
        self.shared.lanes.is_open()
    }

    /// Where events go.
    pub fn events_exchange(&self) -> &str {
        &self.shared.topology.names().events
    }

    /// Where a message waits that is retried after this delay.
    pub fn retry_queue(&self, delay: Duration) -> String {
        self.shared.topology.retry(delay)
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
        let properties = placed(properties, event.trace.as_ref());
        let route = Route {
            exchange: &self.shared.topology.names().events,
            routing_key: &event.routing_key,
            mandatory: self.shared.events_mandatory,
            ours: false,
            line: Line::Event,
        };
        let limit = Limit::Copies(copies);
        self.publish(&Message { route, body: &event.body, properties }, limit).await?;
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
        // It is one trace with its dump.
        properties = placed(properties, traces::context().as_ref());
        let bulk = &self.shared.topology.names().bulk;
        let route = Route { line: Line::Item, ..Route::ours("", bulk) };
        self.publish(&Message { route, body: &body, properties }, Limit::None).await
    }

    /// Publishes the copy of a message to a queue of ours; returns when the broker has it.
    ///
    /// # Errors
    /// The queue refuses it for minutes, or the connection is closing.
    pub(super) async fn copy(&self, message: &Message<'_>) -> Result<(), PublishError> {
        self.publish(message, Limit::Refusals(REFUSALS)).await
    }

    /// Tries until the broker has confirmed the message, through reconnections and refusals, up to
    /// its limit.
    async fn publish(&self, message: &Message<'_>, limit: Limit) -> Result<(), PublishError> {
        let mut wish = self.shared.wish.subscribe();
        tokio::select! {
            biased;
            _ = wish.wait_for(|wish| *wish == Wish::Close) => Err(PublishError::Stopping),
            published = self.insist(message, limit) => published,
        }
    }

    async fn insist(&self, message: &Message<'_>, limit: Limit) -> Result<(), PublishError> {
        let Route { exchange, routing_key, ours, line, .. } = message.route;
        let size = (line, message.body.len());
        let mut backoff = Backoff::default();
        let (mut sent, mut refused) = (0, 0);
        loop {
            let lane = self.shared.lanes.lane().await;
            let answer = match self.shared.lanes.channel(&lane, size, refused > 0).await {
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
                    why = if lane.is_connected() { Unconfirmed::Closed } else { Unconfirmed::Lost };
                    self.shared.topology.advised(fault, lane.door())
                }
            };
            refused += u32::from(matches!(why, Unconfirmed::Refused | Unconfirmed::Silence));
            let over = match limit {
                Limit::Copies(most) => sent >= most,
                Limit::Refusals(most) => refused >= most,
                Limit::None => false,
            };
            let next = if over { "not again in this try" } else { "trying again" };
            tracing::warn!("publish to {exchange:?} with {routing_key}: {fault}; {next}");
            if mend {
                self.shared.lanes.mend(&lane, &self.shared.topology).await;
            }
            if over {
                return Err(PublishError::Unconfirmed(why));
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Publishes on a channel of its own and waits for the confirm.
    pub(super) async fn publish_once(
        &self,
        lane: &Lane,
        message: &Message<'_>,
    ) -> Result<Answer, Fault> {
        let size = (message.route.line, message.body.len());
        let (_place, channel) = self.shared.lanes.channel(lane, size, false).await?;
        self.send(lane, channel, message).await
    }

    async fn send(
        &self,
        lane: &Lane,
        channel: Channel,
        message: &Message<'_>,
    ) -> Result<Answer, Fault> {
        let answers = lane.answers();
        let confirm = confirmed(&channel, message);
        tokio::pin!(confirm);
        let mut waited = SILENT_AFTER;
        let confirmation = loop {
            match timeout(waited, &mut confirm).await {
                Ok(confirmation) => break confirmation.map_err(|e| Fault::of("publish", e))?,
                // The broker blocks publishers: it stays in line rather than lining up again.
                Err(_) if lane.is_blocked() => waited = CONFIRM_TIMEOUT,
                Err(_) if waited == SILENT_AFTER => {
                    lane.falls_silent(answers, message.route.ours);
                    waited = CONFIRM_TIMEOUT - SILENT_AFTER;
                }
                // The channel is not used again: a late confirm would be taken for the next one's.
                Err(_) => {
                    if message.route.ours {
                        lane.unanswered(answers);
                    }
                    return Ok(Answer::Silence);
                }
            }
        };
        lane.answered(channel.clone(), message.route.ours);
        match confirmation {
            Confirmation::Ack(None) => Ok(Answer::Confirmed),
            Confirmation::Ack(Some(_)) => Ok(Answer::Returned),
            Confirmation::Nack(_) => Ok(Answer::Refused),
            Confirmation::NotRequested => Err(Fault::new("a channel without confirms")),
        }
    }
}

pub(super) async fn confirmed(
    channel: &Channel,
    message: &Message<'_>,
) -> lapin::Result<Confirmation> {
    let Route { exchange, routing_key, mandatory, ours, .. } = message.route;
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

/// Says where in a trace the message is, if it is in one.
fn placed(properties: BasicProperties, place: Option<&traces::Context>) -> BasicProperties {
    let Some(place) = place else { return properties };
    let mut headers = FieldTable::default();
    trace::write(&mut headers, place);
    properties.with_headers(headers)
}

pub(super) fn is_not_found(fault: &Fault) -> bool {
    matches!(fault.cause().map(lapin::Error::kind), Some(ErrorKind::ProtocolError(error))
        if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)))
}

/// AMQP's short strings end at 255 bytes; lapin panics on longer ones.
pub(super) fn short(text: &str) -> ShortString {
    ShortString::from(&text[..text.floor_char_boundary(255)])
}
