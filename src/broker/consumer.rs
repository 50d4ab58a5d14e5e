//! From the three queues to one stream of deliveries.
//!
//! Each queue has a channel of its own, so that what kills one (the broker's ack timeout, say)
//! leaves the deliveries of the others alone. It must not know what is done with a delivery.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::connection::{Backoff, Fault, Link, PULSE, rpc};
use super::depths;
use super::epoch::{Epoch, Member};
use super::guard::{Burden, Flaws};
use super::names::Names;
use super::settle::Delivery;
use super::status::{Consumer as Standing, Side, Status, Wish};
use super::supervisor::GOOD_AFTER;
use super::watchdog::{Ear, Watchdog};
use super::{Prefetch, QueueName, Shared};

const QUEUES: [QueueName; 3] = [QueueName::Jobs, QueueName::Bulk, QueueName::Suspect];

impl QueueName {
    pub(super) fn of(self, names: &Names) -> &str {
        match self {
            Self::Jobs => &names.jobs,
            Self::Bulk => &names.bulk,
            Self::Suspect => &names.suspect,
        }
    }
}

/// A worker takes suspects only when it has lived this long: whatever ends workers as they start
/// would else count as a crash of whichever suspect came first.
const PROBATION: Duration = Duration::from_secs(3);

/// A topology that was there before is not waited for any longer. A cluster that takes a frozen node
/// for a living one declares nothing, and its queues work.
const PATIENCE: Duration = Duration::from_secs(2);

/// A node on which no queue can be consumed for so long gives way to the next. Twice as long each
/// time, up to the cap: it may be the same on all of them, until they have elected new leaders.
const IDLE: Duration = Duration::from_secs(6);
const IDLE_CAP: Duration = Duration::from_secs(60);

/// How often a message is taken while consuming pauses but for one at a time.
const TASTE_EVERY: Duration = Duration::from_secs(1);

/// A message on its way from a channel to the worker.
struct Incoming {
    queue: QueueName,
    message: lapin::message::Delivery,
    /// What of it was mended before lapin could read it.
    flaws: Flaws,
    burden: Burden,
    epoch: Member,
}

/// Where the consumers put what they get.
#[derive(Clone)]
pub(super) struct Intake {
    sender: mpsc::Sender<Incoming>,
    prefetch: Prefetch,
}

/// What the broker has sent, from all queues.
pub struct Deliveries {
    shared: Arc<Shared>,
    incoming: mpsc::Receiver<Incoming>,
    status: watch::Receiver<Status>,
}

pub(super) fn intake(shared: &Arc<Shared>, prefetch: Prefetch) -> (Intake, Deliveries) {
    // A place a queue: nobody's place is taken by another queue, and the rest waits in lapin's
    // buffer, which dies with its channel.
    let (sender, incoming) = mpsc::channel(QUEUES.len());
    let status = shared.board.subscribe();
    let deliveries = Deliveries { shared: Arc::clone(shared), incoming, status };
    (Intake { sender, prefetch }, deliveries)
}

impl Deliveries {
    /// The next delivery that is still ours to settle. `None` only after `Broker::stop_consuming`,
    /// when everything that was already here has been handed out. Safe to cancel.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let incoming = tokio::select! {
                biased;
                incoming = self.incoming.recv() => incoming,
                _ = self.status.wait_for(Status::drained) => self.incoming.try_recv().ok(),
            };
            let Incoming { queue, message, flaws, burden, epoch } = incoming?;
            // What was buffered when its channel died still comes out; the broker has it again.
            if message.acker.usable() && !epoch.is_over() {
                let shared = Arc::clone(&self.shared);
                return Some(Delivery::new(shared, queue, message, (flaws, burden), epoch));
            }
        }
    }
}

