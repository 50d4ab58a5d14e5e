//! What a service manager is told over `$NOTIFY_SOCKET` (sd_notify(3)): that the worker is at work, how it
//! is, that it stops, and that it is alive. A leaf; where there is no such manager, nothing is done.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, interval};

/// It is built, and reads what it is told. A broker that is not there yet is waited for at work: who
/// starts after this worker need not wait for that.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It was told to stop, by whomever.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How it is, in a line, for `systemctl status`.
pub fn status(line: &str) {
    // Another line would be another assignment.
    tell(&[NotifyState::Status(&line.replace('\n', " "))]);
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// Tells twice in `WatchdogSec` that the worker goes its rounds: one that hangs is killed, and what it
/// had in hand comes again.
#[derive(Debug)]
pub struct Watchdog {
    every: Option<Duration>,
    told: Instant,
}

impl Watchdog {
    /// That of this process, if the unit has one.
    pub fn new() -> Self {
        Self { every: sd_notify::watchdog_enabled().map(|limit| limit / 2), told: Instant::now() }
    }

    /// A round was gone.
    pub fn round(&mut self, now: Instant) {
        if self.every.is_some_and(|every| now >= self.told + every) {
            self.told = now;
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// The same while something is done that goes no rounds, and has an end of its own.
    pub async fn during<T>(self, work: impl Future<Output = T>) -> T {
        let Some(every) = self.every else { return work.await };
        let mut rounds = interval(every);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = rounds.tick() => tell(&[NotifyState::Watchdog]),
            }
        }
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}
