//! CC-FS: asks for one recording and judges what comes back. But for `traces` the only code that
//! names its HTTP client.
//!
//! Knows the wire (signature, result codes, framing); must not know queues, retries or the store:
//! it ends in a [`Download`], which is a recording by status, headers and first bytes, or in a
//! [`crate::failure::Failure`] that already carries its class.

pub mod answer;
mod check;
mod client;
mod codes;
mod connect;
mod download;
mod json;
mod order;
pub mod signature;
mod skew;
mod status;
mod traced;
mod transport;
mod ways;

pub use check::{Checked, NO_CALL};
pub use client::{Ask, Client, SignedRequest};
pub use codes::{Codes, known_codes};
pub use connect::ClientError;
pub use download::Download;
pub use ways::{Route, Ways};

/// The one interface that is called (vendor page, section URI).
pub const PATH: &str = "/CCFS/resource/ccfs/downloadRecord";
