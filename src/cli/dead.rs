//! `callvault dead`: to look at what failed, put it back, or drop it.

mod act;
mod asked;
mod view;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::sleep;

pub use asked::Dead;

use self::act::Deed;
use self::asked::Selection;
use self::view::Whose;
use super::run::{RunError, install_crypto};
use super::{Error, say};
use crate::broker::{DeadError, DeadMessage, DeadQueue, Walk};
use crate::config;
use crate::crash;
use crate::lifecycle::Lifecycle;

/// How often who waits for the turn of somebody else to end asks again.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// Why it was not done, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum Undone {
    #[error(transparent)]
    Broker(#[from] DeadError),
    #[error("not in {queue}: {ids}; `callvault dead list` shows what is there")]
    NotThere { queue: String, ids: String },
    #[error("stopped before its turn; nothing was done")]
    Stopped,
    #[error("nothing is dropped")]
    NotAgreed,
}

impl From<DeadError> for Error {
    fn from(error: DeadError) -> Self {
        Undone::from(error).into()
    }
}

/// Does what is asked.
///
/// # Errors
/// The broker does not let it, or it is asked for something that it refuses.
pub fn run(settings: &config::Broker, dead: Dead) -> Result<ExitCode, Error> {
    if let Dead::Drop { yes: false, dry_run: false, .. } = &dead
        && !io::stdin().is_terminal()
    {
        let what = "drop is for good and there is no terminal to ask on; say --yes, or look first \
                    with --dry-run";
        return Err(Error::Setup(what.to_owned()));
    }
    crash::arm().map_err(Error::Setup)?;
    install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(RunError::from)?;
    let done = runtime.block_on(async {
        let lifecycle = Lifecycle::listen().map_err(RunError::from)?;
        let desk = Desk { queue: DeadQueue::new(settings), lifecycle };
        tokio::select! {
            done = desk.work(dead) => done,
            () = desk.lifecycle.leaving() => Ok(ExitCode::FAILURE),
        }
    });
    // A question that nobody answered is still being asked.
    runtime.shutdown_background();
    done
}

/// Where the dead are looked at.
struct Desk {
    queue: DeadQueue,
    lifecycle: Lifecycle,
}

/// What came of it, by the queue it went to or the reason it had.
#[derive(Default)]
struct Tally {
    total: u64,
    by: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, name: &str) {
        self.total += 1;
        *self.by.entry(name.to_owned()).or_default() += 1;
    }

    /// `12 (10 ccfs.timeout, 2 store.conflict)`.
    fn shown(&self) -> String {
        if self.by.is_empty() {
            return self.total.to_string();
        }
        let parts: Vec<_> = self.by.iter().map(|(name, count)| format!("{count} {name}")).collect();
        format!("{} ({})", self.total, parts.join(", "))
    }
}

