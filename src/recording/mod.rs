//! What a recording is: its format by first bytes, the proof that it is whole, its object key.
//! Pure; knows neither CC-FS nor the store.

mod archive;
mod date;
mod format;
mod framing;
mod key;
mod proof;
mod wav;
mod zip;

pub use archive::{Archive, Entry, MAX_ENTRIES, Unfit};
pub use date::When;
pub use format::{Format, HEAD_BYTES, Sniffed, extension, likely_extensions, sniff, sniff_whole};
pub use framing::Framing;
pub use key::{KeyFolder, KeyPattern, KeyTemplate, Located, ObjectKey, Place, locate, name_of};
pub use proof::{Proof, Told};
pub use wav::{Audio, heard};
pub use zip::{Listing, Packed, TAIL_BYTES, directory};
