//! A ZIP into objects, one an entry (`zip = "unpack"`).
//!
//! An archive is read from its end, so all of it has to be there first: in memory where it fits one
//! part, else in a temporary file, which has no name and is gone with this process. It is proven,
//! every entry of it, before the first becomes visible. What cannot be unpacked is kept as it is.

use std::fs::File;
use std::future;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::panic;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::body::{Body, Pieces};
use super::memory::{Budget, Room};
use super::parts::{Target, put, transfer, transfer_in};
use super::source::{Filled, Proven, Source};
use crate::board::Progress;
use crate::failure::{Class, Failure, Reason};
use crate::finding::Finding;
use crate::machine::Lack;
use crate::metrics::Metrics;
use crate::recording::{Archive, Entry, Format, Unfit};
use crate::store::{NewObject, Payload, Store, StoredObject, Sums};

/// What is read of a file at a time.
const PIECE: usize = 64 << 10;

/// Where entries go.
pub struct Shelf<'a> {
    pub store: &'a Store,
    pub budget: &'a Budget,
    pub metrics: &'a Arc<Metrics>,
    pub progress: &'a Progress,
}

/// What a judged download of a ZIP is.
pub enum Taken {
    /// An archive whose entries are proven.
    Unpacked(Unpacked, Vec<Entry>),
    /// What cannot be unpacked, or what CC-FS has and is no good archive.
    Kept(Kept),
}

/// Takes a judged download in, and says which entries it has, or that it is to be kept as it is.
///
/// # Errors
/// What CC-FS or the proof brought.
pub async fn take(source: Source, budget: &Budget, max_size: u64) -> Result<Taken, Failure> {
    let accepted = source.accepted().cloned();
    let (held, proven) = hold(source, budget).await?;
    let kept = |held, proven, why| Ok(Taken::Kept(Kept { held, proven, why }));
    if let Some(reason) = &proven.unproven {
        let why = reason.to_string();
        return kept(held, proven, why);
    }
    match prove(held, proven, max_size).await {
        Judged::Good(unpacked, entries) => Ok(Taken::Unpacked(unpacked?, entries)),
        Judged::Bad(held, proven, Unfit::Whole(why)) => kept(held, proven, why),
        Judged::Bad(held, mut proven, Unfit::Broken(refused))
            if accepted.is_some_and(|known| known.came == proven.came()) =>
        {
            proven.unproven = Some(refused.reason);
            kept(held, proven, refused.detail)
        }
        Judged::Bad(_, proven, Unfit::Broken(refused)) => Err(refused.of(proven.came())),
    }
}

/// Takes a download in, and proves that it came whole.
async fn hold(mut source: Source, budget: &Budget) -> Result<(Held, Proven), Failure> {
    let room = budget.reserve(source.room_for_next()).await;
    // None of it is a request's body yet.
    let Filled { mut payload, mut room } = source.part(room, Sums::default()).await?;
    if source.ended() {
        let held = Held::Memory { bytes: Cursor::new(payload.into_body()), _room: room };
        return Ok((held, source.proven()?));
    }
    let mut file = blocking(tempfile::tempfile).await.map_err(no_disk)?;
    loop {
        // The room goes where its bytes go, which may outlive this future.
        let write = move || written(file, payload.body()).map(|file| (file, room));
        (file, room) = blocking(write).await.map_err(no_disk)?;
        if source.ended() {
            return Ok((Held::File(BufReader::new(file)), source.proven()?));
        }
        Filled { payload, room } = source.part(room, Sums::default()).await?;
    }
}

/// What a ZIP is that came whole.
enum Judged {
    /// An archive with its entries.
    Good(Result<Unpacked, Failure>, Vec<Entry>),
    /// None, and why.
    Bad(Held, Proven, Unfit),
}

/// Proves every entry, and opens the archive to be read from: both read much of it.
async fn prove(mut held: Held, proven: Proven, max_size: u64) -> Judged {
    let stop = CancellationToken::new();
    // Whoever drops this future ends the thread's work, too.
    let _guard = stop.clone().drop_guard();
    blocking(move || {
        let archive = Archive::open(&mut held, max_size);
        match archive.and_then(|mut archive| archive.prove(|| stop.is_cancelled())) {
            Ok(entries) => Judged::Good(Unpacked::new(held, proven, max_size), entries),
            Err(unfit) => Judged::Bad(held, proven, unfit),
        }
    })
    .await
}

/// What is stored as it came.
pub struct Kept {
    held: Held,
    proven: Proven,
    why: String,
}

impl Kept {
    /// Why it is not unpacked.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Stores all of it as one object.
    ///
    /// # Errors
    /// What the store brought.
    pub async fn store(self, new: NewObject, shelf: Shelf<'_>) -> Result<StoredObject, Failure> {
        let Self { held, proven, .. } = self;
        let Shelf { store, budget, metrics, progress } = shelf;
        let (size, sha256) = (proven.size, proven.sha256);
        let target = Target { store, new: proven.describe(new), budget, metrics, progress };
        let mut file = match held {
            // Room and bytes stay until it is stored.
            Held::Memory { bytes, _room } => {
                return put(Payload::new(bytes.into_inner()).hashed(sha256), target).await;
            }
            Held::File(file) => file,
        };
        let (sender, pieces) = mpsc::channel(1);
        // It is proven: what is said of it is said already.
        let body = Body::Held(Pieces { format: Format::Other, size, pieces });
        let source = Source::new(body, store.part_size() as u64, size);
        let reading = blocking(move || send_all(&mut file, &sender));
        let (stored, ()) = tokio::join!(transfer(source, target), reading);
        stored
    }
}

