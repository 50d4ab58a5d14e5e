//! The way out: the open connection that publishes, and its channels.
//!
//! It must not know what is published, nor what an answer means.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::connection::{Fault, Link, rpc};
use super::dial::FRAME_MAX;
use super::door::Door;
use super::status::{Side, Wish};
use super::topology::Topology;
use crate::beat;

/// Channels that are published on at once, but for the one that events share: each by a batch, or by a
/// message that goes alone. A third of them is left to batches, whatever comes of dumps.
const CHANNELS: usize = 24;
/// Publishes under way at once on the shared channel.
const SHARED: usize = 256;
/// What dumps and other large messages may be on their way to a queue of ours, in KiB: lapin holds a
/// copy of each until it is written.
const BULK: u32 = 4 * 1024;
/// Each takes at least this much of it, so that a third of the channels is the most.
const LEAST: u32 = BULK / 8;
/// A message of so many bytes is large, whatever it is.
pub(super) const LARGE: usize = 64 * 1024;
/// How many of them may publish the items of dumps that have failed in their batch.
const ITEMS: usize = 8;
/// How many of them may have been sent before, in vain: a queue that does not confirm would else
/// take the channels of all that do.
const REPEATED: usize = 4;
/// The least time between two declarations of a topology that turned out to have a hole.
const REPAIR_EVERY: Duration = Duration::from_secs(2);

/// The open connection's channels, and the bound of how many are in use.
pub(super) struct Lanes {
    open: watch::Sender<Option<Arc<Lane>>>,
    places: Semaphore,
    shared: Semaphore,
    bulk: Semaphore,
    items: Semaphore,
    repeated: Semaphore,
    repaired: tokio::sync::Mutex<Option<Instant>>,
    frame_max: AtomicUsize,
    /// Where the last node stands that turned out to be mute.
    mute: watch::Sender<String>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            open: watch::Sender::new(None),
            places: Semaphore::new(CHANNELS),
            shared: Semaphore::new(SHARED),
            bulk: Semaphore::new(BULK as usize),
            items: Semaphore::new(ITEMS),
            repeated: Semaphore::new(REPEATED),
            repaired: tokio::sync::Mutex::default(),
            frame_max: AtomicUsize::new(FRAME_MAX as usize),
            mute: watch::Sender::default(),
        }
    }
}

/// What is published, as far as it matters to others who publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// An event: what has just happened.
    Event,
    /// A message on its way to another queue of ours.
    Move,
    /// A dump on its way to the bulk queue.
    Forward,
    /// What a dump asks for.
    Item,
}

/// A place among those who publish.
pub(super) struct Place<'a> {
    _among_all: SemaphorePermit<'a>,
    _in_its_line: Option<SemaphorePermit<'a>>,
    _among_the_repeated: Option<SemaphorePermit<'a>>,
}

/// A connection while it is open.
pub(super) struct Lane {
    link: Arc<Link>,
    idle: Mutex<Vec<Channel>>,
    /// What several publish on at once.
    shared: tokio::sync::Mutex<Option<Channel>>,
    /// Publishes that the broker has answered, however it did.
    answers: AtomicU64,
    /// Some of them were events.
    heard_of_events: AtomicBool,
    /// There is another node to go to.
    several: bool,
    mute: CancellationToken,
}

/// Offers this connection to publishers until it is lost, turns out to be mute, or closing is
/// wished for.
pub(super) async fn session(shared: &Shared, link: &Arc<Link>) -> Result<(), Fault> {
    let lane = Arc::new(Lane::new(link, shared.several));
    let mute = lane.mute.clone();
    shared.lanes.frame_max.store(link.frame_max(), Ordering::Relaxed);
    shared.lanes.open.send_replace(Some(lane));
    shared.board.up(Side::Publish);
    let mut wish = shared.wish.subscribe();
    let ended = tokio::select! {
        _ = wish.wait_for(|wish| *wish == Wish::Close) => Ok(()),
        fault = link.lost() => Err(fault),
        () = mute.cancelled() => {
            shared.lanes.mute.send_replace(link.place().to_owned());
            Err(mute_at(link.place()))
        }
        never = mind_alarms(shared, link) => match never {},
    };
    shared.lanes.open.send_replace(None);
    shared.board.blocked(false);
    ended
}

fn mute_at(place: &str) -> Fault {
    Fault::unanswered(format!("{place} confirms nothing that is published")).elsewhere()
}

/// Tells when the broker stops taking what is published, and when it takes it again.
async fn mind_alarms(shared: &Shared, link: &Link) -> Infallible {
    let mut blocked = false;
    loop {
        if link.blocked() != blocked {
            blocked = !blocked;
            shared.board.blocked(blocked);
            if blocked {
                tracing::warn!("the broker blocks publishers, it is short of memory or disk");
            } else {
                tracing::info!("the broker takes what is published again");
            }
        }
        beat::next().await;
    }
}

impl Lanes {
    /// The open connection, as soon as there is one.
    pub(super) async fn lane(&self) -> Arc<Lane> {
        let mut open = self.open.subscribe();
        let lane = open.wait_for(Option::is_some).await.ok().and_then(|lane| lane.clone());
        match lane {
            Some(lane) => lane,
            // The sender lives in `self`, so this is never reached.
            None => std::future::pending().await,
        }
    }

    /// The largest frame that can be published, in bytes; where there is no connection, of the last
    /// one.
    pub(super) fn frame_max(&self) -> usize {
        self.frame_max.load(Ordering::Relaxed)
    }

    /// Whether the broker takes what is published: there is a connection, and no alarm blocks it.
    pub(super) fn is_open(&self) -> bool {
        self.open.borrow().as_ref().is_some_and(|lane| !lane.link.blocked())
    }