/// Consumes on this connection until it is lost or closing is wished for.
pub(super) async fn session(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    intake: &Intake,
    patience: &mut Patience,
) -> Result<(), Fault> {
    let lost = link.lost();
    tokio::pin!(lost);
    let mut ensuring = std::pin::pin!(shared.topology.ensure(link).fuse());
    if !shared.topology.was_there() {
        ensuring.as_mut().await.map_err(Fault::elsewhere)?;
    } else if let Ok(ensured) = timeout(PATIENCE, ensuring.as_mut()).await {
        ensured.map_err(Fault::elsewhere)?;
    }
    shared.board.up(Side::Consume);
    let mut tasks = JoinSet::new();
    for queue in QUEUES {
        let mut tap = Tap::new(shared, link, intake, queue);
        tasks.spawn(async move {
            let ended = tap.run().await;
            (tap, ended)
        });
    }
    let mut vain = 0;
    let mut giving_way = std::pin::pin!(give_way(shared, link, patience));
    let mut telling = std::pin::pin!(tell(shared, link));
    // This connection and not the other: an alarm of the broker does not make it silent.
    let mut counting = std::pin::pin!(depths::ask(shared, link));
    loop {
        let ended = tokio::select! {
            biased;
            fault = &mut lost => return Err(fault),
            fault = &mut giving_way => return Err(fault),
            ended = tasks.join_next() => ended,
            ensured = &mut ensuring => match ensured {
                Err(fault) if !fault.is_unanswered() => return Err(fault.elsewhere()),
                Err(fault) => {
                    tracing::warn!("{fault}; consuming what was there before");
                    continue;
                }
                Ok(()) => continue,
            },
            _never = &mut telling => continue,
            _never = &mut counting => continue,
        };
        let (mut tap, fault) = match ended {
            None => return Ok(()),
            Some(Ok((_, Ok(())))) => continue,
            Some(Ok((tap, Err(fault)))) => (tap, fault),
            Some(Err(_)) => return Err(Fault::new("a consumer panicked")),
        };
        if !link.connected() {
            return Err(fault);
        }
        let fault = shared.topology.advised(fault, link.door());
        let name = tap.queue.of(shared.topology.names());
        // A node that lets no queue be consumed is cut off from those that would; one queue that
        // cannot be consumed is left to itself, for the sake of the others.
        vain = if std::mem::take(&mut tap.consumed) { 0 } else { vain + 1 };
        if vain >= QUEUES.len() && !shared.board.has_consumers() {
            return Err(
                Fault::new(format!("no queue can be consumed; {name}: {fault}")).elsewhere()
            );
        }
        tracing::warn!("queue {name}: {fault}; consuming it again");
        shared.board.trouble(Side::Consume, fault.to_string());
        tasks.spawn(async move {
            let ended = tap.again().await;
            (tap, ended)
        });
    }
}

/// How long a node may let no queue be consumed.
pub(super) struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(IDLE)
    }
}

/// Resolves where the next node is to have a try.
async fn give_way(shared: &Shared, link: &Link, patience: &mut Patience) -> Fault {
    tokio::select! {
        fault = shared.lanes.turns_mute(link) => fault,
        fault = idle(shared, link, patience), if shared.several => fault,
    }
}

/// Resolves when no queue can be consumed, though nothing is refused.
async fn idle(shared: &Shared, link: &Link, Patience(patience): &mut Patience) -> Fault {
    let mut wish = shared.wish.subscribe();
    while !shared.board.has_consumers() {
        // Does not fail: the sender lives as long as `shared`.
        let _ = wish.wait_for(|wish| *wish == Wish::Consume).await;
        tokio::time::sleep(*patience).await;
        if !shared.board.has_consumers() && !wish.has_changed().unwrap_or(true) {
            let why = format!("{} lets no queue be consumed in {patience:?}", link.place());
            *patience = IDLE_CAP.min(*patience * 2);
            return Fault::unanswered(why).elsewhere();
        }
    }
    *patience = IDLE;
    std::future::pending().await
}

/// Says in the log whenever all is well again: a warning is not to be its last word. Never ends.
async fn tell(shared: &Shared, link: &Link) {
    let names = shared.topology.names();
    let [jobs, bulk, suspect] = QUEUES.map(|queue| queue.of(names));
    let mut status = shared.board.subscribe();
    loop {
        // Neither fails: the board lives as long as `shared`.
        let _ = status.wait_for(|status| status.reason.is_none()).await;
        tracing::info!("consuming {jobs}, {bulk}, {suspect} on {}", link.door());
        let _ = status.wait_for(|status| status.reason.is_some()).await;
    }
}

