//! What is in a ZIP: its entries, all of them proven before the first is handed out (contract 3,
//! `zip = "unpack"`). Pure: it reads what it is given, and knows neither files nor the store.

mod directory;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::{Read, Seek};
use std::ops::ControlFlow;

use percent_encoding::percent_encode;
use zip::read::ZipFile;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::format::{Format, HEAD_BYTES, Sniffed, sniff, sniff_whole};
use super::framing::{Framing, empty, protocol};
use super::key::{ENCODED, undotted};
use super::proof::Proof;
use super::wav::Audio;
use crate::failure::Failure;

/// The most entries of an archive, folders included: each becomes an object, and all of them stand
/// in one event.
pub const MAX_ENTRIES: u64 = 1_000;
/// The most bytes that are made of one. Speech gives 2 or so and silence up to 1,032, deflate's
/// most, hence what is allowed in any case: two hours of silence.
const MAX_RATIO: u64 = 100;
const ALWAYS_ALLOWED: u64 = 64 << 20;
/// What is unpacked at a time.
const PIECE: usize = 64 << 10;

/// A ZIP that can be read anywhere.
pub struct Archive<R> {
    zip: ZipArchive<R>,
    max_size: u64,
}

/// An entry that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    at: usize,
    /// Its name as one segment of a key, percent-encoded: a path in it is none any more.
    pub name: String,
    /// Bytes, unpacked.
    pub size: u64,
    pub format: Format,
    pub audio: Option<Audio>,
}

/// Why an archive is not unpacked.
#[derive(Debug)]
pub enum Unfit {
    /// It cannot be, or must not, whatever is in it: a ZIP all the same, which can be kept as it
    /// is. What it is about, for people.
    Whole(String),
    /// It is not what it says.
    Broken(Failure),
}

impl From<Failure> for Unfit {
    fn from(failure: Failure) -> Self {
        Self::Broken(failure)
    }
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Whole(why) => protocol(why),
            Unfit::Broken(failure) => failure,
        }
    }
}

/// What the directory says of an entry.
struct Listed {
    name: String,
    size: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Opens an archive of which at most `max_size` bytes may come.
    ///
    /// # Errors
    /// [`Unfit::Whole`] past one of the limits; `ccfs.protocol` where two headers say different
    /// things of an entry, or entries share bytes or a name.
    pub fn open(reader: R, max_size: u64) -> Result<Self, Unfit> {
        let mut zip = directory::open(reader)?;
        // Off by default: that each entry is what the directory says, and no two overlap.
        zip.validate_header_consistency().map_err(unusable)?;
        Ok(Self { zip, max_size })
    }

    /// Unpacks every entry once, hands out nothing, and says what there is. `stop` is asked now
    /// and then, and makes it fail.
    ///
    /// # Errors
    /// [`Unfit::Whole`] past a limit, or for an entry that can be no object: an empty one, an
    /// encrypted one; else as of [`Proof::finish`]: an entry that is cut or not what its checksum
    /// says makes the archive unusable.
    pub fn prove(&mut self, stop: impl Fn() -> bool) -> Result<Vec<Entry>, Unfit> {
        let listed = self.listed()?;
        let mut entries = Vec::new();
        for (at, listed) in listed {
            let within = |unfit| in_entry(at, unfit);
            let (format, audio) = self.prove_entry(at, &listed, &stop).map_err(within)?;
            let Listed { name, size } = listed;
            entries.push(Entry { at, name, size, format, audio });
        }
        if entries.is_empty() {
            return Err(empty("the ZIP has folders only").into());
        }
        Ok(entries)
    }

    /// Hands out the bytes of an entry, until `take` has had enough.
    ///
    /// # Errors
    /// As of [`Archive::prove`].
    pub fn read(
        &mut self,
        entry: &Entry,
        mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let read = self.unpack(entry.at, &mut take).map_err(|unfit| in_entry(entry.at, unfit));
        read.map(drop).map_err(Failure::from)
    }

    /// What it was made of.
    pub fn into_inner(self) -> R {
        self.zip.into_inner()
    }

    /// The entries that are no folders, and whether they may be unpacked at all.
    fn listed(&mut self) -> Result<Vec<(usize, Listed)>, Unfit> {
        let mut listed = Vec::new();
        let (mut packed, mut unpacked) = (0_u64, 0_u64);
        for at in 0..self.zip.len() {
            let file = self.zip.by_index_raw(at).map_err(unusable)?;
            packed = packed.saturating_add(file.compressed_size());
            unpacked = unpacked.saturating_add(file.size());
            if let Some(entry) =
                Listed::read(&file).map_err(|why| in_entry(at, Unfit::Whole(why)))?
            {
                listed.push((at, entry));
            }
        }
        if unpacked > self.max_size {
            let (most, is) = (self.max_size, unpacked);
            let why = format!("the ZIP unpacks to {is} bytes, ccfs.max_size is {most}");
            return Err(Unfit::Whole(why));
        }
        if unpacked > packed.saturating_mul(MAX_RATIO).max(ALWAYS_ALLOWED) {
            let why = format!(
                "the ZIP unpacks {packed} bytes to {unpacked}, over {MAX_RATIO} times as many"
            );
            return Err(Unfit::Whole(why));
        }
        Ok(listed)
    }

