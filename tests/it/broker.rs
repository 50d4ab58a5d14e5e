//! The broker module against a real RabbitMQ node: topology, settling, recovery.

mod consume;
mod recovery;
mod settle;
mod topology;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callvault::broker::{Broker, Deliveries, Delivery, Disposition, Prefetch, State, Status};
use callvault::config::{self, Secret};
use callvault::event::Event;
use callvault::failure::Reason;

use crate::support::broker::Node;
use crate::support::unique;

const LIMIT: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(200);

/// A broker side of its own, with queues and exchanges of its own.
struct Rig {
    settings: config::Broker,
    broker: Broker,
    deliveries: Deliveries,
    unsettled: Arc<AtomicU32>,
}

fn settings(node: &Node) -> config::Broker {
    let prefix = unique("cv");
    config::Broker {
        urls: vec![Secret::fixed(node.url())],
        allow_plain: false,
        ca_file: None,
        client_cert_file: None,
        client_key_file: None,
        calls_exchange: format!("{prefix}.calls"),
        events_exchange: format!("{prefix}.recordings"),
        queue_prefix: prefix,
        declare: true,
        delivery_limit: 20,
        heartbeat: Duration::from_secs(15),
        events_mandatory: false,
    }
}

impl Rig {
    /// Starts without waiting.
    fn launch(settings: config::Broker) -> Self {
        let unsettled = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&unsettled);
        let hook = Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let prefetch = Prefetch { jobs: 4, bulk: 4, bodies: usize::MAX };
        let (broker, deliveries) = Broker::start(&settings, &[SOON], prefetch, hook);
        Self { settings, broker, deliveries, unsettled }
    }

    async fn start(settings: config::Broker) -> Self {
        let rig = Self::launch(settings);
        rig.until(|status| status.consuming && status.connected).await;
        rig
    }

    async fn on(node: &Node) -> Self {
        Self::start(settings(node)).await
    }

    fn queue(&self, name: &str) -> String {
        format!("{}.{name}", self.settings.queue_prefix)
    }

    async fn until(&self, fits: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.broker.status();
        let found = tokio::time::timeout(LIMIT, status.wait_for(fits)).await;
        match found {
            Ok(found) => found.expect("the broker side lives").clone(),
            Err(_) => panic!("not within {LIMIT:?}; {:?}", self.broker.status().borrow()),
        }
    }

    async fn next(&mut self) -> Delivery {
        let next = tokio::time::timeout(LIMIT, self.deliveries.next()).await;
        next.expect("a delivery in time").expect("the stream goes on")
    }

    /// The next one, if there is one within a moment: for 'there is none', after a condition that
    /// makes sure of it.
    async fn nothing_buffered(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.deliveries.next()).await.is_err()
    }
}

fn retry(state: State) -> Disposition {
    let detail = "not yet".to_owned();
    Disposition::Retry { delay: SOON, state, reason: Reason::CCFS_TIMEOUT, detail }
}

fn dead(state: State) -> Disposition {
    let at = "2026-04-25T05:12:44Z".parse().expect("a time");
    Disposition::Dead { state, reason: Reason::MESSAGE_INVALID, detail: "broken".into(), at }
}

fn event(id: &str) -> Event {
    Event {
        id: id.to_owned(),
        event_type: "recording.archived",
        routing_key: "recording.archived.acme".to_owned(),
        body: b"{}".to_vec(),
        trace: None,
    }
}
