//! From messages on the wire to the broker's word on each.
//!
//! It must not know what is published, nor what becomes of what was not confirmed.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::time::timeout;

use super::connection::Fault;
use super::lanes::{Lane, Line};
use crate::crash::{self, Point};

/// A node that confirms nothing for so long, and did before, gives way to the next. Where it only
/// waits for a queue's new leader (some 10 s, if the old one hangs) that costs a connection.
const SILENT_AFTER: Duration = Duration::from_secs(6);
/// The confirm of one publish; after it the message is published again under the same id.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// A message and where it goes.
pub(super) struct Message<'a> {
    pub route: Route<'a>,
    pub body: &'a [u8],
    pub properties: BasicProperties,
}

#[derive(Clone, Copy)]
pub(super) struct Route<'a> {
    pub exchange: &'a str,
    pub routing_key: &'a str,
    pub mandatory: bool,
    /// Ends in a queue of our own topology: where it does not, the topology has a hole to mend.
    pub ours: bool,
    pub line: Line,
}

impl<'a> Route<'a> {
    /// To a queue of our own topology.
    pub fn ours(exchange: &'a str, routing_key: &'a str) -> Self {
        Self { exchange, routing_key, mandatory: true, ours: true, line: Line::Move }
    }
}

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Confirmed,
    /// `mandatory`, and no queue took it.
    Returned,
    /// The queue is full, or its leader is changing.
    Refused,
    /// No confirm in time.
    Silence,
    /// It was one of several, and it cannot be told which of them the broker meant: to be published
    /// again, alone.
    Unclear,
}

/// Publishes these on one channel and waits until there is an answer to each, or none comes any more.
///
/// lapin pins a message that comes back to the next confirm that comes, whose ever it is. So what
/// may come back shares its channel with what is given here at the most, and if one of several does,
/// every answer is unclear.
///
/// # Errors
/// The channel was closed over it.
pub(super) async fn send(
    lane: &Lane,
    channel: &Channel,
    messages: &[Message<'_>],
) -> Result<Vec<Answer>, Fault> {
    let ours = messages.iter().all(|message| message.route.ours);
    let before = lane.answers();
    let confirm = async |n, message| (n, confirmed(channel, message).await);
    let mut open: FuturesUnordered<_> =
        messages.iter().enumerate().map(|(n, message)| confirm(n, message)).collect();
    let mut words = vec![None; messages.len()];
    let mut waited = SILENT_AFTER;
    loop {
        match timeout(waited, open.next()).await {
            Ok(None) => break,
            Ok(Some((n, confirmation))) => {
                let confirmation = confirmation.map_err(|e| Fault::of("publish", e))?;
                words[n] = Some(Word::of(&confirmation)?);
                lane.hears(ours);
            }
            // The broker blocks publishers: it stays in line rather than lining up again.
            Err(_) if lane.is_blocked() => waited = CONFIRM_TIMEOUT,
            Err(_) if waited == SILENT_AFTER => {
                lane.falls_silent(before, ours);
                waited = CONFIRM_TIMEOUT - SILENT_AFTER;
            }
            Err(_) => {
                if ours {
                    lane.unanswered(before);
                }
                break;
            }
        }
    }
    Ok(answers(&words))
}

/// What the broker said of a message, as far as lapin tells.
#[derive(Clone, Copy)]
struct Word {
    taken: bool,
    /// Of this message, or of another that shares its channel.
    came_back: bool,
}

impl Word {
    fn of(confirmation: &Confirmation) -> Result<Self, Fault> {
        let (taken, returned) = match confirmation {
            Confirmation::Ack(returned) => (true, returned),
            Confirmation::Nack(returned) => (false, returned),
            Confirmation::NotRequested => return Err(Fault::new("a channel without confirms")),
        };
        Ok(Self { taken, came_back: returned.is_some() })
    }
}

fn answers(words: &[Option<Word>]) -> Vec<Answer> {
    let came_back = words.iter().flatten().any(|word| word.came_back);
    if came_back && words.len() > 1 {
        return vec![Answer::Unclear; words.len()];
    }
    let answer = |word: &Option<Word>| match word {
        Some(Word { taken: false, .. }) => Answer::Refused,
        Some(Word { came_back: true, .. }) => Answer::Returned,
        Some(_) => Answer::Confirmed,
        None => Answer::Silence,
    };
    words.iter().map(answer).collect()
}

/// Publishes one message; returns the broker's word on it.
pub(super) async fn confirmed(
    channel: &Channel,
    message: &Message<'_>,
) -> lapin::Result<Confirmation> {
    let Route { exchange, routing_key, mandatory, ours, .. } = message.route;
    let options = BasicPublishOptions { mandatory, immediate: false };
    let properties = message.properties.clone();
    let (exchange, routing_key) = (short(exchange), short(routing_key));
    let publish = channel.basic_publish(exchange, routing_key, options, message.body, properties);
    let confirm = in_turn(publish).await?;
    if !ours {
        crash::point(Point::EventSent);
    }
    confirm.await
}

/// Lets no other publish in between when one is polled first.
///
/// That is when lapin numbers it, and then queues its frames. Between the two another thread may come
/// with the same channel (lapin 4.12, `Channel::basic_publish`): its frames would go first, and the
/// broker's word on the one be taken for that on the other, which it may not have yet.
async fn in_turn<T>(publish: impl Future<Output = T>) -> T {
    static TURN: Mutex<()> = Mutex::new(());
    let mut publish = pin!(publish);
    let first = poll_fn(|context| {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Poll::Ready(publish.as_mut().poll(context))
    });
    match first.await {
        Poll::Ready(done) => done,
        Poll::Pending => publish.await,
    }
}

/// AMQP's short strings end at 255 bytes; lapin panics on longer ones.
pub(super) fn short(text: &str) -> ShortString {
    ShortString::from(&text[..text.floor_char_boundary(255)])
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// As lapin does it: numbered, and then queued.
    #[tokio::test(flavor = "multi_thread", worker_threads = 8)]
    async fn what_is_numbered_first_is_queued_first() {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        static QUEUE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
        let publish = || async {
            let number = NUMBER.fetch_add(1, Ordering::SeqCst);
            (0..1000).for_each(|_| std::hint::spin_loop());
            QUEUE.lock().expect("nobody panics").push(number);
            tokio::task::yield_now().await;
        };
        let publishing = (0..10_000).map(|_| tokio::spawn(in_turn(publish())));
        for published in publishing.collect::<Vec<_>>() {
            published.await.expect("it does not panic");
        }
        assert!(QUEUE.lock().expect("nobody panics").is_sorted());
    }

    const TAKEN: Option<Word> = Some(Word { taken: true, came_back: false });
    const REFUSED: Option<Word> = Some(Word { taken: false, came_back: false });
    const BACK: Option<Word> = Some(Word { taken: true, came_back: true });

    #[test]
    fn each_has_its_own_answer() {
        let expected = [Answer::Confirmed, Answer::Refused, Answer::Silence];
        assert_eq!(answers(&[TAKEN, REFUSED, None]), expected);
        assert_eq!(answers(&[BACK]), [Answer::Returned]);
    }

    #[test]
    fn where_one_of_several_comes_back_it_may_be_any() {
        assert_eq!(answers(&[TAKEN, BACK, REFUSED]), [Answer::Unclear; 3]);
        assert_eq!(answers(&[None, BACK]), [Answer::Unclear; 2]);
    }
}
