//! Crash points: where a test ends a worker between two steps of the line, as `kill -9` would.
//!
//! Debug builds alone have them; in a release build every function here is empty and nothing looks
//! into the environment. It must not know what the steps do.

#[cfg(debug_assertions)]
pub use armed::{Job, arm, point};
#[cfg(not(debug_assertions))]
pub use disarmed::{Job, arm, point};

/// A boundary between two steps; its name in the environment is that of the variant in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The message has got its place; nothing is done yet.
    Received,
    /// The request to CC-FS is signed but not sent.
    Signed,
    /// CC-FS answers with a recording.
    FirstByte,
    /// All of it has come and is whole.
    Proven,
    /// A body (an object or a part) is sent, and the store's answer is not read.
    PutSent,
    /// The store has the object, or all parts.
    PutDone,
    /// The store has made one object of the parts.
    Completed,
    /// An event is written to the broker, its confirm not awaited.
    EventSent,
    EventConfirmed,
    /// All is durable but the acknowledgement, also that of what was moved to another queue.
    BeforeAck,
    /// The acknowledgement is written to the broker.
    AfterAck,
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Point;

    const VARIABLE: &str = "CALLVAULT_CRASH";

    const NAMES: [(&str, Point); 11] = [
        ("received", Point::Received),
        ("signed", Point::Signed),
        ("first_byte", Point::FirstByte),
        ("proven", Point::Proven),
        ("put_sent", Point::PutSent),
        ("put_done", Point::PutDone),
        ("completed", Point::Completed),
        ("event_sent", Point::EventSent),
        ("event_confirmed", Point::EventConfirmed),
        ("before_ack", Point::BeforeAck),
        ("after_ack", Point::AfterAck),
    ];

    static CHARGE: OnceLock<Charge> = OnceLock::new();

    tokio::task_local! {
        /// Whether the message at work is one that the charge is meant for.
        static MEANT: bool;
    }

    /// `put_done`, `put_done:3` (the third pass), `received@1777093663-7` (passes of messages whose
    /// body contains the text).
    #[derive(Debug)]
    struct Charge {
        point: Point,
        pass: u32,
        text: Option<String>,
        passed: AtomicU32,
    }

    /// Reads the environment, once.
    ///
    /// # Errors
    /// A text for people: it names no point.
    pub fn arm() -> Result<(), String> {
        let Ok(text) = std::env::var(VARIABLE) else { return Ok(()) };
        let charge = Charge::parse(&text).ok_or_else(|| {
            let names = NAMES.map(|(name, _)| name).join(", ");
            format!("{VARIABLE} is {text:?}; write POINT[:PASS][@TEXT] with one of {names}")
        })?;
        CHARGE.set(charge).map_err(|_| format!("{VARIABLE} is read twice"))
    }

    /// Ends the process here if it is armed so: no destructor runs, nothing is flushed.
    pub fn point(point: Point) {
        if CHARGE.get().is_some_and(|charge| charge.goes_off_at(point)) {
            tracing::error!(?point, "crash point");
            std::process::abort();
        }
    }

    /// The message of a job, as far as crash points care.
    pub struct Job {
        meant: bool,
    }

    impl Job {
        pub fn of(body: &[u8]) -> Self {
            Self { meant: CHARGE.get().is_some_and(|charge| charge.is_meant_for(body)) }
        }

        /// The points on the way of `work` are passes of this message.
        pub fn during<W: Future>(self, work: W) -> impl Future<Output = W::Output> {
            MEANT.scope(self.meant, work)
        }
    }

    impl Charge {
        fn parse(text: &str) -> Option<Self> {
            let (place, text) =
                text.split_once('@').map_or((text, None), |(place, text)| (place, Some(text)));
            let (name, pass) = place.split_once(':').unwrap_or((place, "1"));
            let (_, point) = *NAMES.iter().find(|(known, _)| *known == name)?;
            let pass = pass.parse().ok().filter(|pass| *pass > 0)?;
            let text = text.map(str::to_owned);
            Some(Self { point, pass, text, passed: AtomicU32::new(0) })
        }

        fn is_meant_for(&self, body: &[u8]) -> bool {
            let text = self.text.as_ref().map(String::as_bytes).unwrap_or_default();
            text.is_empty() || body.windows(text.len()).any(|window| window == text)
        }

        fn goes_off_at(&self, point: Point) -> bool {
            let meant = || self.text.is_none() || MEANT.try_with(|meant| *meant).unwrap_or(false);
            point == self.point
                && meant()
                && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == self.pass
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn it_goes_off_at_its_point_and_pass() {
            let charge = Charge::parse("put_done:2").unwrap();
            assert!(!charge.goes_off_at(Point::PutSent));
            let passes = [1, 2, 3].map(|_| charge.goes_off_at(Point::PutDone));
            assert_eq!(passes, [false, true, false]);
        }

        #[test]
        fn a_text_picks_messages() {
            let charge = Charge::parse("received@1777093663-7").unwrap();
            assert!(charge.is_meant_for(br#"{"callId":"1777093663-7"}"#));
            assert!(!charge.is_meant_for(br#"{"callId":"1777093663-8"}"#));
            assert!(!charge.goes_off_at(Point::Received), "no message is at work");
            assert!(MEANT.sync_scope(true, || charge.goes_off_at(Point::Received)));
        }

        #[test]
        fn what_names_no_point_is_refused() {
            for text in ["", "put", "put_done:", "put_done:0", "put_done:x", "@1777093663-7"] {
                assert!(Charge::parse(text).is_none(), "{text:?}");
            }
        }
    }
}

#[cfg(not(debug_assertions))]
mod disarmed {
    use super::Point;

    pub fn arm() -> Result<(), String> {
        Ok(())
    }

    #[inline(always)]
    pub fn point(_: Point) {}

    pub struct Job;

    impl Job {
        pub fn of(_: &[u8]) -> Self {
            Self
        }

        pub fn during<W: Future>(self, work: W) -> W {
            work
        }
    }
}
