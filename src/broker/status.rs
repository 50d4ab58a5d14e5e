//! What the broker side says about itself: consuming or not, and why. Pure.

use std::fmt;

use tokio::sync::watch;

use super::QueueName;

/// How the worker stands with the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Both connections are open.
    pub connected: bool,
    /// All three queues are being consumed.
    pub consuming: bool,
    /// Not consuming by our own wish, for now: why.
    pub paused: Option<String>,
    /// Connected, but the broker takes nothing from publishers: a memory or disk alarm.
    pub blocked: bool,
    /// Why it is not consuming or not connected, `None` only where it is both: a sentence without
    /// secrets.
    pub reason: Option<String>,
    /// Connections that were opened again after they had been lost.
    pub reconnects: u64,
    wish: Wish,
    why_paused: String,
    links: [LinkState; 2],
    consumers: [Consumer; 3],
}

/// How a queue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Consumer {
    /// Nothing comes of it.
    #[default]
    Idle,
    /// The broker has been asked, and something may be on its way.
    Asking,
    Consuming,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LinkState {
    up: bool,
    /// It was open before.
    known: bool,
    fault: Option<String>,
}

/// What the worker wants of its consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    Consume,
    /// Paused, but for one message of a queue at a time.
    Taste,
    Pause,
    /// For good; acknowledgements go on.
    Stop,
    /// The connections too.
    Close,
}

/// One of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Consume,
    Publish,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consume => "consume",
            Self::Publish => "publish",
        })
    }
}

/// Nothing is known yet.
const STARTING: &str = "no connection yet";

/// Where the parts write how they are.
pub(super) struct Board(watch::Sender<Status>);

impl Board {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Status {
            connected: false,
            consuming: false,
            paused: None,
            blocked: false,
            reason: Some(STARTING.to_owned()),
            reconnects: 0,
            wish: Wish::Consume,
            why_paused: String::new(),
            links: Default::default(),
            consumers: Default::default(),
        }))
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Status> {
        self.0.subscribe()
    }

    pub(super) fn wish(&self, wish: Wish) {
        self.change(|status| status.wish = wish);
    }

    /// Why the next wish is to pause.
    pub(super) fn why_paused(&self, why: &str) {
        self.change(|status| why.clone_into(&mut status.why_paused));
    }

    pub(super) fn blocked(&self, blocked: bool) {
        self.change(|status| status.blocked = blocked);
    }

    /// The connection is open, and with it what its session needs first.
    pub(super) fn up(&self, side: Side) {
        self.change(|status| {
            let link = &mut status.links[side as usize];
            if link.known && !link.up {
                status.reconnects += 1;
            }
            *link = LinkState { up: true, known: true, fault: None };
        });
    }

    /// The connection is lost or not to be had; true if this is news.
    pub(super) fn down(&self, side: Side, fault: String) -> bool {
        let mut news = false;
        self.change(|status| {
            let link = &mut status.links[side as usize];
            news = link.fault.as_ref() != Some(&fault);
            link.up = false;
            link.fault = Some(fault);
        });
        news
    }

    /// What is wrong with the connection that publishes, as far as it is known.
    pub(super) fn publishing(&self) -> String {
        let fault = self.0.borrow().links[Side::Publish as usize].fault.clone();
        fault.unwrap_or_else(|| "it is connected, and silent".to_owned())
    }

    /// The connection is open, but something on it does not work.
    pub(super) fn trouble(&self, side: Side, fault: String) {
        self.change(|status| status.links[side as usize].fault = Some(fault));
    }

    pub(super) fn consumer(&self, queue: QueueName, consumer: Consumer) {
        self.change(|status| {
            status.consumers[queue as usize] = consumer;
            if status.consumers == [Consumer::Consuming; 3] {
                status.links[Side::Consume as usize].fault = None;
            }
        });
    }

    /// Whether any queue is being consumed.
    pub(super) fn has_consumers(&self) -> bool {
        self.0.borrow().consumers.contains(&Consumer::Consuming)
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        self.0.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            status.derive();
            *status != before
        });
    }
}

impl Status {
    /// Whether messages come and nothing can be published.
    pub fn takes_nothing(&self) -> bool {
        let [consume, publish] = &self.links;
        self.blocked || (consume.up && !publish.up)
    }

    /// What is wrong with it, as far as it is known, and not by our own wish: a word and a sentence,
    /// without secrets.
    pub fn trouble(&self) -> Option<(&'static str, String)> {
        if self.blocked {
            let why = "it takes nothing that is published: it is short of memory or disk";
            return Some(("broker.blocked", why.to_owned()));
        }
        let word = if self.connected { "broker.not_consuming" } else { "broker.not_connected" };
        self.faults().map(|faults| (word, faults))
    }

