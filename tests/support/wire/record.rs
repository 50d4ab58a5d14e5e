//! What crossed the wire: deliveries and what became of them, publishes and their confirms.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::protocol::basic::AMQPMethod as Basic;
use lapin::protocol::channel::AMQPMethod as Channels;
use lapin::protocol::confirm::AMQPMethod as Confirm;
use lapin::protocol::{AMQPClass, basic};
use lapin::types::FieldTable;

use super::commands::{Command, Content};

/// A channel of a connection; both count from the first the wire saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub connection: u32,
    pub channel: u16,
}

/// What a message says, as far as the tests ask.
#[derive(Clone, Debug)]
pub struct Letter {
    pub exchange: String,
    pub routing_key: String,
    pub message_id: Option<String>,
    pub headers: FieldTable,
    pub body: Bytes,
}

/// A message that the broker sent.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub at: Place,
    pub tag: u64,
    pub redelivered: bool,
    /// Dropped on the way: the worker never saw it.
    pub swallowed: bool,
    pub letter: Letter,
    /// `None`: in hand.
    pub end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The worker has said so; if its connection is torn just then, it comes again all the same.
    Acked,
    /// `basic.nack` or `basic.reject` with requeue.
    GivenBack,
    /// The same without requeue: dropped or dead-lettered.
    Refused,
    /// Its channel ended: the broker has it again.
    Lost,
}

/// A message that the worker sent.
#[derive(Clone, Debug)]
pub struct Published {
    pub at: Place,
    /// Its number on a channel with confirms.
    pub number: Option<u64>,
    pub mandatory: bool,
    pub letter: Letter,
    /// `basic.return`: no queue took it. It is confirmed all the same.
    pub returned: bool,
    /// What the broker said, if it has said it: true for an ack.
    pub answer: Option<bool>,
}

impl Published {
    /// The broker has it, in a queue unless nobody asked it to be (`mandatory`).
    pub fn confirmed(&self) -> bool {
        self.answer == Some(true) && !self.returned
    }
}

/// Everything in the order in which it crossed.
#[derive(Default)]
pub struct Record {
    pub delivered: Vec<Delivered>,
    pub published: Vec<Published>,
    /// Of `published`, those that are confirmed, in the order of the confirms.
    confirms: Vec<usize>,
    /// Acks, nacks and rejects of what was not in hand: there should be none.
    pub strays: u32,
    channels: HashMap<Place, Open>,
    opened: u64,
}

/// An open channel.
#[derive(Default)]
struct Open {
    /// Counts all channels of the wire.
    serial: u64,
    /// By tag, where in `delivered`.
    in_hand: BTreeMap<u64, usize>,
    /// The last number given, once confirms are selected.
    confirming: Option<u64>,
    /// By number, where in `published`.
    unanswered: BTreeMap<u64, usize>,
}

impl Record {
    /// The confirmed publish that fits and was confirmed last.
    pub fn confirmed(&self, mut fits: impl FnMut(&Published) -> bool) -> Option<&Published> {
        self.confirms.iter().rev().map(|&at| &self.published[at]).find(|found| fits(found))
    }

    /// All publishes that are confirmed, in the order of the confirms.
    pub fn confirms(&self) -> impl Iterator<Item = &Published> {
        self.confirms.iter().map(|&at| &self.published[at])
    }

    /// Channels that were opened so far.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// Which of all channels this one is, from 1 on.
    pub(super) fn serial(&self, at: Place) -> u64 {
        self.channels.get(&at).map_or(0, |open| open.serial)
    }

    /// Notes what the worker said; what it acknowledges with it.
    pub(super) fn said(&mut self, at: Place, command: &Command) -> Vec<Delivered> {
        match &command.class {
            Some(AMQPClass::Channel(Channels::Open(_))) => self.open(at),
            Some(AMQPClass::Channel(Channels::Close(_))) => self.close(at),
            Some(AMQPClass::Confirm(Confirm::Select(_))) => {
                let open = self.channels.entry(at).or_default();
                open.confirming.get_or_insert(0);
            }
            Some(AMQPClass::Basic(Basic::Publish(publish))) => self.publish(at, publish, command),
            Some(AMQPClass::Basic(Basic::Ack(ack))) => {
                return self.settle(at, ack.delivery_tag, ack.multiple, End::Acked);
            }
            Some(AMQPClass::Basic(Basic::Nack(nack))) => {
                let end = if nack.requeue { End::GivenBack } else { End::Refused };
                self.settle(at, nack.delivery_tag, nack.multiple, end);
            }
            Some(AMQPClass::Basic(Basic::Reject(reject))) => {
                let end = if reject.requeue { End::GivenBack } else { End::Refused };
                self.settle(at, reject.delivery_tag, false, end);
            }
            _ => {}
        }
        Vec::new()
    }

