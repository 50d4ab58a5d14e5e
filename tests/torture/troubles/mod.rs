//! All that goes wrong, a table a theme.

pub mod broker;
pub mod mixed;
pub mod processes;

use super::Scenario;

/// In the order in which they run.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    processes::ALL.iter().chain(&broker::ALL).chain(&mixed::ALL)
}
