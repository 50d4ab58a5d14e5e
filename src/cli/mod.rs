//! The commands: the only places that build clients and see the configuration whole.

mod ask;
mod audit;
mod check;
mod compare;
pub mod config;
mod dead;
mod dump;
mod healthcheck;
mod held;
mod index;
mod indexes;
mod init;
mod keys;
mod out;
mod pages;
mod peer;
mod plain;
mod progress;
mod reconcile;
mod reload;
mod rows;
mod run;
mod sign;
mod spool;
mod status;
mod terminal;
mod topology;
mod waiting;
mod whole;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

pub use self::out::tell;
use self::out::{Out, say};
use crate::broker::RequestError;
use crate::config::{Loaded, Mistakes};
use crate::failure::Failure;
use crate::index::IndexError;
use crate::machine;

/// Archives call recordings: RabbitMQ messages in, recordings from Huawei CC-FS to S3, events out.
#[derive(Debug, Parser)]
#[command(name = "callvault", version, disable_help_subcommand = true)]
#[command(after_help = "Examples:
  callvault init                                 a first configuration, asked for and tried
  callvault config --config callvault.toml       what is in force, and where it comes from
  callvault check --config callvault.toml        what works, and what to do about what does not
  callvault run --config callvault.toml          archive until told to stop
  callvault dump --tenant acme --index package.zip
  callvault index --tenant acme --day 2026-04-25 --out package.zip
  callvault audit --config callvault.toml        whether all that CC-FS knows of is in the bucket
  CALLVAULT__LOG__LEVEL=debug callvault run --config callvault.toml
  callvault dead list --config callvault.toml    what failed for good, and why
  callvault waiting list --config callvault.toml what waits for a retry, why, and until when
  callvault status --watch --config callvault.toml

