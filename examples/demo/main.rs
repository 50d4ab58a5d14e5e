//! The whole system on one machine, for a person to watch: `make demo`.
//!
//! A real RabbitMQ, a real S3 server, a simulator of CC-FS and a real worker with two tenants play
//! an afternoon of calls in half a minute. What comes of it is held against what was asked; the
//! demo fails where the sum does not add up. At the end `callvault audit` finds the one call for which no
//! message was sent. With `KEEP=1` it stays up until Ctrl-C.
//!
//! In the order of the play: `script` (what happens), `parts` (who plays), `watch` (what is seen
//! meanwhile), `screen` (how it is shown), `outcome` (what came of it), `audit` (the last act), `report`
//! (the end), `keep` and `traffic`.

#[path = "../../tests/support/mod.rs"]
mod support;

mod audit;
mod keep;
mod outcome;
mod parts;
mod report;
mod screen;
mod script;
mod traffic;
mod watch;

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use outcome::Outcome;
use parts::Parts;
use screen::{Screen, Tone};

/// What shells say of a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("the machine has threads and sockets");
    // A panic of the kit unwinds through here, and every part takes down what it has started.
    // Leaving waits for an installation that is under way.
    runtime.block_on(async { demo(Interrupt::listen()).await })
}

async fn demo(mut interrupt: Interrupt) -> ExitCode {
    let screen = Screen::open();
    let code = tokio::select! {
        code = play(&screen) => code,
        () = interrupt.wait() => Err(Interrupted),
    };
    let (mut parts, ended) = match code {
        Ok(played) => played,
        Err(Interrupted) => {
            screen.close();
            eprintln!("\ninterrupted; everything that was started is stopped and removed");
            return ExitCode::from(INTERRUPTED);
        }
    };
    if keep::wanted() {
        keep::explain(&screen, &parts);
        tokio::select! {
            never = traffic::flow(&parts.rabbit, parts::CALLS, |_, _| ()) => match never {},
            () = keep::follow(&screen, &mut parts.events) => (),
            () = interrupt.wait() => println!(),
        }
    }
    let folder = parts.folder.clone();
    parts.stop().await;
    report::goodbye(&screen, &folder);
    ended
}

struct Interrupted;

/// Starts the parts, plays the script, and shows what came of it.
async fn play(screen: &Screen) -> Result<(Parts, ExitCode), Interrupted> {
    screen.title();
    let mut parts = Parts::start(screen).await;
    let afternoon = script::afternoon(callvault::clock::now());
    audit::prepare(&parts, &afternoon);
    let seen = watch::play(screen, &mut parts, &afternoon).await;
    screen.close();
    println!("{}", screen.paint(Tone::Dim, "  reading every object back…"));
    let mut outcome = Outcome::gather(&parts, &afternoon, seen).await;
    outcome.save(&parts.folder);
    report::show(screen, &outcome);
    outcome.mistakes.extend(audit::play(screen, &mut parts, &afternoon).await);
    report::close(screen, &parts, &outcome);
    let code = if outcome.mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((parts, code))
}

/// Ctrl-C, a `kill`, or the end of the terminal.
struct Interrupt([Signal; 3]);

impl Interrupt {
    fn listen() -> Self {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Self(kinds.map(|kind| signal(kind).expect("a signal that may be caught")))
    }

    async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
            _ = hangup.recv() => (),
        }
    }
}
