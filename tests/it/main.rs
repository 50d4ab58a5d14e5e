//! callvault as a process among real parts.
#[path = "../support/mod.rs"]
mod support;

mod ccfs;
