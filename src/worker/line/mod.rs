//! What becomes of one delivery: read, run along the line, judged, settled, told.
//!
//! [`intake`] → [`job`], the line → [`ended`] → [`policy`], the table → [`conclude`] → [`report`].

mod conclude;
pub mod dump;
mod ended;
mod intake;
mod job;
mod policy;
mod received;
mod report;
mod say;
mod tools;

pub use conclude::Concluder;
pub use ended::{Done, Outcome, panicked};
pub use intake::{Intake, Work};
pub use policy::Policy;
pub use received::Received;
pub use tools::Tools;
