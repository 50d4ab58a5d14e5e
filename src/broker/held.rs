//! What a queue of ours holds, in the hands of a person: the dead, and what waits for a retry
//! (contract 8).
//!
//! The way in is here, and the looking and dropping in `walk`; `passage` puts the dead back, `due`
//! lets go what waits; `record` is a message written down, and `intake` takes such into the dead
//! queue. None of them may know what a message means, nor which ones are meant.

mod due;
mod intake;
mod message;
mod passage;
mod record;
mod value;
mod walk;

use std::time::Duration;

use lapin::options::{BasicQosOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, ErrorKind, Queue};
use tokio::time::Instant;

use super::confirm::short;
use super::connection::{Fault, Link, rpc};
use super::dial::Dialer;
use super::names::Names;
use super::publisher::is_not_found;
use super::topology::{Item, retry_queue};
use crate::config;

pub use intake::Intake;
pub use message::HeldMessage;
pub use record::Record;
pub use walk::Walk;

/// Messages that are taken at once; all of them may be of the largest size.
const WINDOW: u16 = 32;
/// Until what was given back is seen in its queue.
const RETURN_TIMEOUT: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(5);

/// Why a queue could not be worked on: a sentence for people, without secrets.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HeldError(String);

impl From<Fault> for HeldError {
    fn from(fault: Fault) -> Self {
        Self(format!("broker: {fault}; what was not done yet is where it was"))
    }
}

/// Why a line is no message; never quotes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(String);

/// The way to the dead queue, or to one of the retry queues.
pub struct Shelf {
    dialer: Dialer,
    names: Names,
    queue: String,
    /// Of a retry queue: what it is made with, and how long a message waits there.
    retry: Option<(Item, Duration)>,
}

/// What comes of asking for a turn.
pub enum Turn {
    Yours(Box<Walk>),
    /// Somebody else is at it.
    Taken,
    /// There is no such queue.
    NoQueue,
}

impl Shelf {
    /// Connects to nothing yet, as the other.
    pub fn dead(settings: &config::Broker) -> Self {
        let names = Names::new(settings);
        let dialer = Dialer::new(settings, "callvault dead");
        Self { dialer, queue: names.dead.clone(), names, retry: None }
    }

    /// What waits for `delay`.
    pub fn retry(settings: &config::Broker, delay: Duration) -> Self {
        let names = Names::new(settings);
        let dialer = Dialer::new(settings, "callvault waiting");
        let item = retry_queue(&names, delay);
        Self { dialer, queue: names.retry(delay), names, retry: Some((item, delay)) }
    }

    /// The queue's full name.
    pub fn name(&self) -> &str {
        &self.queue
    }

    /// What is wrong if the queue is not there, and what to do.
    pub fn missing(&self) -> HeldError {
        HeldError(format!(
            "there is no queue {}: `callvault run` makes it; else check broker.queue_prefix and \
             the virtual host of broker.url",
            self.queue
        ))
    }

    /// Begins a walk through what is there now.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub async fn walk(&self) -> Result<Turn, HeldError> {
        let reached = self.dialer.connect_where(async |link: &Link| self.lock(link).await).await;
        let (link, asking) = reached.map_err(unreached)?;
        let Some(mut asking) = asking else {
            link.close().await;
            return Ok(Turn::Taken);
        };
        let until = Instant::now() + RETURN_TIMEOUT;
        // What somebody held who was killed a moment ago is on its way back.
        while look(&link, &mut asking, &self.queue)
            .await?
            .is_some_and(|queue| queue.consumer_count() > 0)
        {
            if Instant::now() >= until {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        let Some(ready) = ready(&link, &mut asking, &self.queue).await? else {
            link.close().await;
            return Ok(Turn::NoQueue);
        };
        Ok(Turn::Yours(Box::new(Walk::begin(self, link, asking, ready).await?)))
    }

    /// A way to put messages into the queue.
    ///
    /// # Errors
    /// The broker cannot be reached, or has no such queue.
    pub async fn intake(&self) -> Result<Intake, HeldError> {
        let open = async |link: &Link| link.try_channel().await;
        let (link, mut asking) = self.dialer.connect_where(open).await.map_err(unreached)?;
        match ready(&link, &mut asking, &self.queue).await? {
            Some(_) => Ok(Intake::open(&self.queue, link).await?),
            None => Err(self.missing()),
        }
    }

    /// A channel to ask with, if nobody else walks. Where nothing may be declared, everybody may.
    async fn lock(&self, link: &Link) -> Result<Option<Channel>, Fault> {
        let channel = link.try_channel().await?;
        let name = short(&format!("{}.walk", self.queue));
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

fn unreached(fault: Fault) -> HeldError {
    let fault = match fault.advice() {
        Some(_) => fault,
        None => fault.advising("check broker.url, and that RabbitMQ runs"),
    };
    HeldError(format!("broker: {fault}"))
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

/// Opens a channel after the broker has closed another. lapin may take the end of the old one for
/// its own: a first answer shows that it has not.
async fn open_anew(link: &Link) -> Result<Channel, Fault> {
    let until = Instant::now() + RETURN_TIMEOUT;
    loop {
        let answered = async {
            let channel = link.try_channel().await?;
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
