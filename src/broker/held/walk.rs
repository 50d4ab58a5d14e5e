//! Looking at what a queue holds, and dropping of it.
//!
//! AMQP can only take messages, so a walk takes them without acknowledging and gives them back in
//! their order. It takes [`WINDOW`] at a time, each window through a consumer of its own, since only
//! what is unacknowledged bounds what a consumer sends: memory does not grow with the queue, and the
//! broker remembers what is out. While somebody walks nobody else sees what is in hand; so there is
//! one walk of a queue at a time, held apart by a queue that is exclusive to a connection and ends with it, and
//! a walk that does more than look is short ([`Walk::is_long`]).
//!
//! What waits for a retry keeps its time meanwhile: a quorum queue notes it once, when the message
//! arrives, and looks at what comes back before all else. So what is held over its time goes on as
//! soon as it is given back, and nothing is counted but the deliveries, of which it may have any number.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::time::{Instant, timeout};

use super::{AGAIN, HeldError, HeldMessage, RETURN_TIMEOUT, Shelf, WINDOW, ready};
use crate::broker::confirm::short;
use crate::broker::connection::{Fault, Link, rpc};
use crate::broker::names::Names;
use crate::broker::topology::Item;
use crate::crash::{self, Point};

/// What the broker has taken out of the queue to send may take this long: it is slow to write headers
/// that are nested deep.
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// A walk that has found what it looks for goes on for so long, then lets others have theirs.
const TURN: Duration = Duration::from_secs(5);

/// What was mended of such a message is nobody's business any more, and is not to pile up.
pub(super) fn forget_flaws(link: &Link, channel: &Channel, delivery: &Delivery) {
    let _ = link.flaws(channel, delivery.delivery_tag);
}

/// One way through a queue, from its head to what was its end when it began.
///
/// What is neither put back nor dropped is given back by [`Walk::end`], or by the broker when the
/// process dies.
pub struct Walk {
    pub(super) names: Names,
    pub(super) queue: String,
    /// Of a retry queue: what it is made with, and how long a message waits there.
    pub(super) retry: Option<(Item, Duration)>,
    pub(super) link: Link,
    pub(super) asking: Channel,
    pub(super) taking: Channel,
    pub(super) giving: Channel,
    window: Option<Window>,
    /// The last delivery of each window, to give them back in their order.
    ends: Vec<u64>,
    /// Messages that were there, are still to come, and are settled.
    found: u32,
    ahead: u32,
    settled: u32,
    /// Queues that messages go back to, seen to exist and with a passage.
    pub(super) targets: HashSet<String>,
    since: Instant,
}

struct Window {
    consumer: Consumer,
    /// Messages that the consumer may still send: what it has sent and is settled makes room.
    room: u16,
    /// The last delivery that is not settled, and the one before it: the broker takes back none
    /// that it does not miss. Only the last one is ever settled.
    last: u64,
    before: u64,
}