    /// A channel to publish on, and the place in line that goes with it, as soon as the broker
    /// takes what is published. `size`: its bytes; `repeated`: it was sent before, in vain.
    pub(super) async fn channel(
        &self,
        lane: &Lane,
        (line, size): (Line, usize),
        repeated: bool,
    ) -> Result<(Place<'_>, Channel), Fault> {
        let closed = |_| Fault::new("the pool of channels is closed");
        let in_its_line = match line {
            Line::Move | Line::Item if size >= LARGE => Some(self.bulk(size)),
            Line::Forward => Some(self.bulk(size)),
            Line::Item => Some((&self.items, 1)),
            Line::Event | Line::Move => None,
        };
        let in_its_line = match in_its_line {
            Some((places, count)) => Some(places.acquire_many(count).await.map_err(closed)?),
            None => None,
        };
        let repeated = match repeated {
            true => Some(self.repeated.acquire().await.map_err(closed)?),
            false => None,
        };
        let among_all = self.places.acquire().await.map_err(closed)?;
        let place = Place {
            _among_all: among_all,
            _in_its_line: in_its_line,
            _among_the_repeated: repeated,
        };
        lane.flows().await;
        Ok((place, lane.channel().await?))
    }

    /// The channel that others publish on, too, as soon as the broker takes what is published: for
    /// what cannot come back.
    pub(super) async fn shared(
        &self,
        lane: &Lane,
    ) -> Result<(SemaphorePermit<'_>, Channel), Fault> {
        let closed = |_| Fault::new("the pool of channels is closed");
        let place = self.shared.acquire().await.map_err(closed)?;
        lane.flows().await;
        Ok((place, lane.shared_channel().await?))
    }

    /// Resolves when the node of this connection turns out to be mute: what is not confirmed is not
    /// delivered either.
    pub(super) async fn turns_mute(&self, link: &Link) -> Fault {
        let mut mute = self.mute.subscribe();
        // The sender lives in `self`.
        while mute.changed().await.is_ok() {
            if *mute.borrow_and_update() == link.place() {
                return mute_at(link.place());
            }
        }
        std::future::pending().await
    }

    /// What a message of so many bytes takes among the large.
    fn bulk(&self, size: usize) -> (&Semaphore, u32) {
        let size = u32::try_from(size.div_ceil(1024)).unwrap_or(u32::MAX);
        (&self.bulk, size.clamp(LEAST, BULK))
    }

    /// A queue or binding of ours is gone: declares it anew, one caller at a time.
    pub(super) async fn mend(&self, lane: &Lane, topology: &Topology) {
        if !topology.declares() {
            return;
        }
        let mut last = self.repaired.lock().await;
        if last.is_some_and(|at| at.elapsed() < REPAIR_EVERY) {
            return;
        }
        if let Err(fault) = topology.ensure(&lane.link).await {
            tracing::warn!("declaring the topology anew: {fault}");
        }
        *last = Some(Instant::now());
    }
}

impl Lane {
    fn new(link: &Arc<Link>, several: bool) -> Self {
        Self {
            link: Arc::clone(link),
            idle: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
            answers: AtomicU64::new(0),
            heard_of_events: AtomicBool::new(false),
            several,
            mute: CancellationToken::new(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.link.connected()
    }

    pub(super) fn door(&self) -> &Door {
        self.link.door()
    }

    /// An alarm of the broker blocks it.
    pub(super) fn is_blocked(&self) -> bool {
        self.link.blocked() && self.link.connected()
    }

    /// How many publishes have been answered; for [`Lane::unanswered`].
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// A publish was answered. `ours`: it went to a queue of our own.
    pub(super) fn hears(&self, ours: bool) {
        self.heard_of_events.fetch_or(!ours, Ordering::Relaxed);
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// A channel on which nothing is under way is there for the next.
    pub(super) fn keep(&self, channel: Channel) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
    }

    /// A shared channel on which something was not answered: what is under way on it goes on, what
    /// comes next has another.
    pub(super) async fn share_no_more(&self, channel: &Channel) {
        let mut shared = self.shared.lock().await;
        if shared.as_ref().is_some_and(|shared| shared.id() == channel.id()) {
            *shared = None;
        }
    }

    /// A publish has had no answer for a while. Where none has had one since there were so many, and
    /// its like had some before, this node hangs or is cut off from the others; the next is to have
    /// a try. Events that were never confirmed here wait for a subscriber's queue, it may be, which
    /// hangs on every node.
    pub(super) fn falls_silent(&self, since: u64, ours: bool) {
        let spoke = if ours { since > 0 } else { self.heard_of_events.load(Ordering::Relaxed) };
        if self.several && spoke {
            self.unanswered(since);
        }
    }

    /// A publish to a queue of our own had no answer, though the broker has no alarm. Where no other
    /// has had one since there were so many, this node has lost touch with the queues' members.
    pub(super) fn unanswered(&self, since: u64) {
        if self.answers() == since {
            self.mute.cancel();
        }
    }

    async fn channel(&self) -> Result<Channel, Fault> {
        while let Some(channel) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        self.new_channel().await
    }

    async fn shared_channel(&self) -> Result<Channel, Fault> {
        let mut shared = self.shared.lock().await;
        if let Some(channel) = shared.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        let channel = self.new_channel().await?;
        *shared = Some(channel.clone());
        Ok(channel)
    }

    async fn new_channel(&self) -> Result<Channel, Fault> {
        let channel = self.link.channel().await?;
        rpc("confirm.select", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    }

    /// Resolves as soon as no alarm blocks it: what is published before would pile up in lapin's own
    /// queue.
    async fn flows(&self) {
        while self.is_blocked() {
            beat::next().await;
        }
    }
}
