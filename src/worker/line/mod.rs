//! What becomes of one delivery: read, run along the line, judged, settled, told.
//!
//! [`intake`] → [`job`], the line → [`ended`] → [`policy`], the table → [`conclude`] → [`report`];
//! [`traced`] says what a trace tells of it.

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
pub mod traced;

pub use conclude::Concluder;
pub use ended::{Done, Outcome, panicked};
pub use intake::{Intake, Work};
pub use policy::Policy;
pub use received::Received;
pub use tools::Tools;
