//! One connection: asked with timeouts, closed for certain.
//!
//! It must not know how it was opened, nor what it carries.

use std::fmt;
use std::future::Future;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lapin::{Channel, Connection, ErrorKind, Event};
use tokio::time::timeout;

use super::door::Door;
use super::guard::{Burden, Flaws, Marks};
use crate::beat;

/// The answer to one AMQP method; a quorum queue's first declaration on a busy broker takes seconds.
const RPC_TIMEOUT: Duration = Duration::from_secs(30);
/// The orderly end of a connection; after it the socket is cut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_CAP: Duration = Duration::from_secs(10);

/// Why something with the broker did not work: a sentence for people, without secrets.
#[derive(Debug)]
pub(super) struct Fault {
    why: String,
    /// What to do about it, where that is known.
    remedy: Option<Box<Remedy>>,
    cause: Option<lapin::Error>,
    /// The broker is there and does not let us in.
    login_refused: bool,
    /// This node does not do its work; another of the same broker may.
    elsewhere: bool,
    /// Nothing was said at all.
    unanswered: bool,
}

/// What to do about a fault.
#[derive(Debug)]
pub(super) struct Remedy {
    pub advice: String,
    /// What to run, a command each, for those who can show lines.
    pub commands: Vec<String>,
}

impl Fault {
    pub(super) fn new(why: impl Into<String>) -> Self {
        let why = why.into();
        let (login_refused, elsewhere, unanswered) = (false, false, false);
        Self { why, remedy: None, cause: None, login_refused, elsewhere, unanswered }
    }

    /// The broker has said nothing: whether it will do what it was asked is not known.
    pub(super) fn unanswered(why: impl Into<String>) -> Self {
        Self { unanswered: true, ..Self::new(why) }
    }

    pub(super) fn of(what: &str, cause: lapin::Error) -> Self {
        let why = format!("{what}: {}", describe(&cause));
        Self { cause: Some(cause), ..Self::new(why) }
    }

    pub(super) fn refused_login(why: impl Into<String>) -> Self {
        Self { login_refused: true, ..Self::new(why) }
    }

    /// The same, with what to do about it.
    pub(super) fn advising(self, advice: impl Into<String>) -> Self {
        self.with(Remedy { advice: advice.into(), commands: Vec::new() })
    }

    /// The same, with what to run.
    pub(super) fn with(self, remedy: Remedy) -> Self {
        Self { remedy: Some(Box::new(remedy)), ..self }
    }

    pub(super) fn commands(&self) -> &[String] {
        self.remedy.as_ref().map_or(&[], |remedy| &remedy.commands)
    }

    /// The same, met with this.
    pub(super) fn about(self, what: &dyn fmt::Display) -> Self {
        Self { why: format!("{what}: {}", self.why), ..self }
    }

    /// What was met, without what to do about it.
    pub(super) fn why(&self) -> &str {
        &self.why
    }

    pub(super) fn advice(&self) -> Option<&str> {
        self.remedy.as_ref().map(|remedy| remedy.advice.as_str())
    }