impl Walk {
    /// Through the `found` messages that are in the queue.
    pub(super) async fn begin(
        shelf: &Shelf,
        link: Link,
        asking: Channel,
        found: u32,
    ) -> Result<Self, Fault> {
        let taking = link.try_channel().await?;
        let qos = taking.basic_qos(WINDOW, BasicQosOptions { global: false });
        rpc("basic.qos", qos).await?;
        let giving = link.try_channel().await?;
        rpc("confirm.select", giving.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Self {
            names: shelf.names.clone(),
            queue: shelf.queue.clone(),
            retry: shelf.retry.clone(),
            link,
            asking,
            taking,
            giving,
            window: None,
            ends: Vec::new(),
            found,
            ahead: found,
            settled: 0,
            targets: HashSet::new(),
            since: Instant::now(),
        })
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// The connection is lost; the broker has all messages again.
    pub async fn next(&mut self) -> Result<Option<HeldMessage>, HeldError> {
        while self.ahead > 0 {
            let window = self.open_window().await?;
            match timeout(ON_ITS_WAY, window.consumer.next()).await {
                Ok(Some(Ok(delivery))) => {
                    window.room -= 1;
                    window.before = window.last;
                    window.last = delivery.delivery_tag;
                    self.ahead -= 1;
                    forget_flaws(&self.link, &self.taking, &delivery);
                    let delay = self.retry.as_ref().map(|(_, delay)| *delay);
                    return Ok(Some(HeldMessage::new(delivery, &self.names, delay)));
                }
                Ok(Some(Err(error))) => return Err(Fault::of("connection lost", error).into()),
                Ok(None) => return Err(Fault::new("the broker ended the walk").into()),
                // Somebody who is none of us may have taken what was counted.
                Err(_) if self.ready().await? == 0 => break,
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Messages that were not looked at yet.
    pub fn ahead(&self) -> u32 {
        self.ahead
    }

    /// Whether it is time to let others walk: for those who act on what they find.
    pub fn is_long(&self) -> bool {
        self.settled > 0 && self.since.elapsed() >= TURN
    }

    /// Drops a message for good.
    ///
    /// # Errors
    /// The connection is lost; the message stays where it is.
    pub async fn drop_one(&mut self, message: HeldMessage) -> Result<(), HeldError> {
        crash::point(Point::BeforeAck);
        let acked = rpc("ack", message.delivery.acker.ack(BasicAckOptions::default())).await?;
        crash::point(Point::AfterAck);
        self.settled_if(acked)
    }

    /// Notes that the last message is settled, if the broker heard of it.
    pub(super) fn settled_if(&mut self, heard: bool) -> Result<(), HeldError> {
        if !heard {
            return Err(Fault::new("the channel died").into());
        }
        self.settled += 1;
        if let Some(window) = &mut self.window {
            window.room += 1;
            window.last = window.before;
        }
        Ok(())
    }

    /// Gives back what was only looked at, in its order, and lets others walk.
    ///
    /// # Errors
    /// The connection is lost: the broker gives back by itself, in any order.
    pub async fn end(mut self) -> Result<(), HeldError> {
        self.close_window().await?;
        for last in &self.ends {
            let options = BasicNackOptions { multiple: true, requeue: true };
            rpc("nack", self.taking.basic_nack(*last, options)).await?;
        }
        // The answer to this says that all acknowledgements have arrived.
        rpc("channel.close", self.taking.close(200, "done".into())).await?;
        // Whoever walks next is to find everything, but for what goes on because its time is over.
        let left = self.found.saturating_sub(self.settled);
        let patience = if self.retry.is_some() { RETURN_TIMEOUT / 10 } else { RETURN_TIMEOUT };
        let until = Instant::now() + patience;
        while self.ready().await? < left {
            if Instant::now() >= until {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.link.close().await;
        Ok(())
    }

    async fn ready(&mut self) -> Result<u32, Fault> {
        let ready = ready(&self.link, &mut self.asking, &self.queue).await?;
        Ok(ready.unwrap_or(0))
    }

    /// The window that messages come through, a new one where the last is used up.
    async fn open_window(&mut self) -> Result<&mut Window, Fault> {
        if self.window.as_ref().is_some_and(|window| window.room == 0) {
            self.close_window().await?;
        }
        if self.window.is_none() {
            let call = self.taking.basic_consume(
                short(&self.queue),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            );
            let consumer = rpc("basic.consume", call).await?;
            self.window = Some(Window { consumer, room: WINDOW, last: 0, before: 0 });
        }
        Ok(self.window.as_mut().expect("it was opened above"))
    }

    async fn close_window(&mut self) -> Result<(), Fault> {
        let Some(mut window) = self.window.take() else { return Ok(()) };
        let tag = window.consumer.tag();
        let cancel = self.taking.basic_cancel(tag, BasicCancelOptions::default());
        rpc("basic.cancel", cancel).await?;
        // What was sent to us and not looked at, so that it goes back in its place.
        while let Some(Ok(delivery)) = window.consumer.next().await {
            window.last = delivery.delivery_tag;
        }
        if window.last > 0 {
            self.ends.push(window.last);
        }
        Ok(())
    }
}
