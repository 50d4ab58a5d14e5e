//! callvault as a process among real parts.
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod archive;
mod breakers;
mod broker;
mod ccfs;
mod deadline;
mod deploy;
mod drain;
mod dump;
mod duplicates;
mod ends;
mod ledger;
mod messages;
mod outages;
mod store;
mod suspects;
mod tenants;
