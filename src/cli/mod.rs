//! The commands: one file each; the only places that build clients and see the configuration whole.

pub mod config;
pub mod healthcheck;
