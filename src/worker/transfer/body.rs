//! What a transfer reads: a download, or an entry of a ZIP that was downloaded before.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::stage::Running;
use crate::ccfs::Download;
use crate::failure::Failure;
use crate::metrics::{Metrics, TenantLabel};
use crate::recording::{Entry, Format, Framing};

/// Bytes that come, and what is known of them before.
pub enum Body {
    Download(Coming),
    Entry(Unpacking),
}

/// A download, timed and counted.
pub struct Coming {
    pub download: Download,
    /// Running since the request.
    pub stage: Running,
    pub metrics: Arc<Metrics>,
    pub tenant: TenantLabel,
}

/// An entry as it is unpacked, on a thread that may block.
pub struct Unpacking {
    pub entry: Entry,
    pub pieces: mpsc::Receiver<Result<Bytes, Failure>>,
}

impl Body {
    pub fn format(&self) -> Format {
        match self {
            Self::Download(coming) => coming.download.format(),
            Self::Entry(unpacking) => unpacking.entry.format,
        }
    }

    pub fn framing(&self) -> Framing {
        match self {
            Self::Download(coming) => coming.download.framing(),
            Self::Entry(unpacking) => Framing::Length(unpacking.entry.size),
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// What CC-FS or the archive brought.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Download(coming) => {
                let chunk = coming.download.chunk().await;
                match &chunk {
                    Ok(Some(bytes)) => coming.metrics.downloaded(coming.tenant, bytes.len() as u64),
                    Ok(None) => {}
                    Err(_) => coming.stage.end(&chunk),
                }
                chunk
            }
            Self::Entry(unpacking) => unpacking.pieces.recv().await.transpose(),
        }
    }

    /// Ends the download as its proof says.
    pub fn end<T>(&mut self, proof: &Result<T, Failure>) {
        if let Self::Download(coming) = self {
            coming.stage.end(proof);
        }
    }
}
