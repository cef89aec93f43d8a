//! Where connections are driven: on the runtime that the store was connected on.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::error::timed_out;

/// How much longer than a statement may take its caller waits: the task that asks it says more of what went wrong.
const GRACE: Duration = Duration::from_millis(500);

/// The runtime that drives the connections: the one that the store was connected on.
///
/// Whoever opens a connection drives it. Were that each worker of a server that has a runtime for each, a connection
/// that another worker borrowed would stand still while the first one computes, and die with it.
pub(super) struct Driver {
    handle: Option<Handle>,
    /// Whether that runtime has ended. Then each caller's own has to do.
    gone: AtomicBool,
}

impl Driver {
    pub(super) fn here() -> Self {
        Self { handle: Handle::try_current().ok(), gone: AtomicBool::new(false) }
    }

    pub(super) fn handle(&self) -> Option<Handle> {
        let kept = self.handle.clone().filter(|_| !self.gone.load(Ordering::Relaxed));
        kept.or_else(|| Handle::try_current().ok())
    }

    /// Runs something to its end as a task there. The caller waits a little longer than the deadline, though nobody
    /// drive that runtime.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, sqlx::Error> {
        let handle = self.handle().ok_or(sqlx::Error::WorkerCrashed)?;
        match timeout_at(deadline + GRACE, handle.spawn(work.in_current_span())).await {
            Ok(Ok(done)) => Ok(done),
            // Nobody aborts these tasks, so their runtime has ended.
            Ok(Err(error)) if error.is_cancelled() => {
                self.gone.store(true, Ordering::Relaxed);
                let why = "the runtime that drove the connections has ended";
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, why).into())
            }
            Ok(Err(_)) => Err(sqlx::Error::WorkerCrashed),
            Err(_) => Err(timed_out()),
        }
    }
}
