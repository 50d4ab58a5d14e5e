//! `callvault dead`: to look at what failed, put it back, drop it, or carry it elsewhere.

mod asked;
mod files;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

pub use asked::Dead;

use self::asked::Choice;
use super::held::{self, Deed, Desk, Selection, View, Whose, whole, whole_json};
use super::{Error, say, tell};
use crate::broker::Shelf;
use crate::config::Config;

/// Does what is asked.
///
/// # Errors
/// The broker does not let it, or it is asked for something that it refuses.
pub fn run(config: &Config, dead: Dead) -> Result<ExitCode, Error> {
    if let Dead::Drop { yes: false, dry_run: false, .. } = &dead
        && !io::stdin().is_terminal()
    {
        let what = "drop is for good and there is no terminal to ask on; say --yes, or look first \
                    with --dry-run";
        return Err(Error::Setup(what.to_owned()));
    }
    if let Some(told) = dead.filter().and_then(|filter| filter.of.stranger(config)) {
        tell(told);
    }
    held::run(async |lifecycle| {
        let shelves = vec![Shelf::dead(&config.broker)];
        work(&Desk { shelves, lifecycle, command: "dead" }, dead).await
    })
}

async fn work(desk: &Desk<'_>, dead: Dead) -> Result<ExitCode, Error> {
    match dead {
        Dead::List { filter, json } => {
            let view = if json { View::Json } else { View::Dead };
            desk.list(&selection(Vec::new(), filter), view, false).await?;
        }
        Dead::Show { id, json } => {
            let Some(message) = desk.find(&id).await? else {
                return Err(desk.not_there([id.as_str()]));
            };
            let json = json.then(|| whole_json(&message, &Whose::of(&message)));
            say(&json.unwrap_or_else(|| whole(&message)))?;
        }
        Dead::Redrive { ids, filter, dry_run: true, .. }
        | Dead::Drop { ids, filter, dry_run: true, .. } => {
            let selection = selection(ids, filter);
            let tally = desk.list(&selection, View::Dead, true).await?;
            return desk.found(&selection, &tally);
        }
        Dead::Redrive { ids, filter, rate, .. } => {
            let selection = selection(ids, filter);
            let tally = desk.act(Deed::Redrive, &selection, Some(rate)).await?;
            return desk.found(&selection, &tally);
        }
        Dead::Drop { ids, filter, yes, .. } => {
            let mut selection = selection(ids, filter);
            if !yes {
                let (tally, _) = desk.look(&selection, |_, _| Ok(())).await?;
                if tally.total > 0 {
                    desk.agree(&format!("Drop {} for good?", tally.shown())).await?;
                }
                selection = selection.at_most(tally.total);
            }
            let tally = desk.act(Deed::Drop, &selection, None).await?;
            return desk.found(&selection, &tally);
        }
        Dead::Export { file, filter } => {
            return files::export(desk, &selection(Vec::new(), filter), &file).await;
        }
        Dead::Import { file } => return files::import(desk, &file).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn selection(ids: Vec<String>, filter: Choice) -> Selection {
    Selection::new(ids, filter.of).older_than(filter.older_than)
}
