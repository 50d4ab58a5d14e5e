//! The commands: the only places that build clients and see the configuration whole.

pub mod healthcheck;
