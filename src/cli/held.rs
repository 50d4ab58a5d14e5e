//! What `callvault dead` and `callvault waiting` have in common: walking through what a queue of ours
//! holds, showing it, and doing something to what is meant.

mod act;
mod asked;
mod view;

use std::collections::BTreeMap;
use std::io::{self, Seek, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tempfile::SpooledTempFile;
use tokio::time::sleep;

pub use act::Deed;
pub use asked::{Filter, Selection};
pub use view::{View, Whose, whole, whole_json};

use super::run::{RunError, install_crypto};
use super::{Error, Out, tell};
use crate::broker::{HeldError, HeldMessage, Shelf, Turn, Walk};
use crate::crash;
use crate::lifecycle::Lifecycle;

/// How often who waits for the turn of somebody else to end asks again.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// Of what is to be shown so much is in memory; the rest is in a temporary file.
const SHOWN_IN_MEMORY: usize = 1024 * 1024;

/// Why it was not done, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum Undone {
    #[error(transparent)]
    Broker(#[from] HeldError),
    #[error("not in {place}: {ids}; `callvault {command} list` shows what is there")]
    NotThere { place: String, ids: String, command: &'static str },
    #[error("stopped before its turn; nothing was done")]
    Stopped,
    #[error("nothing is dropped")]
    NotAgreed,
    #[error("{}: {error}; nothing is written there: name a place that can be written, and has room", path.display())]
    Unwritten { path: PathBuf, error: io::Error },
    #[error("{}: cannot be read on: {error}", path.display())]
    Unread { path: PathBuf, error: io::Error },
    #[error("stopped; {0} is not written")]
    NotWhole(String),
    #[error("{0}, for the reasons above")]
    BadLines(String),
    #[error(
        "line {line}: {error}; the lines before it are in the queue; run it again: what is there is not put in twice"
    )]
    NotTaken { line: u64, error: HeldError },
}

impl From<HeldError> for Error {
    fn from(error: HeldError) -> Self {
        Undone::from(error).into()
    }
}

/// Runs what needs a runtime and can be told to stop.
///
/// # Errors
/// Those of the work.
pub fn run(
    work: impl AsyncFnOnce(&Lifecycle) -> Result<ExitCode, Error>,
) -> Result<ExitCode, Error> {
    crash::arm().map_err(Error::Setup)?;
    install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(RunError::from)?;
    let done = runtime.block_on(async {
        let lifecycle = Lifecycle::listen().map_err(RunError::from)?;
        tokio::select! {
            done = work(&lifecycle) => done,
            () = lifecycle.leaving() => Ok(ExitCode::FAILURE),
        }
    });
    // A question that nobody answered is still being asked.
    runtime.shutdown_background();
    done
}

/// Where messages are looked at: the queues of one kind.
pub struct Desk<'a> {
    pub shelves: Vec<Shelf>,
    pub lifecycle: &'a Lifecycle,
    /// `dead` or `waiting`.
    pub command: &'static str,
}

/// What came of it, by the queue it went to or the reason it had.
#[derive(Default)]
pub struct Tally {
    pub total: u64,
    by: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, name: &str) {
        self.total += 1;
        *self.by.entry(name.to_owned()).or_default() += 1;
    }

    /// `12 (10 ccfs.timeout, 2 store.conflict)`.
    pub fn shown(&self) -> String {
        if self.by.is_empty() {
            return self.total.to_string();
        }
        let parts: Vec<_> = self.by.iter().map(|(name, count)| format!("{count} {name}")).collect();
        format!("{} ({})", self.total, parts.join(", "))
    }
}

/// Lines for stdout, kept until nothing is held any more: who reads them slowly, such as in a pager,
/// is not to keep a message from where it belongs.
pub struct Lines(SpooledTempFile);

impl Lines {
    pub fn new() -> Self {
        Self(SpooledTempFile::new(SHOWN_IN_MEMORY))
    }

    /// Whether nothing was added.
    pub fn is_empty(&mut self) -> bool {
        // What is added goes to the end.
        self.0.stream_position().is_ok_and(|end| end == 0)
    }

    /// # Errors
    /// There is no room for them.
    pub fn add(&mut self, line: &str) -> Result<(), Error> {
        self.0.write_all(line.as_bytes()).map_err(Error::Spool)
    }

    /// Writes them out. A reader who has seen enough (`| head`) is no error.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub fn show(mut self) -> Result<(), Error> {
        self.0.rewind().map_err(Error::Spool)?;
        let mut out = Out::new();
        io::copy(&mut self.0, &mut out)?;
        Ok(out.flush()?)
    }
}

