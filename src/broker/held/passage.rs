//! Putting a dead message back through the passage before its target, and ending what was cut off.
//!
//! Nothing may be lost, whoever dies, and nothing doubled when it is we who die. AMQP's transactions
//! make a publish and an acknowledgement one step towards a client that dies, and were tried:
//! RabbitMQ 3.10.8 answers `tx.commit-ok` also where the target has refused the message (its queue
//! is full), and the original is gone. Only the broker moves a message from one queue to another in
//! one step, by dead-lettering it; and only a queue that nobody else consumes tells what was done to
//! it. So each message goes through a passage, a queue of its target that dead-letters to it at
//! least once:
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

use std::collections::HashSet;

use lapin::message::Delivery;
use lapin::options::{BasicGetOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation};

use super::walk::forget_flaws;
use super::{HeldError, HeldMessage, WINDOW, Walk, ready};
use crate::broker::confirm::{Message, Route, confirmed, short};
use crate::broker::connection::{Fault, rpc};
use crate::broker::copy;
use crate::broker::headers::redriven_headers;
use crate::broker::state::redrive_of;
use crate::broker::topology::{make, passage};

impl Walk {
    /// Puts a message back to where it came from, as if it had never been tried.
    ///
    /// # Errors
    /// Its queue is gone, or the connection is lost; the message stays among the dead, or is let go
    /// by whoever acts next.
    pub async fn redrive(&mut self, message: HeldMessage) -> Result<(), HeldError> {
        let passage = self.passage_to(&message.target).await?;
        let copy = copy_for(&passage, &message, self.link.frame_max());
        let answer = rpc("publish", confirmed(&self.giving, &copy)).await;
        let refused = match answer? {
            Confirmation::Ack(None) => {
                self.drop_one(message).await?;
                self.hear().await?;
                return Ok(self.let_go(&passage).await?);
            }
            Confirmation::Ack(Some(_)) => "is gone",
            Confirmation::Nack(_) => "takes no more: look for a length limit set by a policy",
            Confirmation::NotRequested => "is asked without confirms: report it",
        };
        Err(HeldError(format!("{passage} {refused}; the message is still in {}", self.queue)))
    }

    /// Lets go what a redrive that was killed has left on its way; whether there was something.
    ///
    /// If so this walk has found what it was for: end it, and begin another.
    ///
    /// # Errors
    /// The connection is lost; whoever acts next ends it.
    pub async fn finish_others(&mut self) -> Result<bool, HeldError> {
        let mut left = Vec::new();
        for passage in self.passages() {
            if ready(&self.link, &mut self.asking, &passage).await?.is_some_and(|ready| ready > 0) {
                while let Some(copy) = self.take(&passage).await? {
                    left.push(copy);
                }
            }
        }
        let mut originals: HashSet<String> = left.iter().filter_map(id_of).collect();
        while !originals.is_empty() {
            let Some(message) = self.next().await? else { break };
            if originals.remove(&message.id) {
                self.drop_one(message).await?;
            }
        }
        if left.is_empty() {
            return Ok(false);
        }
        self.hear().await?;
        for copy in left {
            reject(&copy).await?;
        }
        Ok(true)
    }

    /// Messages that a redrive that was killed has left on their way.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn on_their_way(&mut self) -> Result<u32, HeldError> {
        let mut count = 0;
        for passage in self.passages() {
            count += ready(&self.link, &mut self.asking, &passage).await?.unwrap_or(0);
        }
        Ok(count)
    }

    /// Those of the dead; what waits takes none.
    fn passages(&self) -> Vec<String> {
        let targets = [&self.names.jobs, &self.names.bulk].into_iter();
        let targets = targets.filter(|_| self.retry.is_none());
        targets.map(|target| passage(target).name().to_owned()).collect()
    }

    /// The passage to a queue, made if need be; once a walk.
    async fn passage_to(&mut self, target: &str) -> Result<String, HeldError> {
        let passage = passage(target);
        if !self.targets.contains(target) {
            self.look_for(target).await?;
            make(&self.giving, &passage).await?;
            self.targets.insert(target.to_owned());
        }
        Ok(passage.name().to_owned())
    }

    /// Sees that there is a queue to put messages back to.
    pub(super) async fn look_for(&mut self, target: &str) -> Result<(), HeldError> {
        match ready(&self.link, &mut self.asking, target).await? {
            Some(_) => Ok(()),
            None => Err(HeldError(format!(
                "there is no queue {target} to put messages back to: `callvault run` makes it"
            ))),
        }
    }

    /// Waits until the broker knows of all acknowledgements: it hears one thing after the other.
    pub(super) async fn hear(&self) -> Result<(), Fault> {
        rpc("basic.qos", self.taking.basic_qos(WINDOW, BasicQosOptions { global: false })).await
    }

    async fn let_go(&self, passage: &str) -> Result<(), Fault> {
        match self.take(passage).await? {
            Some(copy) => reject(&copy).await,
            None => Ok(()),
        }
    }

    async fn take(&self, passage: &str) -> Result<Option<Delivery>, Fault> {
        let call = self.giving.basic_get(short(passage), BasicGetOptions::default());
        let taken = rpc("basic.get", call).await?.map(|message| message.delivery);
        Ok(taken.inspect(|copy| forget_flaws(&self.link, &self.giving, copy)))
    }
}

fn copy_for<'a>(passage: &'a str, message: &'a HeldMessage, frame_max: usize) -> Message<'a> {
    let none = FieldTable::default();
    let original: &BasicProperties = &message.delivery.properties;
    let headers =
        redriven_headers(original.headers().as_ref().unwrap_or(&none), &message.id, frame_max);
    Message {
        route: Route::ours("", passage),
        body: message.body(),
        properties: copy::properties(original, message.body(), headers),
    }
}

/// The original's id, which the copy carries.
fn id_of(copy: &Delivery) -> Option<String> {
    redrive_of(copy.properties.headers().as_ref()?)
}

/// The broker moves it on to its target.
async fn reject(copy: &Delivery) -> Result<(), Fault> {
    let call = copy.acker.reject(BasicRejectOptions { requeue: false });
    rpc("basic.reject", call).await.map(drop)
}
