//! All that goes wrong, a table a theme.

pub mod broker;
pub mod ccfs;
pub mod cluster;
pub mod mixed;
pub mod processes;
pub mod store;

use super::Scenario;

/// In the order in which they run.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    let apart = processes::ALL.iter().chain(&broker::ALL).chain(&store::ALL).chain(&ccfs::ALL);
    apart.chain(&mixed::ALL)
}

/// Those for which the broker has three nodes.
pub fn of_a_cluster() -> impl Iterator<Item = &'static Scenario> {
    cluster::ALL.iter()
}
