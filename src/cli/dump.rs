//! `callvault dump`: asks for recordings by name, or for all of an index.

use std::io::{self, BufWriter, Stdout, Write};
use std::process::ExitCode;

use clap::{ArgGroup, Args};

use super::ask::{Asker, LONGEST_PART, Order, any_request_id};
use super::keys::Keys;
use super::progress::Progress;
use super::rows::{From, Rows};
use super::spool::{Sorted, Spool, Waiting, repeated};
use super::{Error, say};
use crate::config::Config;
use crate::index::{BadRow, By};
use crate::request::{BadName, CallId, FileName, RequestId, TenantId, Wanted};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what")
    .args(["call_ids", "file_names", "index", "list", "day", "from"])
    .required(true).multiple(true)))]
pub struct Dump {
    /// Whose recordings; a tenant of the configuration.
    #[arg(long, value_name = "ID", value_parser = |text: &str| TenantId::new(text))]
    tenant: TenantId,
    /// Calls to ask for; the epoch seconds that an id begins with give the day.
    #[arg(long = "call-id", value_name = "ID", num_args = 1..)]
    #[arg(value_parser = |text: &str| CallId::new(text))]
    call_ids: Vec<CallId>,
    /// Recordings to ask for by original_file_name; the day stands in the path.
    #[arg(long = "file-name", value_name = "NAME", num_args = 1..)]
    #[arg(value_parser = |text: &str| FileName::new(text))]
    file_names: Vec<FileName>,
    #[command(flatten)]
    from: From,
    /// The name that rows of the index are asked for by; live calls have keys by call id. The rows
    /// of a call are then one request.
    #[arg(long, value_enum, default_value_t, conflicts_with = "list")]
    by: By,
    /// Store again over what is there.
    #[arg(long)]
    force: bool,
    /// Print the keys the recordings would get, and ask for nothing; * is for what CC-FS sends.
    #[arg(long)]
    dry_run: bool,
    /// What events say they belong to [default: dump-, the time and eight digits].
    #[arg(long, value_name = "ID", value_parser = request_id)]
    request_id: Option<RequestId>,
}

/// A request that is one of several has its number behind the id.
fn request_id(text: &str) -> Result<RequestId, BadName> {
    let most = 128 - LONGEST_PART;
    let id = RequestId::new(text)?;
    match text.chars().count() {
        length if length > most => {
            Err(BadName(format!("must have 1 to {most} characters, has {length}")))
        }
        _ => Ok(id),
    }
}

impl Dump {
    /// What is asked for by name, each with the argument that does.
    fn named(&self) -> impl Iterator<Item = (String, Wanted)> + '_ {
        let calls = self.call_ids.iter().map(|id| {
            let wanted = Wanted { call_id: Some(id.clone()), ..Wanted::default() };
            (format!("--call-id {id}"), wanted)
        });
        let files = self.file_names.iter().map(|name| {
            let wanted = Wanted { file_name: Some(name.clone()), ..Wanted::default() };
            (format!("--file-name {name}"), wanted)
        });
        calls.chain(files)
    }

    fn order(&self) -> Order {
        let (tenant, force) = (self.tenant.clone(), self.force);
        let request_id = self.request_id.clone().unwrap_or_else(|| any_request_id("dump"));
        Order { tenant, request_id, force }
    }
}

/// Asks for what the command line names; 1 if not all of it could be asked for.
///
/// # Errors
/// The tenant or the index are none, or the broker cannot be worked with.
pub async fn run(config: &Config, dump: Dump) -> Result<ExitCode, Error> {
    let keys = Keys::of(config, &dump.tenant)?;
    let at_hand = dump.from.at_hand(keys.zone())?;
    let order = dump.order();
    let sink = match dump.dry_run {
        true => Sink::Show(BufWriter::new(io::stdout())),
        false => Sink::Ask(Box::new(Asker::connect(config, order).await?)),
    };
    // Only now: whoever has waited for CC-FS does not hear then that there is no broker.
    let rows = match at_hand {
        Some(rows) => Some(rows),
        None => dump.from.asked_for(&keys).await?,
    };
    let progress = Progress::new("rows", rows.as_ref().and_then(Rows::size));
    let mut dealer = Dealer { keys, sink, progress, dealt: 0, bad: 0, read: Ok(()) };

    for (argument, wanted) in dump.named() {
        dealer.deal(&argument, Ok(wanted)).await?;
    }
    match (rows, dump.by) {
        (Some(rows), By::CallId) => dealer.deal_calls(rows).await?,
        (Some(rows), By::FileName) => dealer.deal_files(rows).await?,
        (None, _) => {}
    }

    let Dealer { sink, progress, bad, read, .. } = dealer;
    progress.end();
    match sink {
        Sink::Show(mut out) => out.flush()?,
        Sink::Ask(asker) => say(&format!("{}\n", asker.finish().await?))?,
    }
    read?;
    match bad {
        0 => Ok(ExitCode::SUCCESS),
        bad => Err(Error::BadRows(bad)),
    }
}

