//! callvault as a process among real parts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod archive;
mod breakers;
mod broker;
mod ccfs;
mod cli;
mod dead;
mod crash;
mod deadline;
mod deploy;
mod drain;
mod dump;
mod duplicates;
mod ends;
mod http;
mod ledger;
mod messages;
mod outages;
mod readme;
mod store;
mod suspects;
mod tenants;
mod vendor;
mod wire;
