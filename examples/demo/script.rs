//! The afternoon: which calls end when, what CC-FS answers, and what has to come of each. Pure.

use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::ccfs::{Codec, Recording, Reply};

pub use crate::support::world::TENANTS;

/// CC-FS has no recording of a call that ended longer ago than this: then there is none.
pub const NOT_READY_WINDOW: &str = "1m";

/// A long call goes up in parts of this size.
pub const PART_SIZE: &str = "5MiB";

/// A-law at 8 kHz.
const BYTES_PER_SECOND: u64 = 8000;

/// What stands before the sound of a WAV of that kind.
const HEADER: u64 = 58;

/// What has to come of something that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Archived,
    Absent,
    Dead(&'static str),
}

/// One recording, or one message that names none.
#[derive(Clone, Debug)]
pub struct Asked {
    pub tenant: &'static str,
    /// Its call id, else its file name.
    pub name: Option<String>,
    pub end: End,
    /// Worth a word in the listing.
    pub note: &'static str,
    /// What CC-FS answers, one reply a request; the last one repeats.
    pub replies: Vec<Reply>,
}

/// A message, and when it is published.
#[derive(Clone, Debug)]
pub struct Act {
    pub at: Duration,
    pub message: Value,
    /// Recordings that nobody has asked for before.
    pub asks: usize,
    /// What happens now, where a chapter begins.
    pub chapter: Option<&'static str>,
}

/// A recording that CC-FS has, as its index lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub tenant: &'static str,
    pub call: String,
    pub began: Timestamp,
    pub ended: Timestamp,
}

/// Everything that happens, in order.
#[derive(Clone, Debug, Default)]
pub struct Afternoon {
    pub acts: Vec<Act>,
    pub asked: Vec<Asked>,
    /// What CC-FS knows of this afternoon; the first is the call for which no message is sent.
    pub listed: Vec<Listed>,
    /// How many events have to come.
    pub events: usize,
}

impl Afternoon {
    pub fn asked_of(&self, tenant: &str) -> usize {
        self.asked.iter().filter(|asked| asked.tenant == tenant).count()
    }

    pub fn unsent(&self) -> &Listed {
        self.listed.first().expect("the script has one")
    }
}

/// The afternoon that begins at `now`; always the same but for the date.
pub fn afternoon(now: Timestamp) -> Afternoon {
    let now = Timestamp::from_second(now.as_second()).expect("a second of a timestamp is one");
    let mut play = Play { now, rng: Rng::with_seed(7), clock: 0.0, all: Afternoon::default() };
    play.unsent("acme");
    play.chapter("Calls end at both tenants.", |play| play.ordinary(22));
    play.chapter("Some recordings are not in CC-FS yet.", |play| {
        for (count, tenant) in [(3, "acme"), (2, "globex")] {
            for _ in 0..count {
                let wav = play.wav();
                let replies = [Reply::not_found(), Reply::code("0300011"), wav];
                play.special(tenant, "not ready at first, twice", replies);
            }
        }
        play.ordinary(12);
    });
    play.chapter("CC-FS holds globex back: flow control.", |play| {
        for _ in 0..4 {
            let wav = play.wav();
            play.special("globex", "throttled at first", [Reply::throttled(), wav]);
        }
        play.ordinary(14);
    });
    play.chapter("A call of 26 minutes, a ZIP, and one message that comes twice.", |play| {
        let long = paced(Reply::wav(HEADER + 26 * 60 * BYTES_PER_SECOND));
        play.special("acme", "26 minutes, in parts", [long]);
        let zip = Reply::zip([31, 44, 12].map(|seconds| seconds * BYTES_PER_SECOND));
        play.special("globex", "a ZIP of three", [paced(zip)]);
        play.of_three();
        play.twice("globex");
        play.ordinary(10);
    });
    play.chapter("An audit asks globex for nine old recordings in one message.", |play| {
        play.dump();
        play.ordinary(8);
    });
    play.chapter("Things go wrong: cut short, wrong for good, never recorded, no call.", |play| {
        let (cut, wav) = (Reply::wav(400_000).cut_at(150_000), play.wav());
        play.special("acme", "cut short at first", [cut, wav]);
        let wrong = [Reply::code("0399999")];
        play.call("acme", End::Dead("ccfs.0399999"), "wrong, whatever is tried", wrong, 0);
        // It ended just inside the window, so some tries are made before it is given up.
        play.call("acme", End::Absent, "never recorded", [Reply::not_found()], 55);
        play.nameless("globex");
        play.ordinary(8);
    });
    play.all
}

struct Play {
    now: Timestamp,
    rng: Rng,
    /// Seconds since the beginning.
    clock: f64,
    all: Afternoon,
}

impl Play {
    fn chapter(&mut self, text: &'static str, events: impl FnOnce(&mut Self)) {
        let first = self.all.acts.len();
        events(self);
        self.all.acts[first].chapter = Some(text);
    }

