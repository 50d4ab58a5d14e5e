//! All of AMQP, and the only code that names lapin (contracts 2, 4 and 5).
//!
//! Two connections, one to consume and acknowledge, one to publish: a broker that blocks publishers
//! under a memory alarm must still get acknowledgements. Each is supervised for ever; a delivery
//! belongs to the epoch of its channel and dies with it. This module must not know what a message
//! means.

mod batches;
mod check;
mod confirm;
mod connection;
mod consumer;
mod copy;
mod depths;
mod dial;
mod door;
mod epoch;
pub mod guard;
mod headers;
mod held;
mod incoming;
mod kit;
mod lanes;
mod moment;
mod names;
mod publisher;
mod refused;
mod requests;
mod settle;
mod state;
mod status;
mod supervisor;
mod tap;
mod topology;
mod trace;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config;
use batches::Batches;
use dial::Dialer;
use lanes::Lanes;
use status::{Board, Side, Wish};
use supervisor::Supervisor;
use topology::{Plan, Topology};

pub use check::check;
pub use depths::Depths;
pub use held::{BadRecord, HeldError, HeldMessage, Intake, Record, Shelf, Turn, Walk};
pub use incoming::Deliveries;
pub use publisher::{PublishError, Publisher, Unconfirmed};
pub use requests::{RequestError, Requests};
pub use settle::{Delivery, Disposition, Settled};
pub use state::{DETAIL, State};
pub use status::Status;
pub use topology::Admin;

/// What `broker.declare = true` would make, for others to make it; nothing is asked of the broker.
pub struct Blueprint {
    plan: Plan,
    vhost: String,
}

impl Blueprint {
    /// # Errors
    /// Why the URL, which names the virtual host, cannot be read.
    pub fn new(settings: &config::Broker, delays: &[Duration]) -> Result<Self, String> {
        let url = settings.urls.first().expect("there is a URL");
        let door = Dialer::new(settings, "callvault topology").door(url);
        let door = door.map_err(|fault| fault.to_string())?;
        Ok(Self { plan: Plan::new(settings, delays), vhost: door.vhost })
    }

    /// A command a line, in an order in which they can be run.
    pub fn commands(&self, admin: Admin) -> Vec<String> {
        self.plan.commands(&self.vhost, admin)
    }

    /// What RabbitMQ imports.
    pub fn definitions(&self) -> serde_json::Value {
        self.plan.definitions(&self.vhost)
    }
}

/// Where the nodes of the broker are, for people: never who we are there, nor by which password.
pub fn place(settings: &config::Broker) -> String {
    let dialer = Dialer::new(settings, "callvault");
    let doors = settings.urls.iter().filter_map(|url| dialer.door(url).ok());
    let places: Vec<_> = doors.map(|door| door.to_string()).collect();
    // Of a URL in a file that is not there yet nothing is known.
    if places.is_empty() { "broker".to_owned() } else { places.join(", ") }
}

/// The orderly end of everything; after it the sockets are cut.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The queues that work comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueName {
    /// `{prefix}.jobs`: what has just happened.
    Jobs,
    /// `{prefix}.bulk`: dumps.
    Bulk,
    /// `{prefix}.suspect`: what was around when workers died; one at a time.
    Suspect,
}

/// What may be in hand but not settled.
#[derive(Clone, Copy, Debug)]
pub struct Prefetch {
    /// Messages, a queue; the suspect queue's is 1.
    pub jobs: u16,
    pub bulk: u16,
    /// Bytes of bodies of all queues together; a message that passes it comes whole.
    pub bodies: usize,
}

/// Told of every delivery that was dropped without being settled.
pub type OnUnsettled = Arc<dyn Fn() + Send + Sync>;

/// What the parts share.
struct Shared {
    topology: Topology,
    board: Board,
    wish: watch::Sender<Wish>,
    /// Whether more of the live queue is to be seen than the window shows.
    further: watch::Sender<bool>,
    lanes: Lanes,
    batches: Batches,
    depths: watch::Sender<Depths>,
    events_mandatory: bool,
    /// The broker has several nodes, each with a URL.
    several: bool,
    on_unsettled: OnUnsettled,
    started: Instant,
}

impl Shared {
    /// Whether the end was asked for: from then on what is dropped unsettled is no fault.
    fn stopping(&self) -> bool {
        *self.wish.borrow() >= Wish::Stop
    }

    fn change_wish(&self, wish: Wish) {
        let changed = self.wish.send_if_modified(|now| {
            // Stopping is for good.
            let allowed = *now < Wish::Stop || wish > *now;
            let changes = allowed && *now != wish;
            if changes {
                *now = wish;
            }
            changes
        });
        if changed {
            self.board.wish(wish);
        }
    }
}

