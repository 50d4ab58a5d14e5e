//! Letting go what waits for a retry, before its time.
//!
//! A retry queue dead-letters at least once, to where the message's own key says. It does so when the
//! time is over, and just the same when a message is rejected: one step of the broker's, with nothing
//! published and nothing acknowledged. So whoever dies in between loses nothing and doubles nothing,
//! and the message arrives as the retry would have brought it, a suspect too. But a queue that is made
//! otherwise may drop what is rejected; so its arguments are held against ours before.

use lapin::options::BasicRejectOptions;

use super::{HeldError, HeldMessage, Walk};
use crate::broker::connection::rpc;
use crate::broker::topology::make;
use crate::crash::{self, Point};

impl Walk {
    /// Sends a message to where its retry queue would send it later.
    ///
    /// # Errors
    /// Its target is gone, the queue is not as ours are, or the connection is lost; the message
    /// stays where it is.
    pub async fn send_on(&mut self, message: HeldMessage) -> Result<(), HeldError> {
        if !self.targets.contains(&message.target) {
            self.prove_queue().await?;
            self.look_for(&message.target).await?;
            self.targets.insert(message.target);
        }
        crash::point(Point::BeforeAck);
        let call = message.delivery.acker.reject(BasicRejectOptions { requeue: false });
        let heard = rpc("basic.reject", call).await?;
        crash::point(Point::AfterAck);
        self.settled_if(heard)
    }

    /// Declares the retry queue, which the broker refuses if the one that is there differs.
    async fn prove_queue(&self) -> Result<(), HeldError> {
        let Some((item, _)) = &self.retry else { return Ok(()) };
        make(&self.giving, item).await.map_err(|fault| {
            HeldError(format!(
                "{fault}; nothing is put back from there: only a queue with callvault's own \
                 arguments is sure to move what is let go, and seeing that they are takes the \
                 permission to configure it"
            ))
        })
    }
}
