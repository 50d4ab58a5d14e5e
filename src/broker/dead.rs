//! The dead queue in the hands of a person: walked through, put back, dropped (contract 8).
//!
//! The way in is here, and the looking and dropping in `walk`; `passage` puts back. None of them
//! may know what a message means, nor which ones are meant.

mod message;
mod passage;
mod walk;

use std::time::Duration;

use lapin::options::{BasicQosOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, ErrorKind, Queue};
use tokio::time::Instant;

use super::connection::{Fault, Link, rpc};
use super::dial::Dialer;
use super::publisher::{is_not_found, short};
use super::topology::Names;
use crate::config;

pub use message::DeadMessage;
pub use walk::Walk;

/// Messages that are taken at once; all of them may be of the largest size.
const WINDOW: u16 = 32;
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
        let reached = self.dialer.connect_where(async |link: &Link| self.lock(link).await).await;
        let (link, asking) = reached.map_err(|fault| {
            let fault = match fault.advice() {
                Some(_) => fault,
                None => fault.advising("check broker.url, and that RabbitMQ runs"),
            };
            DeadError(format!("broker: {fault}"))
        })?;
        let Some(mut asking) = asking else {
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
        Ok(Some(Walk::begin(self.names.clone(), link, asking, ready).await?))
    }

    /// A channel to ask with, if nobody else walks. Where nothing may be declared, everybody may.
    async fn lock(&self, link: &Link) -> Result<Option<Channel>, Fault> {
        let channel = link.try_channel().await?;
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
