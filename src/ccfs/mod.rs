//! CC-FS: asks for one recording, or for the index of a span, and judges what comes back. But for
//! `traces` the only code that names its HTTP client.
//!
//! Knows the wire (signature, result codes, framing); must not know queues, retries or the store:
//! it ends in a [`Download`], which is a file by status, headers and first bytes, or in a
//! [`crate::failure::Failure`] that already carries its class.

pub mod answer;
mod check;
mod client;
mod codes;
mod connect;
mod download;
mod index;
mod json;
mod order;
mod package;
mod question;
pub mod signature;
mod skew;
mod span;
mod status;
mod traced;
mod transport;
mod ways;

pub use check::{Checked, NO_CALL};
pub use client::{Client, SignedRequest};
pub use codes::{Codes, known_codes};
pub use connect::ClientError;
pub use download::Download;
pub use package::{IndexName, ResponseId};
pub use question::Ask;
pub use span::Span;
pub use ways::{Route, Ways};

/// The interface that recordings come from (vendor page, section URI).
pub const PATH: &str = "/CCFS/resource/ccfs/downloadRecord";

/// The two that an index comes from: it is made, and fetched.
pub const QUERY_BILL_DATA: &str = "/CCFS/resource/ccfs/queryBillData";
pub const DOWNLOAD_BILL_FILE: &str = "/CCFS/resource/ccfs/downloadBillFile";