    fn prove_entry(
        &mut self,
        at: usize,
        listed: &Listed,
        stop: &impl Fn() -> bool,
    ) -> Result<(Format, Option<Audio>), Unfit> {
        let mut head = Vec::new();
        let mut proof = None;
        let mut size = 0;
        let framing = Framing::Length(listed.size);
        let ended = self.unpack(at, &mut |bytes| {
            size += bytes.len() as u64;
            match &mut proof {
                Some((_, proof)) => Proof::update(proof, bytes),
                None => {
                    head.extend_from_slice(bytes);
                    if head.len() >= HEAD_BYTES {
                        proof = Some(begun(&head, sniff(&head), framing));
                        head.clear();
                    }
                }
            }
            if stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if !ended {
            return Err(protocol("stopped before its end").into());
        }
        if size != listed.size {
            let should = listed.size;
            return Err(protocol(format!("{size} bytes come of it instead of {should}")).into());
        }
        let (format, proof) = proof.unwrap_or_else(|| begun(&head, sniff_whole(&head), framing));
        Ok((format, proof.finish()?.audio))
    }

    /// Whether it went to the end, which is where the checksum is compared.
    fn unpack(
        &mut self,
        at: usize,
        take: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<bool, Unfit> {
        let mut file = self.zip.by_index(at).map_err(unusable)?;
        let mut piece = vec![0; PIECE];
        loop {
            let some = file.read(&mut piece).map_err(|error| unusable(error.into()))?;
            if some == 0 {
                return Ok(true);
            }
            if take(&piece[..some]).is_break() {
                return Ok(false);
            }
        }
    }
}

impl Listed {
    /// `None` for a folder.
    ///
    /// # Errors
    /// Why it can be no object.
    fn read<R: Read + ?Sized>(file: &ZipFile<'_, R>) -> Result<Option<Self>, String> {
        let no = |why: &str| Err(why.to_owned());
        if file.encrypted() {
            return no("it is encrypted");
        }
        if !matches!(file.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return no("it is packed by a method that is not read here");
        }
        if file.is_symlink() {
            return no("it is a symbolic link");
        }
        if file.name_raw().is_empty() {
            return no("it has no name");
        }
        match (file.is_dir(), file.size()) {
            (true, 0) => Ok(None),
            (true, _) => no("it is a folder with content"),
            (false, 0) => no("it has no bytes"),
            // As bytes: nothing says how names are encoded, and equal ones must stay equal.
            (false, size) => {
                let name = percent_encode(file.name_raw(), ENCODED).to_string();
                Ok(Some(Self { name: undotted(&name).to_owned(), size }))
            }
        }
    }
}

/// A proof that has seen the head.
fn begun(head: &[u8], sniffed: Sniffed, framing: Framing) -> (Format, Proof) {
    let format = match sniffed {
        Sniffed::Wav => Format::Wav,
        Sniffed::Zip => Format::Zip,
        // What CC-FS has packed is part of the recording, whatever it is.
        _ => Format::Other,
    };
    let mut proof = Proof::new(format, framing);
    proof.update(head);
    (format, proof)
}

/// Names in an archive are anybody's, and may be phone numbers: it goes by its place.
fn in_entry(at: usize, unfit: Unfit) -> Unfit {
    let within = |why: &str| format!("entry {} of the ZIP: {why}", at + 1);
    match unfit {
        Unfit::Whole(why) => Unfit::Whole(within(&why)),
        Unfit::Broken(mut failure) => {
            failure.detail = within(&failure.detail);
            Unfit::Broken(failure)
        }
    }
}

fn unusable(error: ZipError) -> Unfit {
    Unfit::Broken(match &error {
        ZipError::UnsupportedArchive(text) => {
            return Unfit::Whole(format!("no ZIP for us: {text}"));
        }
        // A text made for the case may hold a name.
        ZipError::InvalidArchive(Cow::Borrowed(text)) => protocol(format!("no good ZIP: {text}")),
        ZipError::InvalidArchive(Cow::Owned(_)) => protocol("no good ZIP: it contradicts itself"),
        ZipError::Io(cause) if cause.get_ref().is_none() => {
            protocol("the ZIP cannot be read").because(error)
        }
        _ => protocol(format!("no good ZIP: {error}")),
    })
}
