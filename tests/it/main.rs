//! callvault as a process among real parts.
#[path = "../support/mod.rs"]
mod support;

mod archive;
mod broker;
mod ccfs;
mod deadline;
mod deploy;
mod drain;
mod dump;
mod duplicates;
mod ledger;
mod outages;
mod store;
mod suspects;
mod tenants;
