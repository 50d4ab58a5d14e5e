//! Publishing with confirms over a pool of channels, through reconnections (contract 4).
//!
//! What is moved to a queue of ours goes together with others (`batches`); an event that cannot come
//! back shares a channel; all else has one of its own. It must not know what a message says.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, ErrorKind};

use super::Shared;
use super::batches::Batches;
use super::confirm::{Answer, CONFIRM_TIMEOUT, Message, Route, send, short};
use super::connection::{Backoff, Fault};
use super::copy::PERSISTENT;
use super::lanes::{LARGE, Lane, Line};
use super::status::Wish;
use super::trace;
use crate::crash::{self, Point};
use crate::event::Event;
use crate::traces;

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
        let Route { exchange, routing_key, ours, .. } = message.route;
        let mut backoff = Backoff::default();
        let (mut sent, mut refused) = (0, 0);
        let mut way = Way::of(message, limit);
        loop {
            let lane = self.shared.lanes.lane().await;
            let answer = self.publish_by(way, &lane, message, refused > 0, &mut sent).await;
            // What failed among others has not failed yet.
            way = Way::Alone;
            let (mut mend, mut why) = (false, Unconfirmed::Refused);
            let fault = match answer {
                Ok(Answer::Confirmed) => return Ok(()),
                Ok(Answer::Unclear) => continue,
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

    /// Publishes once and waits for the confirm; counts it as `sent`. `repeated`: it was before, in vain.
    async fn publish_by(
        &self,
        way: Way,
        lane: &Lane,
        message: &Message<'_>,
        repeated: bool,
        sent: &mut u32,
    ) -> Result<Answer, Fault> {
        let lanes = &self.shared.lanes;
        match way {
            // Copies are counted of events alone, which go in no batch.
            Way::Together => Ok(self.shared.batches.publish(lanes, lane, message).await),
            Way::Shared => {
                let (_place, channel) = lanes.shared(lane).await?;
                *sent += 1;
                let answer = one(lane, &channel, message).await;
                if !matches!(answer, Ok(Answer::Confirmed | Answer::Refused)) {
                    lane.share_no_more(&channel).await;
                }
                answer
            }
            Way::Alone => {
                let size = (message.route.line, message.body.len());
                let (_place, channel) = lanes.channel(lane, size, repeated).await?;
                *sent += 1;
                let answer = one(lane, &channel, message).await?;
                if answer != Answer::Silence {
                    lane.keep(channel);
                }
                Ok(answer)
            }
        }
    }

    /// Publishes on a channel of its own and waits for the confirm.
    pub(super) async fn publish_once(
        &self,
        lane: &Lane,
        message: &Message<'_>,
    ) -> Result<Answer, Fault> {
        self.publish_by(Way::Alone, lane, message, false, &mut 0).await
    }
}

/// On which channel a message goes.
#[derive(Clone, Copy)]
enum Way {
    /// With others that go to the same queue.
    Together,
    /// On one that others publish on at the same time, each for itself.
    Shared,
    Alone,
}

impl Way {
    /// The way of a message's first try.
    fn of(message: &Message<'_>, limit: Limit) -> Self {
        let may_come_back = message.route.mandatory;
        match limit {
            // What has one try only is not to fail by another's fault.
            Limit::Copies(1) => Self::Alone,
            _ if Batches::take(message) => Self::Together,
            _ if may_come_back || message.body.len() >= LARGE => Self::Alone,
            _ => Self::Shared,
        }
    }
}

/// What becomes of one message on this channel.
async fn one(lane: &Lane, channel: &Channel, message: &Message<'_>) -> Result<Answer, Fault> {
    let answers = send(lane, channel, std::slice::from_ref(message)).await?;
    Ok(answers.into_iter().next().unwrap_or(Answer::Silence))
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
