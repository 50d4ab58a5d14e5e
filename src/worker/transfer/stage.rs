//! How long a stage of the line took, and how it ended: for the metrics and for the trace.

use std::borrow::Borrow;
use std::sync::Arc;

use tokio::time::Instant;

use crate::failure::Failure;
use crate::metrics::{Metrics, Stage, StageResult};
use crate::traces::{Kind, Span};

/// A running stage; one that is dropped before it ends was cancelled.
pub struct Running {
    metrics: Arc<Metrics>,
    stage: Stage,
    started: Instant,
    ended: Option<StageResult>,
    span: Span,
}

impl Running {
    pub fn start(metrics: &Arc<Metrics>, stage: Stage) -> Self {
        let span = Span::child(Kind::Internal, || stage.as_str().into());
        Self { metrics: Arc::clone(metrics), stage, started: Instant::now(), ended: None, span }
    }

    /// Whatever `work` asks of servers is a part of this stage.
    pub fn during<W: Future>(&self, work: W) -> impl Future<Output = W::Output> + use<W> {
        self.span.during(work)
    }

    /// So many bytes have passed.
    pub fn passed(&self, bytes: u64) {
        self.span.tell(|record| {
            record.set("callvault.bytes", bytes);
        });
    }

    /// Ends the stage as `result` says.
    pub fn end<T, E: Borrow<Failure>>(&mut self, result: &Result<T, E>) {
        let ended = if result.is_ok() { StageResult::Ok } else { StageResult::Error };
        if self.ended.replace(ended).is_none() {
            self.metrics.stage(self.stage, ended, self.started.elapsed());
            self.span.end(result.as_ref().map_err(Borrow::borrow));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let canceled = StageResult::Canceled;
            self.metrics.stage(self.stage, canceled, self.started.elapsed());
            self.span.tell(|record| record.fail(canceled.as_str(), "it was not let finish"));
            self.span.close();
        }
    }
}
