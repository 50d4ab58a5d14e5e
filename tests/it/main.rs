//! callvault as a process among real parts.
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod archive;
mod breakers;
mod broker;
mod ccfs;
mod deploy;
mod ends;
mod messages;
mod store;