impl Desk<'_> {
    /// Lists what fits: on stdout the messages, and on stderr how many they are of all.
    pub async fn list(
        &self,
        selection: &Selection,
        view: View,
        dry_run: bool,
    ) -> Result<Tally, Error> {
        let mut lines = Lines::new();
        lines.add(&view.header())?;
        let show = |message: &HeldMessage, whose: &Whose| lines.add(&view.line(message, whose));
        let (tally, all) = self.look(selection, show).await?;
        lines.show()?;
        let meant = if dry_run { " are meant" } else { "" };
        tell(format_args!("{} of {all} {} messages{meant}", tally.total, self.command));
        Ok(tally)
    }

    /// Shows each message that fits; how many do, and how many are there.
    pub async fn look(
        &self,
        selection: &Selection,
        mut show: impl FnMut(&HeldMessage, &Whose) -> Result<(), Error>,
    ) -> Result<(Tally, u64), Error> {
        let mut tally = Tally::default();
        let (mut all, mut on_their_way) = (0, 0);
        for shelf in &self.shelves {
            let Some(mut walk) = self.turn(shelf, plainly).await? else { continue };
            while selection.wants_more_than(tally.total) {
                let Some(message) = self.next(&mut walk).await? else { break };
                all += 1;
                let whose = Whose::of(&message);
                if selection.fits(&message, &whose) {
                    show(&message, &whose)?;
                    tally.add(message.past.reason.as_deref().unwrap_or("without a reason"));
                }
            }
            all += u64::from(walk.ahead());
            on_their_way += walk.on_their_way().await?;
            walk.end().await?;
        }
        if on_their_way > 0 {
            tell(format_args!(
                "{on_their_way} besides: left on their way when a redrive was killed; \
                 `callvault dead redrive` lets them go on first"
            ));
        }
        Ok((tally, all))
    }

    /// The first message that one can call so.
    pub async fn find(&self, name: &str) -> Result<Option<HeldMessage>, Error> {
        for shelf in &self.shelves {
            let Some(mut walk) = self.turn(shelf, plainly).await? else { continue };
            let mut found = None;
            while found.is_none() {
                let Some(message) = self.next(&mut walk).await? else { break };
                found = Some(message).filter(|of| of.id == name || of.message_id == name);
            }
            walk.end().await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The next message; none once it is told to stop.
    async fn next(&self, walk: &mut Walk) -> Result<Option<HeldMessage>, HeldError> {
        tokio::select! {
            biased;
            () = self.lifecycle.draining() => Ok(None),
            next = walk.next() => next,
        }
    }

    /// A walk of ours, as soon as nobody else is at it; none where a queue of several is missing.
    async fn turn(&self, shelf: &Shelf, tell: impl Fn(&str)) -> Result<Option<Walk>, Error> {
        let mut waited = false;
        loop {
            match shelf.walk().await? {
                Turn::Yours(walk) => return Ok(Some(*walk)),
                Turn::NoQueue if self.shelves.len() == 1 => return Err(shelf.missing().into()),
                Turn::NoQueue => {
                    tell(&shelf.missing().to_string());
                    return Ok(None);
                }
                Turn::Taken => {}
            }
            if !waited {
                tell(&format!("another `callvault {}` is at it; waiting for a turn", self.command));
                waited = true;
            }
            tokio::select! {
                () = sleep(ASK_AGAIN) => {}
                () = self.lifecycle.draining() => return Err(Undone::Stopped.into()),
            }
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.lifecycle.is_draining()
    }

    /// Whoever names messages wants to know of those that are not there.
    pub fn found(&self, selection: &Selection, tally: &Tally) -> Result<ExitCode, Error> {
        if self.is_stopped() {
            return Ok(ExitCode::FAILURE);
        }
        if selection.misses_some(tally.total) {
            return Err(self.not_there(selection.ids.iter().map(String::as_str)));
        }
        Ok(ExitCode::SUCCESS)
    }

    pub fn not_there<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Error {
        let ids: Vec<_> = ids.into_iter().collect();
        let place = match self.shelves.as_slice() {
            [shelf] => shelf.name().to_owned(),
            _ => "the retry queues".to_owned(),
        };
        Undone::NotThere { place, ids: ids.join(", or "), command: self.command }.into()
    }

    /// Asks whoever sits at the terminal.
    pub async fn agree(&self, question: &str) -> Result<(), Error> {
        // Without a line end, hence not told as others are.
        let _ = write!(io::stderr().lock(), "{question} [y/N] ");
        let answer = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|_| line)
        });
        let answer = tokio::select! {
            answer = answer => answer.ok().and_then(Result::ok).unwrap_or_default(),
            () = self.lifecycle.draining() => String::new(),
        };
        let agreed = ["y", "yes"].contains(&answer.trim().to_lowercase().as_str());
        if agreed { Ok(()) } else { Err(Undone::NotAgreed.into()) }
    }
}

fn plainly(text: &str) {
    tell(text);
}
