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
use crate::board::{Progress, Step};
use crate::crash::{self, Point};
use crate::failure::{Came, Class, Failure, Reason};
use crate::metrics::{Metrics, Stage};
use crate::store::{NewObject, Part, Payload, Store, StoredObject, Upload};

/// Parts of one job in memory: one comes down while others go up.
const PARTS_IN_MEMORY: usize = 3;

/// Where transfers go.
pub struct Target<'a> {
    pub store: &'a Store,
    pub new: NewObject,
    pub budget: &'a Budget,
    pub metrics: &'a Arc<Metrics>,
    pub progress: &'a Progress,
}

/// Moves one judged download into the store.
///
/// # Errors
/// What CC-FS, the proof or the store brought; nothing is visible in the store then.
pub async fn transfer(source: Source, target: Target<'_>) -> Result<StoredObject, Failure> {
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
    mut target: Target<'_>,
) -> Result<StoredObject, Failure> {
    let first = source.part(room, target.store.sums()).await?;
    if !source.ended() {
        // The longer way is not to make room for itself in every short one.
        return Box::pin(in_parts(source, first, target)).await;
    }
    target.new = source.proven()?.describe(target.new);
    put(first.payload, target).await
}

/// A body that fits one part, and is proven.
///
/// # Errors
/// What the store brought.
pub async fn put(payload: Payload, target: Target<'_>) -> Result<StoredObject, Failure> {
    target.progress.step(Step::Upload);
    let mut stage = Running::start(target.metrics, Stage::Upload);
    let stored = stage.during(target.store.put(&target.new, &payload)).await;
    stage.end(&stored);
    let stored = stored?;
    crash::point(Point::PutDone);
    Ok(stored)
}

/// A body longer than one part: a multipart upload, aborted when anything fails.
async fn in_parts(
    mut source: Source,
    first: Filled,
    target: Target<'_>,
) -> Result<StoredObject, Failure> {
    // What the object says of itself has to be said before its end is there.
    let suspected = source.suspected();
    let doubted = suspected.is_some();
    let unproven = suspected.or(target.new.unproven);
    let new = NewObject { audio: source.heard(), unproven, ..target.new };
    let mut stage = Running::start(target.metrics, Stage::Upload);
    let opening = stage.during(target.store.start_multipart(new));
    let upload = opening.await.inspect_err(|failure| {
        stage.end::<(), _>(&Err(failure));
    })?;
    let pumping = pump(&mut source, first, &upload, target.budget, target.progress);
    let parts = match stage.during(pumping).await {
        Ok(parts) => match source.proven() {
            Ok(proven) if doubted && proven.unproven.is_none() => Err(healed(&proven)),
            proven => proven.map(|proven| (parts, proven)),
        },
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
            stage.during(upload.abort()).await;
            return Err(failure);
        }
    };
    let Proven { size, sha256, audio, packed, .. } = proven;
    let completing = upload.holding(packed).complete(parts, size, sha256);
    let stored = stage.during(completing).await;
    stage.end(&stored);
    let stored = stored?;
    Ok(StoredObject { audio: audio.or(stored.audio), ..stored })
}

/// What was begun says of itself that it is damaged: it is begun anew, and that is nobody's fault.
fn healed(proven: &Proven) -> Failure {
    let detail = "what CC-FS had was damaged and is whole now; it is fetched again";
    let came = Came { size: proven.size, sha256: proven.sha256 };
    Failure::new(Class::Held, Reason::CCFS_TRUNCATED, detail).of(came)
}

/// Sends parts up while the next ones come down, and returns them in order.
async fn pump(
    source: &mut Source,
    first: Filled,
    upload: &Upload,
    budget: &Budget,
    progress: &Progress,
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
        let mut coming = std::pin::pin!(source.part(room, upload.sums()));
        let next = loop {
            tokio::select! {
                filled = &mut coming => break filled?,
                Some(sent) = going_up.next(), if !going_up.is_empty() => parts.push(sent?.0),
            }
        };
        number += 1;
        going_up.push(send(upload, number, next));
    }
    // All of it has come; it is proven when all of it is there.
    progress.step(Step::Upload);
    while let Some(sent) = going_up.next().await {
        parts.push(sent?.0);
    }
    crash::point(Point::PutDone);
    parts.sort_unstable_by_key(Part::number);
    Ok(parts)
}

/// Sends one part, and hands back the room it took.
async fn send(upload: &Upload, number: u32, filled: Filled) -> Result<(Part, Room), Failure> {
    let Filled { payload, room } = filled;
    let part = upload.part(number, &payload).await?;
    Ok((part, room))
}