Any key but those of tenants can be set by the environment: CALLVAULT__SECTION__KEY.
Exit codes: 0 done, 1 failed, 2 wrong usage or configuration; audit has a 3, too.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The configuration, a TOML file.
    // clap takes an empty variable for a missing value; for people and compose files it is unset.
    #[arg(long, global = true, env = "CALLVAULT_CONFIG", value_name = "FILE",
          value_parser = OsStringValueParser::new().map(PathBuf::from))]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a first configuration: ask for what it needs, and try it.
    ///
    /// Asks on a terminal for what no option tells, and writes a new file: that of --config, else
    /// callvault.toml here. A secret that is typed goes into a file of its own in secrets/ beside it, for
    /// nobody else to read (where that folder gives its group on, as the package's /etc/callvault does, for
    /// its group, too). Nothing that is there is replaced. Then it is tried as callvault check does. Exit 0
    /// all well, 1 something failed or could not be written, 2 for wrong usage or configuration.
    #[command(after_help = "Examples:
  callvault init
  callvault init --config /etc/callvault/callvault.toml
  callvault init --reference | less
  callvault init --yes --broker-url-file amqp-url --ccfs-endpoint https://ccfs.example.com:28443 \\
      --tenant acme --access-key AK --secret-key-file acme-sk --bucket recordings")]
    Init(init::Options),
    /// The worker: archive until told to stop.
    ///
    /// SIGTERM or SIGINT: stop consuming, finish what is in flight within worker.drain_timeout,
    /// give the rest back to the queue, exit 0. A second signal, a second later or more, exits at
    /// once. SIGHUP: read the configuration and tenants_dir again; tenants come, change and go.
    #[command(after_help = "Example:\n  callvault run --config /etc/callvault/callvault.toml")]
    Run,
    /// Try broker, CC-FS and store as the worker would, and say what to do about what fails.
    ///
    /// Logs in to the broker, declares what is missing unless broker.declare is false, and shows
    /// the permissions without taking or publishing a message; asks each endpoint of each tenant's
    /// CC-FS for a recording that does not exist; puts a probe object into each bucket and deletes
    /// it again. Exit 0 all well, 1 something failed, 2 the configuration is wrong.
    #[command(after_help = "Examples:
  callvault check --config callvault.toml
  callvault check --json | jq '.parts[].findings[] | select(.verdict == \"failed\")'")]
    Check(check::Options),
    /// Print the effective configuration with its sources, secrets masked.
    ///
    /// Connects to nothing. Exit 2 with all mistakes at once where it is wrong.
    #[command(after_help = "Example:\n  callvault config --config callvault.toml")]
    Config,
    /// Ask for recordings: by name, or all of a recording index.
    ///
    /// Publishes requests of at most a thousand recordings, which workers archive behind live
    /// calls. An index may be of any size, in UTF-8 or GBK; its times are those of the tenant's
    /// time zone. With --day, or --from and --to, it is asked from CC-FS itself, as callvault index
    /// does; that such a day has no row is an answer. A row that cannot be used is reported on stderr
    /// with its line. A dump may be repeated, also after it was killed: what is stored is not fetched
    /// again. Exit 0 when all was asked for, 1 when not or when there is no row, 2 for wrong usage or
    /// configuration.
    #[command(after_help = "Examples:
  callvault dump --tenant acme --call-id 1777093663-792075
  callvault dump --tenant acme --day 2026-04-25
  callvault dump --tenant acme --index package.zip --dry-run
  callvault dump --tenant acme --index package.zip --request-id audit-2026
  callvault dump --tenant acme --call-ids missing.txt")]
    Dump(dump::Dump),
    /// Compare an index or a list of calls with the bucket: what is missing, what is empty.
    ///
    /// Lists the days of the index instead of asking for each recording. One is present if any key
    /// of its day is its own: by call id, by file name or by both, whatever the extension. With
    /// --day, or --from and --to, the index is asked from CC-FS itself, as callvault index does; that
    /// such a day has no row is an answer. Rows that cannot be used are reported on stderr. With
    /// --enqueue what is missing is asked for; an empty object is in the way of another, until
    /// callvault dump --force. Needs s3:ListBucket. Exit 0 when all is there, 1 when not or when
    /// there is no row, 2 for wrong usage or configuration.
    #[command(after_help = "Examples:
  callvault reconcile --tenant acme --index package.zip
  callvault reconcile --tenant acme --from 2026-04-01 --to 2026-04-30 --enqueue
  callvault reconcile --tenant acme --index package.zip --json | jq .missing")]
    Reconcile(reconcile::Reconcile),
    /// Have CC-FS make the recording index of some days, and write it to a file.
    ///
    /// CC-FS makes at most three days at a time, which may take minutes: it is waited for, up to
    /// --wait, and looked for every two seconds to every minute. What comes is read to its end before it
    /// counts, and the file is there whole or not at all. Of three days or less it is the ZIP
    /// package byte for byte as CC-FS made it; of more it is one ZIP that has the files of each
    /// package in a folder named by its days. Either is what --index of dump and reconcile reads.
    /// Rows that cannot be used are reported on stderr, and are in the file all the same. Whoever is
    /// killed meanwhile and runs it again goes on where he was: what was asked for stands in
    /// FILE.asked until all is there. Exit 0 when it is written, 1 when not or when rows of it
    /// cannot be used, 2 for wrong usage or configuration.
    #[command(after_help = "Examples:
  callvault index --tenant acme --day 2026-04-25 --out 2026-04-25.zip
  callvault index --tenant acme --from 2026-04-01 --to 2026-04-30 --out april.zip --wait 2h
  callvault dump --tenant acme --index april.zip --dry-run")]
    Index(index::Options),
    /// Hold what CC-FS knows of each day against the bucket, for every tenant.
    ///
    /// Has CC-FS make the recording index of each day, as callvault index does, and compares it as
    /// callvault reconcile does. What is not there is 'on the way' until retry.not_ready_window after
    /// its call. Of each tenant and day there is a line and an event, audit.completed; a day that
    /// cannot be audited is a line with the reason. Meant for a nightly timer; may be repeated, also
    /// after it was killed. Exit 0 when nothing is missing, 1 when something is or when the broker or
    /// the store cannot be worked with, 2 for wrong usage or configuration, 3 when CC-FS gives no
    /// index and nothing else is wrong.
    #[command(after_help = "Examples:
  callvault audit --config callvault.toml
  callvault audit --since 3d --enqueue --textfile callvault_audit.prom
  callvault audit --tenant acme --day 2026-04-25 --explain
  callvault audit --json | jq '.days[] | select(.missing > 0)'")]
    Audit(audit::Audit),
    /// Ask a running worker whether it is ready; for images without a shell.
    ///
    /// Asks /readyz on http.listen of the same configuration. Exit 0 when ready, 1 when not, 2 when
    /// the configuration is wrong.
    #[command(after_help = "Example:\n  callvault healthcheck --config callvault.toml")]
    Healthcheck,
    /// Show what running workers do, how fast, and what troubles them.
    ///
    /// What the page of a worker shows, in a terminal: asks /api/status of each --url, or of http.listen
    /// of the configuration where there is none. Exit 0 when all answer, 1 when one does not, 2 for
    /// wrong usage or configuration.
    #[command(after_help = "Examples:
  callvault status --config callvault.toml
  callvault status --watch --url http://10.0.0.7:9464 --url http://10.0.0.8:9464
  callvault status --json | jq '.[].status.backlog'")]
    Status(status::Options),
    /// Print what makes the exchanges, queues and bindings that a worker needs.
    ///
    /// For brokers on which callvault may not declare (broker.declare = false); asks nothing of the
    /// broker, and makes nothing. The commands are a line each, for a shell: rabbitmqadmin asks
    /// localhost as guest, unless its own configuration says otherwise. The definitions are the JSON
    /// that every RabbitMQ imports. Either makes exactly what broker.declare = true would, in the
    /// virtual host of broker.url, which has to be there; what is there already stays as it is.
    #[command(after_help = "Examples:
  callvault topology --config callvault.toml | sh
  callvault topology --v2 --config callvault.toml | sh
  callvault topology --definitions --config callvault.toml > callvault.json
  rabbitmqctl import_definitions callvault.json")]
    Topology(topology::Topology),
    /// Look at what failed for good; put it back, drop it, or carry it elsewhere.
    #[command(after_help = "Example:\n  callvault dead list --config callvault.toml")]
    #[command(disable_help_subcommand = true)]
    Dead {
        #[command(subcommand)]
        command: dead::Dead,
    },
    /// Look at what waits for a retry; put it back at once.
    #[command(after_help = "Example:\n  callvault waiting list --config callvault.toml")]
    #[command(disable_help_subcommand = true)]
    Waiting {
        #[command(subcommand)]
        command: waiting::Waiting,
    },
    /// Print the signed request for one recording as a curl command.
    ///
    /// Sends nothing. The command asks the tenant's first endpoint, as the worker would, prints the
    /// answer's head and writes its body to the file `recording`. Its signature holds the time of
    /// signing and is good for minutes: sign anew for another try. The secret key is not in it, and
    /// yet whoever has it can ask for this recording as long as it is good.
    #[command(after_help = "Examples:
  callvault sign --tenant acme --call-id 1777093663-792075
  callvault sign --tenant acme --file-name X:/4/0/20260425/512/1629533.V3 --verbose
  callvault sign --tenant acme --call-id 1777093663-792075 | sh")]
    Sign(sign::Sign),
    /// Print a script that completes callvault's command lines in a shell.
    ///
    /// Needs no configuration.
    #[command(after_help = "Examples:
  callvault completions bash > /etc/bash_completion.d/callvault
  callvault completions zsh > \"${fpath[1]}/_callvault\"
  callvault completions fish > ~/.config/fish/completions/callvault.fish")]
    Completions { shell: Shell },
    /// Print the manual page.
    ///
    /// Needs no configuration.
    #[command(after_help = "Examples:
  callvault man | man -l -
  callvault man --dir /usr/local/share/man/man1")]
    Man {
        /// Write the pages of all commands into this folder instead.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Configuration(#[from] Mistakes),
    /// What only the attempt to use it shows, such as a CA file that holds no certificate.
    #[error("{0}")]
    Setup(String),
    #[error(transparent)]
    NotReady(#[from] healthcheck::NotReady),
    #[error(transparent)]
    Requests(#[from] RequestError),
    #[error("{0}: {1}")]
    Index(String, IndexError),
    #[error(
        "{0}: has no row; name the right file, or say --allow-empty if there was nothing to archive"
    )]
    NoRows(String),
    #[error(transparent)]
    NoIndex(Box<indexes::NoIndex>),
    #[error("{}: cannot be written: {error}; name a file where one can be, with room for it", path.display())]
    Unwritten { path: PathBuf, error: io::Error },
    #[error("a temporary file: {0}; make room, or set TMPDIR to where there is")]
    Spool(io::Error),
    #[error("{0}; the report is not whole")]
    Store(Failure),
    #[error("{0} of what was to be asked for could not be, for the reasons above")]
    BadRows(u64),
    #[error(transparent)]
    Run(#[from] run::RunError),
    #[error(transparent)]
    Held(#[from] held::Undone),
    #[error("cannot write manual pages to {}: {error}; name a folder that is there", folder.display())]
    Pages { folder: PathBuf, error: io::Error },
    #[error("cannot write to stdout: {0}; the output is not whole")]
    Output(#[from] io::Error),
}

impl Error {
    /// 2 for usage and configuration, 1 for everything else (contract 8).
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) | Self::Setup(_) => ExitCode::from(2),
            Self::NotReady(_)
            | Self::Held(_)
            | Self::Pages { .. }
            | Self::Requests(_)
            | Self::Index(..)
            | Self::NoIndex(_)
            | Self::NoRows(_)
            | Self::BadRows(_)
            | Self::Unwritten { .. }
            | Self::Spool(_)
            | Self::Store(_)
            | Self::Run(_)
            | Self::Output(_) => ExitCode::FAILURE,
        }
    }
}

