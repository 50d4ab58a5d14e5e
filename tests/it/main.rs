//! callvault as a process among real parts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

#[path = "../support/mod.rs"]
mod support;

mod all_troubles;
mod answers;
mod archive;
mod breakers;
mod broker;
mod ccfs;
mod check;
mod circles;
mod cli;
mod cluster;
mod dead;
mod crash;
mod complete;
mod confirms;
mod consumers;
mod dashboards;
mod deadline;
mod deploy;
mod drain;
mod dump;
mod duplicates;
mod ends;
mod events;
mod helm;
mod http;
mod identifiers;
mod least_privilege;
mod ledger;
mod memory;
mod messages;
mod metrics;
mod outages;
mod package;
mod page;
mod readme;
mod reload;
mod resources;
mod rules;
mod sabotage;
mod schemas;
mod service;
mod source;
mod store;
mod supply;
mod suspects;
mod tenants;
mod traces;
mod unpack;
mod unreadable;
mod vendor;
mod waiting;
mod wire;