/// Where recordings go.
enum Sink {
    /// Their keys, to stdout.
    Show(BufWriter<Stdout>),
    Ask(Box<Asker>),
}

struct Dealer<'a> {
    keys: Keys<'a>,
    sink: Sink,
    progress: Progress,
    dealt: u64,
    bad: u64,
    /// Whether the index was read to its end; what came until then is asked for all the same.
    read: Result<(), Error>,
}

impl Dealer<'_> {
    /// Asks for the rows of an index as they come.
    async fn deal_files(&mut self, mut rows: Rows) -> Result<(), Error> {
        while let Some(entry) = rows.next().await {
            let wanted = entry.row.and_then(|row| row.wanted(By::FileName));
            self.dealt += 1;
            self.deal(&entry.at, wanted).await?;
            self.progress.at(self.dealt, entry.read);
        }
        self.read = rows.end().await;
        Ok(())
    }

    /// Asks for the calls of an index: how many recordings each has is known when all was read.
    async fn deal_calls(&mut self, mut rows: Rows) -> Result<(), Error> {
        let mut spool = Spool::new().map_err(Error::Spool)?;
        while let Some(entry) = rows.next().await {
            self.dealt += 1;
            let wanted = entry.row.and_then(|row| row.wanted(By::CallId));
            match wanted.and_then(|wanted| self.keys.pattern(&wanted).map(|_| wanted)) {
                // A write of some MiB now and then; nothing else runs that would have to wait.
                Ok(wanted) => {
                    spool.push(Waiting::new(&entry.at, wanted)).map_err(Error::Spool)?;
                }
                Err(why) => self.refuse(&entry.at, &why),
            }
            self.progress.at(self.dealt, entry.read);
        }
        let is_list = rows.is_list();
        self.read = rows.end().await;
        let mut calls = spool.sorted().map_err(Error::Spool)?;
        if is_list {
            return self.deal_once(calls).await;
        }
        loop {
            let call = calls.call().map_err(Error::Spool)?;
            let Some(first) = call.first() else { return Ok(()) };
            let wanted = first.call().expect("it has a call id, or was refused");
            self.deal(&first.at(), Ok(wanted)).await?;
        }
    }

    /// Asks for each call of a list once, however often it stands there.
    async fn deal_once(&mut self, mut calls: Sorted) -> Result<(), Error> {
        let mut repeats = 0;
        while let Some((call, times)) = calls.once().map_err(Error::Spool)? {
            repeats += times - 1;
            self.deal(&call.at(), Ok(call.wanted())).await?;
        }
        if repeats > 0 {
            self.progress.say(&repeated(repeats));
        }
        Ok(())
    }

    /// Asks for a recording, or shows its key; what is no recording is reported and counted.
    async fn deal(
        &mut self,
        at: &impl std::fmt::Display,
        wanted: Result<Wanted, BadRow>,
    ) -> Result<(), Error> {
        match wanted.and_then(|wanted| Ok((self.keys.pattern(&wanted)?, wanted))) {
            Ok((pattern, wanted)) => match &mut self.sink {
                Sink::Show(out) => writeln!(out, "{pattern}")?,
                Sink::Ask(asker) => asker.ask(wanted).await?,
            },
            Err(why) => self.refuse(at, &why),
        }
        Ok(())
    }

    fn refuse(&mut self, at: &impl std::fmt::Display, why: &BadRow) {
        self.bad += 1;
        self.progress.say(&format!("{at}: {why}"));
    }
}
