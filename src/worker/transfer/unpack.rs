//! A ZIP into objects, one an entry (`zip = "unpack"`).
//!
//! An archive is read from its end, so all of it has to be there first: in memory where it fits one
//! part, else in a temporary file, which has no name and is gone with this process. It is proven,
//! every entry of it, before the first becomes visible.

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

use super::body::{Body, Unpacking};
use super::memory::{Budget, Room};
use super::parts::{Target, Transferred, transfer_in};
use super::source::{Filled, Source};
use crate::failure::{Class, Failure, Reason};
use crate::finding::Finding;
use crate::metrics::Metrics;
use crate::recording::{Archive, Entry};
use crate::store::{NewObject, Store};

/// Where entries go.
pub struct Shelf<'a> {
    pub store: &'a Store,
    pub budget: &'a Budget,
    pub metrics: &'a Arc<Metrics>,
}

/// Takes a judged download in, and says which entries it has.
///
/// # Errors
/// What CC-FS or the proof brought; `ccfs.too_large` where the entries have more than `max_size`
/// bytes together.
pub async fn take(
    source: Source,
    budget: &Budget,
    max_size: u64,
) -> Result<(Unpacked, Vec<Entry>), Failure> {
    prove(hold(source, budget).await?, max_size).await
}

/// Takes a download in, and proves that it came whole.
async fn hold(mut source: Source, budget: &Budget) -> Result<Held, Failure> {
    let room = budget.reserve(source.room_for_next()).await;
    let Filled { mut body, mut room, .. } = source.part(room).await?;
    if source.ended() {
        source.proven()?;
        return Ok(Held::Memory { bytes: Cursor::new(body), _room: room });
    }
    let mut file = blocking(tempfile::tempfile).await.map_err(no_disk)?;
    loop {
        // The room goes where its bytes go, which may outlive this future.
        let write = move || written(file, &body).map(|file| (file, room));
        (file, room) = blocking(write).await.map_err(no_disk)?;
        if source.ended() {
            source.proven()?;
            return Ok(Held::File(BufReader::new(file)));
        }
        Filled { body, room, .. } = source.part(room).await?;
    }
}

/// Proves every entry.
async fn prove(held: Held, max_size: u64) -> Result<(Unpacked, Vec<Entry>), Failure> {
    let stop = CancellationToken::new();
    // Whoever drops this future ends the thread's work, too.
    let _guard = stop.clone().drop_guard();
    blocking(move || {
        let in_memory = matches!(held, Held::Memory { .. });
        let mut archive = Archive::open(held, max_size)?;
        let entries = archive.prove(|| stop.is_cancelled())?;
        Ok((Unpacked { archive, in_memory, max_size }, entries))
    })
    .await
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
    in_memory: bool,
    max_size: u64,
}

impl Unpacked {
    /// Stores entries as the objects that go with them, in the order of their keys.
    ///
    /// # Errors
    /// What the store brought. Whatever is there then is whole, and the next try finds it.
    pub async fn store(
        mut self,
        mut objects: Vec<(Entry, NewObject)>,
        shelf: Shelf<'_>,
    ) -> Result<Vec<Transferred>, Failure> {
        let Shelf { store, budget, metrics } = shelf;
        objects.sort_by(|(_, one), (_, other)| one.key.cmp(&other.key));
        let mut all = Vec::new();
        for (entry, new) in objects {
            let (sender, pieces) = mpsc::channel(1);
            let body = Body::Entry(Unpacking { entry: entry.clone(), pieces });
            let source = Source::new(body, store.part_size() as u64, self.max_size);
            let room;
            (self, room) = self.room_for(&source, entry.size, budget).await?;
            let unpacking = blocking(move || self.send(&entry, &sender));
            let target = Target { store, new, budget, metrics };
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
        let Self { archive, max_size, .. } = self;
        let held = match archive.into_inner() {
            Held::Memory { bytes, .. } => {
                let file = tempfile::tempfile().and_then(|file| written(file, bytes.get_ref()));
                Held::File(BufReader::new(file.map_err(no_disk)?))
            }
            file @ Held::File(_) => file,
        };
        Ok(Self { archive: Archive::open(held, max_size)?, in_memory: false, max_size })
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
