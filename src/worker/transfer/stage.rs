//! How long a stage of the line took, and how it ended.

use std::sync::Arc;

use tokio::time::Instant;

use crate::metrics::{Metrics, Stage, StageResult};

/// A running stage; one that is dropped before it ends was cancelled.
pub struct Running {
    metrics: Arc<Metrics>,
    stage: Stage,
    started: Instant,
    ended: Option<StageResult>,
}

impl Running {
    pub fn start(metrics: &Arc<Metrics>, stage: Stage) -> Self {
        Self { metrics: Arc::clone(metrics), stage, started: Instant::now(), ended: None }
    }

    /// Ends the stage as `result` says.
    pub fn end<T, E>(&mut self, result: &Result<T, E>) {
        let result = if result.is_ok() { StageResult::Ok } else { StageResult::Error };
        if self.ended.replace(result).is_none() {
            self.metrics.stage(self.stage, result, self.started.elapsed());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.metrics.stage(self.stage, StageResult::Canceled, self.started.elapsed());
        }
    }
}
