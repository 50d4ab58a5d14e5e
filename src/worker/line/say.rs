//! Saying what has happened: each event goes past the gate of the events' exchange.

use super::tools::Tools;
use super::traced;
use crate::broker::{PublishError, Unconfirmed};
use crate::event::Event;
use crate::failure::{Class, Failure, Reason};

impl Tools {
    /// Says it; returns once the broker has it. At most two copies of it are sent, so that those
    /// subscribers that do take it are not flooded.
    ///
    /// # Errors
    /// `event.refused`: another try may say it. `event.unroutable`, where an event must be routed.
    pub async fn say(&self, event: &Event) -> Result<(), Failure> {
        let mut pass = self.events.enter()?;
        let publisher = &self.publisher;
        let span = traced::publishing(event, publisher.events_exchange());
        // A probe has to find out no more than whether it is over: it is sent once.
        let sent =
            if pass.probes() { publisher.probe(event).await } else { publisher.event(event).await };
        let lost = matches!(sent, Err(PublishError::Unconfirmed(Unconfirmed::Lost)));
        let said = sent.map_err(Failure::from);
        span.end(said.as_ref());
        match &said {
            // Nothing is heard of the exchange.
            Err(_) if lost => {}
            Err(failure) if failure.reason == Reason::EVENT_REFUSED => pass.note(&said),
            // It answers, even if nobody listens.
            _ => pass.note::<()>(&Ok(())),
        }
        said
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let (class, reason) = match error {
            PublishError::Unroutable => (Class::Failure, Reason::EVENT_UNROUTABLE),
            // While stopping the message is given back whatever this says.
            PublishError::Unconfirmed(_) | PublishError::Stopping => {
                (Class::Held, Reason::EVENT_REFUSED)
            }
        };
        Self::new(class, reason, error.to_string())
    }
}
