//! What a thread that walks the whole store hands to somebody who may be slow, or leave.

use std::time::Duration;

use rustix::process::nice;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::store::StoreError;

/// How long nobody may take anything before a walk is given up: it holds off removal, and
/// a thread.
const PATIENCE: Duration = Duration::from_secs(60);

/// The priority of a walk: it takes what the others leave.
const NICE: i32 = 19;

/// Why a walk ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody takes it any more.
    Unwanted,
    /// The store cannot be read.
    Store(StoreError),
    /// A file beside the database cannot be read. No message is in it: the database goes on.
    Beside(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Walks the store where that holds up nobody: on a thread of its own, behind all others.
pub(super) fn aside(walk: impl FnOnce() + Send + 'static) {
    let walk = move || {
        // A system that refuses is slower meanwhile, no more.
        let _ = nice(NICE);
        walk();
    };
    tokio::task::spawn_blocking(move || {
        // Not on this one: who gave priority away may not take it back.
        let thread = std::thread::Builder::new().name("store-walk".to_owned()).spawn(walk);
        // Whoever waits for what it hands over sees that it ends too soon.
        let _ = thread.map(std::thread::JoinHandle::join);
    });
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
