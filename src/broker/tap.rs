//! One queue's channel: consumes, pauses, looks further, for as long as the channel lives. It must not
//! know what is done with a delivery.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, future};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::connection::{Backoff, Fault, Link, rpc};
use super::epoch::Epoch;
use super::incoming::{Incoming, Intake};
use super::status::{Consumer as Standing, Wish};
use super::supervisor::GOOD_AFTER;
use super::watchdog::{Ear, Watchdog};
use super::{QueueName, Shared};
use crate::beat;

/// How many windows more there are to be seen by looking further.
const FURTHER: u16 = 3;

/// A worker takes suspects only when it has lived this long: whatever ends workers as they start
/// would else count as a crash of whichever suspect came first.
const PROBATION: Duration = Duration::from_secs(3);

/// A topology that was there before is not waited for any longer. A cluster that takes a frozen node
/// for a living one declares nothing, and its queues work.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How often a message is taken while consuming pauses but for one at a time.
const TASTE_EVERY: Duration = Duration::from_secs(1);

/// One queue's channel: an epoch.
pub(super) struct Tap {
    shared: Arc<Shared>,
    link: Arc<Link>,
    intake: Intake,
    pub(super) queue: QueueName,
    wish: watch::Receiver<Wish>,
    backoff: Backoff,
    since: Instant,
    /// The broker has let it consume since it was last asked.
    pub(super) consumed: bool,
}

