//! Three nodes that are one cluster. Between any two of them stands a link, so that one can be cut
//! off from the others and still be reached by its clients.

use std::sync::Arc;
use std::time::Duration;

use super::epmd::{Epmd, Tools};
use super::{BOOT, Node};
use crate::support::eventually;
use crate::support::link::{Link, Weather};

/// Two are a majority.
pub const NODES: usize = 3;

pub struct Cluster {
    nodes: [Arc<Node>; NODES],
    ways: Vec<Way>,
    _epmds: Vec<Epmd>,
}

/// What one node has to cross to reach another.
struct Way {
    from: usize,
    to: usize,
    link: Link,
}

impl Cluster {
    /// Some 20 s on an idle machine.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(Node::new(0).await);
        }
        let (mut ways, mut epmds, tools) = (Vec::new(), Vec::new(), Tools::default());
        for from in 0..NODES {
            let mut told = vec![(nodes[from].name.clone(), nodes[from].ports.dist)];
            for to in (0..NODES).filter(|to| *to != from) {
                let link = Link::to(([127, 0, 0, 1], nodes[to].ports.dist).into()).await;
                told.push((nodes[to].name.clone(), link.address().port()));
                ways.push(Way { from, to, link });
            }
            let epmd = Epmd::telling(told.into_iter().collect(), Tools::clone(&tools)).await;
            nodes[from].ports.epmd = epmd.port();
            nodes[from].mapped = true;
            epmds.push(epmd);
        }
        let members: String = (1..)
            .zip(&nodes)
            .map(|(number, node)| {
                format!(
                    "cluster_formation.classic_config.nodes.{number} = {}@localhost\n",
                    node.name
                )
            })
            .collect();
        for node in &nodes {
            node.write_files(&format!(
                "cluster_formation.peer_discovery_backend = classic_config\n{members}\
                 cluster_partition_handling = pause_minority\n"
            ));
        }
        let nodes: [Node; NODES] = nodes.try_into().ok().expect("as many as were made");
        let cluster = Self { nodes: nodes.map(Arc::new), ways, _epmds: epmds };
        // Each waits for the others.
        let [first, second, third] = &cluster.nodes;
        tokio::join!(first.start(), second.start(), third.start());
        cluster.nodes[0].ctl(&["await_online_nodes", "3"]).await;
        cluster
    }

    pub fn nodes(&self) -> &[Arc<Node>; NODES] {
        &self.nodes
    }

    /// The number of the node that leads a quorum queue, as soon as a node knows of one.
    pub async fn leader(&self, queue: &str) -> usize {
        let ask = ["list_queues", "--no-table-headers", "--timeout", "15", "name", "leader"];
        eventually(&format!("queue {queue} has a leader"), BOOT, async || {
            for node in &self.nodes {
                // One that was killed, or boots, does not tell.
                let Ok(list) = node.try_ctl(&ask).await else { continue };
                let named = |line: &str| Some(line.strip_prefix(&format!("{queue}\t"))?.to_owned());
                let leader = list.lines().find_map(named)?;
                let leads = |node: &Arc<Node>| leader.trim() == format!("{}@localhost", node.name);
                return self.nodes.iter().position(leads);
            }
            None
        })
        .await
    }

    /// All nodes run and hear each other, whatever happened.
    pub async fn restore(&self) {
        self.heal();
        for node in &self.nodes {
            if node.running.lock().await.is_some() {
                node.thaw().await;
            }
        }
        let [first, second, third] = &self.nodes;
        tokio::join!(first.ensure_started(), second.ensure_started(), third.ensure_started());
    }

    /// Nothing crosses between this node and the others, and no connection of theirs ends.
    pub fn cut_off(&self, node: usize) {
        self.set(node, Weather::BlackHole);
    }

    /// All of them hear each other again.
    pub fn heal(&self) {
        self.ways.iter().for_each(|way| way.link.set(Weather::Fine));
    }

    fn set(&self, node: usize, weather: Weather) {
        let own = self.ways.iter().filter(|way| [way.from, way.to].contains(&node));
        own.for_each(|way| way.link.set(weather));
    }
}
