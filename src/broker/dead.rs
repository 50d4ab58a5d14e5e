//! The dead queue in the hands of a person: walked through, put back, dropped (contract 8).
//!
//! **Looking.** AMQP can only take messages, so a walk takes them without acknowledging and gives
//! them back in their order. It takes [`WINDOW`] at a time, each window through a consumer of its
//! own, since only what is unacknowledged bounds what a consumer sends: memory does not grow with
//! the queue, and the broker remembers what is out. While somebody walks nobody else sees what is
//! in hand; so there is one walk at a time, held apart by a queue that is exclusive to a
//! connection and ends with it, and a walk that does more than look is short ([`Walk::is_long`]).
//!
//! **Putting back.** Nothing may be lost, whoever dies, and nothing doubled when it is we who die.
//! AMQP's transactions make a publish and an acknowledgement one step towards a client that dies,
//! and were tried: RabbitMQ 3.10.8 answers `tx.commit-ok` also where the target has refused the
//! message (its queue is full), and the original is gone. Only the broker moves a message from one
//! queue to another in one step, by dead-lettering it; and only a queue that nobody else consumes
//! tells what was done to it. So each message goes through a passage, a queue of its target that
//! dead-letters to it at least once:
//!
//! 1. a copy is published to the passage and confirmed,
//! 2. the original is acknowledged, and the broker has said that it knows,
//! 3. the copy is rejected, which moves it on.
//!
//! Who dies leaves at most one message in the passage. Whoever acts next ([`Walk::finish_others`])
//! looks for its original among the dead, acknowledges it if it is still there, and lets the copy
//! go on. A broker that dies may still double what it dead-letters: the two have the same
//! `message_id` and the same `callvault-redrive`, which is made of the message and its death, so
//! that they lead to one object and to events with the same ids.
//!
//! It must not know what a message means, nor which ones are meant.

mod message;
mod passage;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer, ErrorKind, Queue};
use tokio::time::{Instant, timeout};

use super::connection::{Fault, Link, PULSE, open_channel, rpc};
use super::dial::Dialer;
use super::publisher::{is_not_found, short};
use super::topology::Names;
use crate::config;
use crate::crash::{self, Point};

pub use message::DeadMessage;

/// Messages that are taken at once; all of them may be of the largest size.
const WINDOW: u16 = 32;
/// A walk that has found what it looks for goes on for so long, then lets others have theirs.
const TURN: Duration = Duration::from_secs(5);
/// Until what was given back is seen in its queue.
const RETURN_TIMEOUT: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(5);

/// Why the dead queue could not be worked on: a sentence for people, without secrets.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DeadError(String);

impl From<Fault> for DeadError {
    fn from(fault: Fault) -> Self {
        Self(format!("broker: {fault}; what was not done yet is where it was"))
    }
}

/// The way to the dead queue.
pub struct DeadQueue {
    dialer: Dialer,
    names: Names,
}

impl DeadQueue {
    /// Connects to nothing yet.
    pub fn new(settings: &config::Broker) -> Self {
        Self { dialer: Dialer::new(settings, "callvault dead"), names: Names::new(settings) }
    }

    pub fn name(&self) -> &str {
        &self.names.dead
    }

