//! The gates of the servers that tenants share: one for the endpoints of a CC-FS, one for a store's
//! endpoint and bucket (contract 5).

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::breaker::Threshold;
use super::gate::Gate;
use super::lamp::Lamp;
use super::server::Server;
use crate::board::Board;
use crate::ccfs::Route;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::shared::Shared;

/// The share of the places that may be probes of CC-FS: each is a whole job, and with many servers
/// down they would be all that is done.
const PROBES: usize = 16;

/// All gates that there are.
pub struct Gates {
    threshold: Threshold,
    metrics: Arc<Metrics>,
    board: Arc<Board>,
    probes: Arc<Semaphore>,
    ccfs: Shared<Route, Gate>,
    stores: Shared<String, Gate>,
    lamps: Shared<Server, Lamp>,
}

impl Gates {
    pub fn new(config: &Config, metrics: &Arc<Metrics>, board: &Arc<Board>) -> Self {
        Self {
            threshold: Threshold::new(&config.retry),
            metrics: Arc::clone(metrics),
            board: Arc::clone(board),
            probes: Arc::new(Semaphore::new(probes(config.worker.concurrency))),
            ccfs: Shared::default(),
            stores: Shared::default(),
            lamps: Shared::default(),
        }
    }

    /// The gate of the CC-FS at `place`, which `route` leads to. Who goes there by another proxy or trusts others
    /// has one of its own: what that does not let through is not CC-FS's fault.
    pub fn of_ccfs(&self, place: &str, route: &Route) -> Arc<Gate> {
        let server = Server::Ccfs(place.to_owned());
        let probes = Some(&self.probes);
        only(self.ccfs.get(route.unordered(), |_| Ok(self.gate(server, probes))))
    }

    /// The gate of the store at `place`.
    pub fn of_store(&self, place: &str) -> Arc<Gate> {
        let server = Server::Store(place.to_owned());
        only(self.stores.get(place.to_owned(), |_| Ok(self.gate(server, None))))
    }

    fn gate(&self, server: Server, probes: Option<&Arc<Semaphore>>) -> Gate {
        let lamp =
            |server: &Server| Ok(Lamp::new(server.clone(), Arc::clone(&self.metrics), &self.board));
        let lamp = only(self.lamps.get(server.clone(), lamp));
        Gate::of(server, self.threshold, lamp, probes.cloned())
    }
}

/// How many probes there may be at once, beside so many places.
pub fn probes(places: usize) -> usize {
    (places / PROBES).max(1)
}

fn only<T>(made: Result<T, Infallible>) -> T {
    made.unwrap_or_else(|never| match never {})
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::*;
    use crate::failure::{Class, Failure, Reason};
    use crate::metrics::Configured;

    fn gates(places: usize) -> Gates {
        Gates {
            threshold: Threshold { failures: 1, window: Duration::ZERO },
            metrics: Metrics::new(),
            board: Arc::default(),
            probes: Arc::new(Semaphore::new(probes(places))),
            ccfs: Shared::default(),
            stores: Shared::default(),
            lamps: Shared::default(),
        }
    }

    fn ccfs(gates: &Gates, port: u16) -> Arc<Gate> {
        let server = Server::Ccfs(format!("http://ccfs.example.com:{port}"));
        Arc::new(gates.gate(server, Some(&gates.probes)))
    }

    fn down() -> Result<(), Failure> {
        Err(Failure::new(Class::Unavailable, Reason::CCFS_UNREACHABLE, "down"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_sixteenth_of_the_places_are_probes_however_many_servers_are_down() {
        assert_eq!([1, 15, 16, 64, 2048].map(probes), [1, 1, 1, 4, 128]);
        let gates = gates(64);
        let all: Vec<_> = (0..100).map(|port| ccfs(&gates, port)).collect();
        for gate in &all {
            gate.enter().unwrap().note(&down());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let mut probing: Vec<_> = all.iter().filter_map(|gate| gate.enter().ok()).collect();
        assert_eq!(probing.len(), 4);
        // One has ended, another has not got to ask.
        probing.pop().unwrap().note(&down());
        drop(probing.pop());
        let more: Vec<_> = all.iter().filter_map(|gate| gate.enter().ok()).collect();
        assert_eq!(more.len(), 2);
        // A server that is back takes everybody.
        probing.pop().unwrap().note(&Ok::<(), Failure>(()));
        let back = all.iter().find(|gate| !gate.is_open()).unwrap();
        let jobs: Vec<_> = (0..64).filter_map(|_| back.enter().ok()).collect();
        let more: Vec<_> = all.iter().filter_map(|gate| gate.enter().ok()).collect();
        assert_eq!((jobs.len(), more.len()), (64, 2), "one that is back, and one probe");
    }

    #[test]
    fn one_series_shows_all_breakers_of_its_target() {
        let gates = gates(64);
        let servers = ["ccfs:http://ccfs.example.com:1".to_owned()].into();
        gates.metrics.adopt(&Configured { servers, ..Configured::default() });
        let shown = || {
            let text = gates.metrics.render();
            let line = text.lines().find(|line| line.contains("target=\"ccfs:http"));
            line.and_then(|line| line.rsplit(' ').next().map(str::to_owned))
        };
        let [one, other] = [1, 1].map(|port| ccfs(&gates, port));
        assert_eq!(shown().as_deref(), Some("0"));
        for gate in [&one, &other] {
            gate.enter().unwrap().note(&down());
        }
        assert_eq!(shown().as_deref(), Some("1"));
        one.kept_waiting(&down().unwrap_err());
        drop(one);
        assert_eq!(shown().as_deref(), Some("1"), "the other is open still");
        drop(other);
        assert_eq!(shown().as_deref(), Some("0"), "nobody goes there any more");
    }

    /// What the page shows of the servers, each as (target, state).
    fn servers(gates: &Gates) -> Vec<(String, String)> {
        let seen = serde_json::to_value(gates.board.servers.seen()).unwrap();
        let servers = seen["servers"].as_array().unwrap().iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        servers.map(|one| (text(&one["target"]), text(&one["state"]))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn people_see_a_server_as_its_last_answers_are() {
        let gates = gates(64);
        let gate = ccfs(&gates, 1);
        let state = || servers(&gates)[0].1.clone();
        assert_eq!(servers(&gates)[0].0, "ccfs:http://ccfs.example.com:1");
        assert_eq!(state(), "unknown", "nobody has asked it");
        gate.enter().unwrap().note(&Ok::<(), Failure>(()));
        assert_eq!(state(), "well");
        gate.enter().unwrap().note(&down());
        assert_eq!(state(), "down", "its breaker is open");
        tokio::time::advance(Duration::from_secs(1)).await;
        let refused = Failure::new(Class::Refused, Reason::CCFS_UNAUTHORIZED, "a wrong key");
        gate.enter().unwrap().note(&Err::<(), _>(refused));
        assert_eq!(state(), "refused");
        gate.enter().unwrap().note(&Ok::<(), Failure>(()));
        assert_eq!(state(), "well");
        drop(gate);
        assert_eq!(servers(&gates), [], "nobody goes there any more");
    }
}
