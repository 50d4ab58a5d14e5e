//! How the process is told to stop: the one owner of signals.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Two stops: the first signal asks to drain, the second to leave at once.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    drain: CancellationToken,
    leave: CancellationToken,
}

impl Lifecycle {
    /// Listens for SIGTERM and SIGINT.
    ///
    /// # Errors
    /// Where the operating system refuses a signal handler.
    pub fn listen() -> std::io::Result<Self> {
        let lifecycle = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stops = lifecycle.clone();
        tokio::spawn(async move {
            for stop in [stops.drain, stops.leave] {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!(signal = name, "asked to stop");
                stop.cancel();
            }
        });
        Ok(lifecycle)
    }

    /// Resolves when the worker should stop consuming and finish what is in flight.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Whether it was asked to.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Resolves when the process should end at once.
    pub async fn leaving(&self) {
        self.leave.cancelled().await;
    }
}