/// Runs the command that the line names.
///
/// # Errors
/// [`Error`], a text for people and an exit code.
pub fn run(cli: Cli) -> Result<ExitCode, Error> {
    machine::leave_no_core();
    let file = cli.config.filter(|file| !file.as_os_str().is_empty());
    // Not every command needs it.
    let loaded = || load(file.as_deref());
    match cli.command {
        Command::Run => {
            let (loaded, file) = (loaded()?, file.clone());
            return run::run(loaded, environment(), move || load(file.as_deref()));
        }
        Command::Init(options) => return init::run(file.as_deref(), options),
        Command::Check(options) => return check::run(loaded()?, &options),
        Command::Dump(dump) => return work(dump::run(&loaded()?.config, dump)),
        Command::Reconcile(told) => return work(reconcile::run(&loaded()?.config, told)),
        Command::Index(told) => return work(index::run(&loaded()?.config, told)),
        Command::Audit(told) => return work(audit::run(&loaded()?.config, told)),
        Command::Config => say(&config::run(&loaded()?))?,
        Command::Healthcheck => {
            say(&format!("{}\n", healthcheck::run(loaded()?.config.http.listen)?))?;
        }
        Command::Status(options) => {
            let own = || Ok(loaded()?.config.http.listen);
            return work(status::run(options, own));
        }
        Command::Topology(asked) => say(&topology::run(&loaded()?.config, &asked)?)?,
        Command::Dead { command } => return dead::run(&loaded()?.config, command),
        Command::Waiting { command } => return waiting::run(&loaded()?.config, command),
        Command::Sign(asked) => {
            let signed = sign::run(&loaded()?.config, &asked)?;
            signed.notes.lines().for_each(tell);
            say(&signed.command)?;
        }
        Command::Completions { shell } => say(&pages::completions(Cli::command(), shell))?,
        Command::Man { dir: None } => say(&pages::man(Cli::command()))?,
        Command::Man { dir: Some(folder) } => {
            pages::all(Cli::command(), &folder).map_err(|error| Error::Pages { folder, error })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs what needs a runtime, to its end.
fn work(command: impl Future<Output = Result<ExitCode, Error>>) -> Result<ExitCode, Error> {
    run::install_crypto();
    let runtime = run::runtime()?;
    let ended = match runtime.block_on(command) {
        // A reader who has seen enough (`| head`) is no error.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        ended => ended,
    };
    // Who has failed does not wait for standard input.
    runtime.shutdown_background();
    ended
}

fn load(file: Option<&Path>) -> Result<Loaded, Mistakes> {
    crate::config::Config::load(file, environment())
}

/// The one look at the process's environment. A name that is no text is none that anybody knows, and
/// is shown as far as it is one.
fn environment() -> impl Iterator<Item = (String, OsString)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value))
}