    /// Notes what the broker said.
    pub(super) fn heard(&mut self, at: Place, command: &Command, swallowed: bool) {
        let content = command.content.as_ref();
        match (&command.class, content) {
            (Some(AMQPClass::Channel(Channels::Close(_))), _) => self.close(at),
            (Some(AMQPClass::Basic(Basic::Deliver(sent))), Some(content)) => {
                let letter = letter(&sent.exchange, &sent.routing_key, content);
                let (tag, redelivered) = (sent.delivery_tag, sent.redelivered);
                self.deliver(Delivered { at, tag, redelivered, swallowed, letter, end: None });
            }
            (Some(AMQPClass::Basic(Basic::GetOk(sent))), Some(content)) => {
                let letter = letter(&sent.exchange, &sent.routing_key, content);
                let (tag, redelivered) = (sent.delivery_tag, sent.redelivered);
                self.deliver(Delivered { at, tag, redelivered, swallowed, letter, end: None });
            }
            (Some(AMQPClass::Basic(Basic::Return(back))), Some(content)) => {
                self.returned(at, &letter(&back.exchange, &back.routing_key, content));
            }
            (Some(AMQPClass::Basic(Basic::Ack(ack))), _) => {
                self.answer(at, ack.delivery_tag, ack.multiple, true);
            }
            (Some(AMQPClass::Basic(Basic::Nack(nack))), _) => {
                self.answer(at, nack.delivery_tag, nack.multiple, false);
            }
            _ => {}
        }
    }

    /// A connection is over, and with it its channels.
    pub(super) fn ended(&mut self, connection: u32) {
        let channels = self.channels.keys().filter(|at| at.connection == connection);
        for at in channels.copied().collect::<Vec<_>>() {
            self.close(at);
        }
    }

    fn open(&mut self, at: Place) {
        self.opened += 1;
        self.channels.insert(at, Open { serial: self.opened, ..Open::default() });
    }

    fn close(&mut self, at: Place) {
        let lost = self.channels.remove(&at).into_iter().flat_map(|open| open.in_hand);
        for (_, index) in lost {
            self.delivered[index].end = Some(End::Lost);
        }
    }

    fn deliver(&mut self, delivered: Delivered) {
        let open = self.channels.entry(delivered.at).or_default();
        open.in_hand.insert(delivered.tag, self.delivered.len());
        self.delivered.push(delivered);
    }

    fn settle(&mut self, at: Place, tag: u64, multiple: bool, end: End) -> Vec<Delivered> {
        // A channel that the broker has closed: it hears nothing more.
        let Some(open) = self.channels.get_mut(&at) else { return Vec::new() };
        let settled = take(&mut open.in_hand, tag, multiple);
        self.strays += u32::from(settled.is_empty());
        let settled = settled.into_iter().map(|index| {
            self.delivered[index].end = Some(end);
            self.delivered[index].clone()
        });
        settled.collect()
    }

    fn publish(&mut self, at: Place, publish: &basic::Publish, command: &Command) {
        let none = Content::default();
        let content = command.content.as_ref().unwrap_or(&none);
        let open = self.channels.entry(at).or_default();
        if let Some(last) = &mut open.confirming {
            *last += 1;
            open.unanswered.insert(*last, self.published.len());
        }
        self.published.push(Published {
            at,
            number: open.confirming,
            mandatory: publish.mandatory,
            letter: letter(&publish.exchange, &publish.routing_key, content),
            returned: false,
            answer: None,
        });
    }

    fn returned(&mut self, at: Place, letter: &Letter) {
        let unanswered = self.channels.get(&at).into_iter().flat_map(|open| &open.unanswered);
        for (_, &index) in unanswered {
            let published = &mut self.published[index];
            let own = &published.letter;
            let same = own.exchange == letter.exchange
                && own.routing_key == letter.routing_key
                && own.message_id == letter.message_id
                && own.body == letter.body;
            if same && !published.returned {
                published.returned = true;
                return;
            }
        }
    }

    fn answer(&mut self, at: Place, number: u64, multiple: bool, ack: bool) {
        let Some(open) = self.channels.get_mut(&at) else { return };
        for index in take(&mut open.unanswered, number, multiple) {
            let published = &mut self.published[index];
            published.answer = Some(ack);
            if published.confirmed() {
                self.confirms.push(index);
            }
        }
    }
}

/// Takes what a tag speaks of: itself, or with `multiple` all up to it, where 0 means all.
fn take(waiting: &mut BTreeMap<u64, usize>, tag: u64, multiple: bool) -> Vec<usize> {
    if !multiple {
        return waiting.remove(&tag).into_iter().collect();
    }
    let later = if tag == 0 { BTreeMap::new() } else { waiting.split_off(&(tag + 1)) };
    std::mem::replace(waiting, later).into_values().collect()
}

fn letter(
    exchange: &lapin::types::ShortString,
    routing_key: &lapin::types::ShortString,
    content: &Content,
) -> Letter {
    let properties: &BasicProperties = &content.properties;
    Letter {
        exchange: exchange.to_string(),
        routing_key: routing_key.to_string(),
        message_id: properties.message_id().as_ref().map(ToString::to_string),
        headers: properties.headers().clone().unwrap_or_default(),
        body: content.body.clone(),
    }
}
