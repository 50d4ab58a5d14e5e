//! callvault as a process among real parts.
#[path = "../support/mod.rs"]
mod support;

mod archive;
mod breakers;
mod broker;
mod ccfs;
mod deploy;
mod store;
