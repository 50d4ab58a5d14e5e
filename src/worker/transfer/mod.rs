//! Bytes from CC-FS into the store, through part buffers of one budget: download, prove, store.
//! It must not know the broker, nor what follows from a failure.

mod body;
mod memory;
mod parts;
mod source;
mod stage;
mod unpack;

pub use body::{Body, Coming};
pub use memory::{Budget, Room};
pub use parts::{Target, transfer};
pub use source::Source;
pub use stage::Running;
pub use unpack::{Shelf, Taken, check_folder, take};