/// The worker's side of RabbitMQ.
pub struct Broker {
    shared: Arc<Shared>,
    supervisors: [JoinHandle<()>; 2],
}

impl Broker {
    /// Starts connecting; nothing is waited for. Needs a tokio runtime around it.
    ///
    /// `delays` are those of the retry queues.
    pub fn start(
        settings: &config::Broker,
        delays: &[Duration],
        prefetch: Prefetch,
        on_unsettled: OnUnsettled,
    ) -> (Self, Deliveries) {
        let plan = Plan::new(settings, delays);
        let shared = Arc::new(Shared {
            topology: Topology::new(plan, settings.declare),
            board: Board::new(),
            wish: watch::Sender::new(Wish::Consume),
            further: watch::Sender::default(),
            lanes: Lanes::default(),
            batches: Batches::default(),
            depths: watch::Sender::default(),
            events_mandatory: settings.events_mandatory,
            several: settings.urls.len() > 1,
            on_unsettled,
            started: Instant::now(),
        });
        let (intake, deliveries) = incoming::intake(&shared, prefetch);
        let consume = Dialer::new(settings, "callvault consume").bounded(prefetch.bodies);
        let publish = Dialer::new(settings, "callvault publish");
        let supervisors = [
            tokio::spawn(supervise_consuming(Arc::clone(&shared), consume, intake)),
            tokio::spawn(supervise_publishing(Arc::clone(&shared), publish)),
        ];
        (Self { shared, supervisors }, deliveries)
    }

    pub fn publisher(&self) -> Publisher {
        Publisher::new(Arc::clone(&self.shared))
    }

    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.board.subscribe()
    }

    /// How many messages wait in each of our queues.
    pub fn depths(&self) -> watch::Receiver<Depths> {
        self.shared.depths.subscribe()
    }

    /// Cancels the consumers; what was already sent to us still comes out of [`Deliveries::next`].
    /// `why` is for people.
    pub fn pause(&self, why: &str) {
        self.shared.board.why_paused(why);
        self.shared.change_wish(Wish::Pause);
    }

    /// The same, but that a message is taken now and then, one of a queue at a time, since only
    /// what is tried shows that an outage is over.
    pub fn taste(&self, why: &str) {
        self.shared.board.why_paused(why);
        self.shared.change_wish(Wish::Taste);
    }

    /// Whether to have more of the live queue in hand for a moment, three windows at most, so that what
    /// stands behind a full window is seen.
    pub fn look_further(&self, further: bool) {
        self.shared.further.send_if_modified(|now| std::mem::replace(now, further) != further);
    }

    /// Consumes again after [`Broker::pause`] or [`Broker::taste`].
    pub fn resume(&self) {
        self.shared.change_wish(Wish::Consume);
    }

    /// Cancels the consumers for good and keeps the channels, so that acknowledgements work.
    /// [`Deliveries::next`] hands out what was already sent to us, then ends.
    pub fn stop_consuming(&self) {
        self.shared.change_wish(Wish::Stop);
    }

    /// Closes channels and connections; unsettled deliveries go back to their queues.
    pub async fn close(self) {
        self.shared.change_wish(Wish::Close);
        let until = tokio::time::Instant::now() + SHUTDOWN_TIMEOUT;
        for mut supervisor in self.supervisors {
            if tokio::time::timeout_at(until, &mut supervisor).await.is_err() {
                tracing::warn!("the broker did not close in {SHUTDOWN_TIMEOUT:?}; cut off");
                supervisor.abort();
            }
        }
    }
}

async fn supervise_consuming(shared: Arc<Shared>, dialer: Dialer, intake: incoming::Intake) {
    // Once stopped, a lost connection is not opened again: what was unsettled is lost with it.
    let mut supervisor = Supervisor::new(dialer, &shared, Side::Consume, Wish::Stop);
    let mut patience = consumer::Patience::default();
    while let Some(link) = supervisor.connect().await {
        let ended = consumer::session(&shared, &link, &intake, &mut patience).await;
        supervisor.finish(&link, ended).await;
    }
}

async fn supervise_publishing(shared: Arc<Shared>, dialer: Dialer) {
    let mut supervisor = Supervisor::new(dialer, &shared, Side::Publish, Wish::Close);
    while let Some(link) = supervisor.connect().await {
        let ended = lanes::session(&shared, &link).await;
        supervisor.finish(&link, ended).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    /// The defaults, with the prefix `cv`.
    pub(super) fn settings() -> config::Broker {
        config::Broker {
            urls: vec![Secret::fixed("amqp://localhost")],
            allow_plain: false,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            queue_prefix: "cv".into(),
            calls_exchange: "calls".into(),
            events_exchange: "recordings".into(),
            declare: true,
            delivery_limit: 20,
            heartbeat: Duration::from_secs(15),
            events_mandatory: false,
        }
    }
}
