//! Messages that are moved to one queue of ours at the same time, published together.
//!
//! A broker that gets a hundred messages on one channel does half the work of one that gets them on as
//! many, and so do we. Nobody waits for others to come: whoever finds fewer than [`UNDER_WAY`]
//! batches on their way publishes at once what has gathered, its own message among it, and tells
//! the others what became of theirs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use lapin::BasicProperties;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::confirm::{Answer, Message, Route, send};
use super::lanes::{LARGE, Lane, Lanes, Line};

/// Messages of one batch at most.
const MOST: usize = 128;
/// Batches to one queue at once: while one is being confirmed, the next is written. More would take
/// channels from others where a queue does not confirm.
const UNDER_WAY: usize = 2;

/// What gathers, by the queue that it goes to.
#[derive(Default)]
pub(super) struct Batches(Mutex<HashMap<String, Arc<Gathering>>>);

struct Gathering {
    letters: Mutex<VecDeque<Letter>>,
    turns: Semaphore,
}

/// A message that waits for a batch, and who wants to know what becomes of it.
struct Letter {
    exchange: String,
    routing_key: String,
    mandatory: bool,
    body: Vec<u8>,
    properties: BasicProperties,
    answer: oneshot::Sender<Answer>,
}

impl Batches {
    /// Whether a message may share a channel: it goes to a queue of ours, as all of its batch do, and
    /// is small.
    pub(super) fn take(message: &Message<'_>) -> bool {
        let Route { ours, line, .. } = message.route;
        ours && matches!(line, Line::Move | Line::Item) && message.body.len() < LARGE
    }

    /// Publishes a message together with others that go where it goes; what became of it.
    pub(super) async fn publish(
        &self,
        lanes: &Lanes,
        lane: &Lane,
        message: &Message<'_>,
    ) -> Answer {
        let gathering = self.gathering(&message.route);
        let mut answered = gathering.join(message);
        loop {
            let turn = tokio::select! {
                biased;
                answer = &mut answered => return answer.unwrap_or(Answer::Unclear),
                turn = gathering.turn() => turn,
            };
            let batch = gathering.next();
            if batch.is_empty() {
                drop(turn);
                // Another has taken it along. Where that one is cancelled, nobody knows.
                return answered.await.unwrap_or(Answer::Unclear);
            }
            publish(batch, lanes, lane).await;
        }
    }

    fn gathering(&self, route: &Route<'_>) -> Arc<Gathering> {
        // A retry exchange has one queue, whatever the key; the default exchange is all queues.
        let queue = if route.exchange.is_empty() { route.routing_key } else { route.exchange };
        let mut by_queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gathering) = by_queue.get(queue) {
            return Arc::clone(gathering);
        }
        Arc::clone(by_queue.entry(queue.to_owned()).or_default())
    }
}

impl Default for Gathering {
    fn default() -> Self {
        Self { letters: Mutex::default(), turns: Semaphore::new(UNDER_WAY) }
    }
}

impl Gathering {
    fn join(&self, message: &Message<'_>) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let letter = Letter {
            exchange: message.route.exchange.to_owned(),
            routing_key: message.route.routing_key.to_owned(),
            mandatory: message.route.mandatory,
            body: message.body.to_vec(),
            properties: message.properties.clone(),
            answer,
        };
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push_back(letter);
        answered
    }

    async fn turn(&self) -> SemaphorePermit<'_> {
        match self.turns.acquire().await {
            Ok(turn) => turn,
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    fn next(&self) -> Vec<Letter> {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let most = letters.len().min(MOST);
        // Who has gone away published nothing, and wants nothing published.
        letters.drain(..most).filter(|letter| !letter.answer.is_closed()).collect()
    }
}

/// Publishes a batch and tells each what became of its message; nothing, if the channel died over it.
async fn publish(batch: Vec<Letter>, lanes: &Lanes, lane: &Lane) {
    let messages: Vec<_> = batch.iter().map(Letter::message).collect();
    let Ok((_place, channel)) = lanes.channel(lane, (Line::Move, 0), false).await else { return };
    let Ok(answers) = send(lane, &channel, &messages).await else { return };
    if !answers.contains(&Answer::Silence) {
        lane.keep(channel);
    }
    drop(messages);
    for (letter, answer) in batch.into_iter().zip(answers) {
        // Whoever has gone away since does not need to know.
        let _ = letter.answer.send(answer);
    }
}

impl Letter {
    fn message(&self) -> Message<'_> {
        let ours = Route::ours(&self.exchange, &self.routing_key);
        let route = Route { mandatory: self.mandatory, ..ours };
        Message { route, body: &self.body, properties: self.properties.clone() }
    }
}
