//! Putting back and dropping: message by message, in turns with others who want to look.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::asked::Selection;
use super::view::Whose;
use super::{Desk, Tally, plainly};
use crate::broker::Walk;
use crate::cli::Error;
use crate::cli::progress::Progress;

/// Between two turns of ours, so that who waits gets one.
const PAUSE: Duration = Duration::from_secs(1);

/// What is done to a message.
#[derive(Clone, Copy)]
pub(super) enum Deed {
    Redrive,
    Drop,
}

impl Deed {
    fn done(self) -> &'static str {
        match self {
            Self::Redrive => "put back",
            Self::Drop => "dropped",
        }
    }
}

impl Desk {
    /// Does the deed to every message that fits, in turns with others who want to look.
    pub(super) async fn act(
        &self,
        deed: Deed,
        selection: &Selection,
        rate: Option<u32>,
    ) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        let mut pace = interval(Duration::from_secs(1) / rate.unwrap_or(1_000_000));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut walk = self.turn(plainly).await?;
        let mut progress = Progress::new(deed.done(), selection.most(walk.ahead().into()));
        loop {
            if walk.finish_others().await? {
                progress.say("let go what a redrive that was killed had left on its way");
                walk.end().await?;
            } else {
                let work = Work { deed, selection, pace: &mut pace, progress: &mut progress };
                if let Err(error) = self.one_turn(&mut walk, work, &mut tally).await {
                    progress.end();
                    report(deed, &tally, "so far");
                    return Err(error);
                }
                let more = walk.is_long() && selection.wants_more_than(tally.total);
                walk.end().await?;
                if !more || self.is_stopped() {
                    break;
                }
                sleep(PAUSE).await;
            }
            walk = self.turn(|told| progress.say(told)).await?;
        }
        progress.end();
        report(deed, &tally, if self.is_stopped() { "before it was stopped" } else { "" });
        Ok(tally)
    }

    async fn one_turn(
        &self,
        walk: &mut Walk,
        work: Work<'_>,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let Work { deed, selection, pace, progress } = work;
        while selection.wants_more_than(tally.total) && !walk.is_long() {
            let Some(message) = self.next(walk).await? else { break };
            let whose = Whose::of(&message);
            if !selection.fits(&message, &whose) {
                continue;
            }
            pace.tick().await;
            match deed {
                Deed::Redrive => {
                    let target = message.origin.clone();
                    walk.redrive(message).await?;
                    tally.add(&format!("to {target}"));
                }
                Deed::Drop => {
                    let reason = message.death.reason.clone();
                    walk.drop_one(message).await?;
                    tally.add(reason.as_deref().unwrap_or("without a reason"));
                }
            }
            progress.at(tally.total, tally.total);
        }
        Ok(())
    }
}

/// What all turns have in common.
struct Work<'a> {
    deed: Deed,
    selection: &'a Selection,
    pace: &'a mut Interval,
    progress: &'a mut Progress,
}

fn report(deed: Deed, tally: &Tally, when: &str) {
    eprintln!("{}", format!("{} {} {when}", tally.shown(), deed.done()).trim_end());
}
