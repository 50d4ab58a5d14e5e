//! The way to the broker: what an audit asks for and tells. Without it the audit goes on and shows
//! what it finds, and ends with what was wrong.

use std::sync::Arc;

use crate::broker::{RequestError, Requests};
use crate::cli::tell;
use crate::config::Config;
use crate::event::Event;

pub enum Mail {
    Open(Arc<Requests>),
    Lost(RequestError),
}

impl Mail {
    /// Connects, and says at once if that cannot be.
    pub async fn connect(config: &Config) -> Self {
        match Requests::connect(&config.broker, &config.retry.delays).await {
            Ok(requests) => Self::Open(Arc::new(requests)),
            Err(error) => {
                tell(format_args!("{error}; the audit goes on, but tells and asks for nothing"));
                Self::Lost(error)
            }
        }
    }

    pub fn open(&self) -> Option<Arc<Requests>> {
        match self {
            Self::Open(requests) => Some(Arc::clone(requests)),
            Self::Lost(_) => None,
        }
    }

    pub fn is_well(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Nothing more is published: the next would wait as long for as little.
    pub fn lost(&mut self, error: RequestError) {
        if self.is_well() {
            *self = Self::Lost(error);
        }
    }

    /// What was published, if it was.
    pub fn heard<T>(&mut self, answer: Result<T, RequestError>) -> Option<T> {
        answer.map_err(|error| self.lost(error)).ok()
    }

    pub async fn tell(&mut self, event: &Event) {
        if let Self::Open(requests) = self {
            let told = requests.event(event).await;
            self.heard(told);
        }
    }

    /// # Errors
    /// What was wrong first.
    pub async fn close(self) -> Result<(), RequestError> {
        match self {
            Self::Open(requests) => {
                if let Some(requests) = Arc::into_inner(requests) {
                    requests.close().await;
                }
                Ok(())
            }
            Self::Lost(error) => Err(error),
        }
    }
}
