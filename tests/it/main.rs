//! callvault as a process among real parts.
#[path = "../support/mod.rs"]
mod support;

mod archive;
mod broker;
mod ccfs;
mod cli;
mod deploy;
mod http;
mod readme;
mod store;
mod vendor;