    /// Begins a walk through what is there now; `None` while somebody else walks.
    ///
    /// # Errors
    /// The broker cannot be reached, or has no dead queue.
    pub async fn walk(&self) -> Result<Option<Walk>, DeadError> {
        let link = self.dialer.connect().await.map_err(|fault| {
            DeadError(format!("broker: {fault}; check broker.url, and that RabbitMQ runs"))
        })?;
        let Some(mut asking) = self.lock(&link).await? else {
            link.close().await;
            return Ok(None);
        };
        let dead = &self.names.dead;
        let until = Instant::now() + RETURN_TIMEOUT;
        // What somebody held who was killed a moment ago is on its way back.
        while look(&link, &mut asking, dead).await?.is_some_and(|queue| queue.consumer_count() > 0)
        {
            if Instant::now() >= until {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        let Some(ready) = ready(&link, &mut asking, dead).await? else {
            return Err(DeadError(format!(
                "there is no queue {dead}: `callvault run` makes it; else check \
                 broker.queue_prefix and the virtual host of broker.url"
            )));
        };
        let taking = open_channel(link.connection()).await?;
        let qos = taking.basic_qos(WINDOW, BasicQosOptions { global: false });
        rpc("basic.qos", qos).await?;
        let giving = open_channel(link.connection()).await?;
        rpc("confirm.select", giving.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Some(Walk {
            names: self.names.clone(),
            link,
            asking,
            taking,
            giving,
            window: None,
            ends: Vec::new(),
            found: ready,
            ahead: ready,
            settled: 0,
            targets: HashSet::new(),
            since: Instant::now(),
        }))
    }

    /// A channel to ask with, if nobody else walks. Where nothing may be declared, everybody may.
    async fn lock(&self, link: &Link) -> Result<Option<Channel>, Fault> {
        let channel = open_channel(link.connection()).await?;
        let name = short(&format!("{}.walk", self.names.dead));
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let call = channel.queue_declare(name, options, FieldTable::default());
        match rpc("queue.declare", call).await {
            Ok(_) => Ok(Some(channel)),
            Err(fault) if refused_with(&fault, AMQPSoftError::RESOURCELOCKED) => Ok(None),
            Err(fault) if refused_with(&fault, AMQPSoftError::ACCESSREFUSED) => {
                open_anew(link).await.map(Some)
            }
            Err(fault) => Err(fault),
        }
    }
}

/// One way through the dead queue, from its head to what was its end when it began.
///
/// What is neither put back nor dropped is given back by [`Walk::end`], or by the broker when the
/// process dies.
pub struct Walk {
    names: Names,
    link: Link,
    asking: Channel,
    taking: Channel,
    giving: Channel,
    window: Option<Window>,
    /// The last delivery of each window, to give them back in their order.
    ends: Vec<u64>,
    /// Messages that were there, are still to come, and are settled.
    found: u32,
    ahead: u32,
    settled: u32,
    /// Queues that messages go back to, seen to exist and with a passage.
    targets: HashSet<String>,
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
    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// The connection is lost; the broker has all messages again.
    pub async fn next(&mut self) -> Result<Option<DeadMessage>, DeadError> {
        while self.ahead > 0 {
            let window = self.open_window().await?;
            match timeout(PULSE, window.consumer.next()).await {
                Ok(Some(Ok(delivery))) => {
                    window.room -= 1;
                    window.before = window.last;
                    window.last = delivery.delivery_tag;
                    self.ahead -= 1;
                    return Ok(Some(DeadMessage::new(delivery, &self.names)));
                }
                Ok(Some(Err(error))) => return Err(Fault::of("connection lost", error).into()),
                Ok(None) => return Err(Fault::new("the broker ended the walk").into()),
                // Somebody who is none of us may have taken what was counted.
                Err(_) if self.ready_dead().await? == 0 => break,
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
    /// The connection is lost; the message stays among the dead.
    pub async fn drop_one(&mut self, message: DeadMessage) -> Result<(), DeadError> {
        crash::point(Point::BeforeAck);
        let acked = rpc("ack", message.delivery.acker.ack(BasicAckOptions::default())).await?;
        crash::point(Point::AfterAck);
        if !acked {
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
    pub async fn end(mut self) -> Result<(), DeadError> {
        self.close_window().await?;
        for last in &self.ends {
            let options = BasicNackOptions { multiple: true, requeue: true };
            rpc("nack", self.taking.basic_nack(*last, options)).await?;
        }
        // The answer to this says that all acknowledgements have arrived.
        rpc("channel.close", self.taking.close(200, "done".into())).await?;
        // Whoever walks next is to find everything.
        let left = self.found.saturating_sub(self.settled);
        let until = Instant::now() + RETURN_TIMEOUT;
        while self.ready_dead().await? < left {
            if Instant::now() >= until {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.link.close().await;
        Ok(())
    }

    async fn ready_dead(&mut self) -> Result<u32, Fault> {
        let ready = ready(&self.link, &mut self.asking, &self.names.dead).await?;
        Ok(ready.unwrap_or(0))
    }

    /// The window that messages come through, a new one where the last is used up.
    async fn open_window(&mut self) -> Result<&mut Window, Fault> {
        if self.window.as_ref().is_some_and(|window| window.room == 0) {
            self.close_window().await?;
        }
        if self.window.is_none() {
            let call = self.taking.basic_consume(
                short(&self.names.dead),
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

/// Messages that are ready in a queue; `None` if there is no such queue.
async fn ready(link: &Link, asking: &mut Channel, queue: &str) -> Result<Option<u32>, Fault> {
    Ok(look(link, asking, queue).await?.map(|queue| queue.message_count()))
}

async fn look(link: &Link, asking: &mut Channel, queue: &str) -> Result<Option<Queue>, Fault> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let call = asking.queue_declare(short(queue), options, FieldTable::default());
    match rpc("queue.declare", call).await {
        Ok(found) => Ok(Some(found)),
        Err(fault) if is_not_found(&fault) => {
            // The broker has closed the channel that asked.
            *asking = open_anew(link).await?;
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

/// Opens a channel after the broker has closed another. lapin gives it the same number, and may
/// take the end of the old one for its own: a first answer shows that it has not.
async fn open_anew(link: &Link) -> Result<Channel, Fault> {
    let until = Instant::now() + RETURN_TIMEOUT;
    loop {
        let answered = async {
            let channel = open_channel(link.connection()).await?;
            let qos = channel.basic_qos(WINDOW, BasicQosOptions { global: false });
            rpc("basic.qos", qos).await.map(|()| channel)
        };
        match answered.await {
            Err(_) if link.connected() && Instant::now() < until => {}
            opened => return opened,
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn refused_with(fault: &Fault, with: AMQPSoftError) -> bool {
    matches!(fault.cause().map(lapin::Error::kind), Some(ErrorKind::ProtocolError(error))
        if *error.kind() == AMQPErrorKind::Soft(with))
}
