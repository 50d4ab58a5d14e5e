//! What stands behind a gate, and what of a failure is its own.

use std::fmt;

use tokio::time::Duration;

use super::breaker::SHORT_PAUSE;
use crate::board::Kind;
use crate::failure::{Class, Failure, Reason};
use crate::metrics::BreakerTarget;

/// The longest pause between two events that find out whether events are taken again: each of them
/// is a copy more for the subscribers that are well.
const EVENTS_PAUSE: Duration = Duration::from_secs(30);

/// What stands behind a gate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// The CC-FS with this first endpoint.
    Ccfs(String),
    /// The endpoint that holds a bucket.
    Store(String),
    /// The exchange of that name, where events go.
    Events(String),
}

impl Server {
    pub fn target(&self) -> BreakerTarget<'_> {
        match self {
            Self::Ccfs(endpoint) => BreakerTarget::Ccfs(endpoint),
            Self::Store(bucket) => BreakerTarget::Store(bucket),
            Self::Events(_) => BreakerTarget::Events,
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Ccfs(_) => Kind::Ccfs,
            Self::Store(_) => Kind::Store,
            Self::Events(_) => Kind::Events,
        }
    }

    /// Whether it was this kind of server that failed.
    pub fn brought(&self, failure: &Failure) -> bool {
        match self {
            Self::Ccfs(_) => failure.reason.ccfs_code().is_some(),
            Self::Store(_) => failure.reason.store_code().is_some(),
            Self::Events(_) => failure.reason == Reason::EVENT_REFUSED,
        }
    }

    /// Whether `failure` is that it gave no usable answer.
    pub fn was_silent(&self, failure: &Failure) -> bool {
        let class = if matches!(self, Self::Events(_)) { Class::Held } else { Class::Unavailable };
        failure.class == class && self.brought(failure)
    }

    /// Whether `failure` is an answer to one of its clients that says nothing of the others.
    pub fn refused_one(&self, failure: &Failure) -> bool {
        matches!(self, Self::Ccfs(_)) && failure.class == Class::Refused
    }

    /// For people.
    pub fn place(&self) -> String {
        match self {
            Self::Events(exchange) => format!("the exchange {exchange}"),
            Self::Ccfs(_) | Self::Store(_) => self.to_string(),
        }
    }

    /// What becomes of who would have asked it.
    pub fn not_asked(&self, reason: Reason) -> Failure {
        match self {
            Self::Events(_) => {
                let detail = format!("not sent: {} takes no events", self.place());
                Failure::new(Class::Held, reason, detail)
            }
            Self::Ccfs(_) | Self::Store(_) => {
                let detail = format!("not asked: {self} gives no usable answer");
                Failure::new(Class::Unavailable, reason, detail)
            }
        }
    }

    pub fn longest_pause(&self) -> Duration {
        match self {
            Self::Events(_) => EVENTS_PAUSE,
            Self::Ccfs(_) | Self::Store(_) => SHORT_PAUSE,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target().fmt(f)
    }
}
