//! What is down, and what has crashed (contract 5): gates with their breakers, the pause while the
//! common store is down, suspects. It must not know what a job does.

mod breaker;
mod gate;
mod outage;
mod suspects;

pub use breaker::Threshold;
pub use gate::{Gate, Pass, Server};
pub use outage::mind_the_store;
pub use suspects::Suspects;
