//! What a thread that walks the whole store hands to somebody who may be slow, or leave.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::store::StoreError;

/// How long nobody may take anything before a walk is given up: it holds off removal, and
/// a thread.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a walk ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody takes it any more.
    Unwanted,
    /// The store cannot be read.
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The way out of a blocking thread.
pub(super) struct Line<T> {
    runtime: Handle,
    out: mpsc::Sender<Result<T, StoreError>>,
}

impl<T> Line<T> {
    /// To be made by a task, for a thread.
    pub(super) fn to(out: mpsc::Sender<Result<T, StoreError>>) -> Self {
        Self { runtime: Handle::current(), out }
    }

    /// Waits until there is room, but not for ever.
    pub(super) fn send(&self, piece: Result<T, StoreError>) -> Result<(), Stop> {
        let sent = self.runtime.block_on(self.out.send_timeout(piece, PATIENCE));
        sent.map_err(|_| Stop::Unwanted)
    }
}
