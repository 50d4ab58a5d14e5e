//! What is down, and what has crashed (contract 5): gates with their breakers, the pause while the
//! common store is down or no event is taken, suspects. It must not know what a job does.

mod blame;
mod breaker;
mod gate;
mod gates;
mod lamp;
mod outage;
mod pauses;
mod server;
mod suspects;

pub use blame::{For, Party, Waits};
pub use breaker::Threshold;
pub use gate::{Gate, Pass};
pub use gates::{Gates, probes};
pub use outage::{
    mind_the_broker, mind_the_events, mind_the_store, mind_the_tenants, nothing_of_the_store,
    probe_the_stores,
};
pub use pauses::Pauses;
pub use server::Server;
pub use suspects::Suspects;