impl Desk {
    async fn work(&self, dead: Dead) -> Result<ExitCode, Error> {
        match dead {
            Dead::List { filter, json } => {
                let line = if json { view::json_row } else { view::row };
                let selection = Selection::new(Vec::new(), filter);
                let header = if json { String::new() } else { view::header() };
                let (tally, all) = self.look(&selection, &header, line).await?;
                eprintln!("{} of {all} dead messages", tally.total);
            }
            Dead::Show { id, json } => return self.show(&id, json).await,
            Dead::Redrive { ids, filter, dry_run: true, .. }
            | Dead::Drop { ids, filter, dry_run: true, .. } => {
                let selection = Selection::new(ids, filter);
                let (tally, all) = self.look(&selection, &view::header(), view::row).await?;
                eprintln!("{} of {all} dead messages are meant", tally.total);
                return self.found(&selection, &tally);
            }
            Dead::Redrive { ids, filter, rate, .. } => {
                let selection = Selection::new(ids, filter);
                let tally = self.act(Deed::Redrive, &selection, Some(rate)).await?;
                return self.found(&selection, &tally);
            }
            Dead::Drop { ids, filter, yes, .. } => {
                let mut selection = Selection::new(ids, filter);
                if !yes {
                    let (tally, _) = self.look(&selection, "", |_, _| String::new()).await?;
                    if tally.total > 0 {
                        self.agree(&format!("Drop {} for good?", tally.shown())).await?;
                    }
                    selection = selection.at_most(tally.total);
                }
                let tally = self.act(Deed::Drop, &selection, None).await?;
                return self.found(&selection, &tally);
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Writes a line for each message that fits; how many do, and how many are there.
    async fn look(
        &self,
        selection: &Selection,
        header: &str,
        line: impl Fn(&DeadMessage, &Whose) -> String,
    ) -> Result<(Tally, u64), Error> {
        let mut walk = self.turn(plainly).await?;
        let mut tally = Tally::default();
        let mut all = 0;
        say(header)?;
        while selection.wants_more_than(tally.total) {
            let Some(message) = self.next(&mut walk).await? else { break };
            all += 1;
            let whose = Whose::of(&message);
            if selection.fits(&message, &whose) {
                say(&line(&message, &whose))?;
                tally.add(message.death.reason.as_deref().unwrap_or("without a reason"));
            }
        }
        let all = all + u64::from(walk.ahead());
        let on_their_way = walk.on_their_way().await?;
        walk.end().await?;
        if on_their_way > 0 {
            eprintln!(
                "{on_their_way} besides: left on their way when a redrive was killed; \
                 `callvault dead redrive` lets them go on first"
            );
        }
        Ok((tally, all))
    }

    async fn show(&self, id: &str, json: bool) -> Result<ExitCode, Error> {
        let mut walk = self.turn(plainly).await?;
        let mut found = None;
        while found.is_none() {
            let Some(message) = self.next(&mut walk).await? else { break };
            if message.id == id || message.message_id == id {
                found = Some(message);
            }
        }
        walk.end().await?;
        let Some(message) = found else {
            return Err(self.not_there([id]));
        };
        let json = json.then(|| view::whole_json(&message, &Whose::of(&message)));
        say(&json.unwrap_or_else(|| view::whole(&message)))?;
        Ok(ExitCode::SUCCESS)
    }

    /// The next message; none once it is told to stop.
    async fn next(&self, walk: &mut Walk) -> Result<Option<DeadMessage>, DeadError> {
        tokio::select! {
            biased;
            () = self.lifecycle.draining() => Ok(None),
            next = walk.next() => next,
        }
    }

    /// A walk of ours, as soon as nobody else is at it.
    async fn turn(&self, tell: impl Fn(&str)) -> Result<Walk, Error> {
        let mut waited = false;
        loop {
            if let Some(walk) = self.queue.walk().await? {
                return Ok(walk);
            }
            if !waited {
                tell("another `callvault dead` is at it; waiting for a turn");
                waited = true;
            }
            tokio::select! {
                () = sleep(ASK_AGAIN) => {}
                () = self.lifecycle.draining() => return Err(Undone::Stopped.into()),
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.lifecycle.is_draining()
    }

    /// Whoever names messages wants to know of those that are not there.
    fn found(&self, selection: &Selection, tally: &Tally) -> Result<ExitCode, Error> {
        if self.is_stopped() {
            return Ok(ExitCode::FAILURE);
        }
        if selection.misses_some(tally.total) {
            return Err(self.not_there(selection.ids.iter().map(String::as_str)));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn not_there<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Error {
        let ids: Vec<_> = ids.into_iter().collect();
        let queue = self.queue.name().to_owned();
        Undone::NotThere { queue, ids: ids.join(", or ") }.into()
    }

    /// Asks whoever sits at the terminal.
    async fn agree(&self, question: &str) -> Result<(), Error> {
        eprint!("{question} [y/N] ");
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
    eprintln!("{text}");
}