    /// What several tries have met, each once.
    pub(super) fn of_all<'a>(faults: impl IntoIterator<Item = &'a Self> + Clone) -> Self {
        let each = |of: fn(&Self) -> Option<&str>| {
            let mut seen: Vec<&str> = Vec::new();
            for text in faults.clone().into_iter().filter_map(of) {
                if !seen.contains(&text) {
                    seen.push(text);
                }
            }
            seen.join("; ")
        };
        let why = Self::new(each(|fault| Some(fault.why())));
        let advice = each(Self::advice);
        if advice.is_empty() { why } else { why.advising(advice) }
    }

    /// The node that this was met on takes connections and does not do its work, as one does that
    /// is cut off from the others of its cluster.
    pub(super) fn elsewhere(self) -> Self {
        Self { elsewhere: true, ..self }
    }

    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    pub(super) fn is_unanswered(&self) -> bool {
        self.unanswered
    }

    pub(super) fn is_refused_login(&self) -> bool {
        self.login_refused
    }

    pub(super) fn cause(&self) -> Option<&lapin::Error> {
        self.cause.as_ref()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

/// Waits for the answer to one AMQP method.
///
/// # Errors
/// The broker refuses, the channel is dead, or there is no answer within [`RPC_TIMEOUT`].
pub(super) async fn rpc<T>(
    what: &str,
    call: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Fault> {
    match timeout(RPC_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(|error| Fault::of(what, error)),
        Err(_) => Err(Fault::unanswered(format!("{what}: no answer within {RPC_TIMEOUT:?}"))),
    }
}

/// An open connection.
pub(super) struct Link {
    connection: Connection,
    socket: Socket,
    marks: Arc<Marks>,
    /// Host, port, and the address where there are several, for people.
    place: String,
    door: Door,
}

impl Link {
    pub(super) fn new(
        connection: Connection,
        socket: Socket,
        marks: Arc<Marks>,
        place: String,
        door: Door,
    ) -> Self {
        Self { connection, socket, marks, place, door }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Where it leads, and as whom.
    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    /// Resolves when the connection is lost, with what lapin or the broker said. A node that has
    /// gone silent would take the next connection as well, and say nothing.
    pub(super) async fn lost(&self) -> Fault {
        let mut events: BoxStream<'static, Event> = self.connection.events_listener().boxed();
        let mut said = None;
        while self.connected() {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::Error(error)) => said = Some(error),
                    Some(_) => {}
                    None => break,
                },
                // It does not always tell.
                () = beat::next() => self.marks.pulse(),
            }
        }
        match said {
            Some(error) => {
                let silent = matches!(error.kind(), ErrorKind::MissingHeartbeatError);
                let fault = Fault::of("connection lost", error);
                if silent { fault.elsewhere() } else { fault }
            }
            None => Fault::new("connection lost"),
        }
    }

    /// Opens a channel. A connection that opens none is cut: lapin gives no number a second time
    /// whose channel the broker has closed, until all of them are used up.
    pub(super) async fn channel(&self) -> Result<Channel, Fault> {
        let opened = self.try_channel().await;
        if opened.is_err() {
            self.socket.cut();
        }
        opened
    }

    /// Opens a channel, and leaves the connection as it is where that does not work.
    pub(super) async fn try_channel(&self) -> Result<Channel, Fault> {
        rpc("channel.open", self.connection.create_channel()).await
    }

    /// The largest frame that this connection takes, in bytes.
    pub(super) fn frame_max(&self) -> usize {
        self.connection.configuration().frame_max() as usize
    }

    /// What was mended on a delivery before lapin saw it; told once.
    pub(super) fn flaws(&self, channel: &Channel, tag: u64) -> Flaws {
        self.marks.take(channel.id(), tag)
    }

    /// A body that has come, as long as it is in hand.
    pub(super) fn claim(&self, channel: &Channel, bytes: usize) -> Burden {
        self.marks.claim(channel.id(), bytes)
    }

    /// A channel that deliveries came from is gone.
    pub(super) fn forget(&self, channel: u16) {
        self.marks.forget(channel);
    }

    pub(super) fn connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether the broker lets nobody publish: a memory or disk alarm.
    pub(super) fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Ends it at once: who does not answer does not take leave either.
    pub(super) fn cut(&self) {
        self.socket.cut();
    }

    /// Closes in order; what does not answer is cut off when this is dropped.
    pub(super) async fn close(&self) {
        if self.connected() {
            let _ = timeout(CLOSE_TIMEOUT, self.connection.close(200, "bye".into())).await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.socket.cut();
    }
}

/// A second handle of the connection's socket. lapin's io thread waits for ever for the answer of
/// a peer that accepts and says nothing; cutting the socket under it ends the thread.
#[derive(Clone, Default)]
pub(super) struct Socket(Arc<Mutex<End>>);

#[derive(Default)]
enum End {
    #[default]
    ToCome,
    Held(TcpStream),
    /// What comes is not wanted any more.
    Cut,
}

impl Socket {
    /// # Errors
    /// It was cut before there was one.
    pub(super) fn hold(&self, socket: impl AsFd) -> std::io::Result<()> {
        let copy = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*end, End::Cut) {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        *end = End::Held(copy);
        Ok(())
    }

    pub(super) fn cut(&self) {
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let End::Held(socket) = std::mem::replace(&mut *end, End::Cut) {
            // Fails where the peer has closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// The error without lapin's own preamble; it holds what the broker or the system said.
pub(super) fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        // More is said after it.
        ErrorKind::ProtocolError(error) => {
            error.get_message().as_str().trim_end_matches('.').to_owned()
        }
        ErrorKind::IOError(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// Pauses that double up to a cap, with jitter so that workers do not come back all at once.
#[derive(Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    pub(super) fn pause(&mut self) -> Duration {
        let full = BACKOFF_FIRST.saturating_mul(1 << self.tries.min(10)).min(BACKOFF_CAP);
        self.tries += 1;
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_no_further() {
        let mut backoff = Backoff::default();
        assert!(backoff.pause() <= BACKOFF_FIRST);
        let last = (0..100).map(|_| backoff.pause()).last().unwrap();
        assert!(last >= BACKOFF_CAP / 2 && last <= BACKOFF_CAP, "{last:?}");
    }
}