    /// Consuming was stopped, and everything that had been sent to us has been handed on.
    pub(super) fn drained(&self) -> bool {
        self.wish >= Wish::Stop && self.is_idle()
    }

    fn is_idle(&self) -> bool {
        self.consumers == [Consumer::Idle; 3]
    }

    fn derive(&mut self) {
        self.connected = self.links.iter().all(|link| link.up);
        let paused = matches!(self.wish, Wish::Taste | Wish::Pause);
        self.paused = paused.then(|| self.why_paused.clone());
        self.consuming = self.wish == Wish::Consume && self.consumers == [Consumer::Consuming; 3];
        self.reason = match self.wish {
            Wish::Consume => self.why_not(),
            // Until then, what was already sent to us still comes out.
            Wish::Taste | Wish::Pause if !self.is_idle() => Some("pausing".to_owned()),
            Wish::Taste | Wish::Pause => Some("paused".to_owned()),
            Wish::Stop => Some("draining".to_owned()),
            Wish::Close => Some("closed".to_owned()),
        };
    }

    fn why_not(&self) -> Option<String> {
        if self.consuming && self.connected {
            return None;
        }
        Some(self.faults().unwrap_or_else(|| STARTING.to_owned()))
    }

    fn faults(&self) -> Option<String> {
        let mut seen: Vec<&str> = Vec::new();
        for fault in self.links.iter().filter_map(|link| link.fault.as_deref()) {
            if !seen.contains(&fault) {
                seen.push(fault);
            }
        }
        (!seen.is_empty()).then(|| seen.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consume_all(board: &Board, consumer: Consumer) {
        for queue in [QueueName::Jobs, QueueName::Bulk, QueueName::Suspect] {
            board.consumer(queue, consumer);
        }
    }

    #[test]
    fn consuming_needs_every_queue_and_a_reconnect_counts_once() {
        let board = Board::new();
        let status = board.subscribe();
        board.up(Side::Consume);
        board.up(Side::Publish);
        board.consumer(QueueName::Jobs, Consumer::Consuming);
        consume_all(&board, Consumer::Asking);
        assert!(!status.borrow().consuming, "the broker may refuse");
        consume_all(&board, Consumer::Consuming);
        assert!(status.borrow().consuming && status.borrow().connected);
        assert_eq!(status.borrow().reason, None);

        consume_all(&board, Consumer::Idle);
        assert!(board.down(Side::Consume, "connection refused by host:5672".into()));
        assert!(!board.down(Side::Consume, "connection refused by host:5672".into()), "no news");
        assert_eq!(status.borrow().reason.as_deref(), Some("connection refused by host:5672"));
        board.up(Side::Consume);
        assert_eq!(status.borrow().reconnects, 1);
    }

    #[test]
    fn who_consumes_and_cannot_publish_says_so() {
        let board = Board::new();
        let status = board.subscribe();
        board.up(Side::Consume);
        board.up(Side::Publish);
        consume_all(&board, Consumer::Consuming);
        assert_eq!(status.borrow().reason, None);
        assert!(!status.borrow().takes_nothing());
        board.down(Side::Publish, "connection lost".into());
        assert!(status.borrow().takes_nothing());
        assert!(status.borrow().consuming && !status.borrow().connected);
        assert_eq!(status.borrow().reason.as_deref(), Some("connection lost"));
        let lost = ("broker.not_connected", "connection lost".to_owned());
        assert_eq!(status.borrow().trouble(), Some(lost));
        board.up(Side::Publish);
        assert_eq!(status.borrow().trouble(), None);
        board.blocked(true);
        assert_eq!(status.borrow().trouble().map(|(word, _)| word), Some("broker.blocked"));
    }

    #[test]
    fn a_wish_is_the_reason_before_any_fault() {
        let board = Board::new();
        let status = board.subscribe();
        consume_all(&board, Consumer::Consuming);
        board.why_paused("the store is down");
        assert_eq!(status.borrow().paused, None, "only once it is wished for");
        board.wish(Wish::Pause);
        assert!(!status.borrow().consuming);
        assert_eq!(status.borrow().paused.as_deref(), Some("the store is down"));
        assert_eq!(status.borrow().reason.as_deref(), Some("pausing"));
        consume_all(&board, Consumer::Idle);
        assert_eq!(status.borrow().reason.as_deref(), Some("paused"));
    }
}
