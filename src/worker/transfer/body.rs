//! What a transfer reads: a download, or what is made of a ZIP that was downloaded before.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Duration;

use super::stage::Running;
use crate::board::{Progress, Step};
use crate::ccfs::Download;
use crate::failure::{Class, Failure, Reason};
use crate::metrics::{Metrics, TenantLabel};
use crate::recording::{Format, Framing};
use crate::worker::outages::{For, Pass, Waits};

/// Bytes that come, and what is known of them before.
pub enum Body {
    Download(Box<Coming>),
    Held(Pieces),
}

/// A download, timed and counted.
pub struct Coming {
    pub download: Download,
    /// Running since the request.
    pub stage: Running,
    pub metrics: Arc<Metrics>,
    pub tenant: TenantLabel,
    /// Takes note of the answer as it comes: a head alone says little of a server that then stalls.
    pub pass: Pass,
    pub waits: Waits,
    /// Where is told how far it is.
    pub progress: Progress,
    /// Bytes that have come.
    pub seen: u64,
}

/// So much of a body shows that its server gets on, however long the rest takes.
const GETS_ON: u64 = 1 << 20;

/// Who has kept a server waiting for so long may have been given up by it.
const KEPT_WAITING: Duration = Duration::from_secs(1);

impl Coming {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let chunk = self.waits.during(For::Body, self.download.chunk()).await;
        match chunk {
            Ok(Some(bytes)) => {
                self.metrics.downloaded(self.tenant, bytes.len() as u64);
                let before = self.seen;
                self.seen += bytes.len() as u64;
                self.progress.bytes(self.seen);
                if before < GETS_ON && self.seen >= GETS_ON {
                    self.pass.note::<()>(&Ok(()));
                }
                Ok(Some(bytes))
            }
            Ok(None) => {
                self.progress.step(Step::Proof);
                Ok(None)
            }
            Err(failure) => {
                let broke_off = Err(self.broke_off(failure));
                self.stage.passed(self.seen);
                self.stage.end(&broke_off);
                self.pass.note(&broke_off);
                broke_off
            }
        }
    }

    /// A body that breaks off is no usable answer, like one that stalls; one that was not read
    /// since there was no room for it has not to answer for that.
    fn broke_off(&self, failure: Failure) -> Failure {
        if ![Reason::CCFS_TRUNCATED, Reason::CCFS_TIMEOUT].contains(&failure.reason) {
            return failure;
        }
        let ours = self.waits.on(For::Memory);
        let kept_waiting = ours >= KEPT_WAITING && ours > self.waits.on(For::Body);
        let class = if kept_waiting { Class::Throttled } else { Class::Unavailable };
        failure.of_class(class)
    }
}

/// What is here already, as a thread that may block reads or unpacks it.
pub struct Pieces {
    pub format: Format,
    /// Bytes, of all together.
    pub size: u64,
    pub pieces: mpsc::Receiver<Result<Bytes, Failure>>,
}

impl Body {
    pub fn format(&self) -> Format {
        match self {
            Self::Download(coming) => coming.download.format(),
            Self::Held(pieces) => pieces.format,
        }
    }

    pub fn framing(&self) -> Framing {
        match self {
            Self::Download(coming) => coming.download.framing(),
            Self::Held(pieces) => Framing::Length(pieces.size),
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// What CC-FS or the archive brought.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Download(coming) => coming.chunk().await,
            Self::Held(held) => held.pieces.recv().await.transpose(),
        }
    }

    /// Ends the download as its proof says.
    pub fn end<T>(&mut self, proof: &Result<T, Failure>) {
        if let Self::Download(coming) = self {
            coming.stage.passed(coming.seen);
            coming.stage.end(proof);
            coming.pass.note(proof);
        }
    }
}