/// One queue's channel: an epoch.
struct Tap {
    shared: Arc<Shared>,
    link: Arc<Link>,
    intake: Intake,
    queue: QueueName,
    wish: watch::Receiver<Wish>,
    backoff: Backoff,
    since: Instant,
    /// The broker has let it consume since it was last asked.
    consumed: bool,
}

impl Tap {
    fn new(shared: &Arc<Shared>, link: &Arc<Link>, intake: &Intake, queue: QueueName) -> Self {
        Self {
            shared: Arc::clone(shared),
            link: Arc::clone(link),
            intake: intake.clone(),
            queue,
            wish: shared.wish.subscribe(),
            backoff: Backoff::default(),
            since: Instant::now(),
            consumed: false,
        }
    }

    /// The same on another channel, after a pause.
    async fn again(&mut self) -> Result<(), Fault> {
        if self.since.elapsed() >= GOOD_AFTER {
            self.backoff = Backoff::default();
        }
        tokio::time::sleep(self.backoff.pause()).await;
        // The queue may be gone.
        let ensured = timeout(PATIENCE, self.shared.topology.ensure(&self.link)).await;
        ensured.unwrap_or(Ok(()))?;
        self.since = Instant::now();
        self.run().await
    }

    /// Consumes, pauses and resumes as wished, until closing is wished for or the channel dies.
    async fn run(&mut self) -> Result<(), Fault> {
        let channel = self.link.channel().await?;
        let _forgotten = Forgotten(Arc::clone(&self.link), channel.clone());
        let epoch = Epoch::new();
        // Before consuming: lapin's own buffer has no other bound. Quorum queues know it per
        // consumer only.
        let qos = channel.basic_qos(self.prefetch(), BasicQosOptions { global: false });
        rpc("basic.qos", qos).await?;
        loop {
            let wished = *self.wish.borrow_and_update();
            match wished {
                Wish::Consume => self.consume(&channel, &epoch).await?,
                Wish::Taste if self.queue != QueueName::Suspect => {
                    self.taste(&channel, &epoch).await?;
                }
                Wish::Taste | Wish::Pause | Wish::Stop => tokio::select! {
                    _ = self.wish.changed() => {}
                    fault = death(&channel) => return Err(fault),
                },
                Wish::Close => return rpc("channel.close", channel.close(200, "bye".into())).await,
            }
        }
    }

    /// At least 1: 0 would mean no bound at all.
    fn prefetch(&self) -> u16 {
        let prefetch = match self.queue {
            QueueName::Jobs => self.intake.prefetch.jobs,
            QueueName::Bulk => self.intake.prefetch.bulk,
            QueueName::Suspect => 1,
        };
        prefetch.max(1)
    }

