//! What a worker is at, for people: which jobs it has in flight, what has failed, how its servers
//! are, and whose messages wait.
//!
//! Whoever works writes it, the page reads it, and it knows neither. What adds up is counted by
//! `metrics`; here stands what there is now, and little of what was. Nothing in it is a secret, and
//! names of calls come as the log may have them.

mod failures;
mod jobs;
mod servers;
mod tenants;

pub use failures::{Failed, Failures, FailuresSeen};
pub use jobs::{Job, Jobs, JobsSeen, Progress, Seat, Step};
pub use servers::{Kind, Server, Servers, ServersSeen};
pub use tenants::{Member, Standing, Tenants};

/// All that is to be seen of a worker besides its numbers.
#[derive(Debug, Default)]
pub struct Board {
    pub jobs: Jobs,
    pub failures: Failures,
    pub servers: Servers,
    pub tenants: Tenants,
}
