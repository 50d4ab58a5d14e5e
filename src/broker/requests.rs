//! What a command publishes: requests for dumps, and what it has found. A connection that ends with it.
//!
//! Unlike a worker, which tries for ever, it gives up and says why: somebody waits for it.

use std::sync::Arc;
use std::time::Duration;

use lapin::BasicProperties;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::batches::Batches;
use super::confirm::{Answer, Message, Route, short};
use super::connection::{Backoff, Fault, Link};
use super::copy::PERSISTENT;
use super::dial::Dialer;
use super::publisher::{PublishError, Publisher, Unconfirmed};
use super::refused::is_refusal;
use super::status::{Board, Wish};
use super::topology::{Plan, Topology};
use super::{Lanes, SHUTDOWN_TIMEOUT, Shared, supervise_publishing};
use crate::config;
use crate::event::Event;
use crate::request::{MessageType, TenantId};

/// How long a request may wait for its confirm, through lost connections and memory alarms.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why a request is not with the broker.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    #[error("cannot work with the broker: {0}")]
    Broker(String),
    #[error(
        "no queue takes {key:?} from the exchange {exchange}: have a worker declare its queues \
         (broker.declare), or bind its jobs queue with recording.dump-requested.#"
    )]
    Unroutable { exchange: String, key: String },
    #[error("the broker has confirmed nothing for {PATIENCE:?} ({0}); ask again when it is well")]
    Unconfirmed(String),
    #[error(
        "the broker refuses an event: grant the user of broker.url the write permission for the \
         exchange {exchange}, or look into the log of RabbitMQ, which says why"
    )]
    EventRefused { exchange: String },
    #[error("an event is not with the broker: {0}")]
    Event(PublishError),
}

/// A connection to publish requests on.
pub struct Requests {
    shared: Arc<Shared>,
    publisher: Publisher,
    supervisor: JoinHandle<()>,
}

impl Requests {
    /// Connects, and sees to the topology as a worker does: nothing is asked for in vain.
    ///
    /// # Errors
    /// [`RequestError::Broker`], after one try of each node.
    pub async fn connect(
        settings: &config::Broker,
        delays: &[Duration],
    ) -> Result<Self, RequestError> {
        let shared = Arc::new(Shared {
            topology: Topology::new(Plan::new(settings, delays), settings.declare),
            started: Instant::now(),
            board: Board::new(),
            wish: watch::Sender::new(Wish::Consume),
            further: watch::Sender::default(),
            lanes: Lanes::default(),
            batches: Batches::default(),
            depths: watch::Sender::default(),
            several: settings.urls.len() > 1,
            events_mandatory: settings.events_mandatory,
            on_unsettled: Arc::new(|| {}),
        });
        let dialer = Dialer::new(settings, "callvault request");
        let ensured = async |link: &Link| shared.topology.ensure(link).await;
        let (link, ()) = dialer.connect_where(ensured).await.map_err(broken)?;
        link.close().await;
        let supervisor = tokio::spawn(supervise_publishing(Arc::clone(&shared), dialer));
        Ok(Self { publisher: Publisher::new(Arc::clone(&shared)), shared, supervisor })
    }

    /// Publishes a `recording.dump-requested`; returns when a queue has it.
    ///
    /// # Errors
    /// [`RequestError`]; the request may have been taken all the same, and may be repeated.
    pub async fn dump(
        &self,
        tenant: &TenantId,
        body: &[u8],
        message_id: &str,
    ) -> Result<(), RequestError> {
        let kind = MessageType::DumpRequested.as_str();
        let key = format!("{kind}.{tenant}");
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_message_id(short(message_id))
            .with_type(kind.into())
            .with_delivery_mode(PERSISTENT);
        let exchange = &self.shared.topology.names().calls;
        let route = Route::ours(exchange, &key);
        let message = Message { route, body, properties };
        let mut trouble = None;
        let taken = timeout(PATIENCE, self.insist(&message, &mut trouble)).await;
        taken.unwrap_or_else(|_| {
            let trouble = trouble.unwrap_or_else(|| self.shared.board.publishing());
            Err(RequestError::Unconfirmed(trouble))
        })
    }

    /// Publishes an event, as a worker does; returns when the broker has it.
    ///
    /// # Errors
    /// [`RequestError`]; it may have been heard all the same.
    pub async fn event(&self, event: &Event) -> Result<(), RequestError> {
        let told = timeout(PATIENCE, self.publisher.event(event)).await;
        let told = told.map_err(|_| RequestError::Unconfirmed(self.shared.board.publishing()))?;
        told.map_err(|error| match error {
            // A worker's log says why; a command has none.
            PublishError::Unconfirmed(Unconfirmed::Closed) => {
                RequestError::EventRefused { exchange: self.publisher.events_exchange().to_owned() }
            }
            error => RequestError::Event(error),
        })
    }

    /// Tries until the broker has confirmed the message, unless trying again is of no use.
    async fn insist(
        &self,
        message: &Message<'_>,
        trouble: &mut Option<String>,
    ) -> Result<(), RequestError> {
        let mut backoff = Backoff::default();
        loop {
            let lane = self.shared.lanes.lane().await;
            match self.publisher.publish_once(&lane, message).await {
                Ok(Answer::Confirmed) => return Ok(()),
                Ok(Answer::Returned) => {
                    let Route { exchange, routing_key, .. } = message.route;
                    let (exchange, key) = (exchange.to_owned(), routing_key.to_owned());
                    return Err(RequestError::Unroutable { exchange, key });
                }
                Ok(Answer::Refused) => *trouble = Some("its queue takes no more".to_owned()),
                Ok(Answer::Silence | Answer::Unclear) => {
                    *trouble = Some("no confirm came".to_owned())
                }
                Err(fault) if fault.cause().is_some_and(is_refusal) => return Err(broken(fault)),
                Err(fault) => *trouble = Some(fault.to_string()),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.shared.change_wish(Wish::Close);
        // What does not end in time is cut with the process.
        let _ = timeout(SHUTDOWN_TIMEOUT, self.supervisor).await;
    }
}

fn broken(fault: Fault) -> RequestError {
    let fault = match fault.advice() {
        Some(_) => fault,
        None => fault.advising("mend that, or [broker] in the configuration"),
    };
    RequestError::Broker(fault.to_string())
}