    /// Consumes until something else is wished for; everything sent to us has been handed on then.
    async fn consume(&mut self, channel: &Channel, epoch: &Epoch) -> Result<(), Fault> {
        let active = Active::new(&self.shared, self.queue);
        let mut wish = self.wish.clone();
        if self.queue == QueueName::Suspect {
            let over = self.shared.started + PROBATION;
            // A worker is ready without it, and stays so when it is over.
            if Instant::now() < over {
                active.consumes();
            }
            tokio::select! {
                () = tokio::time::sleep_until(over) => {}
                _ = wish.wait_for(|wish| *wish != Wish::Consume) => return Ok(()),
                fault = death(channel) => return Err(fault),
            }
        }
        let name = self.queue.of(self.shared.topology.names());
        let call = channel.basic_consume(
            name.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let mut consumer = rpc("basic.consume", call).await?;
        self.consumed = true;
        active.consumes();
        let ear = Ear::default();
        let prefetch = self.prefetch();
        let watchdog = Watchdog { link: &self.link, queue: name, prefetch, epoch, ear: &ear };
        let stopped = tokio::select! {
            _ = wish.wait_for(|wish| *wish != Wish::Consume) => true,
            fault = death(channel) => return Err(fault),
            fault = watchdog.deaf() => return Err(fault),
            ended = self.hand_on(channel, &mut consumer, epoch, &ear) => { ended?; false }
        };
        if !stopped {
            return Err(Fault::new(format!("the broker cancelled the consumer of {name}")));
        }
        let cancel = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        rpc("basic.cancel", cancel).await?;
        tokio::select! {
            _ = wish.wait_for(|wish| *wish == Wish::Close) => Ok(()),
            fault = death(channel) => Err(fault),
            ended = self.hand_on(channel, &mut consumer, epoch, &ear) => ended,
        }
    }

    /// Takes a message whenever none is in hand, until something else is wished for.
    async fn taste(&mut self, channel: &Channel, epoch: &Epoch) -> Result<(), Fault> {
        let mut wish = self.wish.clone();
        loop {
            if epoch.in_hand() == 0 {
                // Shown as consuming meanwhile: a drain waits for what is on its way to us.
                let _active = Active::new(&self.shared, self.queue);
                let name = self.queue.of(self.shared.topology.names());
                let call = channel.basic_get(name.into(), BasicGetOptions::default());
                let message = rpc("basic.get", call).await?.map(|message| message.delivery);
                if let (Some(message), Ok(place)) = (message, self.intake.sender.reserve().await) {
                    place.send(self.incoming(channel, message, epoch));
                }
            }
            tokio::select! {
                _ = wish.wait_for(|wish| *wish != Wish::Taste) => return Ok(()),
                fault = death(channel) => return Err(fault),
                () = tokio::time::sleep(TASTE_EVERY) => {}
            }
        }
    }

    /// Hands deliveries on until the stream ends. Safe to cancel: nothing is taken from the stream
    /// before there is a place for it.
    async fn hand_on(
        &self,
        channel: &Channel,
        consumer: &mut Consumer,
        epoch: &Epoch,
        ear: &Ear,
    ) -> Result<(), Fault> {
        loop {
            let Ok(place) = self.intake.sender.reserve().await else {
                // Nobody listens any more, which is how a program ends that forgot to stop.
                return std::future::pending().await;
            };
            ear.listens();
            match consumer.next().await {
                Some(Ok(message)) => {
                    ear.heard();
                    place.send(self.incoming(channel, message, epoch));
                }
                Some(Err(error)) => return Err(Fault::of("consuming", error)),
                None => return Ok(()),
            }
        }
    }

    fn incoming(
        &self,
        channel: &Channel,
        mut message: lapin::message::Delivery,
        epoch: &Epoch,
    ) -> Incoming {
        // lapin's own buffer has grown in steps, to up to twice as much.
        message.data.shrink_to_fit();
        let burden = self.link.claim(channel, message.data.len());
        let flaws = self.link.flaws(channel, message.delivery_tag);
        if !flaws.is_empty() {
            tracing::warn!(
                "queue {}: AMQP properties of a message cannot be read as they came and were \
                 mended: {flaws}; its body is untouched",
                self.queue.of(self.shared.topology.names())
            );
        }
        Incoming { queue: self.queue, message, flaws, burden, epoch: epoch.member() }
    }
}

/// However a channel ends, what lapin has of it nobody takes.
struct Forgotten(Arc<Link>, Channel);

impl Drop for Forgotten {
    fn drop(&mut self) {
        self.0.forget(&self.1);
    }
}

/// Resolves when the channel is dead. An idle channel's death shows nowhere else.
async fn death(channel: &Channel) -> Fault {
    while channel.status().connected() {
        tokio::time::sleep(PULSE).await;
    }
    Fault::new("the channel was closed")
}

/// Shows on the board that something may come of a queue, for as long as this lives.
struct Active<'a> {
    shared: &'a Shared,
    queue: QueueName,
}

impl<'a> Active<'a> {
    fn new(shared: &'a Shared, queue: QueueName) -> Self {
        shared.board.consumer(queue, Standing::Asking);
        Self { shared, queue }
    }

    /// The broker lets it be consumed.
    fn consumes(&self) {
        self.shared.board.consumer(self.queue, Standing::Consuming);
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.shared.board.consumer(self.queue, Standing::Idle);
    }
}
