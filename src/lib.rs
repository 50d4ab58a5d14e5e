#![doc = include_str!("../docs/ARCHITECTURE.md")]
#![forbid(unsafe_code)]

pub mod config;

pub mod request;

pub mod ccfs;

pub mod recording;

pub mod store;

pub mod http;
pub mod metrics;

pub mod clock;
pub mod failure;
pub mod lifecycle;
pub mod logging;

pub mod cli;
