//! What the writer and the readers have in common.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sled::Tree;
use tracing::error;

use crate::store::{Cursor, Health, StoreError};

#[derive(Debug)]
pub(super) struct Shared {
    /// Gone while it is opened anew, and once the store is closed.
    tree: Mutex<Option<Tree>>,
    /// The highest id that is durable: nothing above it may be shown.
    watermark: AtomicU64,
    state: Mutex<State>,
}

/// How the store is; it only leaves [`State::Full`] for better.
#[derive(Debug)]
enum State {
    Ready,
    /// The disk is full: writing goes on once there is room.
    Full(String),
    /// Writing has stopped for good.
    Failed(String),
    Closed,
}

impl Shared {
    pub(super) fn new(tree: Tree, last_id: u64) -> Self {
        Self {
            tree: Mutex::new(Some(tree)),
            watermark: AtomicU64::new(last_id),
            state: Mutex::new(State::Ready),
        }
    }

    pub(super) fn head(&self) -> Cursor {
        Cursor(self.watermark.load(Ordering::Acquire))
    }

    /// Lets readers see up to `id`; says whether there was nothing before.
    pub(super) fn raise(&self, id: u64) -> bool {
        self.watermark.swap(id, Ordering::AcqRel) == 0
    }

    pub(super) fn health(&self) -> Health {
        match &*locked(&self.state) {
            State::Ready => Health::Ready,
            State::Full(why) | State::Failed(why) => Health::ReadOnly { why: why.clone() },
            State::Closed => Health::Closed,
        }
    }

    pub(super) fn fail(&self, why: String) {
        *locked(&self.state) = State::Failed(why);
    }

    /// Says that the disk is full, unless worse is known.
    pub(super) fn fill(&self, why: String) {
        let mut state = locked(&self.state);
        if matches!(*state, State::Ready) {
            *state = State::Full(why);
        }
    }

    /// Why writing has stopped for good, if it has.
    pub(super) fn failure(&self) -> Option<String> {
        match &*locked(&self.state) {
            State::Failed(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// Says that there is room again, unless worse is known.
    pub(super) fn ready_again(&self) {
        let mut state = locked(&self.state);
        if matches!(*state, State::Full(_)) {
            *state = State::Ready;
        }
    }

    /// Takes the tree from the readers while it is opened anew.
    pub(super) fn suspend(&self) {
        *locked(&self.tree) = None;
    }

    /// Gives the readers the tree that was opened anew, up to `last_id`.
    pub(super) fn resume(&self, tree: Tree, last_id: u64) {
        *locked(&self.tree) = Some(tree);
        self.raise(last_id);
        self.ready_again();
    }

    /// A reader met damage: nothing is written on top of it.
    pub(super) fn damaged(&self, what: String) {
        error!(what, "the store is damaged: stop, copy it away, restore a backup");
        self.fail(format!("damaged: {what}"));
    }

    pub(super) fn close(&self) {
        *locked(&self.state) = State::Closed;
        *locked(&self.tree) = None;
    }

    pub(super) fn tree(&self) -> Result<Tree, StoreError> {
        locked(&self.tree).clone().ok_or(StoreError::Unavailable)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
