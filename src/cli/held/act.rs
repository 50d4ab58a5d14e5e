//! Putting back and dropping: message by message, in turns with others who want to look.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::asked::Selection;
use super::view::Whose;
use super::{Desk, Tally, plainly};
use crate::broker::{Shelf, Walk};
use crate::cli::progress::Progress;
use crate::cli::{Error, tell};

/// Between two turns of ours, so that who waits gets one.
const PAUSE: Duration = Duration::from_secs(1);

/// What is done to a message.
#[derive(Clone, Copy)]
pub enum Deed {
    /// Of a dead one: back, as if it had never been tried.
    Redrive,
    /// Of one that waits: back, as it is.
    SendOn,
    Drop,
}

impl Deed {
    fn done(self) -> &'static str {
        match self {
            Self::Redrive | Self::SendOn => "put back",
            Self::Drop => "dropped",
        }
    }
}

impl Desk<'_> {
    /// Does the deed to every message that fits and tells of it, also of what was done when it fails.
    pub async fn act(
        &self,
        deed: Deed,
        selection: &Selection,
        rate: Option<u32>,
    ) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        let mut pace = interval(Duration::from_secs(1) / rate.unwrap_or(1_000_000));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut done = Ok(());
        for shelf in &self.shelves {
            let at = Place { desk: self, shelf, deed, selection };
            done = at.act(&mut pace, &mut tally).await;
            if done.is_err() || self.is_stopped() || !selection.wants_more_than(tally.total) {
                break;
            }
        }
        let when = match done {
            Err(_) => "so far",
            Ok(()) if self.is_stopped() => "before it was stopped",
            Ok(()) => "",
        };
        tell(format!("{} {} {when}", tally.shown(), deed.done()).trim_end());
        done.map(|()| tally)
    }
}

/// What is done, and where.
struct Place<'a> {
    desk: &'a Desk<'a>,
    shelf: &'a Shelf,
    deed: Deed,
    selection: &'a Selection,
}

impl Place<'_> {
    async fn act(&self, pace: &mut Interval, tally: &mut Tally) -> Result<(), Error> {
        let Self { desk, shelf, deed, selection } = *self;
        let Some(mut walk) = desk.turn(shelf, plainly).await? else { return Ok(()) };
        let before = tally.total;
        let most = selection.most(walk.ahead().into());
        let mut progress = Progress::new(deed.done(), most);
        loop {
            if walk.finish_others().await? {
                progress.say("let go what a redrive that was killed had left on its way");
                walk.end().await?;
            } else {
                self.one_turn(&mut walk, pace, tally, |tally| {
                    progress.at(tally.total, tally.total - before);
                })
                .await?;
                let more = walk.is_long() && selection.wants_more_than(tally.total);
                walk.end().await?;
                if !more || desk.is_stopped() {
                    break;
                }
                sleep(PAUSE).await;
            }
            match desk.turn(shelf, |told| progress.say(told)).await? {
                Some(turn) => walk = turn,
                None => break,
            }
        }
        progress.end();
        Ok(())
    }

    async fn one_turn(
        &self,
        walk: &mut Walk,
        pace: &mut Interval,
        tally: &mut Tally,
        mut progress: impl FnMut(&Tally),
    ) -> Result<(), Error> {
        let Self { desk, deed, selection, .. } = *self;
        while selection.wants_more_than(tally.total) && !walk.is_long() {
            let Some(message) = desk.next(walk).await? else { break };
            let whose = Whose::of(&message);
            if !selection.fits(&message, &whose) {
                continue;
            }
            pace.tick().await;
            let told = match deed {
                Deed::Redrive | Deed::SendOn => format!("to {}", message.target),
                Deed::Drop => {
                    message.past.reason.clone().unwrap_or_else(|| "without a reason".to_owned())
                }
            };
            match deed {
                Deed::Redrive => walk.redrive(message).await?,
                Deed::SendOn => walk.send_on(message).await?,
                Deed::Drop => walk.drop_one(message).await?,
            }
            tally.add(&told);
            progress(tally);
        }
        Ok(())
    }
}
