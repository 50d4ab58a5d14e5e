//! How the process is told to stop, or to read its configuration again: the one owner of signals.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What follows the first signal within this time is the same one (contract 8): a supervisor and the
/// terminal's process group both tell, and a person's finger bounces.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Two stops: the first signal asks to drain, the second to leave at once. And what goes on.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    drain: CancellationToken,
    leave: CancellationToken,
    hangup: Arc<Notify>,
}

impl Lifecycle {
    /// Listens for SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// Where the operating system refuses a signal handler.
    pub fn listen() -> std::io::Result<Self> {
        let lifecycle = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let stops = lifecycle.clone();
        tokio::spawn(async move {
            let mut first = None;
            while !stops.leave.is_cancelled() {
                let signal = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    _ = hangup.recv() => {
                        stops.hangup.notify_one();
                        continue;
                    }
                };
                if let Some(stop) = stops.meant(&mut first, Instant::now()) {
                    tracing::info!(signal, "asked to stop");
                    stop.cancel();
                }
            }
        });
        Ok(lifecycle)
    }

    /// The stop that a signal at `now` asks for; `None`: it belongs to the first.
    fn meant(&self, first: &mut Option<Instant>, now: Instant) -> Option<&CancellationToken> {
        match *first {
            None => {
                *first = Some(now);
                Some(&self.drain)
            }
            Some(first) => (now - first >= SAME_SIGNAL).then_some(&self.leave),
        }
    }

    /// Resolves when the worker should stop consuming and finish what is in flight.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Whether it was asked to.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Resolves when the configuration is to be read again. Those that come while that is done are
    /// one more.
    pub async fn hung_up(&self) {
        self.hangup.notified().await;
    }

    /// Resolves when the process should end at once.
    pub async fn leaving(&self) {
        self.leave.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_signal_within_a_second_is_the_same_one() {
        let lifecycle = Lifecycle::default();
        let (mut first, start) = (None, Instant::now());
        let mut told = |after| {
            if let Some(stop) = lifecycle.meant(&mut first, start + Duration::from_millis(after)) {
                stop.cancel();
            }
            (lifecycle.drain.is_cancelled(), lifecycle.leave.is_cancelled())
        };
        assert_eq!(told(0), (true, false));
        assert_eq!(told(0), (true, false));
        assert_eq!(told(999), (true, false));
        assert_eq!(told(1000), (true, true));
    }
}
