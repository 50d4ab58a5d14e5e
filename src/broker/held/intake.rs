//! Putting messages that were written down into their queue, one after the other, each confirmed.

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Confirmation};

use super::{HeldError, Record};
use crate::broker::confirm::{Message, Route, confirmed};
use crate::broker::connection::{Fault, Link, rpc};

/// A connection that publishes to one queue.
pub struct Intake {
    queue: String,
    link: Link,
    giving: Channel,
}

impl Intake {
    pub(super) async fn open(queue: &str, link: Link) -> Result<Self, Fault> {
        let giving = link.try_channel().await?;
        rpc("confirm.select", giving.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Self { queue: queue.to_owned(), link, giving })
    }

    /// Puts a message into the queue; returns when the broker has it.
    ///
    /// # Errors
    /// The queue does not take it, or the connection is lost, so that it may have it all the same.
    pub async fn put(&self, record: &Record) -> Result<(), HeldError> {
        let queue = &self.queue;
        let message = Message {
            route: Route::ours("", queue),
            body: &record.body,
            properties: record.properties(),
        };
        let refused = match rpc("publish", confirmed(&self.giving, &message)).await {
            Ok(Confirmation::Ack(None)) => return Ok(()),
            Ok(Confirmation::Ack(Some(_))) => "is gone".to_owned(),
            Ok(Confirmation::Nack(_)) => {
                "takes no more: look for a length limit set by a policy".to_owned()
            }
            Ok(Confirmation::NotRequested) => "is asked without confirms: report it".to_owned(),
            Err(fault) => format!("may have got this one, and may not: {fault}"),
        };
        Err(HeldError(format!("{queue} {refused}")))
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.link.close().await;
    }
}
