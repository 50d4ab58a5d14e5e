//! `callvault index`: the recording index as CC-FS has it, in a file.

use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args};

use super::indexes::{Asked, Indexes, Orders, Package};
use super::keys::Keys;
use super::progress::Waits;
use super::rows::Rows;
use super::whole::write_new;
use super::{Error, say, tell};
use crate::ccfs::Ways;
use crate::clock;
use crate::config::Config;
use crate::request::TenantId;

/// Of the file: it holds phone numbers.
const MODE: u32 = 0o600;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").args(["day", "from"]).required(true)))]
pub struct Options {
    /// Whose recordings; a tenant of the configuration.
    #[arg(long, value_name = "ID", value_parser = |text: &str| TenantId::new(text))]
    tenant: TenantId,
    #[command(flatten)]
    asked: Asked,
    /// The file to write; one that is there is not replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Has CC-FS make the index, and writes it; 1 where rows of it cannot be used.
///
/// # Errors
/// The tenant or the days are none, CC-FS does not give it, or it cannot be written.
pub async fn run(config: &Config, told: Options) -> Result<ExitCode, Error> {
    let keys = Keys::of(config, &told.tenant)?;
    let days = told.asked.days(keys.zone())?.expect("clap wants the one or the other");
    if told.out.symlink_metadata().is_ok() {
        return Err(Error::Setup(there_already(&told.out)));
    }
    let indexes = Indexes::of(keys.tenant, &Ways::new(1), told.asked.wait)?;
    let mut orders = Orders::beside(&told.out, &told.tenant, clock::now())?;
    let waits = Waits::new();
    let had = indexes.days(days, &mut orders, &|line| waits.say(line)).await;
    let mut package = had.inspect_err(|_| orders.tidy())?;
    waits.end();
    keep(&mut package, &told.out)?;
    orders.done()?;

    let (rows, bad, packages) = (package.rows(), package.bad(), package.packages());
    let plural = if packages == 1 { "" } else { "s" };
    let out = told.out.display();
    say(&format!(
        "{rows} rows of {days}, {bad} not usable, in {packages} package{plural}: {out}\n"
    ))?;
    if bad == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    report(package, &keys).await?;
    Ok(ExitCode::FAILURE)
}

/// Copies a package to where it is wanted. Nothing else runs that would have to wait.
fn keep(package: &mut Package, out: &Path) -> Result<(), Error> {
    let copy = write_new(out, MODE, |file| {
        package.file().rewind()?;
        io::copy(package.file(), file).map(drop)
    });
    copy.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::Setup(there_already(out)),
        _ => Error::Unwritten { path: out.to_owned(), error },
    })
}

/// Says which rows cannot be used, and why.
async fn report(package: Package, keys: &Keys<'_>) -> Result<(), Error> {
    let mut rows = Rows::of(package, "the index".to_owned(), keys.zone())?;
    while let Some(entry) = rows.next().await {
        if let Err(why) = entry.row {
            tell(format_args!("{}: {why}", entry.at));
        }
    }
    rows.end().await
}

fn there_already(out: &Path) -> String {
    format!("--out {}: is there already, and is not replaced: name another", out.display())
}
