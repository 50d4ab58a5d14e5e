//! callvault archives call recordings; the modules stand in the order of the flow.
#![forbid(unsafe_code)]

pub mod clock;
pub mod config;
pub mod event;
pub mod failure;
pub mod recording;
pub mod request;