impl Tap {
    pub(super) fn new(
        shared: &Arc<Shared>,
        link: &Arc<Link>,
        intake: &Intake,
        queue: QueueName,
    ) -> Self {
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
    pub(super) async fn again(&mut self) -> Result<(), Fault> {
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
    pub(super) async fn run(&mut self) -> Result<(), Fault> {
        let channel = self.link.channel().await?;
        let _forgotten = Forgotten(Arc::clone(&self.link), channel.id());
        let epoch = Epoch::new(channel);
        let channel = epoch.channel();
        loop {
            let wished = *self.wish.borrow_and_update();
            match wished {
                Wish::Consume => self.consume(&epoch).await?,
                Wish::Taste if self.queue != QueueName::Suspect => self.taste(&epoch).await?,
                Wish::Taste | Wish::Pause | Wish::Stop => tokio::select! {
                    _ = self.wish.changed() => {}
                    fault = death(channel) => return Err(fault),
                },
                Wish::Close => return rpc("channel.close", channel.close(200, "bye".into())).await,
            }
        }
    }

    /// Consumes until something else is wished for; everything sent to us has been handed on then.
    async fn consume(&mut self, epoch: &Epoch) -> Result<(), Fault> {
        let channel = epoch.channel();
        let active = Active::new(&self.shared, self.queue);
        if self.queue == QueueName::Suspect && !self.outlives_probation(channel, &active).await? {
            return Ok(());
        }
        let prefetch = self.intake.prefetch(self.queue);
        let consumer = self.consumer(channel, prefetch).await?;
        self.consumed = true;
        active.consumes();
        let ear = Ear::default();
        let queue = self.name();
        let watchdog = Watchdog { link: &self.link, queue, prefetch, epoch, ear: &ear };
        let enough = async {
            tokio::select! {
                () = self.paused() => Ok(()),
                fault = watchdog.deaf() => Err(fault),
            }
        };
        let listening = self.listen(epoch, consumer, &ear, enough);
        let looking = self.look_further(epoch);
        let mut wish = self.wish.clone();
        tokio::select! {
            _ = wish.wait_for(|wish| *wish == Wish::Close) => Ok(()),
            fault = death(channel) => Err(fault),
            ended = future::try_join(listening, looking) => ended.map(drop),
        }
    }

    /// Waits until a worker has lived long enough for suspects; whether it still has to consume then.
    async fn outlives_probation(
        &self,
        channel: &Channel,
        active: &Active<'_>,
    ) -> Result<bool, Fault> {
        let over = self.shared.started + PROBATION;
        // A worker is ready without it, and stays so when it is over.
        if Instant::now() < over {
            active.consumes();
        }
        tokio::select! {
            () = tokio::time::sleep_until(over) => Ok(true),
            () = self.paused() => Ok(false),
            fault = death(channel) => Err(fault),
        }
    }

    /// A second consumer beside the first, while the worker wishes to see what is behind its window.
    async fn look_further(&self, epoch: &Epoch) -> Result<(), Fault> {
        if self.queue != QueueName::Jobs {
            return Ok(());
        }
        let mut further = self.shared.further.subscribe();
        loop {
            tokio::select! {
                biased;
                () = self.paused() => return Ok(()),
                // Does not fail: the sender lives as long as `shared`.
                _ = further.wait_for(|further| *further) => {}
            }
            let prefetch = self.intake.prefetch(self.queue).saturating_mul(FURTHER);
            let consumer = self.consumer(epoch.channel(), prefetch).await?;
            let mut seen = further.clone();
            let enough = async {
                tokio::select! {
                    _ = seen.wait_for(|further| !*further) => Ok(()),
                    () = self.paused() => Ok(()),
                }
            };
            self.listen(epoch, consumer, &Ear::default(), enough).await?;
        }
    }

    /// Another consumer of the queue on this channel, with a prefetch of its own.
    async fn consumer(&self, channel: &Channel, prefetch: u16) -> Result<Consumer, Fault> {
        // Before consuming: lapin's own buffer has no other bound. Quorum queues know it per
        // consumer only.
        let qos = channel.basic_qos(prefetch, BasicQosOptions { global: false });
        rpc("basic.qos", qos).await?;
        let (name, options) = (self.name().into(), BasicConsumeOptions::default());
        let call = channel.basic_consume(name, "".into(), options, FieldTable::default());
        rpc("basic.consume", call).await
    }

    /// Hands on what a consumer gets until there was `enough`, and what was on its way then.
    async fn listen(
        &self,
        epoch: &Epoch,
        mut consumer: Consumer,
        ear: &Ear,
        enough: impl Future<Output = Result<(), Fault>>,
    ) -> Result<(), Fault> {
        tokio::select! {
            enough = enough => enough?,
            ended = self.hand_on(&mut consumer, epoch, ear) => {
                ended?;
                let name = self.name();
                return Err(Fault::new(format!("the broker cancelled the consumer of {name}")));
            }
        }
        let cancel = epoch.channel().basic_cancel(consumer.tag(), BasicCancelOptions::default());
        rpc("basic.cancel", cancel).await?;
        self.hand_on(&mut consumer, epoch, ear).await
    }

    /// Resolves when something else is wished for than to consume.
    async fn paused(&self) {
        let mut wish = self.wish.clone();
        // Does not fail: the sender lives as long as `shared`.
        let _ = wish.wait_for(|wish| *wish != Wish::Consume).await;
    }

    fn name(&self) -> &str {
        self.queue.of(self.shared.topology.names())
    }

    /// Takes a message whenever none is in hand, until something else is wished for.
    async fn taste(&mut self, epoch: &Epoch) -> Result<(), Fault> {
        let channel = epoch.channel();
        let mut wish = self.wish.clone();
        loop {
            if epoch.in_hand() == 0 {
                // Shown as consuming meanwhile: a drain waits for what is on its way to us.
                let _active = Active::new(&self.shared, self.queue);
                let call = channel.basic_get(self.name().into(), BasicGetOptions::default());
                let message = rpc("basic.get", call).await?.map(|message| message.delivery);
                if let (Some(message), Some(place)) = (message, self.intake.place().await) {
                    place.send(self.incoming(message, epoch));
                }
            }
            tokio::select! {
                _ = wish.wait_for(|wish| *wish != Wish::Taste) => return Ok(()),
                fault = death(channel) => return Err(fault),
                () = beat::rest(TASTE_EVERY) => {}
            }
        }
    }

    /// Hands deliveries on until the stream ends. Safe to cancel: nothing is taken from the stream
    /// before there is a place for it.
    async fn hand_on(
        &self,
        consumer: &mut Consumer,
        epoch: &Epoch,
        ear: &Ear,
    ) -> Result<(), Fault> {
        loop {
            let Some(place) = self.intake.place().await else {
                // Nobody listens any more, which is how a program ends that forgot to stop.
                return std::future::pending().await;
            };
            ear.listens();
            match consumer.next().await {
                Some(Ok(message)) => {
                    ear.heard();
                    place.send(self.incoming(message, epoch));
                }
                Some(Err(error)) => return Err(Fault::of("consuming", error)),
                None => return Ok(()),
            }
        }
    }

    fn incoming(&self, message: lapin::message::Delivery, epoch: &Epoch) -> Incoming {
        let names = self.shared.topology.names();
        Incoming::new(self.queue, message, (&self.link, epoch), names)
    }
}

/// However a channel ends, what lapin has of it nobody takes.
struct Forgotten(Arc<Link>, u16);

impl Drop for Forgotten {
    fn drop(&mut self) {
        self.0.forget(self.1);
    }
}

/// Resolves when the channel is dead. An idle channel's death shows nowhere else.
async fn death(channel: &Channel) -> Fault {
    while channel.status().connected() {
        beat::next().await;
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
