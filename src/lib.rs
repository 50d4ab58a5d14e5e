#![doc = include_str!("../docs/ARCHITECTURE.md")]
#![forbid(unsafe_code)]
// It panics where stderr is closed: `cli::tell`.
#![warn(clippy::print_stderr)]

pub mod cli;
pub mod config;

// The flow: delivery → request → download → prove → store → announce → settle.
pub mod broker;
pub mod request;
pub mod index;
pub mod ccfs;
pub mod recording;
pub mod store;
pub mod event;
pub mod worker;

pub mod board;
pub mod http;
pub mod metrics;

pub mod beat;
pub mod clock;
pub mod crash;
pub mod dialect;
pub mod failure;
pub mod finding;
pub mod identifiers;
pub mod lifecycle;
pub mod logging;
pub mod machine;
pub mod runbook;
pub mod service;
pub mod shared;
pub mod shell;
pub mod traces;
pub mod trust;