/// A ZIP that is all here.
enum Held {
    /// With the share of the budget it lives in.
    Memory {
        bytes: Cursor<Bytes>,
        _room: Room,
    },
    File(BufReader<File>),
}

/// An archive whose entries are proven.
pub struct Unpacked {
    archive: Archive<Held>,
    /// Of all of it.
    proven: Proven,
    in_memory: bool,
    max_size: u64,
}

impl Unpacked {
    fn new(held: Held, proven: Proven, max_size: u64) -> Result<Self, Failure> {
        let in_memory = matches!(held, Held::Memory { .. });
        let archive = Archive::open(held, max_size).map_err(Failure::from)?;
        Ok(Self { archive, proven, in_memory, max_size })
    }

    /// Stores it as it is after all.
    pub fn keep(self, why: String) -> Kept {
        Kept { held: self.archive.into_inner(), proven: self.proven, why }
    }

    /// Stores entries as the objects that go with them, in the order of their keys.
    ///
    /// # Errors
    /// What the store brought. Whatever is there then is whole, and the next try finds it.
    pub async fn store(
        mut self,
        mut objects: Vec<(Entry, NewObject)>,
        shelf: Shelf<'_>,
    ) -> Result<Vec<StoredObject>, Failure> {
        let Shelf { store, budget, metrics, progress } = shelf;
        objects.sort_by(|(_, one), (_, other)| one.key.cmp(&other.key));
        let mut all = Vec::new();
        for (entry, new) in objects {
            let (sender, pieces) = mpsc::channel(1);
            let body = Body::Held(Pieces { format: entry.format, size: entry.size, pieces });
            let source = Source::new(body, store.part_size() as u64, self.max_size);
            let room;
            (self, room) = self.room_for(&source, entry.size, budget).await?;
            let unpacking = blocking(move || self.send(&entry, &sender));
            let target = Target { store, new, budget, metrics, progress };
            let (transferred, back) = tokio::join!(transfer_in(room, source, target), unpacking);
            self = back;
            all.push(transferred?);
        }
        Ok(all)
    }

    /// Room for the first part of an entry of `size` bytes. Who holds memory never waits for more:
    /// where it is not free at once, or one part will not do, the archive makes way.
    async fn room_for(
        mut self,
        source: &Source,
        size: u64,
        budget: &Budget,
    ) -> Result<(Self, Room), Failure> {
        let needed = source.room_for_next();
        if self.in_memory {
            if needed >= size
                && let Some(room) = budget.try_reserve(needed)
            {
                return Ok((self, room));
            }
            self = blocking(move || self.into_file()).await?;
        }
        Ok((self, budget.reserve(needed).await))
    }

    fn into_file(self) -> Result<Self, Failure> {
        let Self { archive, proven, max_size, .. } = self;
        let held = match archive.into_inner() {
            Held::Memory { bytes, .. } => {
                let file = tempfile::tempfile().and_then(|file| written(file, bytes.get_ref()));
                Held::File(BufReader::new(file.map_err(no_disk)?))
            }
            file @ Held::File(_) => file,
        };
        Self::new(held, proven, max_size)
    }

    /// Sends the bytes of an entry until nobody wants more.
    fn send(mut self, entry: &Entry, pieces: &mpsc::Sender<Result<Bytes, Failure>>) -> Self {
        let read = self.archive.read(entry, |bytes| {
            match pieces.blocking_send(Ok(Bytes::copy_from_slice(bytes))) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        if let Err(failure) = read {
            // Nobody to tell it to: the transfer has failed before.
            drop(pieces.blocking_send(Err(failure)));
        }
        self
    }
}

/// Sends a file from its beginning until nobody wants more.
fn send_all(file: &mut BufReader<File>, pieces: &mpsc::Sender<Result<Bytes, Failure>>) {
    let mut read = file.rewind();
    let mut piece = vec![0; PIECE];
    while read.is_ok() {
        match file.read(&mut piece) {
            Ok(0) => return,
            Ok(some) => {
                let some = Bytes::copy_from_slice(&piece[..some]);
                if pieces.blocking_send(Ok(some)).is_err() {
                    return;
                }
            }
            Err(error) => read = Err(error),
        }
    }
    if let Err(error) = read {
        drop(pieces.blocking_send(Err(no_disk(error))));
    }
}

impl Read for Held {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory { bytes, .. } => bytes.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

impl Seek for Held {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Memory { bytes, .. } => bytes.seek(to),
            Self::File(file) => file.seek(to),
        }
    }
}

fn written(mut file: File, bytes: &[u8]) -> io::Result<File> {
    file.write_all(bytes)?;
    Ok(file)
}

/// Whether there can be a temporary file at all, for `callvault check`.
pub fn check_folder() -> Finding {
    let folder = std::env::temp_dir();
    let folder = folder.display();
    match tempfile::tempfile().and_then(|file| written(file, &[1; 1 << 16])) {
        Ok(_) => Finding::well("temporary file", format!("{folder} takes one")),
        Err(error) => Finding::failed(
            "temporary file",
            format!("{folder} takes none: {error}"),
            "make room there, or have TMPDIR name a folder with room for the largest archives at \
             once; zip = \"keep\" needs none",
        ),
    }
}

/// Not CC-FS' fault nor the recording's: it waits until there is room again.
fn no_disk(error: io::Error) -> Failure {
    if let Some(lack) = Lack::behind(&error) {
        return lack.failure().because(error);
    }
    let folder = std::env::temp_dir();
    let detail = format!(
        "no temporary file of the ZIP's size in {}: {error}; make room there, or set TMPDIR",
        folder.display()
    );
    Failure::new(Class::Held, Reason::JOB_NO_DISK, detail)
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // Not begun, since the runtime ends; this future ends with it.
            Err(_) => future::pending().await,
        },
    }
}
