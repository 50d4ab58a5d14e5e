//! CC-FS, and the calls that end there, for a system that somebody starts by hand: `deploy/compose` has it
//! in an image.
//!
//! `prepare` makes up the secrets of that system (`secrets`). `run` is CC-FS over HTTPS, which verifies every
//! signature; there are calls of yesterday of which nobody was told, for an audit to find (`yesterday`), and
//! calls end at two tenants from now on (`traffic`, which the demo has, too). How a call id ends says what is
//! answered (`support::ccfs::by_name`). `healthcheck` is for containers, which have no shell.

#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../demo/traffic.rs"]
mod traffic;

mod secrets;
mod yesterday;

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use jiff::civil::DateTime;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use support::broker::client::Rabbit;
use support::ccfs::{IndexRow, Reply, Simulator};
use support::world::{TENANTS, access_key, zone};

/// As the worker has them by default.
const CALLS: &str = "calls";
const JOBS: &str = "callvault.jobs";

/// Every call took so long.
const CALL: Duration = Duration::from_secs(95);

/// The CA that vouches for the server, in the folder that others read.
const CA: &str = "ca.pem";

/// CC-FS and a contact centre, to try callvault on.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make up what is secret, a folder for each part of the system; what is there stays
    Prepare { folder: PathBuf },
    /// Be CC-FS, and let calls end, until told to stop
    Run {
        /// Where to be CC-FS
        #[arg(long, default_value = "127.0.0.1:28443")]
        listen: SocketAddr,
        /// The folder `ccfs` of what was prepared
        #[arg(long)]
        secrets: PathBuf,
        /// Where to put the CA that the worker has to trust
        #[arg(long)]
        ca: PathBuf,
        /// Let no calls end: there is no broker then, and any call id of the two tenants is answered
        #[arg(long)]
        alone: bool,
    },
    /// Exit 0 when CC-FS answers
    Healthcheck {
        #[arg(long, default_value = "127.0.0.1:28443")]
        listen: SocketAddr,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Prepare { folder } => secrets::prepare(&folder).map_err(Into::into),
        Command::Run { listen, secrets, ca, alone } => {
            until_told(simulate(listen, &secrets, &ca, !alone)).await
        }
        Command::Healthcheck { listen } => answers(listen).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn Error>>;

async fn answers(listen: SocketAddr) -> Done {
    TcpStream::connect(listen).await.map_err(|error| format!("{listen}: {error}"))?;
    Ok(())
}

/// Who ends it is Docker, or a person.
async fn until_told(simulating: impl Future<Output = Done>) -> Done {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        failed = simulating => failed,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

async fn simulate(listen: SocketAddr, secrets: &Path, ca: &Path, calls_end: bool) -> Done {
    let ccfs = Simulator::start_tls_on(listen).await;
    ccfs.remember(false);
    // Else any id is answered by a recording, so that a person can ask for one.
    ccfs.script(callvault::ccfs::NO_CALL, [Reply::not_found()]);
    for tenant in TENANTS {
        let secret = secrets::read(secrets, &secrets::of_tenant(tenant))?;
        ccfs.account(&access_key(tenant), &secret);
        yesterday::fill(&ccfs, tenant);
    }
    let ca = ca.join(CA);
    fs::copy(ccfs.ca_file(), &ca).map_err(|error| format!("{}: {error}", ca.display()))?;
    println!("CC-FS is on https://{listen}; its CA: {}", ca.display());
    if calls_end {
        let_calls_end(&ccfs, &secrets::read(secrets, secrets::BROKER_URL)?).await?;
    }
    std::future::pending().await
}

async fn let_calls_end(ccfs: &Simulator, broker: &str) -> Done {
    let rabbit = Rabbit::try_connect(broker).await.ok_or("the broker does not take connections")?;
    println!("calls end once there is a queue {JOBS}");
    while !rabbit.exists(JOBS).await {
        sleep(Duration::from_secs(1)).await;
    }
    let ended = |tenant: &str, id: &str| {
        let end = callvault::clock::now().to_zoned(zone(tenant));
        ccfs.knows(&access_key(tenant), [row(id, end.datetime())]);
    };
    match traffic::flow(&rabbit, CALLS, ended).await {}
}

/// What the index says of a call.
fn row(id: &str, end: DateTime) -> IndexRow {
    let began = end.checked_sub(CALL).expect("a time of this century");
    IndexRow::new(id, began, end)
}
