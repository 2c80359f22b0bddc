//! The tasks of a server: counted, told to stop, and waited for.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::accept::Listener;

/// Tasks that end together, for one reason.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    pub(super) stop: CancellationToken,
    pub(super) tracker: TaskTracker,
}

impl Tasks {
    pub(super) fn listen(&self, listener: Listener) {
        self.spawn(listener.run(self.stop.clone(), self.tracker.clone()));
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Spawns a task that does not know when to end.
    pub(super) fn spawn_until_stopped(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.spawn(async move { _ = stop.run_until_cancelled_owned(task).await });
    }

    /// Ends them: all that have not within `grace` are cut off with the runtime.
    pub(super) async fn end(self, grace: Duration) {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_err() {
            warn!(left = self.tracker.len(), "the time is over; the remaining ones are cut off");
        }
    }
}