    fn ordinary(&mut self, count: usize) {
        for _ in 0..count {
            let tenant = TENANTS[usize::from(self.rng.u8(..10) < 4)];
            let wav = self.wav();
            self.special(tenant, "", [wav]);
        }
    }

    fn special(
        &mut self,
        tenant: &'static str,
        note: &'static str,
        replies: impl IntoIterator<Item = Reply>,
    ) {
        self.call(tenant, End::Archived, note, replies, 0);
    }

    /// A call that ended `ago` seconds before its message.
    fn call(
        &mut self,
        tenant: &'static str,
        end: End,
        note: &'static str,
        replies: impl IntoIterator<Item = Reply>,
        ago: i64,
    ) {
        self.clock += 0.08 + self.rng.f64() * 0.3;
        let ended = self.instant() - SignedDuration::from_secs(ago);
        let began = ended - SignedDuration::from_secs(self.rng.i64(20..90));
        let id = format!("{}-{:06}", began.as_second(), self.rng.u32(100_000..1_000_000));
        let agent = self.rng.u16(500..540).to_string();
        let message = json!({ "type": "call.completed", "tenant": tenant, "callId": id,
            "callBegin": began.to_string(), "callEnd": ended.to_string(),
            "metadata": { "agentId": agent } });
        self.publish(message, 1);
        if end == End::Archived {
            self.all.listed.push(Listed { tenant, call: id.clone(), began, ended });
        }
        self.ask(tenant, Some(id), end, note, replies);
    }

    /// CC-FS has three recordings of the last call.
    fn of_three(&mut self) {
        let row = self.all.listed.last().expect("a call was just played").clone();
        self.all.listed.extend([row.clone(), row]);
    }

    /// A call that ended a while ago, of which the producer, down at that time, has sent no message.
    fn unsent(&mut self, tenant: &'static str) {
        let ended = self.now - SignedDuration::from_mins(10);
        let began = ended - SignedDuration::from_secs(45);
        let call = format!("{}-unsent", began.as_second());
        self.all.listed.push(Listed { tenant, call, began, ended });
    }

    fn twice(&mut self, tenant: &'static str) {
        let wav = self.wav();
        self.special(tenant, "asked for twice", [wav]);
        let again = self.all.acts.last().expect("a call was just played").message.clone();
        self.clock += 0.5;
        self.publish(again, 0);
    }

    /// Old recordings by file name, one of which is gone.
    fn dump(&mut self) {
        let day = |n: i64| (self.now - SignedDuration::from_hours(24 * (30 + n))).to_string();
        let days: Vec<String> = (0..9).map(|n| day(n)[..10].replace('-', "")).collect();
        let names: Vec<String> = (1_629_533..)
            .zip(&days)
            .map(|(number, day)| format!("X:/4/0/{day}/512/{number}.V3"))
            .collect();
        let recordings: Vec<Value> = names.iter().map(|name| json!({ "fileName": name })).collect();
        self.clock += 0.2;
        let dump = json!({ "type": "recording.dump-requested", "tenant": "globex",
            "requestId": "audit-7", "recordings": recordings });
        self.publish(dump, names.len());
        // Besides its own, those of its recordings.
        self.all.events += names.len();
        for (number, name) in names.into_iter().enumerate() {
            let (end, reply) = match number {
                4 => (End::Absent, Reply::not_found()),
                _ => (End::Archived, self.wav()),
            };
            self.ask("globex", Some(name), end, "of the audit", [reply]);
        }
    }

    /// A message that names no recording.
    fn nameless(&mut self, tenant: &'static str) {
        self.clock += 0.2;
        let ended = self.instant().to_string();
        let message = json!({ "type": "call.completed", "tenant": tenant, "callEnd": ended });
        self.publish(message, 1);
        self.ask(tenant, None, End::Dead("message.invalid"), "names no call", []);
    }

    fn publish(&mut self, message: Value, asks: usize) {
        let at = Duration::from_secs_f64(self.clock);
        self.all.acts.push(Act { at, message, asks, chapter: None });
        self.all.events += 1;
    }

    fn ask(
        &mut self,
        tenant: &'static str,
        name: Option<String>,
        end: End,
        note: &'static str,
        replies: impl IntoIterator<Item = Reply>,
    ) {
        let replies = replies.into_iter().collect();
        self.all.asked.push(Asked { tenant, name, end, note, replies });
    }

    /// A recording of 10 to 70 seconds.
    fn wav(&mut self) -> Reply {
        let bytes = self.rng.u64(10..70) * BYTES_PER_SECOND + HEADER;
        let codec = [Codec::Alaw, Codec::Alaw, Codec::Mulaw][self.rng.usize(..3)];
        paced(Reply::recording(Recording::wav(bytes).codec(codec)))
    }

    fn instant(&self) -> Timestamp {
        self.now + SignedDuration::from_secs_f64(self.clock.floor())
    }
}

/// Not as fast as loopback can: a person watches.
fn paced(reply: Reply) -> Reply {
    reply.pieces(96 << 10, Duration::from_millis(40))
}
