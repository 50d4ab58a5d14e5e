//! Download → prove → store, through part buffers of one budget.
//!
//! A body that ends inside its first part is proven and put in one request. A longer one is a
//! multipart upload whose parts go up while the next come down; it is completed, and so visible,
//! only when the whole is proven. Knows neither the broker nor events.

use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::memory::{Budget, Room};
use super::source::{Filled, Proven, Source};
use super::stage::Running;
use crate::crash::{self, Point};
use crate::failure::Failure;
use crate::metrics::{Metrics, Stage};
use crate::recording::Audio;
use crate::store::{NewObject, Part, Store, StoredObject, Upload};

/// Parts of one job in memory: one comes down while others go up.
const PARTS_IN_MEMORY: usize = 3;

/// What a transfer has done.
pub struct Transferred {
    pub stored: StoredObject,
    pub audio: Option<Audio>,
}

/// An object that was there already: what is heard in it nobody has listened to this time.
impl From<StoredObject> for Transferred {
    fn from(stored: StoredObject) -> Self {
        Self { stored, audio: None }
    }
}

/// Where transfers go.
pub struct Target<'a> {
    pub store: &'a Store,
    pub new: NewObject,
    pub budget: &'a Budget,
    pub metrics: &'a Arc<Metrics>,
}

/// Moves one judged download into the store.
///
/// # Errors
/// What CC-FS, the proof or the store brought; nothing is visible in the store then.
pub async fn transfer(source: Source, target: Target<'_>) -> Result<Transferred, Failure> {
    let room = target.budget.reserve(source.room_for_next()).await;
    transfer_in(room, source, target).await
}

/// The same, with room for the first part.
///
/// # Errors
/// As of [`transfer`].
pub async fn transfer_in(
    room: Room,
    mut source: Source,
    target: Target<'_>,
) -> Result<Transferred, Failure> {
    let first = source.part(room).await?;
    if !source.ended() {
        return in_parts(source, first, target).await;
    }
    let Proven { audio, .. } = source.proven()?;
    let mut stage = Running::start(target.metrics, Stage::Upload);
    let stored = target.store.put(&target.new, first.body, first.sha256).await;
    stage.end(&stored);
    let stored = stored?;
    crash::point(Point::PutDone);
    Ok(Transferred { stored, audio })
}

/// A body longer than one part: a multipart upload, aborted when anything fails.
async fn in_parts(
    mut source: Source,
    first: Filled,
    target: Target<'_>,
) -> Result<Transferred, Failure> {
    let mut stage = Running::start(target.metrics, Stage::Upload);
    let upload = target.store.start_multipart(target.new).await.inspect_err(|failure| {
        stage.end::<(), _>(&Err(failure));
    })?;
    let parts = match pump(&mut source, first, &upload, target.budget).await {
        Ok(parts) => source.proven().map(|proven| (parts, proven)),
        Err(failure) => {
            if !source.failed() {
                stage.end::<(), _>(&Err(&failure));
            }
            Err(failure)
        }
    };
    let (parts, proven) = match parts {
        Ok(whole) => whole,
        Err(failure) => {
            upload.abort().await;
            return Err(failure);
        }
    };
    let stored = upload.complete(parts, proven.size, proven.sha256).await;
    stage.end(&stored);
    Ok(Transferred { stored: stored?, audio: proven.audio })
}

/// Sends parts up while the next ones come down, and returns them in order.
async fn pump(
    source: &mut Source,
    first: Filled,
    upload: &Upload,
    budget: &Budget,
) -> Result<Vec<Part>, Failure> {
    let mut parts = Vec::new();
    let mut going_up = FuturesUnordered::new();
    let mut number = 1;
    going_up.push(send(upload, number, first));
    while !source.ended() {
        let may_grow = going_up.len() < PARTS_IN_MEMORY;
        let free = may_grow.then(|| budget.try_reserve(source.room_for_next())).flatten();
        let room = match free {
            Some(room) => room,
            // Nothing is free, and who holds memory never waits for more: the room of our own
            // next part to arrive serves again.
            None => match going_up.next().await {
                Some(sent) => {
                    let (part, room) = sent?;
                    parts.push(part);
                    room
                }
                None => budget.reserve(source.room_for_next()).await,
            },
        };
        let mut coming = std::pin::pin!(source.part(room));
        let next = loop {
            tokio::select! {
                filled = &mut coming => break filled?,
                Some(sent) = going_up.next(), if !going_up.is_empty() => parts.push(sent?.0),
            }
        };
        number += 1;
        going_up.push(send(upload, number, next));
    }
    while let Some(sent) = going_up.next().await {
        parts.push(sent?.0);
    }
    crash::point(Point::PutDone);
    parts.sort_unstable_by_key(Part::number);
    Ok(parts)
}

/// Sends one part, and hands back the room it took.
async fn send(upload: &Upload, number: u32, filled: Filled) -> Result<(Part, Room), Failure> {
    let Filled { body, sha256, room } = filled;
    let part = upload.part(number, body, sha256).await?;
    Ok((part, room))
}
